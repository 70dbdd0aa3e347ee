"""make tune: settings for this machine, held against the service's defaults and a plain BentoML service.

    python -m benchmarks.tune CASCADE [--texts FILE] [--preset cascade | bert] [--minutes 10] [--rounds 5]

Runs `loadtest tune` on a published cascade. The final comparison starts with a cascade of the same models written as in
BentoML's documentation, with all of BentoML's defaults. Writes build/tune/CASCADE-PRESET.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.command import end_with
from benchmarks.contenders import plain_bentoml, sieve_line
from benchmarks.published import Published
from loadtest.traffic.plan import Plan
from loadtest.traffic.workload import Mix
from loadtest.tune import PRESETS, Tuning, tune, with_preset
from loadtest.verdict.comparison import table


def main() -> int:
    parser = argparse.ArgumentParser(description="Settings for this machine.")
    parser.add_argument("cascade")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--preset", choices=list(PRESETS), default="cascade")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    published = Published(options.cascade)
    mix = Mix(image_share=1.0 if published.kind == "image" else 0.0)
    plan, objective = with_preset(options.preset, Plan(url="", texts=options.texts, images=options.images, mix=mix))
    folder = Path("build") / "tune" / f"{options.cascade}-{options.preset}"
    with tempfile.TemporaryDirectory(prefix="sieve-tune-") as home:
        wanted = Tuning(
            command=sieve_line(published, "settings={settings}"),
            plan=plan,
            objective=objective,
            minutes=options.minutes,
            rounds=options.rounds,
            folder=folder,
            # In a home of its own: BentoML empties the folder of its metrics when another server starts there.
            against=[plain_bentoml(published, Path(home))] if published.kind == "text" else [],
        )
        result = tune(wanted)
    print(table(result["comparison"]))
    print(f"{folder / 'settings.toml'} is for service.py; {folder / 'tune.html'} has the pictures")
    return 0


if __name__ == "__main__":
    end_with(main)

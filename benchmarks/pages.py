"""Writes the measured figures and recorded answers into README.md and the pages of docs; tests hold the pages to them.

make tables      build/RECIPE/summary.json -> docs/measured/RECIPE.json
make profile     build/profile/MODEL -> docs/measured/profile
make runtimes    build/runtimes/MODEL/VARIANT -> docs/measured/runtimes
make figures     what the commands of FIGURES left in build -> docs/measured/figures
make examples    curl lines of README.md, docs/api.md and docs/oip.md, sent to a served demo -> their JSON

The first four then rewrite every block between `<!-- NAME: begin -->` and `<!-- NAME: end -->` from docs/measured.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command import end_with
from benchmarks.figure_blocks import described, figure_block
from benchmarks.recipe_tables import tables
from benchmarks.runtime_tables import runtime_tables
from loadtest.verdict.peers import ALONE, CONNECTIONS
from optimize.profiling.report import markdown

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "docs" / "measured"
README = ROOT / "README.md"
API = ROOT / "docs" / "api.md"
OIP = ROOT / "docs" / "oip.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
FIGURES = {
    "run": "loadtest/sms-risk/run.json",
    "compare-sms-risk": "compare/sms-risk/compare.json",
    "tune-cascade": "tune/sms-risk-cascade/tune.json",
    "tune-bert": "tune/sms-risk-bert/tune.json",
    "capacity": "capacity/sms-risk/capacity.json",
    "overload": "loadtest/demo-text/overload.json",
    "bench": "bench.json",
    "bulk": "bulk.json",
    "decoding": "decoding.json",
    "int8": "int8.json",
    "bert-int8": "bert-int8.json",
    "autoscaling": "autoscaling.json",
    "protocols": "protocols.json",
    "unlabelled": "unlabelled/unlabelled.json",
    "new-recipes": "new-recipes/result.json",
    "large-data": "large-data.json",
    "broken": "broken.json",
    "overload-back": "overload-back.json",
    "soak": "soak.json",
    "soak-requests": "soak-requests.json",
    "zipf": "zipf.json",
    "audit-cost": "audit-cost.json",
    "peers": "peers/peers.json",
    "mlperf": "loadtest/demo-text/mlperf.json",
    "memory": "memory.json",
    "workers": "workers.json",
    "photographs": "photographs/photographs.json",
    "gpu": "loadtest/gpu.json",
}
"""Files of docs/measured/figures, and where the make targets leave them below build."""
TO_MEASURE = {
    "gpu": "gpu",
}
"""Those of FIGURES that no quiet machine (or none with a GPU) has measured yet, and the target that does.

A test finds out when one has.
"""
JSON_WIDTH = 320
"""Columns of a line of JSON: enough for the scores of all labels of a demo, so that an answer has 13 lines."""
SIZED_PER_S = 2_000
ROAD_MS, FULL_SHARE = 0.35, 0.7
"""What a request costs beside the screen, and how full a core may be: as in docs/operations.md."""
EXAMPLE = re.compile(r"```sh\n(curl [^`]*)```\n```json\n([^`]*)```")


def main(verb: str, *names: str) -> int:
    if verb == "examples":
        from demo import served

        with served(port=3000):
            for page in (README, API, OIP):
                page.write_text(with_answers(page.read_text(encoding="utf-8"), run), encoding="utf-8")
        return 0
    keep = {"tables": keep_recipes, "profile": keep_profiles, "runtimes": keep_runtimes, "figures": keep_figures}
    keep[verb](names)
    for page in PAGES:
        page.write_text(with_blocks(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def keep_recipes(recipes: Sequence[str]) -> None:
    """Copy the summaries of finished runs to docs/measured."""
    for recipe in recipes:
        _keep(ROOT / "build" / recipe / "summary.json", MEASURED / f"{recipe}.json", f"make {recipe}")


def keep_profiles(models: Sequence[str]) -> None:
    """Copy what `python -m optimize profile` measured of `models` to docs/measured/profile."""
    for model in models:
        for file in ("profile.json", "batch-curve.svg"):
            kept = MEASURED / "profile" / f"{model}{Path(file).suffix}"
            _keep(ROOT / "build" / "profile" / model / file, kept, f"python -m optimize profile {model}")


def keep_runtimes(models: Sequence[str]) -> None:
    """Copy what `python -m optimize runtimes` measured of `models` to docs/measured/runtimes."""
    for model in models:
        made = sorted((ROOT / "build" / "runtimes" / model).glob("*/runtimes.json"))
        for path in made or [ROOT / "build" / "runtimes" / model / "cpu-fp32" / "runtimes.json"]:
            kept = MEASURED / "runtimes" / f"{model}-{path.parent.name}.json"
            _keep(path, kept, f"python -m optimize runtimes {model}")


def keep_figures(_: Sequence[str]) -> None:
    """Copy what was measured last in build to docs/measured/figures, where it is there."""
    for name, made in FIGURES.items():
        for file in (ROOT / "build" / made, (ROOT / "build" / made).with_suffix(".svg")):
            if file.is_file():
                shutil.copy(file, MEASURED / "figures" / f"{name}{file.suffix}")


def _keep(made: Path, kept: Path, command: str) -> None:
    if not made.is_file():
        raise SystemExit(f"{made} is not there; make it with `{command}`")
    kept.parent.mkdir(exist_ok=True)
    shutil.copy(made, kept)


def with_blocks(text: str) -> str:
    """A page with every block between two markers made anew from docs/measured."""
    for name, content in blocks().items():
        if f"<!-- {name}: begin -->" in text:
            text = with_block(text, name, content())
    return text


def blocks() -> dict[str, Callable[[], str]]:
    """What stands between the markers of each name."""
    return {
        "headline": headline,
        "recipes": lambda: "\n".join(tables(_read(path)) for path in sorted(MEASURED.glob("*.json"))),
        "profile": profiles,
        "runtimes": lambda: runtime_tables([_read(path) for path in sorted((MEASURED / "runtimes").glob("*.json"))]),
        "sizing": sizing,
        **{
            name: partial(figure_block, MEASURED / "figures" / f"{name}.json")
            for name in FIGURES
            if name not in TO_MEASURE
        },
        **{
            name: partial("Not measured yet: `make {0} figures` does it.\n".format, target)
            for name, target in TO_MEASURE.items()
        },
    }


def with_block(text: str, name: str, content: str) -> str:
    """The text with what lies between the two markers of that name replaced."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + content + end + after


def headline() -> str:
    """README's figures, each with its conditions."""
    recipe, load, compared = (
        _read(MEASURED / name) for name in ("sms-risk.json", "figures/run.json", "figures/compare-sms-risk.json")
    )
    teacher, cascade = recipe["models"]["teacher"], recipe["models"]["cascade"]
    faster = teacher["latency_ms"]["median_ms"] / cascade["latency_ms"]["median_ms"]
    p99, plan = load["figures"]["latency_ms"]["p99"]["ms"], load["plan"]
    first, last = compared["rows"][0], compared["rows"][-1]
    times = last["times_the_first"]
    per_s = [row["goodput_per_s"]["median"] for row in (last, first)]
    rows = [
        (
            f"**{faster:.1f} times** as fast as its teacher in PyTorch, at {cascade['accuracy']:.2%} accuracy "
            f"(teacher: {teacher['accuracy']:.2%})",
            f"the cascade's expected time for one message, {recipe['data']['splits']['holdout']['size']} held-out "
            f"messages, one thread of {recipe['machine']['cpu']} (`make sms-risk`)",
        ),
        (
            f"**{p99:.1f} ms** p99 at {load['figures']['goodput_per_s']:.0f} requests/s, "
            f"{load['figures']['degraded_share']:.1%} degraded",
            f"{plan['seconds']:.0f} s of Poisson arrivals, {plan['mix']['image_share']:.0%} of them photographs, "
            f"{described(load['machine'])} (`make loadtest`)",
        ),
        (
            f"**{times['median']:.0f} times** ({times['low']:.0f} to {times['high']:.0f}) the goodput of PyTorch "
            f"behind FastAPI: {per_s[0]:,.0f} against {per_s[1]:.0f} answers/s",
            f"p99 below {compared['objective']['limits_ms']['p99']:.0f} ms, {len(last['rounds'])} rounds in turn, "
            f"{described(compared['machine'])} (`make compare`)",
        ),
        other_servers(_read(MEASURED / "figures" / "peers.json")),
    ]
    return "| measured on `sms-risk` | conditions |\n| --- | --- |\n" + "".join(f"| {a} | {b} |\n" for a, b in rows)


def other_servers(peers: Mapping[str, Any]) -> tuple[str, str]:
    """Sieve, and at each load the best of the others, whoever wins."""
    ours, *others = [row for row in peers["rows"] if row["name"] != ALONE and not row["why"]]

    def per_s(row: Mapping[str, Any], connections: int | None) -> float:
        cell = row["highest"] if connections is None else row["connections"][str(connections)]
        return float(cell["per_s"]["median"])

    def both(connections: int | None) -> str:
        best = max(others, key=partial(per_s, connections=connections))
        name = best["name"].partition(",")[0]
        return f"**{per_s(ours, connections):.0f}** against {per_s(best, connections):.0f} ({name})"

    highest, loops = both(None), map(both, CONNECTIONS)
    return (
        f"{highest} answers/s at p99 {peers['limits_ms']['p99']:.0f} ms, the best of {len(others)} other servers; at "
        f"{', '.join(map(str, CONNECTIONS[:-1]))} and {CONNECTIONS[-1]} connections {', '.join(loops)}",
        f"the demo's expert alone, everything escalates, {len(ours['rounds'])} rounds in turn, "
        f"{described(peers['machine'])} ([all](docs/tuning.md#other-servers), `make peers`)",
    )


def sizing() -> str:
    """How many processes the formulas of docs/operations.md give for sms-risk."""
    models = _read(MEASURED / "sms-risk.json")["models"]
    screen_ms, expert_ms = (models[role]["latency_ms"]["median_ms"] for role in ("screen", "expert"))
    share = models["cascade"]["escalation_share"]
    apis = math.ceil(SIZED_PER_S * (ROAD_MS + screen_ms) / 1000 / FULL_SHARE)
    experts = math.ceil(SIZED_PER_S * share * expert_ms / 1000 / FULL_SHARE)
    return (
        f"{SIZED_PER_S:,} requests/s with `sms-risk` (screen {screen_ms:.2f} ms, {share:.1%} escalate, expert "
        f"{expert_ms:.1f} ms alone) take {apis} API process{'es' * (apis > 1)} and {experts} "
        f"expert{'s' * (experts > 1)}.\n"
    )


def profiles() -> str:
    """The tables and pictures of every profiled model."""
    parts = []
    for path in sorted((MEASURED / "profile").glob("*.json")):
        facts = _read(path)
        picture = f"![batch size against latency and throughput of {path.stem}](measured/profile/{path.stem}.svg)"
        machine = f"{facts['machine']['cpu']}, {facts['machine']['cores']} cores"
        load = f"load average before it {facts['load_average_before']:g}"
        parts.append(f"### {path.stem}\n\n{machine}, {load}. `{facts['command']}`\n\n{markdown(facts)}\n{picture}\n")
    return "\n".join(parts)


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def with_answers(text: str, ask: Callable[[str], str]) -> str:
    """A page with the JSON after each curl line made anew from what `ask` gets for it."""

    def answered(match: re.Match[str]) -> str:
        return f"```sh\n{match[1]}```\n```json\n{as_json(json.loads(ask(match[1])))}\n```"

    return EXAMPLE.sub(answered, text)


def as_json(value: Any, indent: str = "") -> str:
    """JSON in which a field that fits into JSON_WIDTH columns takes one line; the outermost fields have one each."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (indent and len(indent + line) <= JSON_WIDTH):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{deeper}{json.dumps(key)}: {as_json(part, deeper)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + as_json(part, deeper) for part in value) + f"\n{indent}]"


def run(command: str, folder: Path = ROOT) -> str:
    """What a shell line prints."""
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    end_with(lambda: main(*sys.argv[1:]))

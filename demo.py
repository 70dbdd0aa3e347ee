"""make demo: build both demo cascades, serve them, send real requests, say what came back.

1. `python -m optimize run` on demo-text and demo-image (a second run reuses what is there),
2. `bentoml serve` on a free port, until it is ready,
3. texts and images over REST, printed with answer, stage and milliseconds,
4. build/demo/summary.json, with each step's accuracy, size and latency; the images that were sent lie beside it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from rich.table import Table

from loadtest.errors import NotStartedError
from loadtest.traffic.process import Running, running
from optimize.data.payments import generate
from optimize.models.graphs import quiet
from optimize.progress import console
from optimize.recipes.shipped import shipped_recipes
from serving.model.artifact import write_json

RECIPES = ("demo-text", "demo-image")
# PyTorch's threads sleep while they wait for each other, instead of spinning: less processor time, hardly slower.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
BUILD = Path("build")
FOLDER = BUILD / "demo"


def main() -> int:
    begin = time.monotonic()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for recipe in RECIPES:
        console.rule(f"{recipe}: python -m optimize run {recipe}")
        status = subprocess.run(
            [sys.executable, "-m", "optimize", "run", recipe], env={**WAITING, **os.environ}, check=False
        ).returncode
        if status:  # it has said why
            return status
    console.rule("bentoml serve")
    with served() as server:
        answers = ask(server.url)
    show(answers)
    summaries = {recipe: json.loads((BUILD / recipe / "summary.json").read_text()) for recipe in RECIPES}
    summary = {"seconds": round(time.monotonic() - begin, 1), "answers": answers, "recipes": summaries}
    write_json(FOLDER / "summary.json", summary)
    console.print(f"[bold]{FOLDER / 'summary.json'}[/bold] has all figures; took {summary['seconds']:.0f} s.")
    console.print("The text demo is trained and measured on synthetic, generated messages.")
    console.print("Go on with [bold]make serve[/bold], then the curl lines of README.md and docs/api.md.")
    return 0


def served(port: int | None = None) -> AbstractContextManager[Running]:
    """A real `bentoml serve` with the demo cascades, stopped cleanly at the end; without `port`, on a free one."""
    line = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "{port}"]
    return running(line, ready="/readyz", log=FOLDER / "serve.log", folder=Path(), port=port)


def ask(url: str) -> list[dict[str, Any]]:
    """Send texts and images and keep, for each, what was sent, what is right and what came back."""
    answers = []
    with httpx.Client(base_url=url, timeout=10) as client:
        # Another seed than the recipe's: these messages were not in its data.
        for text, label in generate(12, seed=1_000_003):
            reply = client.post("/classify_text", json={"text": text})
            answers.append({"sent": text, "right": label, **reply.raise_for_status().json()})
        for name, png, label in digit_images(8):
            (FOLDER / name).write_bytes(png)
            reply = client.post("/classify_image", files={"image": (name, png, "image/png")})
            answers.append({"sent": name, "right": label, **reply.raise_for_status().json()})
    return answers


def digit_images(count: int) -> Iterator[tuple[str, bytes, str]]:
    """PNG files of scikit-learn's digits, from the recipe's selection set: (name, file, label)."""
    from PIL import Image

    with quiet():
        from optimize.data.splits import load_splits
        from optimize.recipe import read_recipe

    recipe = read_recipe(str(shipped_recipes()["demo-image"]))
    splits = load_splits(recipe.data, seed=recipe.seed, root=Path())
    images = splits.selection
    for index in range(count):
        file = io.BytesIO()
        Image.fromarray(images.inputs[index][..., 0]).save(file, "PNG")
        yield images.ids[index].replace(":", "-") + ".png", file.getvalue(), splits.labels[images.targets[index]]


def show(answers: list[dict[str, Any]]) -> None:
    table = Table(
        "sent", "answer", "right", "confidence", "stage", "degraded", "ms in the server", title="REST answers"
    )
    for row in answers:
        sent = row["sent"] if len(row["sent"]) < 60 else row["sent"][:57] + "..."
        total = row["timings_ms"]["total"]
        shown = (row["label"], row["right"], f"{row['confidence']:.3f}", row["stage"], row["degraded"] or "")
        table.add_row(sent, *shown, f"{total:.1f}")
    console.print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotStartedError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("interrupted; run `make demo` again to go on from here", file=sys.stderr)
        sys.exit(130)

"""make decoding: what it gives that a JPEG is decoded no larger than its model needs it.

Photographs (generated ones where no --images are named) as they are and enlarged, decoded with and without that in
turn, for a model of 32 pixels and for one of 224. Out: build/decoding.json, and a table on the terminal.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loadtest.pages.report import machine, write_json
from loadtest.traffic.workload import image_samples
from optimize.progress import progress
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder, read_header

SIDES = (256, 1024, 4000)
PHOTOGRAPHS = 20
CHANNELS = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
MODELS = {
    "32": ImageSettings(width=32, height=32, **CHANNELS),
    "224, short side 256": ImageSettings(width=224, height=224, resize_short_side=256, **CHANNELS),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description="Decoding large JPEGs")
    parser.add_argument("--images", type=Path, help="a folder or tar of JPEG files (generated ones)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = [sample.body for sample in image_samples(options.images, "raw", None, seed=0)][:PHOTOGRAPHS]
    rows = []
    with progress("decoding", total=len(SIDES) * len(MODELS)) as advance:
        for side in SIDES:
            photographs = [enlarged(file, side) for file in files]
            for name, settings in MODELS.items():
                rows.append({"side": side, "model": name, **measured(photographs, settings, options.rounds)})
                advance(1)
    said = {"machine": machine(), "photographs": len(files), "rounds": options.rounds, "rows": rows}
    write_json(Path("build") / "decoding.json", said)
    print(table(said))
    return 0


def enlarged(file: bytes, side: int) -> bytes:
    """A JPEG of the same photograph whose shorter side has `side` pixels."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    ratio = side / min(image.size)
    written = io.BytesIO()
    image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BICUBIC).save(
        written, "JPEG", quality=90
    )
    return written.getvalue()


def measured(files: Sequence[bytes], settings: ImageSettings, rounds: int) -> dict[str, Any]:
    """Milliseconds of one file, and how far the pixels are apart, in steps of 255."""
    decoder = ImageDecoder(settings)
    ms: dict[str, list[float]] = {"needed": [], "whole": []}
    apart = []
    for file in [*files[:1], *list(files) * rounds]:
        begin = time.perf_counter()
        needed = decoder.decode(file)
        between = time.perf_counter()
        whole = decoder.from_image(read_header(file))
        ms["needed"].append(1e3 * (between - begin))
        ms["whole"].append(1e3 * (time.perf_counter() - between))
        apart.append(255 * float(np.abs(needed - whole).mean()))
    # The first file of all is decoded once more beforehand and does not count.
    found = {f"{name}_ms": np.percentile(times[1:], (50, 25, 75)).round(3).tolist() for name, times in ms.items()}
    return {**found, "ratio": round(found["whole_ms"][0] / found["needed_ms"][0], 2), "apart": round(np.mean(apart), 2)}


def table(said: Mapping[str, Any]) -> str:
    """Markdown: medians with quartiles."""
    lines = [
        "| short side, pixels | model | ms, whole | ms, as small as will do | times as fast | apart, steps of 255 |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in said["rows"]:
        whole, needed = ("{:.2f} ({:.2f} to {:.2f})".format(*row[f"{name}_ms"]) for name in ("whole", "needed"))
        lines.append(f"| {row['side']:,} | {row['model']} | {whole} | {needed} | {row['ratio']} | {row['apart']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

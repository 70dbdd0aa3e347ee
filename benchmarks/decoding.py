"""make decoding: what it gains to decode a JPEG no larger than its model needs.

Decodes photographs of --images (or generated ones), as they are and enlarged, whole and reduced in turn, for a model of
32 pixels and for one of 224. Writes build/decoding.json and prints a table.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image

from benchmarks.command import end_with
from loadtest.machine import Machine, machine
from loadtest.pages.files import write_json
from loadtest.traffic.workload import image_files
from optimize.progress import progress
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder
from serving.model.image_header import read_header

SIDES = (256, 1024, 4000)
PHOTOGRAPHS = 20
MEAN, STD = (0.0,) * 3, (1.0,) * 3
MODELS = {
    "32": ImageSettings(width=32, height=32, mean=MEAN, std=STD),
    "224, short side 256": ImageSettings(width=224, height=224, resize_short_side=256, mean=MEAN, std=STD),
}


class Decoded(TypedDict):
    """Milliseconds of one file (median and quartiles), their ratio, and the mean difference of pixels, of 255."""

    needed_ms: list[float]
    whole_ms: list[float]
    ratio: float
    apart: float


class Row(Decoded):
    """The same for photographs of one size and one model."""

    side: int
    model: str


class Decoding(TypedDict):
    """build/decoding.json."""

    machine: Machine
    photographs: int
    rounds: int
    rows: list[Row]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description="Decoding large JPEGs")
    parser.add_argument("--images", type=Path, help="a folder or tar of JPEG files (generated ones)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = image_files(options.images, seed=0)[:PHOTOGRAPHS]
    rows: list[Row] = []
    with progress("decoding", total=len(SIDES) * len(MODELS)) as advance:
        for side in SIDES:
            photographs = [enlarged(file, side) for file in files]
            for name, settings in MODELS.items():
                rows.append({"side": side, "model": name, **measured(photographs, settings, options.rounds)})
                advance(1)
    said: Decoding = {"machine": machine(), "photographs": len(files), "rounds": options.rounds, "rows": rows}
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


def measured(files: Sequence[bytes], settings: ImageSettings, rounds: int) -> Decoded:
    """Decode every file whole and reduced, `rounds` times."""
    decoder = ImageDecoder(settings)
    needed_ms, whole_ms, apart = [], [], []
    for file in [*files[:1], *list(files) * rounds]:
        begin = time.perf_counter()
        needed = decoder.decode(file)
        between = time.perf_counter()
        whole = decoder.from_image(read_header(file))
        needed_ms.append(1e3 * (between - begin))
        whole_ms.append(1e3 * (time.perf_counter() - between))
        apart.append(255 * float(np.abs(needed - whole).mean()))
    # The first entry is the warm-up.
    needed, whole = (np.percentile(ms[1:], (50, 25, 75)).round(3).tolist() for ms in (needed_ms, whole_ms))
    return {
        "needed_ms": needed,
        "whole_ms": whole,
        "ratio": round(whole[0] / needed[0], 2),
        "apart": round(float(np.mean(apart)), 2),
    }


def table(said: Decoding) -> str:
    """Medians with quartiles, in Markdown."""
    lines = [
        "| short side, pixels | model | ms, whole | ms, as small as will do | times as fast | apart, steps of 255 |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in said["rows"]:
        whole, needed = ("{:.2f} ({:.2f} to {:.2f})".format(*ms) for ms in (row["whole_ms"], row["needed_ms"]))
        lines.append(f"| {row['side']:,} | {row['model']} | {whole} | {needed} | {row['ratio']} | {row['apart']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)

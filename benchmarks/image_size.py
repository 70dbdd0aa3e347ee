"""make image-sizes: the size of an image by part (needs buildah, and root or a user namespace).

In: names of images in buildah's storage, and of the base image that they are made from. Each file counts once, hard
links too, so the size is that of the unpacked image, not of the compressed download.
Out: docs/measured/container/sizes.json, with each bound, and the table of docs/container.md. A provider that is not
given keeps the figures it has.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from serving.model.artifact import write_json

BOUND_BYTES = {"cpu": 350_000_000, "gpu": 450_000_000}
BENTO = Path("home/bentoml/bento")
DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
SIZES = DOCS / "measured" / "container" / "sizes.json"
ROWS = {
    "own_bytes": "the image without models",
    "base_bytes": "its base image",
    "onnxruntime_bytes": "onnxruntime",
    "cuda_bytes": "CUDA's libraries",
    "bounded_bytes": "what is bounded",
    "bound_bytes": "its bound",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image_size", description="Sizes of images, by part")
    parser.add_argument("images", nargs="+", help="PROVIDER=IMAGE, e.g. cpu=sieve:cpu")
    parser.add_argument("--base", default="docker.io/library/python:3.11-slim", help="the image they are made from")
    given = parser.parse_args()
    images = dict(pair.split("=", 1) for pair in given.images)
    said = json.loads(SIZES.read_text())
    said |= {provider: measured(image, given.base, provider) for provider, image in images.items()}
    write_json(SIZES, said)
    page = DOCS / "container.md"
    before, _, after = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + table(said) + END + after.partition(END)[2], encoding="utf-8")
    print(table(said), end="")
    return 0 if all(figures["bounded_bytes"] <= figures["bound_bytes"] for figures in said.values()) else 1


def table(said: Mapping[str, Mapping[str, int]]) -> str:
    """Megabytes by part and provider, in Markdown."""
    lines = ["| MB | " + " | ".join(said) + " |", "| --- |" + " --- |" * len(said)]
    columns = [{**figures, "own_bytes": figures["all_bytes"] - figures["models_bytes"]} for figures in said.values()]
    for name, meaning in ROWS.items():
        values = " | ".join(f"{figures[name] / 1e6:,.0f}" for figures in columns)
        lines.append(f"| {meaning} | {values} |")
    return "\n".join(lines) + "\n"


def measured(image: str, base: str, provider: str, variables: Mapping[str, str] | None = None) -> dict[str, int]:
    """Bytes of an image by part.

    The bound applies to what is left without the base image and the models, and on a GPU without onnxruntime-gpu and
    CUDA's libraries.
    """
    with_base, base_bytes = parts(image, variables), parts(base, variables)["all_bytes"]
    on_top = with_base["all_bytes"] - base_bytes
    bounded = on_top - with_base["models_bytes"]
    if provider == "gpu":
        bounded -= with_base["onnxruntime_bytes"] + with_base["cuda_bytes"]
    return {
        **with_base,
        "base_bytes": base_bytes,
        "on_top_bytes": on_top,
        "bounded_bytes": bounded,
        "bound_bytes": BOUND_BYTES[provider],
    }


def parts(image: str, variables: Mapping[str, str] | None = None) -> dict[str, int]:
    """Bytes of an image: the whole, the models, onnxruntime, and CUDA's libraries."""
    container = buildah("from", "--pull-never", image, variables=variables)
    try:
        root = Path(buildah("mount", container, variables=variables))
        packages = list(root.glob("app/.venv/lib/python3*/site-packages"))
        return {
            "all_bytes": size_of([root]),
            "models_bytes": size_of([root / BENTO / "models"]),
            "onnxruntime_bytes": size_of(folder / "onnxruntime" for folder in packages),
            "cuda_bytes": size_of(folder / "nvidia" for folder in packages),
        }
    finally:
        buildah("rm", container, variables=variables)


def size_of(folders: Iterable[Path]) -> int:
    """Bytes of the files below `folders`; a file with several names counts once."""
    files = (path.lstat() for folder in folders for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return sum({(file.st_dev, file.st_ino): file.st_size for file in files}.values())


def buildah(*arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """The output of `buildah ARGUMENTS`; SystemExit with buildah's error when it fails."""
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        raise SystemExit(f"buildah {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())

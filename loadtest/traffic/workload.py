"""What is sent: labelled texts and JPEG or PNG images, in a mix of short and long, easy and hard.

An item is hard when the service's own screen defers on it. The client finds out by sending each candidate once, alone.
For a server without a cascade no item is hard.
"""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loadtest.errors import WorkloadError
from loadtest.traffic.sample import OWN, Sample, Way, image_sample, text_sample

MAX_CANDIDATES = 1_000
FITTING_ROUNDS = 200
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Item = dict[str, str]
"""The fields of a text: `text`, and `text_pair` where it is a pair of texts."""
# Sent where no file of texts is given; without labels, from no particular domain.
PLAIN_TEXTS = (
    "my card was charged twice for one coffee",
    "where is my refund",
    "call me when you are home",
    "free entry, text WIN to claim your prize now",
    "the transfer from monday has still not arrived",
    "i paid with my card at the station on friday and the machine printed a receipt, but today i see that the same "
    "amount was taken again and nobody at the counter could tell me why, so please look into it",
    "thank you for your help with the booking last week; there is one more question about the fee of 12 euros that "
    "appears on the statement below the exchange rate, since i was told that there would be none for this account",
)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of images among the requests, of long texts among the texts, of hard items among texts and among images.

    None keeps the share of the data.
    """

    image_share: float = 0.0
    long_share: float | None = None
    hard_share: float | None = None


def text_samples(path: Path | None, budget_ms: float | None, seed: int, way: Way = OWN) -> list[Sample]:
    """Samples of `text_items`. Raises WorkloadError."""
    return [text_sample(item, way, budget_ms, label) for item, label in text_items(path, seed)]


def text_items(path: Path | None, seed: int) -> list[tuple[Item, str | None]]:
    """Texts of a CSV or TSV file (also .gz) with the column `text`, and where it is known their `label`.

    The column `text_pair` makes them pairs of texts. At most MAX_CANDIDATES of them, drawn by `seed`; PLAIN_TEXTS
    without a path. Raises WorkloadError.
    """
    rows = list(_rows(path)) if path else [({"text": text}, None) for text in PLAIN_TEXTS]
    if not rows:
        raise WorkloadError(f"{path}: must hold at least one text, got none; name another file")
    return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))[:MAX_CANDIDATES]]


def image_samples(path: Path | None, budget_ms: float | None, seed: int, way: Way = OWN) -> list[Sample]:
    """Samples of `image_files`. Raises WorkloadError."""
    return [image_sample(data, way, budget_ms) for data in image_files(path, seed)]


def image_files(path: Path | None, seed: int) -> list[bytes]:
    """The JPEG and PNG files of a folder or a tar file; generated ones, by `seed`, without a path.

    At most MAX_CANDIDATES of them. Raises WorkloadError.
    """
    files = list(_files(path))[:MAX_CANDIDATES] if path else [generated_jpeg(seed + i) for i in range(32)]
    if not files:
        raise WorkloadError(f"{path}: must hold .jpg, .jpeg or .png files, got none; name another folder or tar file")
    return files


def with_hardness(samples: Sequence[Sample], deferred: Sequence[bool | None]) -> list[Sample]:
    """The samples with "hard" in their shape where the screen deferred, else "easy"; unchanged for None (no screen)."""
    words = {None: "", False: ", easy", True: ", hard"}
    return [replace(s, shape=s.shape + words[hard]) for s, hard in zip(samples, deferred, strict=True)]


def draw(samples: Sequence[Sample], mix: Mix, count: int, seed: int) -> list[Sample]:
    """Draw `count` samples independently, in the shares of `mix`; WorkloadError where the shares cannot be had."""
    weights = np.ones(len(samples))
    images, long, hard = (
        np.array([word in s.shape for s in samples], dtype=bool) for word in ("image", "long", "hard")
    )
    _share(weights, images, mix.image_share, "images", np.ones(len(samples), bool))
    # Where long texts are harder than short ones, scaling one share moves the other. Scaling them in turn makes both
    # hold (iterative proportional fitting, Deming and Stephan 1940).
    for _ in range(FITTING_ROUNDS):
        _share(weights, long, mix.long_share, "long texts", ~images)
        for kind in (~images, images):
            _share(weights, hard, mix.hard_share, "hard items", kind)
    got = weights[long].sum() / max(weights[~images].sum(), 1e-12)
    if mix.long_share is not None and weights[~images].sum() and abs(got - mix.long_share) > 0.005:
        raise WorkloadError(
            f"shares of {mix.long_share:g} of long texts and {mix.hard_share:g} of hard items cannot be drawn together "
            "where one goes with the other; give other data, or other shares"
        )
    rng = np.random.default_rng(seed)
    return [samples[i] for i in rng.choice(len(samples), size=count, p=weights / weights.sum())]


def _share(weights: Floats, wanted: Flags, share: float | None, name: str, among: Flags) -> None:
    """Scale the weights in place so that `wanted` has this share of the weight of `among`, whose sum stays the same."""
    whole = weights[among].sum()
    if share is None or not whole:
        return
    yes, no = among & wanted, among & ~wanted
    if (share > 0 and not weights[yes].sum()) or (share < 1 and not weights[no].sum()):
        raise WorkloadError(
            f"a share of {share:g} of {name} cannot be drawn: there are {int(yes.sum())} of them and {int(no.sum())} "
            "others; give other data, or another share"
        )
    for group, part in ((yes, share), (no, 1 - share)):
        if weights[group].sum():
            weights[group] *= part * whole / weights[group].sum()


def generated_jpeg(seed: int, side: int = 256) -> bytes:
    """A JPEG of soft shapes and noise, with about as many bytes as a photograph of `side` x `side` pixels."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    noisy = np.clip(np.asarray(soft, dtype=np.int16) + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90)
    return file.getvalue()


def _rows(path: Path) -> Iterator[tuple[dict[str, str], str | None]]:
    """The fields of each request, text and perhaps text_pair, with the label where it is known."""
    opened = gzip.open if path.suffix == ".gz" else open
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            names = reader.fieldnames or ()
            if "text" not in names:
                raise WorkloadError(f"{path}: must have a column named text, got {names}; name another file")
            fields = [field for field in ("text", "text_pair") if field in names]
            for row in reader:
                item = {field: row[field] for field in fields}
                if all(text and text.strip() for text in item.values()):
                    yield item, row.get("label") or None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise WorkloadError(f"{path}: must be a CSV or TSV file, got {type(error).__name__}; name another") from None


def _files(path: Path) -> Iterator[bytes]:
    endings = (".jpg", ".jpeg", ".png")
    try:
        if path.is_dir():
            yield from (file.read_bytes() for file in sorted(path.iterdir()) if file.suffix.lower() in endings)
            return
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.lower().endswith(endings):
                    file = archive.extractfile(member)
                    assert file is not None
                    yield file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise WorkloadError(
            f"{path}: must be a folder or a tar file, got {type(error).__name__}; name another"
        ) from None

"""Payloads: kept as drawn, read by what certifies on traffic, bounded, and given up where they cannot be written."""

from __future__ import annotations

import io
import json
import logging
import random
import stat
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from optimize.score.asked import Asked
from optimize.score.scorer import ImageBytes
from optimize.score.source import open_source
from serving.model.text import TextPair
from serving.settings import Settings
from serving.watch import payloads as module
from serving.watch.payloads import Payloads, kept_payloads


def made(folder: Path, share: float = 1.0, limit_bytes: int = 10_000_000) -> Payloads:
    return Payloads(folder, share, limit_bytes, random.Random(7))


def rows(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]


def test_what_is_kept_is_read_as_traffic(tmp_path: Path) -> None:
    payloads = made(tmp_path)
    texts = [f'text {number}, "quoted"\nand ünïcode' for number in range(50)]
    for text in texts:
        payloads.texts("mine", [text])
    payloads.texts("pairs", [TextPair("one", "other")])
    payloads.close()
    source = open_source(tmp_path / "mine", Asked(), "text", pairs=False)
    read = [text for chunk in source.chunks(16) for text in source.contents(chunk.table, chunk.faults)]
    assert Counter(read) == Counter(texts)
    source = open_source(tmp_path / "pairs", Asked(), "text", pairs=True)
    assert [pair for chunk in source.chunks(16) for pair in source.contents(chunk.table, chunk.faults)] == [
        TextPair("one", "other")
    ]


def test_images_are_kept_as_the_files_that_came(tmp_path: Path) -> None:
    payloads = made(tmp_path)
    files = []
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        held = io.BytesIO()
        Image.new("RGB", (8, 8), (200, 20, 20)).save(held, kind)
        files.append(held.getvalue())
        payloads.image("photos", held.getvalue(), kind.lower())
    payloads.close()
    source = open_source(tmp_path / "photos", Asked(), "image", pairs=False)
    read = [each for chunk in source.chunks(16) for each in source.contents(chunk.table, chunk.faults)]
    assert sorted(each.read() for each in read if isinstance(each, ImageBytes)) == sorted(files)


def test_the_share_that_is_asked_for_is_drawn(tmp_path: Path) -> None:
    payloads = made(tmp_path, share=0.1)
    payloads.texts("mine", map(str, range(10_000)))
    payloads.close()
    assert 880 < len(rows(tmp_path / "mine")) < 1120
    assert not kept_payloads(Settings())


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    payloads = made(tmp_path)
    payloads.texts("mine", ["private"])
    payloads.close()
    (path,) = (tmp_path / "mine").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_oldest_files_go_when_the_folder_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 1_000)
    for start in range(0, 1000, 100):  # ten processes, one after the other
        payloads = made(tmp_path, limit_bytes=5_000)
        payloads.texts("mine", (f"{number:020d}" for number in range(start, start + 100)))
        payloads.close()
    held = sum(path.stat().st_size for path in (tmp_path / "mine").iterdir())
    assert 2_500 < held <= 5_000
    kept = [int(row["text"]) for row in rows(tmp_path / "mine")]
    assert min(kept) >= 800, "the last ones are there"
    assert max(kept) == 999


def test_a_folder_that_cannot_be_written_is_said_once_and_given_up(
    tmp_path: Path, logged: list[logging.LogRecord]
) -> None:
    (tmp_path / "file").write_text("in the way")
    payloads = made(tmp_path / "file" / "below")
    payloads.texts("mine", ["secret words"])
    payloads._thread.join(60)
    assert not payloads._thread.is_alive()
    payloads.texts("mine", ["secret words"])
    payloads.close()
    (said,) = [record.getMessage() for record in logged]
    assert said.startswith(f"no more payloads are kept: {tmp_path}/file/below cannot be written (Not a directory)")
    assert "secret" not in said
    assert not payloads.drawn()


def test_on_a_disk_that_is_full_no_half_of_a_file_stays(tmp_path: Path, logged: list[logging.LogRecord]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk of 64 KB can be mounted: {mounted.stderr.strip()}")
    try:
        payloads = made(small)
        payloads.texts("mine", ["small"])
        payloads.close()
        payloads = made(small)
        payloads.texts("mine", ["x" * 100_000])
        payloads.close()
        assert rows(small / "mine") == [{"text": "small"}]
        (said,) = [record.getMessage() for record in logged]
        assert said.startswith(f"no more payloads are kept: {small} cannot be written (No space left on device)")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_thread_that_is_slow_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 1_000)
    payloads = made(tmp_path)
    payloads.texts("mine", ["x" * 2_000, "short"])
    payloads.close()
    assert [row["text"] for row in rows(tmp_path / "mine")] == ["short"]


def test_the_settings_say_what_is_kept_and_where(tmp_path: Path) -> None:
    payloads = kept_payloads(Settings(keep_payloads=1.0, payload_folder=str(tmp_path)))
    assert payloads is not None
    payloads.texts("mine", ["a"])
    payloads.close()
    assert rows(tmp_path / "mine") == [{"text": "a"}]

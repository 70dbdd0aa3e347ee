from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from optimize.data.known_files import NAME, KnownFiles, file_key

DIGEST = bytes(range(31)) + b"\0"


def written(path: Path, content: bytes = b"content", at_ns: int = 10**18) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(at_ns, at_ns))
    return path


def kept(folder: Path, path: Path, sha256: bytes) -> KnownFiles:
    files = KnownFiles(folder)
    files.add(file_key(path), sha256)
    files.save()
    return KnownFiles(folder)


def test_the_next_run_knows_what_this_one_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png")
    assert KnownFiles(tmp_path).digest(file_key(path)) is None
    assert kept(tmp_path, path, DIGEST).digest(file_key(path)) == DIGEST
    assert kept(tmp_path, written(tmp_path / "b.png"), DIGEST[::-1]).digest(file_key(path)) == DIGEST
    assert (tmp_path / NAME).stat().st_size == 2 * 40
    assert kept(tmp_path, path, DIGEST[::-1]).digest(file_key(path)) == DIGEST[::-1], "the last word counts"
    assert (tmp_path / NAME).stat().st_size == 2 * 40


@pytest.mark.parametrize("change", ["size", "time", "path"])
def test_a_file_of_another_size_or_time_is_not_known(tmp_path: Path, change: str) -> None:
    path = written(tmp_path / "a.png")
    files = kept(tmp_path, path, DIGEST)
    if change == "size":
        written(path, b"contents")
    elif change == "time":
        written(path, at_ns=10**18 + 1)
    else:
        path = path.rename(tmp_path / "b.png")
    assert files.digest(file_key(path)) is None


def test_a_path_is_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert file_key(Path("a.png")) == file_key(path)


def test_what_is_no_file_of_its_own_has_no_key(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.png", b"content")
    assert file_key(zipfile.Path(archive, "a.png")) is None
    assert file_key(b"content") is None
    assert file_key(tmp_path / "nowhere.png") is None
    files = KnownFiles(tmp_path)
    files.add(None, DIGEST)
    files.save()
    assert files.digest(None) is None
    assert not (tmp_path / NAME).exists()


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    files = KnownFiles(None)
    files.add(file_key(written(tmp_path / "a.png")), DIGEST)
    files.save()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]

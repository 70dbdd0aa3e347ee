from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from optimize import versions as module
from optimize.versions import has_vnni, processor, versions


def test_versions_are_those_that_are_installed() -> None:
    found = versions()
    assert found["onnx"] == importlib.metadata.version("onnx")
    assert all(re.match(r"\d+\.\d+", version) for version in found.values())


def test_the_processor_has_a_name() -> None:
    assert processor()


def cpu(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str | None) -> None:
    """Let the machine describe its processor by `text`; None where it does not."""
    path = folder / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(module, "CPU_INFO", path)


@pytest.mark.parametrize(
    ("flags", "vnni"),
    [
        ("fpu avx2 avx512f avx512_vnni", True),
        ("fpu avx2 avx_vnni", True),
        ("fpu avx2 avx512f avx512_vbmi2", False),
        ("", False),
    ],
)
def test_vnni_is_read_off_the_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, vnni: bool) -> None:
    cpu(monkeypatch, tmp_path, f"processor\t: 0\nmodel name\t: A CPU: fast\nflags\t\t: {flags}\nvmx flags\t: x\n")
    assert has_vnni() is vnni
    assert processor() == "A CPU: fast"


def test_a_machine_that_does_not_say_is_taken_for_one_without_vnni(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpu(monkeypatch, tmp_path, None)
    assert has_vnni() is False
    assert processor()

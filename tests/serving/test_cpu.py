"""What Linux says of the CPU, read from made-up files."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import cpu as module
from serving.cpu import features, has_vnni, processor


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
    assert set(features()) == set(flags.split()) & set(module.FEATURES)
    assert processor() == "A CPU: fast"


def test_a_machine_that_does_not_say_is_taken_for_one_without_vnni(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpu(monkeypatch, tmp_path, None)
    assert has_vnni() is False
    assert features() == ()
    assert processor()

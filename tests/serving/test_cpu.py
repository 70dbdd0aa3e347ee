"""What Linux says of the CPU, read from made-up files."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import cpu as module
from serving.cpu import cores, features, has_vnni, processor


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


V2 = {"/proc/self/cgroup": "0::/pod/container\n"}
V1 = {"/proc/self/cgroup": "4:cpu,cpuacct:/pod\n7:memory:/pod\n"}


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({}, 8),
        (V2, 8),
        ({**V2, "/sys/fs/cgroup/pod/container/cpu.max": "max 100000\n"}, 8),
        ({**V2, "/sys/fs/cgroup/pod/container/cpu.max": "300000 100000\n"}, 3),
        ({**V2, "/sys/fs/cgroup/pod/cpu.max": "150000 100000\n", "/sys/fs/cgroup/cpu.max": "400000 100000\n"}, 2),
        ({**V2, "/sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({**V2, "/sys/fs/cgroup/cpu.max": "nonsense\n"}, 8),
        ({**V1, "/sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us": "-1\n"}, 8),
        (
            {
                **V1,
                "/sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us": "200000\n",
                "/sys/fs/cgroup/cpu/pod/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
    ],
)
def test_cores_are_those_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], allowed: int
) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(8)))
    assert cores(files.get) == allowed


def test_this_machine_has_a_core() -> None:
    assert cores() >= 1

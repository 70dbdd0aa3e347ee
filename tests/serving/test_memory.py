"""What memory is free, from the text of the kernel's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import memory
from serving.memory import UPLOAD_SHARE, free_bytes, read_text, upload_bytes

MIB = 1 << 20
MEMINFO = "MemTotal: 16777216 kB\nMemFree: 100 kB\nMemAvailable:   8388608 kB\n"
UNLIMITED = "Max data size             unlimited            unlimited            bytes\n"
STATUS = "VmSize:\t  600000 kB\nVmData:\t  204800 kB\n"
V2 = {
    "/proc/self/cgroup": "0::/\n",
    "/sys/fs/cgroup/memory.max": f"{1024 * MIB}\n",
    "/sys/fs/cgroup/memory.current": f"{700 * MIB}\n",
    "/sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {100 * MIB}\nactive_file 5\n",
}
V1 = {
    "/proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{512 * MIB}\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": f"{200 * MIB}\n",
    "/sys/fs/cgroup/memory/memory.stat": f"cache 1\ninactive_file 3\ntotal_inactive_file {50 * MIB}\n",
}


def free(files: dict[str, str]) -> int:
    return free_bytes({"/proc/meminfo": MEMINFO, "/proc/self/status": STATUS, **files}.get)


def test_without_limits_it_is_what_the_machine_has() -> None:
    assert free({}) == 8192 * MIB
    assert free({"/proc/self/limits": UNLIMITED, "/proc/self/cgroup": "0::/user.slice\n"}) == 8192 * MIB


@pytest.mark.parametrize(("files", "left"), [(V2, 424), (V1, 362)], ids=["v2", "v1"])
def test_a_container_has_its_limit_less_what_it_uses_and_cannot_drop(files: dict[str, str], left: int) -> None:
    assert free(files) == left * MIB


def test_no_limit_is_no_limit() -> None:
    assert free({**V2, "/sys/fs/cgroup/memory.max": "max\n"}) == 8192 * MIB
    assert free({**V1, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}) == 8192 * MIB


def test_the_tightest_group_above_the_process_counts() -> None:
    files = {
        "/proc/self/cgroup": "0::/pod/container\n",
        "/sys/fs/cgroup/pod/container/memory.max": "max\n",
        "/sys/fs/cgroup/pod/container/memory.current": f"{10 * MIB}\n",
        "/sys/fs/cgroup/pod/memory.max": f"{100 * MIB}\n",
        "/sys/fs/cgroup/pod/memory.current": f"{40 * MIB}\n",
    }
    assert free(files) == 60 * MIB


@pytest.mark.parametrize(("name", "used_kib"), [("data size    ", 204_800), ("address space", 600_000)])
def test_a_limit_of_the_process_counts_too(name: str, used_kib: int) -> None:
    limits = f"Max {name}             {1024 * MIB}           unlimited            bytes\n"
    assert free({"/proc/self/limits": limits}) == 1024 * MIB - 1024 * used_kib


def test_nothing_is_free_beyond_a_limit() -> None:
    assert free({**V2, "/sys/fs/cgroup/memory.current": f"{2048 * MIB}\n"}) == 0


def test_on_this_machine_something_is_free() -> None:
    assert 0 < free_bytes() < 1 << 50


def test_a_file_that_cannot_be_read_has_no_text(tmp_path: Path) -> None:
    assert read_text(str(tmp_path / "none")) is None


def test_uploads_leave_to_each_process_what_it_is_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 1_000_000_000)
    assert upload_bytes(2) == int(UPLOAD_SHARE * 500_000_000)
    assert upload_bytes(2, 100) == int(UPLOAD_SHARE * 400_000_000)
    assert upload_bytes(2, 1_000) == 0

"""What figures say of the machine that they were measured on."""

from __future__ import annotations

import os
import platform

from loadtest.machine import machine


def test_the_machine_is_described_without_its_name() -> None:
    found = machine()
    assert found["cores"] == os.cpu_count()
    assert found["python"] == platform.python_version()
    assert found["processor"]
    assert platform.node() not in found["processor"]

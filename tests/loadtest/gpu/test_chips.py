from __future__ import annotations

import pytest

from loadtest.gpu.chips import CHIPS, chip_named, shares


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [
        ("NVIDIA H100 80GB HBM3", 3350.0),
        ("NVIDIA H100 PCIe", 2000.0),
        ("NVIDIA H200", 4800.0),
        ("NVIDIA A100-SXM4-40GB", 1555.0),
        ("NVIDIA A100-SXM4-80GB", 2039.0),
        ("NVIDIA L4", 300.0),
        ("NVIDIA A10", 600.0),
        ("Tesla T4", 320.0),
    ],
)
def test_a_chip_is_known_by_the_name_that_the_driver_gives(name: str, bandwidth: float) -> None:
    chip = chip_named(name)
    assert chip is not None
    assert chip.memory_gb_per_s == bandwidth


@pytest.mark.parametrize("name", ["NVIDIA L40", "NVIDIA A10G", "NVIDIA GeForce RTX 4090", "AMD EPYC", ""])
def test_what_is_not_known_is_not_taken_for_another(name: str) -> None:
    assert chip_named(name) is None


def test_every_chip_names_its_source_and_is_found_by_its_own_name() -> None:
    for chip in CHIPS:
        assert chip.source.startswith("NVIDIA")
        assert chip_named(chip.name) == chip


def test_shares_are_of_the_chips_peaks() -> None:
    chip = chip_named("NVIDIA L4")
    # 121e12 operations a second and 300e9 bytes: of both a tenth in a second.
    said = shares(chip, items=10, seconds=1.0, flops=1.21e12, weight_bytes=20_000_000_000, item_bytes=1_000_000_000)
    assert said == {"fp16_share": 0.1, "bandwidth_share": 0.1}
    unknown = shares(None, items=10, seconds=1.0, flops=1.0, weight_bytes=1, item_bytes=1)
    assert unknown == {"fp16_share": None, "bandwidth_share": None}

"""What chips could do at best, as their maker states it: the measure for what a model gets out of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip's peaks: products of fp16 matrices without sparsity, and memory. `source` states both."""

    name: str
    fp16_tflops: float
    memory_gb_per_s: float
    source: str


# The longer names first, since the shorter ones begin them. Where a datasheet states a rate with sparsity alone, half.
CHIPS = (
    Chip("NVIDIA B200", 2250.0, 8000.0, "NVIDIA Blackwell datasheet"),
    Chip("NVIDIA H200", 989.5, 4800.0, "NVIDIA H200 datasheet"),
    Chip("NVIDIA H100 PCIe", 756.5, 2000.0, "NVIDIA H100 datasheet (PCIe)"),
    Chip("NVIDIA H100", 989.5, 3350.0, "NVIDIA H100 datasheet (SXM5)"),
    Chip("NVIDIA A100-SXM4-80GB", 312.0, 2039.0, "NVIDIA A100 datasheet (80 GB SXM)"),
    Chip("NVIDIA A100 80GB PCIe", 312.0, 1935.0, "NVIDIA A100 datasheet (80 GB PCIe)"),
    Chip("NVIDIA A100", 312.0, 1555.0, "NVIDIA A100 datasheet (40 GB)"),
    Chip("NVIDIA L40S", 362.0, 864.0, "NVIDIA L40S datasheet"),
    Chip("NVIDIA L4", 121.0, 300.0, "NVIDIA L4 datasheet"),
    Chip("NVIDIA A10", 125.0, 600.0, "NVIDIA A10 datasheet"),
    Chip("Tesla T4", 65.0, 320.0, "NVIDIA T4 datasheet"),
    Chip("Tesla V100", 125.0, 900.0, "NVIDIA V100 datasheet"),
)


def chip_named(name: str) -> Chip | None:
    """The chip of the name that CUDA's driver gives, such as `NVIDIA H100 80GB HBM3`; None for one that is not known.

    An A100 is no A10, nor an L40 an L4: a name ends where a letter or a digit does not follow.
    """
    for chip in CHIPS:
        rest = name.removeprefix(chip.name)
        if rest != name and not rest[:1].isalnum():
            return chip
    return None


def shares(
    chip: Chip | None, *, items: int, seconds: float, flops: float, weight_bytes: int, item_bytes: int
) -> dict[str, float | None]:
    """What a batch of `items` that took so many seconds used of a chip's peaks, 1 being all.

    `flops`: floating-point operations for an item. Of memory counts what must be moved at least: every weight once for
    the batch, and each item once. None where the chip is not known.
    """
    if chip is None:
        return {"fp16_share": None, "bandwidth_share": None}
    return {
        "fp16_share": round(items * flops / seconds / (chip.fp16_tflops * 1e12), 5),
        "bandwidth_share": round((weight_bytes + items * item_bytes) / seconds / (chip.memory_gb_per_s * 1e9), 5),
    }

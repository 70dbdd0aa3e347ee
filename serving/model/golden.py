"""Golden items: inputs and logits that an artifact carries, to be run again where it is served.

A file with the right digest may still compute something else on another machine: kernels differ between CPUs and
between versions of ONNX Runtime. So a stage runs its golden items when it starts. If their logits are not those of the
machine where the artifact was certified, the promise does not apply.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.arrays import Array, Logits
from serving.cpu import features, processor
from serving.errors import ArtifactError
from serving.model.artifact import Artifact, Machine, VariantName
from serving.model.head import differ, head_of
from serving.model.runner import Runner
from serving.model.runtimes import openvino_version

GOLDEN = "golden.npz"
TOLERANCE = {"fp32": 1e-3, "int8": 0.05, "fp16": 0.05, "bf16": 0.05}
"""By precision: how far logits may lie from the golden ones on average, as a share of their standard deviation.

INT8: what rounding makes of it on another CPU is 0.02 at most (`optimize.judge.verify`); saturation makes 0.04 to 0.10.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Prepared items, and by variant their logits float32 [items, labels], each item run by itself."""

    items: Sequence[Array]
    logits: Mapping[str, Logits]

    def save(self, folder: Path) -> None:
        """Write the file GOLDEN of an artifact folder. The same items and logits give the same bytes."""
        arrays = {f"item/{place}": item for place, item in enumerate(self.items)}
        # Sorted, since which variant comes first depends on which was faster.
        arrays |= {f"logits/{name}": logits for name, logits in sorted(self.logits.items())}
        np.savez_compressed(folder / GOLDEN, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, folder: Path) -> Golden:
        """The golden items of an artifact folder. Raises ArtifactError if the file cannot be read."""
        path = folder / GOLDEN
        try:
            with np.load(path, allow_pickle=False) as kept:
                items = [kept[f"item/{place}"] for place in range(sum(name.startswith("item/") for name in kept))]
                logits = {name.removeprefix("logits/"): kept[name] for name in kept if name.startswith("logits/")}
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ArtifactError(
                f"{path} holds no golden items that can be read ({type(error).__name__}); publish the artifact again"
            ) from None
        if not items:
            raise ArtifactError(f"{path} must hold at least one golden item, got none; publish the artifact again")
        return cls(items=items, logits=logits)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """What became of the golden items on this machine. `against`: why the promise does not apply; empty if it may.

    `gap_share`: the mean difference of a logit as a share of their standard deviation; None if nothing was compared.
    """

    against: str
    items: int = 0
    gap_share: float | None = None
    other_labels: int = 0


def this_machine(*, openvino: bool = False) -> Machine:
    """The machine that this process runs on; with `openvino` also which version of it is installed."""
    import onnxruntime  # here, see `serving.model.session`

    return Machine(
        processor=processor(),
        features=features(),
        onnxruntime=onnxruntime.__version__,
        openvino=openvino_version() if openvino else None,
    )


def check_golden(artifact: Artifact, runner: Runner) -> GoldenCheck:
    """Run the golden items of the variant that `runner` has open, and compare.

    Raises ArtifactError if the artifact's file of golden items cannot be read.
    """
    variant, made = runner.session.variant, artifact.manifest.machine
    golden = golden_of(artifact, variant)
    if golden is None:
        return no_golden(artifact, variant)
    here = this_machine(openvino=made is not None and made.openvino is not None)
    return compared(artifact, variant, golden, runner.run(golden.items), "" if made == here else f", this is {here}")


def golden_of(artifact: Artifact, variant: VariantName) -> Golden | None:
    """The golden items of an artifact, if it has those of this variant. Raises ArtifactError as `Golden.read`."""
    if GOLDEN not in artifact.manifest.files:
        return None
    golden = Golden.read(artifact.folder)
    return golden if variant in golden.logits else None


def no_golden(artifact: Artifact, variant: VariantName) -> GoldenCheck:
    """What becomes of a variant without golden items."""
    return GoldenCheck(against=f"{artifact.manifest.name} has no golden items for {variant}: publish it again")


def compared(artifact: Artifact, variant: VariantName, golden: Golden, got: Logits, elsewhere: str) -> GoldenCheck:
    """Hold the logits that a variant gives for its golden items against those of where it was certified.

    `elsewhere`: where that was not, to stand behind the name of the machine; empty if it was the same.
    """
    manifest, expected = artifact.manifest, golden.logits[variant]
    if got.shape != expected.shape:
        raise ArtifactError(
            f"{artifact.folder}: golden logits must have the shape {got.shape}, got {expected.shape}; publish the "
            "artifact again"
        )
    head = head_of(manifest)
    gap = float(np.abs(got - expected).mean() / max(float(expected.std()), 1e-12))
    others = int(differ(head.decide(got), head.decide(expected)).sum())
    tolerance = TOLERANCE[manifest.variants[variant].precision]
    # Written so that NaN fails.
    holds = gap <= tolerance and not others
    made = manifest.machine
    where = f"; certified on {made}{elsewhere}" if made is not None and elsewhere else ""
    return GoldenCheck(
        against="" if holds else _against(artifact, variant, f"{gap:.3g}", tolerance, f"{others} of {len(got)}", where),
        items=len(got),
        gap_share=gap if np.isfinite(gap) else None,
        other_labels=others,
    )


def _against(artifact: Artifact, variant: str, gap: str, tolerance: float, others: str, where: str) -> str:
    return (
        f"{artifact.manifest.name} {variant} does not compute here what was certified: golden logits differ by {gap} "
        f"of their spread, at most {tolerance} is allowed, and {others} have another label{where}; serve "
        "it on such a machine, or publish it again on this one"
    )

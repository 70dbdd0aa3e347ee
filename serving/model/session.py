"""Runs a variant in its runtime, on the right execution provider and with its own threads.

ONNX Runtime is imported where a session is opened: the process that watches over the others opens none, and would hold
8 MB of it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from serving.arrays import Array, Logits
from serving.errors import ProviderError
from serving.model.artifact import Artifact, Manifest, Provider, Runtime, VariantName
from serving.model.device import AUTO, Wanted, compute_capability, find_gpus, named, without_bfloat16
from serving.model.halves import in_halves
from serving.model.open_session import open_session
from serving.model.runtimes import OPENVINO_MISSING, Run, is_installed, open_openvino
from serving.model.shapes import Shapes
from serving.model.spread import spread
from serving.model.tensorrt import TENSORRT, engines_of, require_tensorrt, tensorrt_options

_PRECISIONS: dict[Provider, tuple[str, ...]] = {
    "CPUExecutionProvider": ("fp32", "int8"),
    # Dynamic INT8 is many times slower than fp32 on CUDA, where its operators fall back to the CPU. QDQ is fast in
    # TensorRT alone, which `optimize runtimes` measures where it is installed.
    "CUDAExecutionProvider": ("fp32", "fp16", "bf16"),
}

LANES = "lanes"

logger = logging.getLogger("sieve")


class Session:
    """An open session for one variant of an artifact, by default `served_variant`.

    `wanted` says where it runs: on a GPU, in a session for each GPU that it names, if the variant is for GPUs. `lanes`
    is how many runs go on at a time; any number of threads may call `run`. `gpu_missing`: the CPU runs, for want of a
    GPU that can be used; None for an artifact without a variant for GPUs.

    Raises ProviderError if the variant's precision is wrong for its provider, or if it needs a GPU or a runtime and
    there is none. Where nobody demanded a GPU and CUDA cannot be started, the variant for the CPU runs, with a warning.
    """

    def __init__(
        self, artifact: Artifact, variant: VariantName | None = None, *, threads: int = 1, wanted: Wanted = AUTO
    ) -> None:
        try:
            self._open(artifact, variant or served_variant(artifact, wanted), threads, wanted)
        except ProviderError as error:
            manifest = artifact.manifest
            demanded = wanted.demands_gpu or wanted.runtime == "tensorrt"
            if variant is not None or demanded or manifest.default_gpu is None:
                raise
            on_cpu = runnable(manifest, manifest.default_cpu)
            _warn_once(f"{error}; until then {on_cpu} of {manifest.name} is served on the CPU")
            self._open(artifact, on_cpu, threads, wanted)
        self.gpu_missing: bool | None = None
        if artifact.manifest.default_gpu is not None:
            self.gpu_missing = variant is None and wanted.device == "auto" and not self.gpus

    def _open(self, artifact: Artifact, variant: VariantName, threads: int, wanted: Wanted) -> None:
        path, manifest = artifact.variant_path(variant), artifact.manifest
        chosen = manifest.variants[variant]
        check_pair(chosen.precision, chosen.provider)
        gpus: tuple[int, ...] = ()
        if chosen.provider == "CUDAExecutionProvider":
            gpus = wanted.gpus()
            if not gpus:
                against = find_gpus().against or 'device = "cpu" is set'
                raise ProviderError(
                    f"variant {variant} of {manifest.name} runs on {chosen.provider}, and {against}; use "
                    f"{manifest.default_cpu}"
                )
            if chosen.precision == "bf16" and (against := without_bfloat16(gpus)):
                raise ProviderError(f"variant {variant} of {manifest.name}: {against}; use {manifest.default_cpu}")
        self.variant = variant
        self.alone = chosen.alone
        self.runtime: Runtime = chosen.runtime
        self.provider_asked: Provider = chosen.provider
        self.provider_got: str = chosen.provider
        self.gpus, self.device, self.lanes = gpus, named(gpus), 1
        if gpus:
            run: Run
            if wanted.runtime == "tensorrt":
                require_tensorrt()
                self.provider_got = TENSORRT
            run, self.lanes = _on_gpus(artifact, variant, gpus, threads, wanted)
        else:
            run, self.provider_got = open_graph(path, chosen.provider, threads, chosen.runtime)
        # What an item that runs alone gets would depend on how its windows are divided.
        self._run = run if self.alone else in_halves(run, manifest.name)

    def run(self, inputs: Mapping[str, Array]) -> Logits:
        """Arrays named as the graph's inputs -> logits float32 [batch, labels]."""
        return self._run(inputs)


def _on_gpus(
    artifact: Artifact, variant: VariantName, gpus: tuple[int, ...], threads: int, wanted: Wanted
) -> tuple[Run, int]:
    """A run on whichever GPU has a lane to spare, and how many lanes there are."""
    from serving.model import bound  # it imports ONNX Runtime

    manifest, path = artifact.manifest, artifact.variant_path(variant)
    shapes = Shapes(manifest.settings, wanted.most_rows, wanted.most_tokens)
    labels, precision = len(manifest.labels), manifest.variants[variant].precision

    def opened(gpu: int) -> bound.BoundSession:
        if wanted.runtime == "cuda":
            return bound.open_on_gpu(path, gpu, threads, wanted, shapes, labels)
        kind, engines = compute_capability(gpu), None
        if wanted.engines:
            engines = engines_of(Path(wanted.engines), artifact.digest, variant, kind)
        options = tensorrt_options(gpu, wanted.memory_mb, shapes, precision, engines)
        return bound.open_in_tensorrt(path, gpu, threads, shapes, labels, options)

    return spread([opened(gpu).run for gpu in gpus], bound.LANES), bound.LANES * len(gpus)


def model_labels(artifact: Artifact, session: Session) -> dict[str, str]:
    """What a metric says of a served model beside its tag: digest, variant, execution provider and device."""
    return {
        "digest": artifact.digest,
        "variant": session.variant,
        "provider": session.provider_got,
        "device": session.device,
    }


def described(session: Session) -> dict[str, str]:
    """What /models says of how a model runs: variant, runtime, device, the execution provider asked for and got.

    Also how many runs go on at a time, if several do.
    """
    return {
        **({LANES: str(session.lanes)} if session.lanes > 1 else {}),
        "asked": session.provider_asked,
        "device": session.device,
        "got": session.provider_got,
        "runtime": session.runtime,
        "variant": session.variant,
    }


def served_variant(artifact: Artifact, wanted: Wanted = AUTO) -> VariantName:
    """The variant to serve on this machine: the default for a GPU if there are both, else the one for the CPU.

    Where the runtime of that one is missing, another one; see `runnable`. Raises ProviderError if a GPU is demanded
    and cannot be used, or has no variant. Where nobody demands it and the variant has no GPU, a warning says why.
    """
    manifest, gpus = artifact.manifest, wanted.gpus()
    on_gpu, against = _for_gpus(manifest, gpus) if gpus else (None, find_gpus().against)
    if on_gpu is not None:
        return on_gpu
    if wanted.demands_gpu:
        if against:
            raise ProviderError(
                f'device = "{wanted.device}" needs a variant that runs there: {manifest.name} has '
                f'{manifest.default_gpu}, and {against}; publish it with the step fuse and precision = "fp16" too, or '
                "leave the setting device out"
            )
        raise ProviderError(
            f'device = "{wanted.device}" needs a variant for a GPU, and {manifest.name} has none; publish it with the '
            'step fuse and precision = "fp16" on a machine with a GPU, or leave the setting device out'
        )
    on_cpu = runnable(manifest, manifest.default_cpu)
    if manifest.default_gpu and wanted.device == "auto":
        _warn_once(
            f"{manifest.name} has {manifest.default_gpu} for a GPU, and {against}; {on_cpu} is served on "
            'the CPU; say device = "cpu" if that is wanted'
        )
    return on_cpu


def _for_gpus(manifest: Manifest, gpus: tuple[int, ...]) -> tuple[VariantName | None, str]:
    """The variant for these GPUs, if there is one, and what is against the default one: bfloat16 where they lack it."""
    default = manifest.default_gpu
    if default is None or manifest.variants[default].precision != "bf16":
        return default, ""
    against = without_bfloat16(gpus)
    others = (
        name
        for name, variant in manifest.variants.items()
        if variant.provider == "CUDAExecutionProvider" and variant.precision != "bf16"
    )
    return (next(others, None), against) if against else (default, "")


def require_device(artifact: Artifact, wanted: Wanted) -> None:
    """Raise ProviderError if a GPU, or TensorRT on it, is demanded for an artifact and cannot be had."""
    if wanted.demands_gpu:
        served_variant(artifact, wanted)
        if wanted.runtime == "tensorrt":
            require_tensorrt()


def runnable(manifest: Manifest, variant: VariantName) -> VariantName:
    """`variant`, or another one for the CPU, with a warning, where the runtime of `variant` is not installed.

    INT8 comes first: it is published only where it was faster than fp32. Raises ProviderError if there is no other.
    """
    wanted = manifest.variants.get(variant)
    if wanted is None or is_installed(wanted.runtime):  # a variant that is not there is said where it is opened
        return variant
    others = [
        (chosen.precision != "int8", name)
        for name, chosen in manifest.variants.items()
        if chosen.provider == "CPUExecutionProvider" and is_installed(chosen.runtime)
    ]
    missing = f"variant {variant} of {manifest.name} runs in OpenVINO, and {OPENVINO_MISSING}"
    if not others:
        raise ProviderError(missing)
    _, other = min(others)
    _warn_once(f"{missing}; until then {other} is served, for which the promise was not made")
    return other


@functools.cache
def _warn_once(sentence: str) -> None:
    logger.warning(sentence)


def open_graph(path: Path, provider: Provider, threads: int, runtime: Runtime) -> tuple[Run, str]:
    """A function that runs a graph in a runtime, and the execution provider that was got.

    Raises ProviderError if the runtime is not installed, or cannot read the graph.
    """
    if runtime == "openvino":
        return open_openvino(path, threads), provider
    session = open_session(path, provider, threads)

    def run(inputs: Mapping[str, Array]) -> Logits:
        return np.asarray(session.run(["logits"], dict(inputs))[0], dtype=np.float32)

    return run, session.get_providers()[0]


def check_pair(precision: str, provider: Provider) -> None:
    """Raises ProviderError if `precision` is wrong for `provider`."""
    allowed = _PRECISIONS[provider]
    if precision not in allowed:
        raise ProviderError(
            f"{precision} does not go with {provider}, which takes {' or '.join(allowed)}; choose another variant"
        )

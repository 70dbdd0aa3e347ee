"""Runs a variant in its runtime, on the right execution provider and with its own threads.

ONNX Runtime is imported where a session is opened: the process that watches over the others opens none, and would hold
8 MB of it.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving.arrays import Array, Logits
from serving.errors import ProviderError
from serving.model.artifact import Artifact, Manifest, Provider, Runtime, VariantName
from serving.model.runtimes import OPENVINO_MISSING, Run, is_installed, open_openvino

_PRECISIONS: dict[Provider, tuple[str, ...]] = {
    "CPUExecutionProvider": ("fp32", "int8"),
    # Dynamic INT8 is many times slower than fp32 on CUDA, where its operators fall back to the CPU.
    "CUDAExecutionProvider": ("fp32", "fp16"),
}
_ERRORS_ONLY = 3

logger = logging.getLogger("sieve")


class Session:
    """An open session for one variant of an artifact, by default `served_variant`.

    Raises ProviderError if the variant's precision is wrong for its provider, or if it needs a GPU or a runtime and
    there is none.
    """

    def __init__(self, artifact: Artifact, variant: VariantName | None = None, *, threads: int = 1) -> None:
        manifest = artifact.manifest
        if variant is None:
            variant = served_variant(artifact)
        path = artifact.variant_path(variant)
        chosen = manifest.variants[variant]
        check_pair(chosen.precision, chosen.provider)
        if chosen.provider == "CUDAExecutionProvider" and not gpu_present():
            raise ProviderError(
                f"variant {variant} of {manifest.name} runs on {chosen.provider} and there is no GPU on this machine; "
                f"use {manifest.default_cpu}"
            )
        self.variant = variant
        self.alone = chosen.alone
        self.runtime: Runtime = chosen.runtime
        self.provider_asked: Provider = chosen.provider
        self.provider_got: str
        self._run, self.provider_got = open_graph(path, chosen.provider, threads, chosen.runtime)

    def run(self, inputs: Mapping[str, Array]) -> Logits:
        """Arrays named as the graph's inputs -> logits float32 [batch, labels]."""
        return self._run(inputs)


def model_labels(artifact: Artifact, session: Session) -> dict[str, str]:
    """What a metric says of a served model beside its tag: digest, variant and execution provider."""
    return {"digest": artifact.digest, "variant": session.variant, "provider": session.provider_got}


def described(session: Session) -> dict[str, str]:
    """What /models says of how a model runs: its variant, the runtime, the execution provider asked for and got."""
    return {
        "asked": session.provider_asked,
        "got": session.provider_got,
        "runtime": session.runtime,
        "variant": session.variant,
    }


def served_variant(artifact: Artifact) -> VariantName:
    """The variant to serve on this machine: the default for a GPU if there are both, else the one for the CPU.

    Where the runtime of that one is missing, another one; see `runnable`.
    """
    manifest = artifact.manifest
    return manifest.default_gpu if manifest.default_gpu and gpu_present() else runnable(manifest, manifest.default_cpu)


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


def open_session(path: Path, provider: Provider, threads: int, *, trace_prefix: Path | None = None) -> Any:
    """An InferenceSession with its own `threads`, which do not spin while they wait, and without warnings in its log.

    With `trace_prefix`, ONNX Runtime's profiler writes a trace to a file whose name starts with it, until
    `end_profiling` is called.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if trace_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(trace_prefix)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Spinning threads would take a core from another session or the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]
    if provider == "CUDAExecutionProvider":
        # In the image CUDA's libraries are Python packages, where the dynamic loader does not look for them.
        onnxruntime.preload_dlls()
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def check_pair(precision: str, provider: Provider) -> None:
    """Raises ProviderError if `precision` is wrong for `provider`."""
    allowed = _PRECISIONS[provider]
    if precision not in allowed:
        raise ProviderError(
            f"{precision} does not go with {provider}, which takes {' or '.join(allowed)}; choose another variant"
        )


@functools.cache
def gpu_present() -> bool:
    """Whether this process may use an NVIDIA GPU.

    CUDA's driver is asked, because it knows what CUDA_VISIBLE_DEVICES leaves of the machine's GPUs: none if it is empty
    or -1. ONNX Runtime cannot say: its GPU build lists CUDA as available everywhere, and prints an error when it fails.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:  # no driver
        return False
    count = ctypes.c_int()
    return bool(driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value)

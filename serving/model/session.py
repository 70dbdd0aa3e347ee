"""One ONNX Runtime session: the execution provider asked for and got, threads, warm-up, run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from serving.arrays import Array, Logits
from serving.errors import ProviderError
from serving.model.artifact import Artifact, Provider, VariantName

_PRECISIONS: dict[Provider, tuple[str, ...]] = {
    "CPUExecutionProvider": ("fp32", "int8"),
    # Dynamic INT8 is many times slower than fp32 on CUDA, where its operators fall back to the CPU.
    "CUDAExecutionProvider": ("fp32", "fp16"),
}
_ERRORS_ONLY = 3


class Session:
    """A variant of an artifact, ready to run.

    Without `variant`: the artifact's default for a GPU when it has one and a GPU is there, else its default for the
    CPU. Raises ProviderError when the variant's precision is wrong for its provider.
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
        self.provider_asked: Provider = chosen.provider
        self._session = open_session(path, chosen.provider, threads)
        self.provider_got: str = self._session.get_providers()[0]

    def run(self, inputs: Mapping[str, Array]) -> Logits:
        """Arrays named as the graph's inputs -> logits float32 [batch, labels]."""
        return np.asarray(self._session.run(["logits"], dict(inputs))[0], dtype=np.float32)

    def warm_up(self, *batches: Mapping[str, Array]) -> None:
        """Run each batch twice: the first run of a shape allocates, the second finds the memory there."""
        for batch in batches:
            for _ in range(2):
                self.run(batch)


def served_variant(artifact: Artifact) -> VariantName:
    """The variant that an expert is served with on this machine: the default for a GPU where there is one of both."""
    manifest = artifact.manifest
    return manifest.default_gpu if manifest.default_gpu and gpu_present() else manifest.default_cpu


def open_session(
    path: Path, provider: Provider, threads: int, *, trace_prefix: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session with `threads` of its own that do not spin while they wait, and quiet logs.

    With `trace_prefix`, ONNX Runtime's profiler writes a trace whose file name begins so, until `end_profiling`.
    """
    options = onnxruntime.SessionOptions()
    if trace_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(trace_prefix)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Spinning threads take the core that another session, or the event loop, could use.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]
    if provider == "CUDAExecutionProvider":
        # CUDA's libraries may lie among Python's packages, as in the image, where the loader does not look.
        onnxruntime.preload_dlls()
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def check_pair(precision: str, provider: Provider) -> None:
    """ProviderError when `precision` is wrong for `provider`."""
    allowed = _PRECISIONS[provider]
    if precision not in allowed:
        raise ProviderError(
            f"{precision} does not go with {provider}, which takes {' or '.join(allowed)}; choose another variant"
        )


def gpu_present() -> bool:
    """Whether an NVIDIA GPU is on this machine.

    ONNX Runtime's GPU build lists CUDA as available everywhere and prints a red error when it then fails.
    """
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()

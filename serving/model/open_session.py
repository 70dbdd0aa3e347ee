"""Opens a graph in ONNX Runtime, with the threads and the log that a service wants.

ONNX Runtime is imported where a session is opened: the process that watches over the others opens none, and would hold
8 MB of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from serving.model.artifact import Provider

_ERRORS_ONLY = 3


def open_session(
    path: Path,
    provider: Provider | Literal["TensorrtExecutionProvider"],
    threads: int,
    *,
    trace_prefix: Path | None = None,
    provider_options: Mapping[str, str] | None = None,
) -> Any:
    """An InferenceSession with its own `threads`, which do not spin while they wait, and without warnings in its log.

    With `trace_prefix`, ONNX Runtime's profiler writes a trace to a file whose name starts with it, until
    `end_profiling` is called. `provider_options` are for `provider`.
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
    providers: list[str | tuple[str, dict[str, str]]] = [(provider, dict(provider_options or {}))]
    if provider == "TensorrtExecutionProvider":  # what it cannot compile
        providers.append(("CUDAExecutionProvider", {"device_id": (provider_options or {}).get("device_id", "0")}))
    if provider != "CPUExecutionProvider":
        providers.append("CPUExecutionProvider")
    if provider != "CPUExecutionProvider":
        # In the image CUDA's libraries are Python packages, where the dynamic loader does not look for them.
        onnxruntime.preload_dlls()
    return onnxruntime.InferenceSession(str(path), options, providers=providers)

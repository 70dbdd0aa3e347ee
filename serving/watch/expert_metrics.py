"""Declares the metrics of an expert's process, as `serving.watch.metrics` does those of the API's."""

from __future__ import annotations

from pathlib import Path

from serving.model.shapes import sizes_up_to
from serving.settings import MAX_BATCH_SIZE
from serving.watch.buckets import PART_BUCKETS_S
from serving.watch.exposition import exposition
from serving.watch.lag import LoopLag
from serving.watch.model_info import ModelInfo
from serving.watch.work import Work


class ExpertMetrics:
    """The metrics of an expert's process. `folder` is the one that the processes share, None for one process alone.

    `holds`: whether the golden items of its model hold. `info` holds values for INFO_LABELS but role.
    `cascade` is the name of its cascade, where there are several for this kind of input. Calls have up to `most` items.
    """

    def __init__(
        self,
        modality: str,
        folder: Path | None,
        holds: bool,
        *,
        cascade: str = "",
        most: int = MAX_BATCH_SIZE,
        **info: str,
    ) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._folder, self._work = folder, Work()
        own = {"modality": modality, "cascade": cascade} if cascade else {"modality": modality}
        names = tuple(own)
        sizes = Histogram(
            "sieve_expert_batch_size",
            "Items of one run of an expert",
            names,
            buckets=sizes_up_to(most),
        )
        seconds = Histogram("sieve_expert_run_seconds", "One run of an expert's session", names, buckets=PART_BUCKETS_S)
        work = Counter("sieve_expert_work_seconds", "What the items of the runs would take in the best batches", names)
        self._size, self._seconds, self._worth = sizes.labels(**own), seconds.labels(**own), work.labels(**own)
        missing = "1 if an expert with a variant for GPUs runs on the CPU, since it can use no GPU"
        self._gpu_missing = Gauge("sieve_gpu_missing", missing, names, multiprocess_mode="livemax")
        self.lag = LoopLag(f"{modality}-expert:{cascade}" if cascade else f"{modality}-expert")
        self._of, self._models = tuple(own.values()), ModelInfo(names)
        self.serves(holds=holds, gpu_missing=None, **info)

    def serves(self, *, holds: bool, gpu_missing: bool | None, **info: str) -> None:
        """An artifact is served, beside or in the place of the first. `gpu_missing` is that of its session."""
        if gpu_missing is not None:
            self._gpu_missing.labels(*self._of).set(int(gpu_missing))
        self._models.serves(self._of, "expert", holds=holds, **info)

    def gone(self, **info: str) -> None:
        """An artifact is served no more."""
        self._models.gone(self._of, "expert", **info)

    def ran(self, size: int, length: int, took_s: float) -> None:
        """Count a run of `size` items, the longest of this `length`."""
        self._size.observe(size)
        self._seconds.observe(took_s)
        self._worth.inc(self._work.of(size, length, took_s))

    def flush(self) -> None:
        """Hand what was sampled to prometheus_client."""
        self.lag.flush()

    def exposition(self) -> tuple[bytes, str]:
        """What was counted, in Prometheus's text format, and its content type. Any thread may call it."""
        return exposition(self._folder)

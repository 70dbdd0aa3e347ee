"""The metrics that say which models are served, in the processes of the API and of experts."""

from __future__ import annotations

from collections.abc import Sequence

INFO_LABELS = ("role", "model", "digest", "variant", "provider", "device")
OF_ONE, OF_SEVERAL = ("modality",), ("modality", "cascade")
"""What tells cascades apart: the kind of input, and where there are several for one kind their names."""


class ModelInfo:
    """Says which models are served. `own` are the labels of their cascades, OF_ONE or OF_SEVERAL."""

    def __init__(self, own: tuple[str, ...]) -> None:
        from prometheus_client import Gauge

        self._own = own
        self._info = Gauge(
            "sieve_model_info",
            "1 for a model that is served, 0 for one that was",
            (*own, *INFO_LABELS),
            multiprocess_mode="livemax",
        )
        self._golden = Gauge(
            "sieve_golden_holds",
            "1 if a model computes its golden items as it did where it was certified",
            (*own, "role"),
            multiprocess_mode="livemin",
        )

    def serves(self, of: Sequence[str], role: str, *, holds: bool, **info: str) -> None:
        """A model is served, of the cascade with these values of its labels; `info` are those of INFO_LABELS but role.

        `holds`: whether its golden items do.
        """
        named = dict(zip(self._own, of, strict=True))
        self._info.labels(**named, role=role, **info).set(1)
        self._golden.labels(**named, role=role).set(1 if holds else 0)

    def gone(self, of: Sequence[str], role: str, **info: str) -> None:
        """A model is served no more."""
        self._info.labels(**dict(zip(self._own, of, strict=True)), role=role, **info).set(0)

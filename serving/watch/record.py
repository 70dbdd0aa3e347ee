"""What is known of one request: where its time went, and what became of it. Metrics, traces and logs are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from serving.timings import Timings

if TYPE_CHECKING:  # a cascade is timed, and knows nothing of request records
    from serving.cascade.cascade import StageAnswer
    from serving.cascade.modality import Modality
    from serving.load.budget import Budget
    from serving.watch.tracing import Trace

RequestOutcome = Literal["ok", "degraded", "shed", "invalid", "failed", "gone"]
NONE = "none"
"""Label of a request that no stage answered."""
UNAVAILABLE, FAILED = 503, 500


class RequestRecord(Timings):
    """One request to `endpoint`, an address of the API; filled in on its way, read at its end."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.request_id = ""
        self.trace: Trace | None = None
        self.modality: Modality | None = None
        self.budget: Budget | None = None
        self.outcomes: Sequence[StageAnswer] = ()
        self.hung_up = False

    def answered(self, modality: Modality, outcomes: Sequence[StageAnswer]) -> None:
        """The cascade of `modality` said this of the request's items."""
        self.modality, self.outcomes = modality, outcomes

    @property
    def degraded(self) -> str | None:
        """Why a screen's answer stands for an item that deferred; the first of the reasons."""
        for outcome in self.outcomes:
            if outcome.degraded is not None:
                return outcome.degraded
        return None

    @property
    def stage(self) -> str:
        """The last stage that answered an item."""
        for outcome in self.outcomes:
            if outcome.stage == "expert":
                return "expert"
        return "screen" if self.outcomes else NONE

    @property
    def model(self) -> str:
        """Tag of the model that is that stage."""
        if self.modality is None or not self.outcomes:
            return NONE
        return self.modality.expert_tag if self.stage == "expert" else self.modality.screen_tag

    def outcome(self, status: int) -> RequestOutcome:
        """What became of it, in one word; `status` is the answer's."""
        if self.hung_up or (status < UNAVAILABLE and self.degraded == "gone"):
            return "gone"
        if status == UNAVAILABLE:
            return "shed"
        if status >= FAILED:
            return "failed"
        if status >= 400:
            return "invalid"
        return "degraded" if self.degraded is not None else "ok"

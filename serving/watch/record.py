"""What is known of one request. Metrics, traces and the log of requests are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from serving.cascade.cascade import StageAnswer
from serving.cascade.modality import Modality
from serving.errors import ShedReason
from serving.load.admission import Priority
from serving.load.budget import Budget
from serving.load.heavy import HeavyWork
from serving.load.turns import Turn
from serving.timings import Timings
from serving.trace import Trace

RequestOutcome = Literal["ok", "degraded", "shed", "invalid", "failed", "gone"]
NONE = "none"
"""Label of a request that no stage answered."""
UNAVAILABLE, FAILED = 503, 500


class RequestRecord:
    """One request to `endpoint`, an address of the API.

    `arrived_s`: when its bytes came, on the monotonic clock; None means now. Otherwise the part `wait` is what has
    passed since. The endpoint calls `was_read` and `answered`, the guard around it `client_hung_up`; `priority` and
    `refusal` (why the request was refused because of load) are the guard's, `turn` belongs to the turns of the event
    loop, `heavy_work` to the places for heavy work. `truncated` counts the items of which a part was not read. `places`
    are those of the answers in the request's list, where others got an error; None where they are 0, 1, 2, ….
    """

    priority: Priority = "normal"
    turn: Turn | None = None
    heavy_work: HeavyWork | None = None
    refusal: ShedReason | None = None
    sending_s: float = 0.0
    truncated: int = 0
    places: Sequence[int] | None = None

    def __init__(
        self, endpoint: str, request_id: str, trace: Trace | None = None, arrived_s: float | None = None
    ) -> None:
        self.endpoint, self.request_id, self.trace = endpoint, request_id, trace
        self.timings = Timings(arrived_s)
        if arrived_s is not None:
            self.timings.end("wait")
        self.budget: Budget | None = None
        self.modality: Modality | None = None
        self.answers: Sequence[StageAnswer] = ()
        self.hung_up = False

    @property
    def own_start_s(self) -> float:
        """When the request arrived, and later by the time that its client took to send the body.

        What has passed since is the service's own.
        """
        return self.timings.start_s + self.sending_s

    def was_read(self, budget_ms: float, sending_s: float = 0.0) -> None:
        """The body was read and grants this budget, which runs from the request's arrival. Ends the part `read`.

        `sending_s`: how long the body was waited for.
        """
        self.budget = Budget(self.timings.start_s, budget_ms)
        self.sending_s = sending_s
        self.timings.end("read")

    def answered(self, modality: Modality, answers: Sequence[StageAnswer], truncated: int = 0) -> None:
        """The cascade of `modality` gave these answers, one an item; of so many items a part was not read."""
        self.modality, self.answers, self.truncated = modality, answers, truncated

    def client_hung_up(self) -> None:
        """The client closed its connection before it had sent the whole request."""
        self.hung_up = True

    @property
    def degraded(self) -> str | None:
        """Why a screen's answer stands for an item that deferred; the first reason if there are several."""
        for answer in self.answers:
            if answer.degraded is not None:
                return answer.degraded
        return None

    @property
    def stage(self) -> str:
        """`expert` if it answered an item, else `screen`; `none` when no item was answered."""
        for answer in self.answers:
            if answer.stage == "expert":
                return "expert"
        return "screen" if self.answers else NONE

    @property
    def model(self) -> str:
        """Tag of that stage's model."""
        if self.modality is None or not self.answers:
            return NONE
        return self.modality.expert_tag if self.stage == "expert" else self.modality.screen_tag

    def outcome(self, status: int) -> RequestOutcome:
        """What became of the request, in one word; `status` is the HTTP status of its response."""
        if self.hung_up or (status < UNAVAILABLE and self.degraded == "gone"):
            return "gone"
        if status == UNAVAILABLE:
            return "shed"
        if status >= FAILED:
            return "failed"
        if status >= 400:
            return "invalid"
        if self.degraded is None:
            return "ok"
        return "failed" if any(item.answer is None for item in self.answers) else "degraded"

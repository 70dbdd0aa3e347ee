"""What became of one request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import orjson

Kind = Literal["ok", "degraded", "shed", "timed out", "failed"]
KINDS: tuple[Kind, ...] = ("ok", "degraded", "shed", "timed out", "failed")
ANSWERED: tuple[Kind, ...] = ("ok", "degraded")
PART = re.compile(r"([\w-]+)(?:;[^,;]*)*?;\s*dur=(\d+(?:\.\d+)?)")
SHED = (429, 503)


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of one request, whether an answer came or not.

    `due_s`: when the request was due, in seconds from the start. `lag_ms`: how much later than that the generator sent
    it. `latency_ms`: from the due time to the end. `status`: of HTTP, 0 where no response came. `timing`: the
    response's Server-Timing header. `right`: whether the label was the true one, None where the true one is unknown.
    `received_bytes`: of the response's body. `reading_us`: microseconds that the client took to read the answer in it.
    """

    due_s: float
    lag_ms: float
    latency_ms: float
    status: int
    kind: Kind
    shape: str
    stage: str | None = None
    right: bool | None = None
    timing: str = ""
    received_bytes: int = 0
    reading_us: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether an answer came, degraded or not."""
        return self.kind in ANSWERED

    @property
    def deferred(self) -> bool:
        """Whether the screen deferred: the expert answered, or should have."""
        return self.stage == "expert" or self.kind == "degraded"

    @property
    def wire_ms(self) -> float:
        """From the moment the request left to its end."""
        return self.latency_ms - self.lag_ms

    @property
    def server_ms(self) -> float | None:
        """The total that the server reports; None where it reports none."""
        return self.parts().get("total")

    def parts(self) -> dict[str, float]:
        """Milliseconds by part as the server reports them (W3C Server-Timing), `total` among them."""
        return {name: float(value) for name, value in PART.findall(self.timing)}


def triage(status: int, degraded: object) -> Kind:
    """The kind of a response; `degraded` is the answer's field of that name."""
    if 200 <= status < 300:
        return "degraded" if degraded else "ok"
    return "shed" if status in SHED else "failed"


def read_answer(data: bytes) -> dict[str, object] | None:
    """A body as a JSON object, or as a list of one, as servers of batches write it; None where it is neither."""
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    return answer if isinstance(answer, dict) else None

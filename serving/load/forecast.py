"""When a call to the expert would end: learned from the calls before it and from those that run.

Pure: the caller passes the time, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from serving.load.curve import Curve, Expected, Stretched
from serving.settings import MAX_BATCH_TOKENS

# Each refusal of a lone escalation by an idle expert makes the forecast a little smaller, and so does the time between
# two of them, until a call is tried. So an expert that was slow is found to be fast again, however few ask for it.
FORGIVENESS, FORGIVENESS_OF_A_SECOND = 0.98, 0.5
# Where a call that was tried took so many times less than expected, what was learned while the expert was slow is over.
QUICKER = 2.0
# The next call is sent this much sooner than its way to the expert asks for, since timers count whole milliseconds.
TIMER_S = 1e-3


@dataclass(frozen=True, slots=True)
class Waiting:
    """An escalation in the queue: its number of items, the length of the longest, and its deadline."""

    size: int
    length: int
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Times:
    """What calls with items of like length take: on their way and in the session. `share` of it after refusals."""

    hops: Expected
    runs: Expected
    share: float

    def end_s(self, now_s: float, free_s: float, size: int) -> float:
        """When most calls would be back that are sent at `now_s` to an expert that is free at `free_s`."""
        ready_s = now_s + self.share * self.hops.cautious_ms(size) / 1e3
        return max(ready_s, free_s) + self.share * self.runs.cautious_ms(size) / 1e3


class Forecast:
    """Expected times of calls to one expert that takes `max_batch_size` items a call, and `max_batch_tokens` tokens.

    Tokens count with their padding: each item as long as the longest, rounded up as below.

    The expert runs `calls_in_flight` calls side by side, one for each of its machines or lanes; `side_by_side` may be
    changed when that turns out to be another number. A call that comes while these run waits for the first to end.
    `window_s`: how long a new escalation waits for others before it is sent.

    A call takes the way to the expert and back (`hop`) and the run of the model. Each is a curve over the number of
    items, one for each length (tokens of a text), rounded up to a power of two.
    """

    def __init__(
        self,
        *,
        max_batch_size: int,
        calls_in_flight: int,
        window_s: float = 0.0,
        max_batch_tokens: int = MAX_BATCH_TOKENS,
    ) -> None:
        self.max_batch_size, self._max_batch_tokens = max_batch_size, max_batch_tokens
        self.side_by_side, self._window_s = calls_in_flight, window_s
        self._runs: dict[int, Curve] = {}
        self._hops: dict[int, Curve] = {}
        self._forgiven: dict[int, tuple[float, float]] = {}
        """The share of the forecast that is left, and when the last lone escalation was refused."""

    def most_items(self, length: int) -> int:
        """How many items of this length a call may have; a longer one goes alone."""
        return max(1, min(self.max_batch_size, self._max_batch_tokens >> step(length)))

    def observe(self, size: int, length: int, took_ms: float, expert_ms: float, *, hop_known: bool = True) -> None:
        """Learn from a call that took `took_ms`, of which `expert_ms` in the expert's session.

        The rest is its hop, unless it may hold a wait for other calls (`hop_known`).
        """
        tried = self._forgiven.pop(step(length), None) is not None
        self._learn(self._runs, size, length, expert_ms, tried=tried)
        if hop_known:
            self._learn(self._hops, size, length, max(0.0, took_ms - expert_ms), tried=tried)

    def gave_up(self, size: int, length: int, waited_ms: float) -> None:
        """Learn from a lone call that was given up after `waited_ms`: its run takes at least as long, less the hop."""
        self._forgiven.pop(step(length), None)
        at_least_ms = waited_ms - self.hop_ms(size, length)
        if at_least_ms > self.run_ms(size, length):
            self._learn(self._runs, size, length, at_least_ms, given_up=True)

    def refused(self, length: int, now_s: float) -> None:
        """A lone escalation was refused, though the expert was idle: expect a little less of calls of this length."""
        share, before_s = self._forgiven.get(step(length), (1.0, now_s))
        share *= FORGIVENESS * FORGIVENESS_OF_A_SECOND ** (now_s - before_s)
        self._forgiven[step(length)] = share, now_s

    def run_ms(self, size: int, length: int) -> float:
        """Expected milliseconds in the expert's session; 0 while nothing of this length or a shorter one is known."""
        return self._of_tokens(length).mean_ms(size)

    def hop_ms(self, size: int, length: int) -> float:
        """Expected milliseconds of the way to the expert and back."""
        return self._curve(self._hops, length).mean_ms(size)

    def times(self, length: int) -> Times:
        """In which time most calls with items of this length end."""
        share, _ = self._forgiven.get(step(length), (1.0, 0.0))
        return Times(self._curve(self._hops, length), self._of_tokens(length), share)

    def least_s(self, length: int) -> float:
        """Seconds of the expert for each item of this length, in calls of the size that is the best for that."""
        return self._of_tokens(length).least_ms() / 1e3

    def free_s(self, now_s: float, ends_s: Collection[float]) -> float:
        """When the expert can start another call. `ends_s`: when each call under way is expected to end."""
        if len(ends_s) < self.side_by_side:
            return now_s
        # A call that is overdue is expected to take as much longer as it is late.
        ends = sorted(end_s if end_s > now_s else 2 * now_s - end_s for end_s in ends_s)
        return ends[len(ends) - self.side_by_side]

    def may_go_s(self, now_s: float, size: int, length: int, ends_s: Collection[float]) -> float:
        """When to send a call with `size` items, so that it arrives just when the expert is free; infinite: not yet.

        At most one call a machine is sent early. A full call that waits in the expert would only grow older there.
        """
        if len(ends_s) >= 2 * self.side_by_side:
            return float("inf")
        early_s = TIMER_S + self.hop_ms(min(size, self.most_items(length)), length) / 1e3
        return self.free_s(now_s, ends_s) - (early_s if len(ends_s) >= self.side_by_side else 0.0)

    def end_s(self, now_s: float, size: int, length: int, free_s: float) -> float:
        """When a call that is sent at `now_s` to an expert that is free at `free_s` is expected to be back."""
        hop_s = self.hop_ms(size, length) / 1e3
        return max(now_s + hop_s, free_s) + self.run_ms(size, length) / 1e3

    def earliest_end_s(self, now_s: float, size: int, length: int, ends_s: Collection[float]) -> float:
        """When a new escalation would have its answer if its call was the next one, in most cases."""
        return self.times(length).end_s(now_s + self._window_s, self.free_s(now_s, ends_s), size)

    def _of_tokens(self, length: int) -> Expected:
        """What runs of a length take; those of the longest shorter one with as many tokens, while none has run."""
        wanted = step(length)
        if wanted in self._runs:
            return self._runs[wanted]
        shorter = max((known for known in self._runs if known < wanted), default=None)
        if shorter is None:
            return Curve(self.max_batch_size)
        return Stretched(self._runs[shorter], 2 ** (wanted - shorter))

    def _curve(self, curves: dict[int, Curve], length: int) -> Curve:
        """The curve of a length; that of the longest shorter one while it has no calls of its own."""
        wanted = step(length)
        found = curves.get(wanted)
        if found is not None:
            return found
        shorter = max((known for known in curves if known < wanted), default=None)
        return Curve(self.max_batch_size) if shorter is None else curves[shorter]

    def _learn(
        self,
        curves: dict[int, Curve],
        size: int,
        length: int,
        took_ms: float,
        *,
        given_up: bool = False,
        tried: bool = False,
    ) -> None:
        own = curves.setdefault(step(length), Curve(max(size, self.most_items(length))))
        expected_ms = own.mean_ms(size)
        if tried and expected_ms > QUICKER * took_ms:
            for known, curve in curves.items():
                if known >= step(length):
                    curve.scale(took_ms / expected_ms)
        own.observe(size, took_ms, given_up=given_up)
        mean_ms = own.mean_ms(size)
        # Shorter items cannot be slower and longer ones cannot be faster; the newest call is right.
        for known, curve in curves.items():
            if known < step(length):
                curve.clamp(size, up_to=size, most_ms=mean_ms)
            elif known > step(length):
                curve.clamp(size, up_to=self.max_batch_size, least_ms=mean_ms)


def step(length: int) -> int:
    """A length rounded up to a power of two, as its exponent. Padding to the longest of a step costs little."""
    return (length - 1).bit_length()

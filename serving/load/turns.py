"""The order in which requests get the one thread of an event loop, and which of them could not be on time.

A request may wait while the work ahead of it leaves enough of its budget. What counts is milliseconds of work, learned
from the requests before it, and the time that the request has already waited unseen.

A queue that never drains delays everybody and helps nobody (CoDel: Nichols and Jacobson, "Controlling Queue Delay",
2012). So once a queue has stood for `STANDING_S`, the work ahead may take a smaller share of the budget; a burst may
take the larger one. Facebook's servers have these two limits ("Fail at Scale", Maurer 2015). While many requests are
refused, the queue never runs empty, however short it is; then the work ahead may take a tenth of the budget, and the
rest is left for the expert.

Requests go in the order of their deadlines. With equal budgets this is the order of arrival, and a client that can wait
does not delay one that cannot. Nobody starves, because every deadline becomes the earliest one in the end.

After each look at who has arrived, requests get the thread for a slice of `SLICE_MS`. Looking after each one would cost
short ones a tenth of their time.

Pure: the caller passes the time, in seconds of one monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

# The share of its budget that a request may wait: in a burst, behind a queue that has stood for STANDING_S, and while
# more than the share OFTEN of the requests is refused.
BURST_SHARE, STANDING_SHARE, OVERLOAD_SHARE = 0.7, 0.25, 0.1
STANDING_S, OFTEN = 0.2, 0.2
# A thread that had nothing to do for so long is not overloaded: what comes now is a burst.
IDLE_S = 0.01
# A request must be expected to end within this share of its budget; the rest is for what cannot be foreseen.
END_SHARE = 0.9
# So much work at most is done between two looks at who has arrived, unless one request alone takes longer.
SLICE_MS = 2.0
# However short the limit is, the work of so many requests like the new one may be ahead, so the thread never idles.
ALWAYS_AHEAD = 2
# Weight of a new observation. One far above the mean counts as OUTLIER times the mean: the process did not run.
WEIGHT, OUTLIER = 0.1, 10.0


@dataclass(slots=True, eq=False)
class Turn:
    """The claim of one request on the thread. `units`: its work, relative to others of its `kind`."""

    kind: str
    units: float
    start_s: float
    budget_ms: float
    work_ms: float = 0.0
    """What it is expected to take."""
    alone: bool = False
    """Nobody was ahead of it, so it gets the thread however late it is."""

    @property
    def deadline_s(self) -> float:
        """When its answer must be out."""
        return self.start_s + self.budget_ms / 1e3


class Refusals:
    """How many of the requests that came lately were refused because of the work ahead, and how many were let in."""

    def __init__(self) -> None:
        self.refused = self.let_in = 0
        self._refused_before = self._let_in_before = 0
        self._since_s = 0.0

    def often(self, now_s: float) -> bool:
        """Whether more than `OFTEN` of those of the last one or two STANDING_S were refused."""
        period_s = now_s - self._since_s
        if period_s > STANDING_S:
            refused, let_in = self.refused, self.let_in
            self.forget()
            if period_s < 2 * STANDING_S:
                self._refused_before, self._let_in_before = refused, let_in
            self._since_s = now_s
        refused = self.refused + self._refused_before
        return refused > OFTEN * (refused + self.let_in + self._let_in_before)

    def forget(self) -> None:
        """Begin anew."""
        self.refused = self.let_in = self._refused_before = self._let_in_before = 0


class Turns:
    """Gives the thread to one request after the other.

    The caller says when it has looked at who has arrived (`look`).
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Turn]] = []
        """By deadline; a running number decides between equal ones."""
        self._waiting_ms = 0.0
        self._number = 0
        self._taken: list[Turn] = []
        """Those that have the thread, in the order in which they got it."""
        self._looked = True
        self._since_s = self._drained_s = 0.0
        self.refusals = Refusals()
        self._slice_s = 0.0
        """When those that have the thread got it, or the last ones."""
        self.looked_s = 0.0
        """What is seen now has come after this time: the look before had ended by then."""
        self._ms_per_unit: dict[str, float] = {}
        self._usual_ms = 0.0
        self._expected = 0

    @property
    def idle(self) -> bool:
        """Whether nobody has the thread or waits for it."""
        return not (self._taken or self._waiting)

    @property
    def taken(self) -> bool:
        """Whether a request has the thread. Those that wait get it when the last one that has it has ended."""
        return bool(self._taken)

    @property
    def waiting(self) -> int:
        """How many requests wait for the thread."""
        return len(self._waiting)

    def look(self) -> None:
        """The thread has looked at who has arrived, so a new slice may begin."""
        self._looked = True

    def ahead_ms(self, now_s: float, deadline_s: float | None = None) -> float:
        """Milliseconds of work before a request with this deadline, or before all of them."""
        ahead_ms = self._waiting_ms + self._expected * self._usual_ms
        if deadline_s is not None and self._waiting and deadline_s < self._waiting[-1][0]:
            ahead_ms *= bisect_right(self._waiting, (deadline_s, self._number)) / len(self._waiting)
        if self._taken:
            ahead_ms += max(0.0, sum(turn.work_ms for turn in self._taken) - (now_s - self._since_s) * 1e3)
        return ahead_ms

    def too_late(
        self, now_s: float, start_s: float, budget_ms: float, *, share: float = 1.0, work_ms: float = 0.0
    ) -> bool:
        """Whether a request that arrived at `start_s` must be refused because of the work ahead of it.

        `share`: the part of the limit that it may use. `work_ms`: its own work, 0 where that is not known yet; then the
        usual work counts.
        """
        if self.idle and not self._expected:
            return False
        work_ms = work_ms or self._usual_ms
        # All that came before it count, also those that it would overtake because it has waited unseen.
        ahead_ms = self.ahead_ms(now_s, now_s + budget_ms / 1e3)
        waits_ms = (now_s - start_s) * 1e3 + ahead_ms
        if waits_ms + work_ms > END_SHARE * budget_ms:
            return True
        least_ms = ALWAYS_AHEAD * work_ms
        late = waits_ms > share * max(BURST_SHARE * budget_ms, least_ms)
        if self.refusals.often(now_s):
            late = late or ahead_ms > share * max(OVERLOAD_SHARE * budget_ms, least_ms)
        elif now_s - self._drained_s > STANDING_S:
            late = late or ahead_ms > share * max(STANDING_SHARE * budget_ms, least_ms)
        return late

    def enter(self, turn: Turn, now_s: float, share: float = 1.0, *, at_once: bool = True) -> bool:
        """Whether the request may stay. It has the thread at once, or waits until `next` returns it.

        `share`: the part of the limit that it may use. `at_once`: whether it may have the thread before the next look.
        """
        turn.work_ms = turn.units * self._ms_per_unit.get(turn.kind, 0.0)
        if self.idle:
            self._drained_s = now_s
            if now_s - self._since_s > IDLE_S:
                self.refusals.forget()
            if at_once and self._fits(turn, now_s):
                self._taken.append(turn)
                self.refusals.let_in += 1
                return True
            turn.alone = not self._expected
            self._since_s = now_s
        elif self.too_late(now_s, turn.start_s, turn.budget_ms, share=share, work_ms=turn.work_ms):
            self.refusals.refused += 1
            return False
        self.refusals.let_in += 1
        self._number += 1
        entry = (turn.deadline_s, self._number, turn)
        self._waiting.insert(bisect_right(self._waiting, entry), entry)
        self._waiting_ms += turn.work_ms
        return True

    def end(self, turn: Turn, now_s: float) -> bool:
        """The request gives the thread back, or no longer waits. Whether it was the last that had it: then call `next`.

        From one end to the next in a busy time is what a request costs, with all that the thread does beside it.
        """
        if turn in self._taken:
            self._taken.remove(turn)
            self._learn(turn, (now_s - self._since_s) * 1e3)
            self._since_s = now_s
            self._looked = False
            return not self._taken
        self._waiting = [entry for entry in self._waiting if entry[2] is not turn]
        self._waiting_ms = sum(entry[2].work_ms for entry in self._waiting)
        return False

    def next(self, now_s: float) -> tuple[list[Turn], list[Turn]]:
        """The requests that have the thread now, a slice of them, and those that could no longer be on time."""
        late: list[Turn] = []
        slice_ms = 0.0
        while self._waiting:
            turn = self._waiting[0][2]
            if turn.alone or (now_s - turn.start_s) * 1e3 + turn.work_ms <= END_SHARE * turn.budget_ms:
                # What a request takes that is the first of its kind nobody knows.
                slice_ms += turn.work_ms or SLICE_MS
                if self._taken and slice_ms > SLICE_MS:
                    break
                self._taken.append(turn)
            else:
                late.append(turn)
            self._waiting_ms -= turn.work_ms
            del self._waiting[0]
        if not self._waiting:
            self._waiting_ms = 0.0
            self._drained_s = now_s
        self.looked_s, self._slice_s, self._looked = self._slice_s, now_s, False
        return list(self._taken), late

    def expect(self) -> bool:
        """A request will `enter` that comes before all that are seen after it. Whether it is the only one so far."""
        self._expected += 1
        return self._expected == 1

    def expect_nobody(self) -> None:
        """Those who were expected enter now."""
        self._expected = 0

    def _fits(self, turn: Turn, now_s: float) -> bool:
        """Whether the request may have the thread in this slice, or begins a new one."""
        if self._looked:
            self._looked = False
            self.looked_s = self._slice_s = self._since_s = now_s
            return True
        if (now_s - self._slice_s) * 1e3 + (turn.work_ms or SLICE_MS) > SLICE_MS:
            return False
        return (now_s - turn.start_s) * 1e3 + turn.work_ms <= END_SHARE * turn.budget_ms

    def _learn(self, turn: Turn, took_ms: float) -> None:
        took = took_ms / turn.units
        usual_ms = self._usual_ms or took_ms
        self._usual_ms = usual_ms + WEIGHT * (min(took_ms, OUTLIER * usual_ms) - usual_ms)
        before = self._ms_per_unit.get(turn.kind)
        if before is None:
            self._ms_per_unit[turn.kind] = took
        else:
            self._ms_per_unit[turn.kind] = before + WEIGHT * (min(took, OUTLIER * before) - before)

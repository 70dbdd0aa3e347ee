"""The verb `compare --peers`: servers around the same model in turn, and the model alone as their limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.errors import NotStartedError, UnreachableError
from loadtest.measuring.peers import Alone, Peer
from loadtest.pages.files import write_json
from loadtest.pages.live import console
from loadtest.verdict.objective import Objective
from loadtest.verdict.peers import ALONE, CONNECTIONS, Measured, PeerRound, Peers, peers_result

BEGIN, END = 100, 300


def compare_peers(
    alone: Alone,
    peers: Sequence[Peer],
    objective: Objective,
    *,
    rounds: int,
    seconds: float,
    search: bool,
    folder: Path,
) -> Peers:
    """Measure each server once a round: closed loops of `seconds`, and the highest rate where `search` asks for it.

    One server runs at a time. Each round begins one server later than the round before, since a place in the order has
    an influence of its own. A server that fails is not tried again, and its row says why. Writes peers.json after every
    round. Raises WrkMissingError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    load_average = os.getloadavg()[0]
    measured = {ALONE: Measured(), **{peer.contender.name: Measured() for peer in peers}}

    def turn_of(peer: Peer, number: int) -> Callable[[], PeerRound]:
        before = measured[peer.contender.name].rounds
        return lambda: _round_of(peer, objective, before, number=number, seconds=seconds, search=search, folder=folder)

    for number in range(1, rounds + 1):
        turns = [(ALONE, lambda: _alone_round(alone, seconds))]
        turns += [(peer.contender.name, turn_of(peer, number)) for peer in peers]
        shift = (number - 1) % len(turns)
        for place, (name, measure) in enumerate(turns[shift:] + turns[:shift], start=1):
            if measured[name].why is None:
                console.print(f"round {number} of {rounds}: {name}")
                _take(measured[name], measure, number, place)
        result = peers_result(measured, limits_ms=objective.limits_ms, seconds=seconds, load_average=load_average)
        write_json(folder / "peers.json", result)
    return result


def _take(own: Measured, measure: Callable[[], PeerRound], number: int, place: int) -> None:
    try:
        own.rounds.append({**measure(), "number": number, "place": place})
    except (NotStartedError, UnreachableError) as error:
        own.why = f"round {number}: {_short(str(error))}"
        console.print(own.why, markup=False)


def _short(text: str) -> str:
    """The beginning and the end: a log says last what was wrong."""
    return text if len(text) <= BEGIN + END else f"{text[:BEGIN]} … {text[-END:]}"


def _alone_round(alone: Alone, seconds: float) -> PeerRound:
    loops = {str(size): loop for size, loop in alone.loops(seconds).items()}
    return {"number": 0, "place": 0, "connections": loops, "highest_per_s": None}


def _round_of(
    peer: Peer,
    objective: Objective,
    before: Sequence[PeerRound],
    *,
    number: int,
    seconds: float,
    search: bool,
    folder: Path,
) -> PeerRound:
    log = folder / f"{peer.contender.name.replace(' ', '-')}.log"
    with peer.served(log) as server:
        loops = {str(count): server.loop(count, seconds) for count in CONNECTIONS}
        # Where a round before found the rate, few runs are needed; half of the closed loop's is a place to begin.
        start = max((each["highest_per_s"] or 0.0 for each in before), default=0.0) or loops["8"]["per_s"] / 2
        highest = server.highest(start, objective, seed=number) if search else None
    return {"number": number, "place": 0, "connections": loops, "highest_per_s": highest}

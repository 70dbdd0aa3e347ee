"""The rows and the table of servers that were measured in turn."""

from __future__ import annotations

from loadtest.verdict.peers import ALONE, Loop, Measured, PeerRound, peer_rows, peers_result, peers_table


def loop(per_s: float) -> Loop:
    return {"per_s": per_s, "p50_ms": 1e3 / per_s, "p99_ms": 2e3 / per_s}


def one(number: int, per_s: float, highest_per_s: float | None = None) -> PeerRound:
    loops = {"1": loop(per_s), "8": loop(2 * per_s), "32": loop(4 * per_s)}
    return {"number": number, "place": 1, "connections": loops, "highest_per_s": highest_per_s}


def measured() -> dict[str, Measured]:
    return {
        ALONE: Measured([one(1, 120), one(2, 110)]),
        "Sieve": Measured([one(1, 100, 80), one(2, 50, 40)]),
        "other": Measured([one(1, 50, 20), one(2, 50, 20)]),
        "later": Measured([one(2, 100)], why="round 3: the server\nended"),
        "never": Measured(why="round 1: the server ended with status 1: no module"),
    }


def test_ratios_are_of_the_same_round_and_to_the_first_server() -> None:
    alone, sieve, other, later, never = peer_rows(measured())
    assert sieve["connections"]["1"]["times_the_first"] is None
    assert other["connections"]["1"]["times_the_first"] == {"median": 0.75, "low": 0.5, "high": 1.0}
    assert alone["connections"]["8"]["times_the_first"] == {"median": 1.7, "low": 1.2, "high": 2.2}
    assert later["connections"]["32"]["times_the_first"] == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert other["highest"] is not None
    assert other["highest"]["times_the_first"] == {"median": 0.38, "low": 0.25, "high": 0.5}
    assert other["highest"]["per_s"] == {"median": 20, "lowest": 20, "highest": 20}
    assert (alone["highest"], later["highest"]) == (None, None)
    assert (never["connections"], never["rounds"]) == ({}, [])


def test_the_table_has_a_row_for_each_and_says_why_one_is_missing() -> None:
    result = peers_result(measured(), limits_ms={"p99": 50.0}, seconds=4, load_average=0.123)
    assert result["load_average_before"] == 0.12
    table = peers_table(result)
    assert "| times Sieve in brackets | 1 connection, requests/s | p50, p99 ms | 8 connections" in table
    assert "| Sieve | 75, 50 to 100 | 15.0, 30.0 |" in table
    assert "| other | 50, 50 to 50 (0.75, 0.50 to 1.00) | 20.0, 40.0 |" in table
    assert "| at p99 50 ms, Poisson arrivals | highest rate, answers/s (times Sieve) |" in table
    assert "| Sieve | 60, 40 to 80 |\n| other | 20, 20 to 20 (0.38, 0.25 to 0.50) |" in table
    assert "- later: round 3: the server ended\n- never: round 1: the server ended with status 1: no module" in table
    assert "| never |" not in table


def test_without_a_search_there_is_no_table_of_it() -> None:
    own = {ALONE: Measured([one(1, 9)]), "Sieve": Measured([one(1, 8)])}
    table = peers_table(peers_result(own, limits_ms={"p99": 50.0}, seconds=1, load_average=0))
    assert "Poisson" not in table
    assert "Not measured" not in table


def test_nothing_is_said_where_the_first_could_not_start() -> None:
    own = {ALONE: Measured([one(1, 9)]), "Sieve": Measured(why="round 1: no"), "other": Measured([one(1, 8)])}
    table = peers_table(peers_result(own, limits_ms={"p99": 50.0}, seconds=1, load_average=0))
    assert "| other | 8, 8 to 8 | " in table
    assert table.endswith("- Sieve: round 1: no")

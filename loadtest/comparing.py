"""The verbs that compare, services with `compare` and clients with `mlperf`: their options, and what is done."""

from __future__ import annotations

import argparse
from pathlib import Path

from loadtest.errors import OptionError
from loadtest.options import (
    add_credentials,
    add_limit,
    add_objective,
    count,
    objective_of,
    plan_of,
    positive,
    with_credentials,
    with_limit,
)
from loadtest.verbs import EXIT_FAILED, EXIT_PASSED, OUT, AddsVerb, add_plan, make_folder

PEERS = Path("build/peers/peers.toml")


def add_compare(verbs: AddsVerb) -> None:
    """Add the verb."""
    compare = verbs.add_parser("compare", help="the highest goodput of several services, in turn")
    tables = "TOML with [[contender]] tables: name, command with {port}, …"
    compare.add_argument("contenders", type=Path, nargs="?", help=tables)
    compare.add_argument("--peers", type=Path, nargs="?", const=PEERS, metavar="FILE", help="servers of one model")
    compare.add_argument("--rounds", type=count, default=3)
    compare.add_argument("--seconds", type=positive, default=4.0, help="of each closed loop of --peers (4)")
    compare.add_argument("--no-search", action="store_true", help="leave out the highest rates of --peers")
    add_plan(compare)
    add_objective(compare)
    add_limit(compare)
    compare.set_defaults(call=_compare)


def _compare(options: argparse.Namespace) -> int:
    from loadtest.compare import compare
    from loadtest.measuring.contender import read_contenders
    from loadtest.verdict.comparison import table

    if (options.contenders is None) == (options.peers is None):
        got = "neither" if options.peers is None else "both"
        raise OptionError(f"compare: must have a file of contenders or --peers, got {got}; give one of them")
    if options.peers is not None:
        if options.limit is not None:
            raise OptionError("--limit: must stand without --peers, whose rounds all count, got both; leave one out")
        return _compare_peers(options)
    contenders, objective = read_contenders(options.contenders), objective_of(options)
    make_folder(options.out)
    plan = with_limit(plan_of(options), options)
    result = compare(contenders, plan, objective, rounds=options.rounds, folder=options.out)
    print(table(result))
    return EXIT_PASSED


def _compare_peers(options: argparse.Namespace) -> int:
    from loadtest.measuring.peers import read_peers
    from loadtest.peers import compare_peers
    from loadtest.verdict.peers import peers_table

    (alone, peers), objective = read_peers(options.peers), objective_of(options)
    folder = options.peers.parent if options.out == OUT else options.out
    make_folder(folder)
    rounds, seconds, search = options.rounds, options.seconds, not options.no_search
    result = compare_peers(alone, peers, objective, rounds=rounds, seconds=seconds, search=search, folder=folder)
    print(peers_table(result))
    print(f"{folder / 'peers.json'} has every round")
    return EXIT_PASSED


def add_mlperf(verbs: AddsVerb) -> None:
    """Add the verb."""
    verb = verbs.add_parser("mlperf", help="the peak rate by MLPerf LoadGen, and by our own search, in turn")
    verb.add_argument("url", help="where the service listens, like http://127.0.0.1:3000")
    verb.add_argument("--rounds", type=count, default=3)
    verb.add_argument("--seconds", type=positive, default=10.0, help="of each run of LoadGen, at least (10)")
    verb.add_argument("--queries", type=count, default=1_000, help="of each run of LoadGen, at least (1000)")
    add_plan(verb)
    add_objective(verb)
    add_credentials(verb)
    add_limit(verb)
    verb.set_defaults(call=_mlperf)


def _mlperf(options: argparse.Namespace) -> int:
    from loadtest.mlperf import mlperf, table

    objective = objective_of(options)
    if [*objective.limits_ms] != ["p99"]:
        got = ", ".join(objective.limits_ms)
        raise OptionError(
            f"--slo: must state a p99 alone, since LoadGen judges one percentile, got {got}; write p99=50ms"
        )
    make_folder(options.out)
    result = mlperf(
        with_credentials(with_limit(plan_of(options, options.url), options), options),
        objective,
        rounds=options.rounds,
        seconds=options.seconds,
        queries=options.queries,
        folder=options.out,
    )
    print(table(result))
    print(f"{options.out / 'mlperf.json'} has every run")
    return EXIT_PASSED if result["agrees"] else EXIT_FAILED

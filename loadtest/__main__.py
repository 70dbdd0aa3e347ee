"""The command line: python -m loadtest VERB."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from loadtest.comparing import add_compare, add_mlperf
from loadtest.errors import LoadTestError, OptionError
from loadtest.gpu.verb import add_gpu
from loadtest.options import (
    STEPS,
    add_credentials,
    add_limit,
    add_objective,
    add_protocol,
    asks_goodput,
    count,
    multiples,
    not_negative,
    objective_of,
    plan_of,
    positive,
    share,
    with_credentials,
    with_limit,
    with_protocol,
)
from loadtest.traffic.arrivals import KINDS
from loadtest.traffic.plan import Plan
from loadtest.verbs import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_PASSED,
    EXIT_WRONG,
    OUT,
    AddsVerb,
    add_plan,
    make_folder,
)

Verb = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 passed, 1 objective missed, 2 a LoadTestError, 3 an invalid run, 130 interrupted."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    call: Verb = options.call
    try:
        return call(options)
    except LoadTestError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_WRONG
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description="Does a service meet its objective?")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_run(verbs)
    _add_overload(verbs)
    _add_tune(verbs)
    add_compare(verbs)
    _add_capacity(verbs)
    add_mlperf(verbs)
    add_gpu(verbs)
    _add_check(verbs)
    return parser


def _add_run(verbs: AddsVerb) -> None:
    run = verbs.add_parser("run", help="drive a service and judge it: JSON, a page, an exit status")
    run.add_argument("url", help="where the service listens, like http://127.0.0.1:3000")
    run.add_argument("--arrivals", default="poisson:100", help=f"{KINDS} (default: poisson:100)")
    run.add_argument("--seconds", type=positive, default=60.0, help="how long is measured (default: 60)")
    run.add_argument("--warm-up", type=not_negative, default=5.0, metavar="SECONDS", help="before it is measured (5)")
    add_plan(run)
    add_objective(run)
    run.add_argument("--timeout-s", type=positive, default=2.0, help="when a client gives up (default: 2)")
    run.add_argument("--max-lag-ms", type=positive, default=5.0, help="p99 of the generator's own lateness (5)")
    run.add_argument("--point-estimate", action="store_true", help="judge percentiles without their intervals")
    run.add_argument("--junit", type=Path, metavar="FILE", help="the verdict for CI, as JUnit's XML")
    run.add_argument("--prometheus", type=Path, metavar="FILE", help="the figures in Prometheus' text format")
    run.add_argument("--payloads", action="store_true", help="also compare what the forms of a request cost")
    add_protocol(run)
    add_credentials(run)
    add_limit(run)
    run.set_defaults(call=_run)


def _add_overload(verbs: AddsVerb) -> None:
    steps = verbs.add_parser("overload", help="steps below and beyond saturation: who gets which answer, and when")
    steps.add_argument("url", help="where the service listens, like http://127.0.0.1:3000")
    steps.add_argument("--saturation", type=positive, help="requests/s (default: searched for first)")
    steps.add_argument("--steps", type=multiples, default=STEPS, help="times saturation (0.5,0.7,1,1.2,1.5,2,3,5)")
    steps.add_argument("--seconds", type=positive, default=8.0, help="of each step, at most (8)")
    steps.add_argument("--requests", type=count, default=20_000, help="of each step, at most (20000)")
    steps.add_argument("--grace-ms", type=not_negative, default=10.0, help="of the way there, beyond the budget (10)")
    steps.add_argument("--timeout-s", type=positive, default=5.0, help="when a client gives up (default: 5)")
    steps.add_argument("--max-lag-ms", type=positive, default=5.0, help="p99 of the generator's own lateness (5)")
    add_plan(steps)
    add_protocol(steps)
    add_credentials(steps)
    steps.set_defaults(call=_overload)


def _add_tune(verbs: AddsVerb) -> None:
    tune = verbs.add_parser("tune", help="find the settings with the most goodput within the objective, by restarting")
    tune.add_argument("command", help="starts the service; {port} and {settings} (a TOML file) stand in it")
    tune.add_argument("--preset", choices=("bert", "cascade"), help="a classical objective instead of --slo")
    tune.add_argument("--minutes", type=positive, default=10.0, help="of search in this call; it can go on later (10)")
    tune.add_argument("--rounds", type=count, default=5, help="in which the winner and the defaults take turns (5)")
    add_plan(tune)
    add_objective(tune)
    tune.set_defaults(call=_tune)


def _add_capacity(verbs: AddsVerb) -> None:
    capacity = verbs.add_parser("capacity", help="how many replicas for so many requests a second")
    capacity.add_argument("url", help="a replica to measure, with nothing else to do")
    capacity.add_argument("--rate", type=positive, required=True, help="requests/s in all")
    capacity.add_argument("--escalation-share", type=share, help="(default: as measured)")
    capacity.add_argument("--workers", type=count, default=1, help="API processes of a replica (1)")
    capacity.add_argument("--check", type=positive, metavar="SECONDS", help="hold it against the service at two loads")
    add_plan(capacity)
    add_objective(capacity)
    add_credentials(capacity)
    capacity.set_defaults(call=_capacity)


def _add_check(verbs: AddsVerb) -> None:
    check = verbs.add_parser("check", help="what the generator itself can send, to a server that does nothing")
    check.add_argument("--rate", type=positive, default=3_000.0, help="requests/s (default: 3000)")
    check.add_argument("--seconds", type=positive, default=10.0)
    check.add_argument("--out", type=Path, default=OUT)
    check.set_defaults(call=_check)


def _plan(options: argparse.Namespace) -> Plan:
    return with_protocol(with_credentials(plan_of(options, options.url), options), options)


def _run(options: argparse.Namespace) -> int:
    from loadtest.pages.outputs import write_junit, write_prometheus
    from loadtest.pages.report import say_run, write_run
    from loadtest.run import run

    objective = replace(objective_of(options), strict=not options.point_estimate)
    make_folder(options.out)
    plan = replace(
        with_limit(_plan(options), options),
        arrivals=options.arrivals,
        seconds=options.seconds,
        warm_up_s=options.warm_up,
        timeout_s=options.timeout_s,
        payloads=options.payloads,
        max_lag_ms=options.max_lag_ms,
    )
    result, replies = run(plan, objective)
    write_run(options.out, result, replies, objective.deadline_ms)
    for path, write in ((options.junit, write_junit), (options.prometheus, write_prometheus)):
        if path is not None:
            write(path, result)
    say_run(result)
    print(f"{options.out / 'run.json'} has the figures, {options.out / 'run.html'} the pictures")
    if not result["valid"]:
        return EXIT_INVALID
    return EXIT_PASSED if result["passed"] else EXIT_FAILED


def _overload(options: argparse.Namespace) -> int:
    from loadtest.overload import overload
    from loadtest.pages.overload import say_overload, write_overload

    make_folder(options.out)
    plan = replace(
        _plan(options),
        seconds=options.seconds,
        timeout_s=options.timeout_s,
        max_lag_ms=options.max_lag_ms,
    )
    result = overload(
        plan,
        saturation_per_s=options.saturation,
        deadline_ms=options.budget_ms + options.grace_ms,
        steps=options.steps,
        most_requests=options.requests,
    )
    write_overload(options.out, result)
    say_overload(result)
    print(f"{options.out / 'overload.json'} has the figures, {options.out / 'overload.html'} the picture")
    if not all(row["holds"] for row in result["objective"]):
        return EXIT_FAILED
    return EXIT_PASSED if result["valid"] else EXIT_INVALID


def _tune(options: argparse.Namespace) -> int:
    from loadtest.tune import Tuning, tune, with_preset
    from loadtest.verdict.comparison import table

    plan, objective = plan_of(options), objective_of(options)
    make_folder(options.out)
    if options.preset:
        if options.slo or asks_goodput(options):
            raise OptionError(
                "--preset: must stand without --slo and --goodput, since it states them, got one of them; leave it out"
            )
        plan, objective = with_preset(options.preset, plan)
    wanted = Tuning(
        command=tuple(shlex.split(options.command)),
        plan=plan,
        objective=objective,
        minutes=options.minutes,
        rounds=options.rounds,
        folder=options.out,
    )
    result = tune(wanted)
    print(table(result["comparison"]))
    print(f"{options.out / 'settings.toml'} is for service.py: put it beside it, or name it with --arg settings=PATH")
    return EXIT_PASSED


def _capacity(options: argparse.Namespace) -> int:
    from loadtest.capacity import answer, say

    limits = objective_of(options).limits_ms
    if [*limits] != ["p99"]:
        raise OptionError(f"--slo: must state a p99 alone, since that is what is simulated, got {', '.join(limits)}")
    if asks_goodput(options):
        raise OptionError("--goodput: must be left out, since --rate says how many are to be answered, got a number")
    if 0 < options.image_share < 1:
        raise OptionError("--image-share: must be 0 or 1, since one expert is simulated, got a mix; ask for one by one")
    make_folder(options.out)
    result = answer(
        with_credentials(plan_of(options, options.url), options),
        rate_per_s=options.rate,
        limit_ms=limits["p99"],
        workers=options.workers,
        share=options.escalation_share,
        folder=options.out,
        check_s=options.check,
        max_degraded_share=options.max_degraded,
    )
    say(result)
    return EXIT_PASSED if all(row["holds"] for row in result["check"]) and result["replicas"] else EXIT_FAILED


def _check(options: argparse.Namespace) -> int:
    from loadtest.check import check_generator

    return EXIT_PASSED if check_generator(options.rate, options.seconds, options.out) else EXIT_INVALID


if __name__ == "__main__":
    sys.exit(main())

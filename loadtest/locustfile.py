"""The same workload for Locust: locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:3000 -u 20 -t 60s

Each shape of request is a name in Locust's tables, and its degraded answers have a name of their own. A shed request
is a failure called `shed`. At the end a line says whether the run passed, and the exit status follows it: 0 passed,
1 failed, 2 an option or the service is wrong. Locust's users are a closed loop: a user that waits sends nothing, so a
stall is charged to fewer requests than by `python -m loadtest run`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

import gevent
from locust import FastHttpUser, LoadTestShape, constant_throughput, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.errors import LoadTestError
from loadtest.measuring.known import look
from loadtest.options import add_workload, plan_of
from loadtest.traffic.reply import ANSWERED, read_answer, triage
from loadtest.traffic.sample import Sample
from loadtest.traffic.workload import draw

DRAWN = 10_000
LEVELS = 4
DEGRADED = ", degraded"


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """Add the options of the workload and of the objective."""
    asked = parser.add_argument_group("workload", "what is asked")
    add_workload(asked)
    asked.add_argument("--user-rate", type=float, default=10.0, help="requests a second of each user, at most (10)")
    asked.add_argument("--climb", choices=("constant", "step", "ramp"), default="constant", help="users over time")
    limits = parser.add_argument_group("objective", "what decides the exit status")
    limits.add_argument("--p99-ms", type=float, default=50.0, help="p99 in milliseconds, at most (50)")
    limits.add_argument("--max-failed", type=float, default=0.0, help="share of requests without an answer (0)")
    limits.add_argument("--max-degraded", type=float, default=0.01, help="share of degraded answers, at most (0.01)")


@events.init.add_listener
def make_samples(environment: Environment, **_: object) -> None:
    """Get to know the service, and draw the requests, in every process that has users."""
    options = environment.parsed_options
    if options is None or isinstance(environment.runner, MasterRunner):
        return
    plan = plan_of(options, options.host or "http://127.0.0.1:3000")
    try:
        Client.samples = draw(look(plan).samples, plan.mix, DRAWN, plan.seed)
    except LoadTestError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)  # Locust logs any other exception of a listener and goes on


class Client(FastHttpUser):
    """Sends drawn requests, at most `--user-rate` of them a second."""

    host = "http://127.0.0.1:3000"
    samples: Sequence[Sample] = ()

    def on_start(self) -> None:
        """Wait a random part of a period, so that users do not send in step."""
        gevent.sleep(random.random() / options_of(self.environment).user_rate)  # nosec B311 # no secret

    def wait_time(self) -> float:
        return float(constant_throughput(options_of(self.environment).user_rate)(self))

    @task
    def ask(self) -> None:
        sample = random.choice(self.samples)  # nosec B311 # no secret
        with self.client.post(
            sample.path,
            data=sample.body,  # type: ignore[arg-type]  # Locust sends bytes too, though it declares text and forms only
            headers={"Content-Type": sample.content_type},
            name=sample.shape,
            catch_response=True,
        ) as response:
            status = response.status_code
            answer = read_answer(response.content or b"") if 200 <= status < 300 else {}
            kind = "failed" if answer is None else triage(status, answer.get("degraded"))
            if kind == "degraded":
                response.request_meta["name"] += DEGRADED
            if kind in ANSWERED:
                response.success()
            else:
                response.failure("shed" if kind == "shed" else f"failed, status {status}")


class Climb(LoadTestShape):
    """-u users for -t: all at once, in four steps of equal length, or one after the other."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        options = options_of(self.runner.environment)
        share = self.get_run_time() / options.run_time if options.run_time else 0.0
        if share >= 1:
            return None
        users, rate = options.num_users or 1, options.spawn_rate or options.num_users or 1
        part = {"constant": 1.0, "step": (int(share * LEVELS) + 1) / LEVELS, "ramp": share}[options.climb]
        return max(1, round(part * users)), rate


@events.quitting.add_listener
def judge(environment: Environment, **_: object) -> None:
    """Print whether the run passed, and set the exit status to 0 or 1."""
    options, total = environment.parsed_options, environment.stats.total
    if options is None or not environment.runner or isinstance(environment.runner, WorkerRunner):
        return
    answered = total.num_requests - total.num_failures
    degraded = sum(e.num_requests for e in environment.stats.entries.values() if e.name.endswith(DEGRADED))
    rows = [
        ("p99 ms", total.get_response_time_percentile(0.99) or 0.0, options.p99_ms),
        ("failed share", total.fail_ratio, options.max_failed),
        ("degraded share", degraded / max(1, answered), options.max_degraded),
    ]
    passed = answered > 0 and all(got <= limit for _, got, limit in rows)
    said = "; ".join(f"{name} {got:.4g}, at most {limit:g}" for name, got, limit in rows)
    print(f"{'PASSED' if passed else 'FAILED'}: {total.num_requests:,} requests; {said}")
    environment.process_exit_code = 0 if passed else 1


def options_of(environment: Environment) -> argparse.Namespace:
    """The options of a run that the command line started."""
    options = environment.parsed_options
    assert isinstance(options, argparse.Namespace)
    return options

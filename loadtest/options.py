"""Options of the workload, the same for `python -m loadtest` and for Locust."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from loadtest.errors import OptionError
from loadtest.traffic.credentials import Credentials, header
from loadtest.traffic.limit import TimeLimit
from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import ENCODINGS, PROTOCOLS
from loadtest.traffic.workload import Mix
from loadtest.verdict.objective import Objective, read_limits

STEPS = (0.5, 0.7, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
"""Times saturation, as `overload` steps without --steps."""
MAX_TIMES = 20


class AddsArguments(Protocol):
    """A parser or a group of one, of argparse or of Locust."""

    def add_argument(
        self,
        *names: str,
        type: Callable[[str], object] = ...,
        default: object = ...,
        choices: Iterable[str] = ...,
        action: str = ...,
        help: str = ...,
        metavar: str = ...,
    ) -> object: ...


def add_workload(parser: AddsArguments) -> None:
    """Add the options of the workload, which `plan_of` reads."""
    columns = "text, text_pair where the service classifies pairs, and label if known"
    parser.add_argument("--texts", type=Path, help=f"CSV or TSV (also .gz) with columns {columns}")
    parser.add_argument("--images", type=Path, help="folder or tar of JPEG and PNG files (default: generated ones)")
    parser.add_argument("--image-share", type=share, default=0.0, help="share of the requests with an image (0)")
    parser.add_argument("--image-as", choices=ENCODINGS, default="raw", help="how an image is sent (raw)")
    parser.add_argument("--long-share", type=share, help="share of long texts among texts (as the data has it)")
    parser.add_argument("--hard-share", type=share, help="share of what the screen escalates (as the data has it)")
    parser.add_argument("--budget-ms", type=positive, default=50.0, help="sent with each request (default: 50)")
    parser.add_argument("--seed", type=int, default=1)


def plan_of(options: argparse.Namespace, url: str = "") -> Plan:
    """The plan that these options describe."""
    return Plan(
        url=url.rstrip("/"),
        texts=options.texts,
        images=options.images,
        encoding=options.image_as,
        mix=Mix(image_share=options.image_share, long_share=options.long_share, hard_share=options.hard_share),
        budget_ms=options.budget_ms,
        seed=options.seed,
    )


def add_protocol(parser: AddsArguments) -> None:
    """Add the options of the protocol, which `with_protocol` reads."""
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="rest", help="what is spoken (rest: our own addresses)"
    )
    parser.add_argument("--grpc", type=server, metavar="HOST:PORT", help="where calls over gRPC are taken")


def with_protocol(plan: Plan, options: argparse.Namespace) -> Plan:
    """The plan with the protocol that the options name. Raises OptionError where they do not fit."""
    if options.protocol == "grpc" and not options.grpc:
        raise OptionError(
            "--grpc: must name the server of --protocol grpc, got nothing; add it, like --grpc 127.0.0.1:8001"
        )
    if options.protocol != "rest" and plan.encoding != "raw":
        raise OptionError(
            f"--image-as: must be left out with --protocol {options.protocol}, which has one way to send an image, got "
            f"{plan.encoding}; leave it out"
        )
    return replace(plan, protocol=options.protocol, grpc=options.grpc or "")


def add_credentials(parser: AddsArguments) -> None:
    """Add the options of headers and TLS, which `with_credentials` reads."""
    shown = "of each request, like an API key; may come several times"
    parser.add_argument("--header", type=one_header, action="append", metavar="'NAME: VALUE'", help=shown)
    parser.add_argument("--ca", type=Path, metavar="FILE", help="authorities (PEM) for https, instead of the system's")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="a client's certificate (PEM), shown over https")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its key, where --cert does not hold it")


def with_credentials(plan: Plan, options: argparse.Namespace) -> Plan:
    """The plan with the headers and the files of TLS. Raises OptionError where they cannot be used."""
    shown = Credentials(headers=tuple(options.header or ()), ca=options.ca, cert=options.cert, key=options.key)
    if shown.key and not shown.cert:
        raise OptionError("--key: must go with --cert, got no --cert; give both, or none")
    if shown.ca or shown.cert:
        if not plan.url.startswith("https:"):
            raise OptionError("--ca, --cert: must go with an address of https, got another; name that, or drop them")
        shown.context()
    return replace(plan, credentials=shown)


def add_limit(parser: AddsArguments) -> None:
    """Add the option of the time limit, which `with_limit` reads."""
    parser.add_argument("--limit", type=positive, metavar="SECONDS", help="for the whole command (default: none)")


def with_limit(plan: Plan, options: argparse.Namespace) -> Plan:
    """The plan with a time limit that begins now, if one was asked."""
    return plan if options.limit is None else replace(plan, limit=TimeLimit(options.limit))


def add_objective(parser: AddsArguments) -> None:
    """Add the options of the objective, which `objective_of` reads."""
    parser.add_argument("--slo", action="append", help="like p99=50ms, of all that was asked; may come twice")
    parser.add_argument("--goodput", type=positive, help="full answers a second, at least: in time, not degraded")
    parser.add_argument("--goodput-degraded", type=positive, help="answers in time a second, degraded ones included")
    parser.add_argument("--max-degraded", type=share, default=0.01, help="share of degraded answers, at most (0.01)")


def objective_of(options: argparse.Namespace) -> Objective:
    """The objective that these options describe. Raises ObjectiveError."""
    limits = read_limits(options.slo or ["p99=50ms"])
    return Objective(
        limits_ms=limits,
        goodput_per_s=options.goodput,
        goodput_with_degraded_per_s=options.goodput_degraded,
        max_degraded_share=options.max_degraded,
    )


def asks_goodput(options: argparse.Namespace) -> bool:
    """Whether a least goodput was asked, with degraded answers or without."""
    return options.goodput is not None or options.goodput_degraded is not None


def server(text: str) -> str:
    """A server of gRPC, as HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, like 127.0.0.1:8001, got {text}")
    return text


def one_header(text: str) -> tuple[str, str]:
    """A header, as 'NAME: VALUE'. Its value may be a secret, so no message shows it."""
    try:
        return header(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got something else") from None


def number(text: str, rule: str, fits: Callable[[float], bool]) -> float:
    """Read a finite number that `fits`; ArgumentTypeError states the `rule` where it does not."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not fits(value):
        raise argparse.ArgumentTypeError(f"must be {rule}, got {text}")
    return value


def positive(text: str) -> float:
    return number(text, "a number above 0", lambda value: value > 0)


def not_negative(text: str) -> float:
    return number(text, "a number of at least 0", lambda value: value >= 0)


def share(text: str) -> float:
    return number(text, "a share from 0 to 1", lambda value: 0 <= value <= 1)


def multiples(text: str) -> tuple[float, ...]:
    """Multiples of saturation, by commas; at least one of them from 1 on, since overload begins there."""
    read = tuple(sorted({positive(part) for part in text.split(",")}))
    if read[-1] < 1 or read[-1] > MAX_TIMES:
        raise argparse.ArgumentTypeError(f"must have a largest number from 1 to {MAX_TIMES}, got {text}")
    return read


def count(text: str) -> int:
    return int(number(text, "a whole number of at least 1", lambda value: value >= 1 and value == int(value)))

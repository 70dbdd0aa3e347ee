"""Options of the workload: how their values are read, and the plan that they make."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from loadtest.errors import OptionError
from loadtest.options import (
    STEPS,
    add_protocol,
    add_workload,
    count,
    multiples,
    not_negative,
    plan_of,
    positive,
    server,
    share,
    with_protocol,
)
from loadtest.traffic.plan import Plan
from loadtest.traffic.workload import Mix


def plan(*arguments: str, url: str = "") -> Plan:
    parser = argparse.ArgumentParser()
    add_workload(parser)
    return plan_of(parser.parse_args(arguments), url)


def test_without_options_the_plan_has_its_defaults() -> None:
    assert plan() == Plan(url="")


def test_every_option_is_in_the_plan() -> None:
    made = plan(
        *("--texts", "a.csv", "--images", "b.tar", "--image-share", "0.1", "--image-as", "json", "--long-share", "0.2"),
        *("--hard-share", "0.3", "--budget-ms", "80", "--seed", "4"),
        url="http://127.0.0.1:3000/",
    )
    mix = Mix(image_share=0.1, long_share=0.2, hard_share=0.3)
    texts, images = Path("a.csv"), Path("b.tar")
    assert made == Plan(
        url="http://127.0.0.1:3000", texts=texts, images=images, encoding="json", mix=mix, budget_ms=80.0, seed=4
    )


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (positive, ["0.5", "3"], ["0", "-1", "nan", "inf", "soon"]),
        (not_negative, ["0", "0.5"], ["-1", "nan", ""]),
        (share, ["0", "0.5", "1"], ["1.1", "-0.1", "nan"]),
        (count, ["1", "32"], ["0", "1.5", "-2", "many"]),
    ],
)
def test_a_number_keeps_its_rule(read: type[float], good: list[str], bad: list[str]) -> None:
    assert [read(text) for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=rf"must be .*, got {text}"):
            read(text)


def test_multiples_of_saturation_reach_it() -> None:
    assert multiples("5,1,0.5,1") == (0.5, 1.0, 5.0)
    assert multiples(",".join(map(str, STEPS))) == STEPS
    for text in ("0.5", "1,21", "1,x", "", "1,,2", "0,1"):
        with pytest.raises(argparse.ArgumentTypeError, match="must"):
            multiples(text)


def spoken(*arguments: str) -> Plan:
    parser = argparse.ArgumentParser()
    add_workload(parser)
    add_protocol(parser)
    options = parser.parse_args(arguments)
    return with_protocol(plan_of(options), options)


def test_a_protocol_is_in_the_plan() -> None:
    assert spoken() == Plan(url="")
    assert spoken("--grpc", "[::1]:8001") == Plan(url="", grpc="[::1]:8001")
    assert spoken("--protocol", "grpc", "--grpc", "a:1") == Plan(url="", protocol="grpc", grpc="a:1")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--protocol", "grpc"), "--grpc: must name the server of --protocol grpc, got nothing; add it"),
        (("--protocol", "oip-json", "--image-as", "json"), "--image-as: must be left out with --protocol oip-json"),
    ],
)
def test_a_protocol_that_lacks_something_is_told_so(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(OptionError, match=f"^{says}"):
        spoken(*arguments)


def test_a_server_of_grpc_has_a_host_and_a_port() -> None:
    for text in ("8001", ":8001", "http://a:8001", "a:b", "a:"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be HOST:PORT"):
            server(text)

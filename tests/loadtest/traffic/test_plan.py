"""A plan as it goes into a result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import Way
from loadtest.traffic.workload import Mix


def test_a_result_names_files_without_their_folders() -> None:
    plan = Plan(url="http://x", texts=Path("/home/a/texts.tsv.gz"), arrivals="replay:/home/a/times.txt")
    said = plan.as_dict()
    assert (said["texts"], said["images"], said["arrivals"]) == ("texts.tsv.gz", None, "replay:times.txt")
    assert "/home" not in json.dumps(said)


def test_everything_else_is_kept() -> None:
    said = Plan(url="http://x", mix=Mix(hard_share=0.5), seconds=7).as_dict()
    assert said["mix"] == {"image_share": 0.0, "long_share": None, "hard_share": 0.5}
    assert (said["seconds"], said["arrivals"], said["seed"]) == (7, "poisson:100", 1)
    assert set(said) == set(Plan.__dataclass_fields__) - {"limit"} | {"limit_s"}


def test_only_calls_over_grpc_go_to_its_server() -> None:
    plan = Plan(url="http://x", encoding="json", grpc="x:8001")
    assert plan.way == Way(encoding="json")
    assert replace(plan, protocol="grpc").way == Way(protocol="grpc", encoding="json", grpc="x:8001")

"""What other servers may say over gRPC, and what is no answer. tests/serving/expert/test_other_server.py asks one."""

from __future__ import annotations

from typing import Any

import pytest

from serving.errors import MalformedError
from serving.expert.over_grpc import read_logits
from serving.protobuf import new

ONE_TWO = b"\0\0\x80?\0\0\0@"


def response(**more: Any) -> Any:
    return new("ModelInferResponse", **more)


def output(**more: Any) -> dict[str, Any]:
    return {"name": "logits", "datatype": "FP32", "shape": [1, 2], **more}


def test_logits_are_found_among_other_outputs() -> None:
    other = output(name="hidden", shape=[1])
    assert read_logits(response(outputs=[other, output()], raw_output_contents=[bytes(4), ONE_TWO])).tolist() == [
        [1, 2]
    ]
    typed = response(outputs=[output(contents={"fp32_contents": [1.0, 2.0]})])
    assert read_logits(typed).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"outputs": [output()]},
        {"outputs": [output(name="scores")], "raw_output_contents": [ONE_TWO]},
        {"outputs": [output(datatype="FP16")], "raw_output_contents": [ONE_TWO]},
        {"outputs": [output()], "raw_output_contents": [b"123"]},
        {"outputs": [output()], "raw_output_contents": [ONE_TWO + ONE_TWO]},
        {"outputs": [output(name="hidden"), output()], "raw_output_contents": [ONE_TWO]},
    ],
    ids=["nothing", "no-data", "name", "datatype", "bytes", "shape", "too-few"],
)
def test_what_has_no_logits_is_no_answer(sent: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match=r"^reply: must "):
        read_logits(response(**sent))

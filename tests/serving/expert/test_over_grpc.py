"""What other servers may say over gRPC, and what is no answer. tests/serving/expert/test_other_server.py asks one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.errors import MalformedError
from serving.expert.over_grpc import OverGrpc, read_logits
from serving.expert_tls import ExpertTls
from serving.http.gate import OPEN
from serving.protobuf import new
from serving.watch.metrics import Metrics
from tests.certificates import authority, demanding
from tests.serving.oip.test_rpc_gate import served

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


def test_over_tls_it_shows_its_certificate(metrics: Metrics, tmp_path: Path) -> None:
    ours = authority(tmp_path)
    server, client = ours.sign("server", "IP:127.0.0.1"), ours.sign("client", "DNS:api")
    shown = ExpertTls(ca=str(ours.file), cert=str(client.file), key=str(client.key))

    async def play(address: str) -> None:
        for tls in (shown, ExpertTls(ca=str(ours.file)), None):
            expert = OverGrpc(address, "text", tls)
            try:
                if tls is shown:
                    assert (await expert.metadata("")).inputs[0].name == "text"
                else:
                    with pytest.raises(ConnectionError, match="cannot be reached"):
                        await expert.metadata("")
            finally:
                await expert.close()

    served(metrics, OPEN, play, demanding(server, ours))

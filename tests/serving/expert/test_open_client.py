"""The client that a URL asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving.expert.client import RemoteExpert
from serving.expert.open_client import open_client
from serving.expert.other_server import OtherServer
from serving.expert_tls import SYSTEM
from tests.made import make_artifact


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///tmp/an-expert.sock", RemoteExpert),
        ("http://localhost:3000", RemoteExpert),
        ("oip+http://localhost:8000/an-expert", OtherServer),
        ("oip+https://localhost:8443/an-expert", OtherServer),
        ("oip+grpc://localhost:8001/an-expert", OtherServer),
        ("oip+grpcs://localhost:8001/an-expert", OtherServer),
    ],
)
def test_a_url_says_which_client(url: str, kind: type, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "an-expert", ["cpu-fp32"], role="expert")
    assert type(open_client(url, "an-expert", artifact, "cpu-fp32", SYSTEM)) is kind


@pytest.mark.parametrize(("url", "framed"), [("file:///tmp/an-expert.sock", True), ("http://localhost:3000", False)])
def test_only_an_expert_on_a_socket_of_this_machine_gets_frames(url: str, framed: bool, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "an-expert", ["cpu-fp32"], role="expert")
    client = open_client(url, "an-expert", artifact, "cpu-fp32", SYSTEM)
    assert isinstance(client, RemoteExpert)
    assert (client._framed is not None) is framed


def test_only_grpc_imports_grpc(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "an-expert", ["cpu-fp32"], role="expert")
    code = (
        "import sys; from pathlib import Path; from serving.expert.open_client import open_client; "
        "from serving.expert_tls import SYSTEM; "
        "from serving.model.artifact import Artifact; "
        f"open_client('oip+http://h:1/m', 't', Artifact.open(Path({str(artifact.folder)!r})), 'cpu-fp32', SYSTEM); "
        "print(sorted({'grpc', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

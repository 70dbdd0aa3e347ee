"""Names cannot leave the model store, wherever one is given."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import grpc
import httpx
import pytest

from serving.protobuf import SERVICE, new
from tests.conftest import ROOT, TinyCascades
from tests.server import Server, command

NAMES = [
    "../../outside",
    "/etc",
    "%2e%2e%2foutside",
    "..",
    "tiny-text:../x",
    "a/../tiny-text",
    "TINY-TEXT",
    "a\nb",
    "é",
]
"""None of them names what is served; `outside` is where the first would lead to."""
VERBS = {"profile": (), "runtimes": (), "export-triton": ("{folder}",), "score": ("{folder}/in.csv", "{folder}/out")}


@pytest.fixture
def home(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    """A model store with cascades, and models like its own outside of it."""
    home = Path(shutil.copytree(tiny_cascades.home / "models", tmp_path / "home" / "models")).parent
    for role in ("screen", "expert", "operating-point"):
        shutil.copytree(home / "models" / f"tiny-text-{role}", tmp_path / f"outside-{role}")
    return home


@pytest.mark.parametrize("name", NAMES[:4])
def test_a_service_refuses_such_a_name_in_one_sentence(home: Path, name: str) -> None:
    line, environment = command("serve", "--arg", f"text={name}", "--arg", "image=", "--port", "1", home=home)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "must be the names of cascades, each once" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["../../outside"])
def test_optimize_refuses_such_a_name_in_one_sentence(home: Path, tmp_path: Path, verb: str, name: str) -> None:
    (tmp_path / "in.csv").write_text("text\nwhere is it\n")
    more = [word.format(folder=tmp_path) for word in VERBS[verb]]
    line = [sys.executable, "-m", "optimize", verb, name, *more]
    environment = command(home=home)[1]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


def test_an_artifact_with_such_a_name_is_not_published(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-text"], tmp_path / "build"))
    manifest = build / "tiny-text-screen" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "name": "../../outside"}))
    line = [sys.executable, "-m", "optimize", "publish", str(tiny_recipes["tiny-text"]), "--build", str(build)]
    environment = command(home=tmp_path / "home")[1]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "name: String should match pattern" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("outside*"))


# Clients themselves resolve `..` in an address.
@pytest.mark.parametrize("name", [name for name in NAMES if name != ".."])
def test_a_request_that_names_such_a_model_is_answered_with_404(server: Server, name: str) -> None:
    # `quote` as clients do it, and once more, for what decodes twice.
    for written in (quote(name, safe=""), quote(quote(name, safe=""), safe="")):
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for address in (
                f"/v2/models/{written}",
                f"/v2/models/{written}/ready",
                f"/v2/models/text/versions/{written}",
            ):
                assert client.get(address).status_code == 404
            assert client.post(f"/v2/models/{written}/infer", json={"inputs": []}).status_code == 404
            assert client.post(f"/admin/models/{written}", json={}).status_code in (401, 404)
            sent = {"text": "where is it", "model": name}
            assert client.post("/classify_text", json=sent).status_code in (404, 422)
    with grpc.insecure_channel(server.grpc) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelMetadata")
        with pytest.raises(grpc.RpcError) as refused:
            ask(new("ModelMetadataRequest", name=name).SerializeToString(), timeout=10)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND

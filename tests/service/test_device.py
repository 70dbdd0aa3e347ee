"""Where an expert runs: said by the service, and refused in one sentence where it cannot be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from serving.model.device import gpu_present
from tests.conftest import ROOT, TinyCascades
from tests.server import command, serve

TEXT_ONLY = ("--arg", "text=tiny-text", "--arg", "image=")


def test_the_device_of_both_stages_is_told(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('workers = 1\ndevice = "cpu"\nmax_batch_tokens = 512\n')
    arguments = (*TEXT_ONLY, "--arg", f"settings={settings}")
    with serve(*arguments, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "log") as server:
        said = httpx.get(f"{server.url}/models").json()["text"]
        with httpx.Client(transport=httpx.HTTPTransport(uds=server.expert_socket("text"))) as expert:
            ready = expert.get("http://expert/readyz").text
        metrics = httpx.get(f"{server.url}/metrics").text
    assert [said[stage]["execution_provider"]["device"] for stage in ("screen", "expert")] == ["cpu", "cpu"]
    assert ready == f"{said['expert']['execution_provider']['variant']} on cpu\n"
    told = [line for line in metrics.splitlines() if line.startswith("sieve_model_info{")]
    assert len(told) == 2
    assert all('device="cpu"' in line for line in told)


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
@pytest.mark.parametrize("service", ["", "service:TextExpert"])
def test_a_gpu_that_is_demanded_and_not_there_ends_the_server_in_one_sentence(
    tiny_cascades: TinyCascades, tmp_path: Path, service: str
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('workers = 1\ndevice = "gpu:1"\n')
    served = (*filter(None, [service]), *TEXT_ONLY, "--arg", f"settings={settings}", "--port", "0")
    line, environment = command("serve", *served, home=tiny_cascades.home)
    done = subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode
    said = [line for line in (done.stdout + done.stderr).splitlines() if "needs a GPU" in line]
    assert len(said) == 1
    assert 'device = "gpu:1" needs a GPU, and ' in said[0]
    assert "Traceback" not in done.stdout + done.stderr

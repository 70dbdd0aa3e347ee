"""make compare: what it is given to compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare
from benchmarks.published import Published
from loadtest.measuring.contender import Contender
from tests.conftest import TinyCascades


def test_litserve_is_refused_for_images(
    tiny_cascades: TinyCascades, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "Published", lambda name: Published(name, tiny_cascades.home / "models"))
    monkeypatch.setattr(sys, "argv", ["compare", "tiny-image", "--litserve"])
    with pytest.raises(SystemExit, match="2"):
        compare.main()
    assert "its baseline takes texts only; leave it out for images" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "image_share"), [("tiny-text", 0.0), ("tiny-image", 1.0)])
def test_the_plan_sends_what_the_cascade_takes(
    name: str, image_share: float, tiny_cascades: TinyCascades, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def keep(contenders: list[str], plan: Any, objective: Any, **rest: Any) -> dict[str, Any]:
        given.update(contenders=contenders, plan=plan, objective=objective, **rest)
        return {"objective": {"limits_ms": {"p99": 20.0}}, "rows": []}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "Published", lambda cascade: Published(cascade, tiny_cascades.home / "models"))
    monkeypatch.setattr(compare, "ladder", lambda published, build, folder, with_litserve: [published.name, str(build)])
    monkeypatch.setattr(compare, "compare", keep)
    monkeypatch.setattr(sys, "argv", ["compare", name, "--limit-ms", "20", "--rounds", "2"])
    assert compare.main() == 0
    assert given["contenders"] == [name, f"build/{name}"]
    assert (given["plan"].mix.image_share, given["plan"].budget_ms) == (image_share, 20.0)
    assert (given["objective"].limits_ms, given["rounds"]) == ({"p99": 20.0}, 2)
    assert given["folder"] == Path("build") / "compare" / name


def test_contenders_are_chosen_by_their_names() -> None:
    there = [Contender(name=name, line=(), ready="/", variables={}, folder=Path()) for name in ("a", "b", "c")]
    assert compare.chosen(there, ["c", "a"]) == [there[0], there[2]]
    with pytest.raises(SystemExit, match="got 'd'; use one of a; b; c"):
        compare.chosen(there, ["d"])

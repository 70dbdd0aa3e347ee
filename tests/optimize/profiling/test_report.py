from __future__ import annotations

import json
from typing import Any

from optimize.profiling.report import BUSY, markdown
from optimize.report import figures
from tests.optimize.profiling.conftest import EXPERT, SCREEN


def test_what_is_printed_is_what_is_written(profiled: dict[str, Any]) -> None:
    for name in (EXPERT, SCREEN):
        facts, said = profiled[name], profiled["said"][name]
        for found in facts["variants"].values():
            assert all(row["name"][:20] in said for row in found["operators"]["by_type"])
            assert all(f"{row['p90_ms']:.2f}" in said for row in found["curve"])
        assert "\x1b" not in said
        assert ("the spread may be other work's" in said) == (facts["load_average_before"] > BUSY)
        assert "nsys" not in said or "CUDA" in json.dumps(facts)
        picture = (profiled["folder"] / name / "batch-curve.svg").read_text()
        assert picture == figures.batch_curves(facts)
        assert not list((profiled["folder"] / name).glob("*partial*"))
        assert "| knee |" in markdown(facts)

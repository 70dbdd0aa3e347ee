"""`python -m optimize export-triton` on a cascade of the model store."""

from __future__ import annotations

from pathlib import Path

from tests.commands import optimize
from tests.optimize.publish.test_cascades import store as store  # a fixture


def test_it_says_which_argument_asks_what_it_wrote(store: Path, tmp_path: Path) -> None:
    home, models = store.parent, tmp_path / "repository"
    said = optimize("export-triton", "tiny", models, "--server", "mlserver", home=home).stdout
    assert "holds cpu-fp32 as version" in said
    assert "  --arg text_expert_url=oip+http://localhost:8080/tiny-expert\n" in said
    assert "  --arg text_expert_url=oip+grpc://localhost:8081/tiny-expert\n" in said
    for name, error in (
        ("other", "other is no cascade of the model store, which has tiny"),
        ("tiny", "got something else in it; remove it"),
    ):
        refused = optimize("export-triton", name, models, home=home, check=False)
        assert refused.returncode == 1
        assert error in refused.stderr

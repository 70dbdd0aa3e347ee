"""`python -m optimize export-triton` on a cascade of the model store."""

from __future__ import annotations

from pathlib import Path

import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models.model import ModelStore

from optimize.__main__ import main
from tests.optimize.publish.test_cascades import store as store  # a fixture


def test_it_says_which_argument_asks_what_it_wrote(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BentoMLContainer.model_store.patch(ModelStore(store)):
        assert main(["export-triton", "tiny", str(tmp_path / "models"), "--server", "mlserver"]) == 0
        said = capsys.readouterr().out
        assert main(["export-triton", "other", str(tmp_path / "models")]) == 1
        assert "other is no cascade of the model store, which has tiny" in capsys.readouterr().err
        assert main(["export-triton", "tiny", str(tmp_path / "models")]) == 1
        assert "it holds something else" in capsys.readouterr().err
    assert "holds cpu-fp32 as version" in said
    assert "  --arg text_expert_url=oip+http://localhost:8080/tiny-expert\n" in said
    assert "  --arg text_expert_url=oip+grpc://localhost:8081/tiny-expert\n" in said

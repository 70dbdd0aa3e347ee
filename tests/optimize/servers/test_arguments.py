"""The command line of `export-triton`, on a cascade of the model store."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models.model import ModelStore

from optimize.errors import ExportError
from optimize.servers.arguments import add_export
from serving.errors import ArtifactError
from tests.optimize.publish.test_cascades import store as store  # a fixture


def carry_out(*words: str) -> None:
    parser = argparse.ArgumentParser()
    add_export(parser)
    options = parser.parse_args(words)
    options.call(options)


def test_it_says_which_argument_asks_what_it_wrote(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "repository")
    with BentoMLContainer.model_store.patch(ModelStore(store)):
        carry_out("tiny", folder, "--server", "mlserver")
        with pytest.raises(ArtifactError, match="other is no cascade of the model store, which has tiny"):
            carry_out("other", folder)
        with pytest.raises(ExportError, match="got something else in it; remove it"):
            carry_out("tiny", folder)
    said = capsys.readouterr().out
    assert "holds cpu-fp32 as version" in said
    assert "  --arg text_expert_url=oip+http://localhost:8080/tiny-expert\n" in said
    assert "  --arg text_expert_url=oip+grpc://localhost:8081/tiny-expert\n" in said

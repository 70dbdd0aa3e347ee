"""Which models are served."""

from __future__ import annotations

from serving.watch.model_info import OF_ONE, OF_SEVERAL, ModelInfo
from tests.serving.conftest import sample

INFO = {
    "model": "a-screen:1",
    "digest": "1" * 64,
    "variant": "cpu-int8",
    "provider": "CPUExecutionProvider",
    "device": "cpu",
}


def test_a_model_is_served_until_it_is_gone(clean_registry: None) -> None:
    models, named = ModelInfo(OF_ONE), {"modality": "text", "role": "screen"}
    models.serves(["text"], "screen", holds=False, **INFO)
    assert (sample("sieve_model_info", **named, **INFO), sample("sieve_golden_holds", **named)) == (1, 0)
    models.gone(["text"], "screen", **INFO)
    assert sample("sieve_model_info", **named, **INFO) == 0


def test_each_of_several_cascades_has_a_series_with_its_name(clean_registry: None) -> None:
    models = ModelInfo(OF_SEVERAL)
    for name, holds in (("a", True), ("b", False)):
        models.serves(["text", name], "screen", holds=holds, **INFO)
    held = [sample("sieve_golden_holds", modality="text", cascade=name, role="screen") for name in "ab"]
    assert held == [1, 0]

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.data import stored_texts
from optimize.data.stored_texts import GrowingTexts, StoredTexts

TEXTS = st.none() | st.text(st.sampled_from("aä😀\ud800\n"), max_size=5)


@settings(max_examples=40)
@given(st.lists(st.lists(TEXTS, max_size=4), max_size=6), st.integers(0, 8))
def test_texts_are_those_that_were_added_wherever_they_are(parts: list[list[str | None]], spilled: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_texts, "SPILLED_CHARACTERS", spilled)
        growing = GrowingTexts(None)
        for part in parts:
            growing.extend(part)
        found = growing.done()
    texts = [text for part in parts for text in part]
    assert list(found) == texts
    assert [found[place] for place in range(-len(texts), len(texts))] == texts * 2
    assert found[1:4] == texts[1:4]
    assert isinstance(found, StoredTexts) or sum(len(text or "") for text in texts) <= spilled * len(parts)


def test_the_file_has_no_name_that_a_stopped_run_could_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_texts, "SPILLED_CHARACTERS", 0)
    growing = GrowingTexts(tmp_path)
    growing.extend(["text"])
    assert not list(tmp_path.iterdir())
    assert list(growing.done()) == ["text"]

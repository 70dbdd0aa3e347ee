"""What goes with an audited item and comes back."""

from __future__ import annotations

import pytest

from serving.audit.note import Note, durable_of, report_subject, work_subject
from serving.errors import MalformedError
from serving.model.answer import Answer


@pytest.mark.parametrize("label", ["größer", ("a", "b"), ()])
def test_a_note_comes_back_as_it_went_and_each_has_an_id_of_its_own(label: str | tuple[str, ...]) -> None:
    answer = Answer(label=label, confidence=0.1 + 0.2, margin=0.1, scores=(0.5, 0.5))
    note = Note.of(answer, 2, 1, "request")
    assert note.packed().isascii()
    assert Note.read(note.packed()) == note
    assert (note.label, note.confidence, note.level, note.life, note.request) == (label, 0.1 + 0.2, 2, 1, "request")
    assert Note.of(answer, 2, 1, "request").id != note.id


@pytest.mark.parametrize("header", ["", "zz", b"{}".hex(), b'{"id":"1"}'.hex()])
def test_what_is_no_note_is_refused(header: str) -> None:
    with pytest.raises(MalformedError, match="must be a note"):
        Note.read(header)


def test_a_weight_that_there_is_not_is_refused() -> None:
    note = Note(id="1", request="", level=3, life=0, label="a", confidence=0.5)
    with pytest.raises(MalformedError):
        Note.read(note.packed())


def test_subjects_are_of_one_digest_and_of_one_state_of_one_promise() -> None:
    assert work_subject("abc") == "sieve.audit.work.abc"
    subjects = {report_subject(origin, tag) for origin in ("1", "2") for tag in ("mine:1", "mine:2")}
    assert len(subjects) == 4
    for subject in subjects:
        assert subject.count(".") == 3, "the stream takes one word after its own"
        assert "." not in durable_of(subject)

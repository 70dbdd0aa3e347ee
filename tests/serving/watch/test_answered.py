"""Answers are remembered by all processes of a server, without their content, until later ones overwrite them."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cascade.cascade import StageAnswer
from serving.errors import AlreadyToldError, InvalidInputError, NotRememberedError
from serving.model.answer import Answer
from serving.model.head import SOFTMAX, Sigmoid
from serving.watch.answered import UNKNOWN, About, AnsweredMemory, answered_memory
from serving.watch.record import RequestRecord

LABELS = ("ham", "spam", "other")


def cascade(name: str = "mine", version: str = "v1", labels: Sequence[str] = LABELS, *, sets: bool = False) -> Any:
    head = Sigmoid((0.0,) * len(labels)) if sets else SOFTMAX
    inner = SimpleNamespace(labels=tuple(labels), screen_head=head)
    return SimpleNamespace(kind="text", name=name, version=version, cascade=inner)


def given_by(stage: Any, label: Any, screen_label: Any = None) -> StageAnswer:
    answer = Answer(label=label, confidence=0.9, margin=0.8, scores=(0.9, 0.1))
    return StageAnswer(answer=answer, stage=stage, escalated=False, degraded=None, screen_label=screen_label)


def record(
    request_id: str, *answers: StageAnswer, of: Any = None, places: Sequence[int] | None = None
) -> RequestRecord:
    made = RequestRecord("/classify_text", request_id)
    made.answered(of or cascade(), answers)
    made.places = places
    return made


def test_what_was_answered_can_be_told_right_or_wrong(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 10)
    memory.remember(record("a", given_by("screen", "spam")))
    memory.remember(record("b", given_by("expert", "spam", "ham")))
    memory.remember(record("c", given_by("expert", "spam")))  # the screen failed, or its label was not kept
    assert memory.tell("a", 0, "spam").right == {"cascade": True, "screen": True, "expert": None}
    assert memory.tell("b", 0, "spam").right == {"cascade": True, "screen": False, "expert": True}
    told = memory.tell("c", 0, "other")
    assert told.right == {"cascade": False, "screen": None, "expert": False}
    assert (told.about, told.again) == (About.of(cascade()), False)


def test_an_item_of_a_list_is_found_by_its_place_in_the_request(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 10)
    memory.remember(record("a", given_by("screen", "spam"), given_by("screen", "ham"), places=[0, 2]))
    assert memory.tell("a", 2, "ham").right["cascade"]
    with pytest.raises(NotRememberedError, match="item 1 of this request is not remembered"):
        memory.tell("a", 1, "ham")


def test_an_item_that_nobody_answered_is_not_remembered(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 10)
    nothing = StageAnswer(answer=None, stage="screen", escalated=False, degraded="failed")
    memory.remember(record("a", nothing, given_by("screen", "ham")))
    assert memory.tell("a", 1, "ham").right["cascade"]
    with pytest.raises(NotRememberedError):
        memory.tell("a", 0, "ham")


def test_the_first_label_that_is_told_counts(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 10)
    memory.remember(record("a", given_by("screen", "spam")))
    assert not memory.tell("a", 0, "ham").again
    assert memory.tell("a", 0, "ham").again
    with pytest.raises(AlreadyToldError, match="another label was told"):
        memory.tell("a", 0, "spam")
    (of_mine,) = memory.answered()
    assert of_mine.told.tolist() == [0]


def test_a_label_that_the_cascade_has_not_is_refused_without_saying_it(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 10)
    memory.remember(record("a", given_by("screen", "spam")))
    with pytest.raises(InvalidInputError, match=r"label: must be of the labels .* use these: ham, spam, other") as said:
        memory.tell("a", 0, "secret")
    assert "secret" not in str(said.value)
    with pytest.raises(InvalidInputError, match="must be one label for an answer"):
        memory.tell("a", 0, ("spam",))
    assert not memory.answered()


def test_label_sets_are_told_as_sets(tmp_path: Path) -> None:
    memory, of = AnsweredMemory(tmp_path, 10), cascade(sets=True)
    memory.remember(record("a", given_by("screen", ("ham", "other")), of=of))
    memory.remember(record("b", given_by("screen", ()), of=of))
    assert memory.tell("a", 0, ("other", "ham", "ham")).right["cascade"]
    assert memory.tell("b", 0, ()).right["cascade"]
    with pytest.raises(InvalidInputError, match="labels: must be a list of labels"):
        memory.tell("a", 0, "ham")
    many = cascade("many", labels=[str(number) for number in range(64)], sets=True)
    memory.remember(record("c", given_by("screen", ()), of=many))
    with pytest.raises(NotRememberedError):
        memory.tell("c", 0, ())


def test_the_oldest_is_overwritten_and_what_was_told_of_it_goes_too(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 3)
    for number in range(3):
        memory.remember(record(str(number), given_by("screen", "ham")))
        memory.tell(str(number), 0, "ham")
    memory.remember(record("3", given_by("screen", "ham")))
    with pytest.raises(NotRememberedError, match="3 later items were by the same process"):
        memory.tell("0", 0, "ham")
    (of_mine,) = memory.answered()
    assert len(of_mine.told) == 2
    assert not memory.tell("3", 0, "spam").right["cascade"]


def test_the_last_answer_under_an_id_counts(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 5)
    for label in ("ham", "spam"):
        memory.remember(record("again", given_by("screen", label)))
    assert memory.tell("again", 0, "spam").right["cascade"]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(LABELS)), max_size=30))
def test_a_memory_is_like_a_table_of_the_last_answers(answers: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory = AnsweredMemory(Path(folder), 4)
        for request_id, label in answers:
            memory.remember(record(request_id, given_by("screen", label)))
        last = dict(answers[-4:])
        for request_id in "abcd":
            if request_id in last:
                assert memory.tell(request_id, 0, last[request_id]).right["cascade"]
            else:
                with pytest.raises(NotRememberedError):
                    memory.tell(request_id, 0, "ham")


def remember_elsewhere(folder: Path, request_id: str, done: Any, end: Any) -> None:
    memory = AnsweredMemory(folder, 10)
    memory.remember(record(request_id, given_by("screen", "spam"), of=cascade(version="v2")))
    done.set()
    end.wait()


def test_another_process_finds_it_and_the_next_one_goes_on_in_its_file(tmp_path: Path) -> None:
    mine = AnsweredMemory(tmp_path, 10)
    context = multiprocessing.get_context("spawn")
    done, end = context.Event(), context.Event()
    other = context.Process(target=remember_elsewhere, args=(tmp_path, "theirs", done, end))
    other.start()
    try:
        assert done.wait(120)
        told = mine.tell("theirs", 0, "ham")
        assert (told.about.version, told.right["cascade"]) == ("v2", False)
        assert len(list(tmp_path.glob("*.answers"))) == 2
    finally:
        end.set()
        other.join()
    next_one = AnsweredMemory(tmp_path, 10)
    assert len(list(tmp_path.glob("*.answers"))) == 2, "it took the file of the process that ended"
    next_one.remember(record("later", given_by("screen", "ham")))
    assert next_one.tell("theirs", 0, "ham").again, "what the ended process had answered is still there"
    assert mine.tell("later", 0, "ham").right["cascade"]
    assert {each.about.version: len(each.told) for each in mine.answered()} == {"v1": 1, "v2": 1}


def test_nothing_of_the_content_or_of_the_id_is_kept(tmp_path: Path) -> None:
    memory = AnsweredMemory(tmp_path, 10)
    memory.remember(record("a-very-special-id", given_by("screen", "spam")))
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"special" not in held


def test_what_no_stage_said_is_no_label_set() -> None:
    about = About(kind="text", name="n", version="v", labels=tuple(map(str, range(63))), sets=True)
    assert about.code(about.labels) < UNKNOWN
    assert about.code(None) == UNKNOWN
    assert np.uint64(about.code(about.labels)) != np.uint64(UNKNOWN)


def test_a_memory_is_made_where_one_is_wanted(tmp_path: Path) -> None:
    assert answered_memory(0, tmp_path) is None
    memory = answered_memory(5, tmp_path)
    assert memory is not None
    assert (tmp_path / "answered").is_dir()
    alone = answered_memory(5, None)
    assert alone is not None
    alone.remember(record("a", given_by("screen", "ham")))
    assert alone.tell("a", 0, "ham").right["cascade"]

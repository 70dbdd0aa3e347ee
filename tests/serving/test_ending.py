"""A process that cannot serve ends with one sentence."""

from __future__ import annotations

import pytest

from serving.ending import in_one_sentence
from serving.errors import ArtifactError


def test_an_error_ends_the_process_with_its_message_and_what_it_is_about() -> None:
    with pytest.raises(SystemExit, match=r"^a-screen:1: manifest\.json is missing$"), in_one_sentence("a-screen:1"):
        raise ArtifactError("manifest.json is missing")


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), in_one_sentence("a-screen:1"):
        raise ZeroDivisionError

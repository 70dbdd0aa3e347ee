"""The arguments of `bentoml serve`, and the variables beside them."""

from __future__ import annotations

import pytest

from serving.arguments import Arguments, with_variables
from serving.errors import SettingsError


def test_an_empty_name_is_not_served() -> None:
    assert Arguments().served == {"text": "demo-text", "image": "demo-image"}
    assert Arguments(text="", image="mine").served == {"image": "mine"}
    assert Arguments(text="", image="").served == {}


def test_an_expert_without_a_name_ends_the_process_with_a_sentence() -> None:
    arguments = Arguments(text="", image="mine")
    arguments.require("image")
    with pytest.raises(SystemExit, match="an expert needs a name; give it with --arg text=NAME"):
        arguments.require("text")


def test_an_expert_is_remote_where_it_has_a_url() -> None:
    arguments = Arguments(image_expert_url="http://10.0.0.1:3000")
    assert (arguments.expert_url("text"), arguments.expert_url("image")) == ("", "http://10.0.0.1:3000")


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        Arguments.model_validate({"colour": "red"})


def test_an_argument_counts_before_a_variable() -> None:
    variables = {"SIEVE_TEXT_EXPERT_URL": "http://text-expert:3000", "SIEVE_IMAGE_EXPERT_URL": ""}
    assert with_variables(Arguments(), variables).text_expert_url == "http://text-expert:3000"
    given = with_variables(Arguments(text_expert_url="http://10.0.0.1"), variables)
    assert given.text_expert_url == "http://10.0.0.1"
    with pytest.raises(SettingsError, match="SIEVE_IMAGE_EXPERT_URL: must be http://HOST"):
        with_variables(Arguments(), {"SIEVE_IMAGE_EXPERT_URL": "https://expert"})


def test_what_is_no_address_is_refused() -> None:
    for url in ("http://h:1/path", "ftp://h", "http://user@h", "h:3000"):
        with pytest.raises(ValueError, match="text_expert_url"):
            Arguments(text_expert_url=url)

"""The arguments of `bentoml serve`, and the variables beside them."""

from __future__ import annotations

from pathlib import Path

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
        with_variables(Arguments(), {"SIEVE_IMAGE_EXPERT_URL": "ftp://expert"})


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://h", "http://h.example:1", "https://10.0.0.1:3000", "http://[::1]", "https://[fe80::1]:65535"],
)
def test_an_address_may_be_secured_or_ipv6(url: str) -> None:
    assert Arguments(text_expert_url=url).text_expert_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1/path",
        "http://h/",
        "http://h?a",
        "http://h#a",
        "ftp://h",
        "http://user@h",
        "h:3000",
        "http://::1:3000",
        "http://[::1",
        "http://[nonsense]:3000",
        "http://[127.0.0.1]",
        "http://h:65536",
        "http://h:0",
        "http://h:",
        "http://a b",
        "http://h\n",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="text_expert_url"):
        Arguments(text_expert_url=url)


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for file in ("missing.pem", "empty.pem"):
        with pytest.raises(SettingsError, match="expert_ca: must be a file of certificates in PEM, got"):
            with_variables(Arguments(), {"SIEVE_EXPERT_CA": str(tmp_path / file)})


def test_the_port_of_grpc_is_off_unless_it_is_given_or_a_variable_has_it() -> None:
    assert Arguments().grpc_port == ""
    assert with_variables(Arguments(grpc_port="8001"), {"SIEVE_GRPC_PORT": "9000"}).grpc_port == "8001"
    assert with_variables(Arguments(), {"SIEVE_GRPC_PORT": "9000"}).grpc_port == "9000"
    with pytest.raises(SettingsError, match=r"^SIEVE_GRPC_PORT: must be a port from 1 to 65535, got something else; m"):
        with_variables(Arguments(), {"SIEVE_GRPC_PORT": "65536"})


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http", "8001.0", "08001", " 1"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(ValueError, match="must be a port from 1 to 65535"):
        Arguments(grpc_port=port)

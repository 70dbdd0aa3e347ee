"""The arguments of `bentoml serve`, and the variables beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.arguments import Arguments, Chosen, with_variables
from serving.errors import SettingsError
from serving.expert_tls import ExpertTls
from tests.certificates import authority


def test_an_empty_name_is_not_served() -> None:
    assert Arguments().served == [Chosen("text", "demo-text", 0), Chosen("image", "demo-image", 0)]
    assert Arguments(text="", image="mine").served == [Chosen("image", "mine", 0)]
    assert Arguments(text="", image="").served == []


def test_a_kind_of_input_may_have_several_cascades() -> None:
    arguments = Arguments(text="b,a", image="c")
    assert arguments.served == [Chosen("text", "b", 0), Chosen("text", "a", 1), Chosen("image", "c", 0)]
    assert (arguments.several, Arguments().several) == (True, False)
    assert arguments.require("text", 1).name == "a"


@pytest.mark.parametrize("names", ["a,", ",a", "a,a", "a, b", "a=b", " "])
def test_what_are_no_names_is_refused(names: str) -> None:
    with pytest.raises(ValueError, match="must be the names of cascades, each once"):
        Arguments(text=names)


def test_an_expert_without_a_name_ends_the_process_with_a_sentence() -> None:
    arguments = Arguments(text="", image="mine")
    arguments.require("image")
    with pytest.raises(SystemExit, match="an expert needs a name; give it with --arg text=NAME"):
        arguments.require("text")


def test_an_expert_is_remote_where_it_has_a_url() -> None:
    arguments = Arguments(image_expert_url="http://10.0.0.1:3000")
    assert [arguments.expert_url(chosen) for chosen in arguments.served] == ["", "http://10.0.0.1:3000"]


def test_each_of_several_experts_may_have_a_url() -> None:
    arguments = Arguments(text="a,b,c", text_expert_url="c=https://h:1,a=http://[::1]", image="")
    with_variables(arguments, {})
    assert [arguments.expert_url(chosen) for chosen in arguments.served] == ["http://[::1]", "", "https://h:1"]
    other = Arguments(text="a,b", text_expert_url="b=oip+grpc://h:8001/b-expert/versions/3", image="")
    assert [other.expert_url(chosen) for chosen in other.served] == ["", "oip+grpc://h:8001/b-expert/versions/3"]
    alone = Arguments(text="a", text_expert_url="a=http://h")
    assert alone.expert_url(alone.served[0]) == "http://h"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"text": "a", "image": "a"}, "text, image and the shadows must name different cascades"),
        ({"text": "a,b", "text_expert_url": "http://h"}, "text_expert_url must have one URL for each cascade"),
        ({"text": "a,b", "text_expert_url": "a=http://h,a=http://i"}, "got one without a name or a name twice"),
        ({"text": "a", "text_expert_url": "http://h,http://i"}, "got one without a name or a name twice"),
        ({"text": "a,b", "text_expert_url": "c=http://h"}, "must name cascades that are served, .*; use one of a, b$"),
        ({"text": "a", "image": "", "shadow_text": "a"}, "got one name twice"),
        ({"text": "", "image": "", "shadow_text": "a"}, "shadow_text must go with a cascade that is served"),
        ({"text": "a", "shadow_text": "b", "text_expert_url": "http://h"}, "must have one URL for each cascade"),
    ],
    ids=["both", "no-name", "twice", "two", "other", "shadow", "alone", "url"],
)
def test_names_and_urls_must_go_together(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        with_variables(Arguments(**arguments), {})


def test_a_shadow_has_the_place_after_the_served_cascades_and_may_have_a_url() -> None:
    arguments = Arguments(text="a,b", image="", shadow_text="c", text_expert_url="c=http://h")
    assert with_variables(arguments, {}).shadows == [("text", "c", 2)]
    assert [chosen.name for chosen in arguments.served] == ["a", "b"]
    assert [arguments.expert_url(chosen) for chosen in arguments.opened] == ["", "", "http://h"]
    assert arguments.require("text", 2).name == "c"
    assert [arguments.starts_expert(chosen, "nats://h") for chosen in arguments.opened] == [True, True, False]
    nowhere = Arguments(text="a", image="", shadow_text="c")
    assert [nowhere.starts_expert(chosen, "nats://h") for chosen in nowhere.opened] == [True, False]
    assert [nowhere.starts_expert(chosen, "") for chosen in nowhere.opened] == [True, True]
    assert not Arguments(text="a", image="b").several
    assert Arguments(text="a", image="b", shadow_image="c").several
    with pytest.raises(ValueError, match="must be the name of one cascade"):
        Arguments(shadow_text="a,b")


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
        "a=",
        "a=h",
        "a=http://h,",
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
        with pytest.raises(SettingsError, match=r"expert_ca: must be files in PEM without a password, .*got"):
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


def test_a_certificate_for_experts_needs_its_key(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    client = ours.sign("client", "DNS:api")
    variables = {
        "SIEVE_EXPERT_CA": str(ours.file),
        "SIEVE_EXPERT_CERT": str(client.file),
        "SIEVE_EXPERT_KEY": str(client.key),
    }
    whole = with_variables(Arguments(), variables)
    assert whole.expert_tls == ExpertTls(ca=str(ours.file), cert=str(client.file), key=str(client.key))
    with pytest.raises(SettingsError, match="expert_ca and expert_cert and expert_key: must be files in PEM"):
        with_variables(Arguments(), {**variables, "SIEVE_EXPERT_KEY": str(ours.key)})
    with pytest.raises(SettingsError, match="expert_key must go with expert_cert"):
        with_variables(Arguments(expert_key=str(client.key)), {})


def test_a_cascade_has_an_attribute_for_each_role() -> None:
    assert Chosen("text", "mine", 1).attribute("operating-point") == "text_1_operating_point"

"""Where an expert is: URLs of ours, which tests/serving/test_arguments.py has, and of models on other servers."""

from __future__ import annotations

import pytest

from serving.expert_url import OtherPlace, checked, other_place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("oip+http://h:8000/m", OtherPlace("http", "h:8000", "m", "")),
        ("oip+https://h.example:443/sms-risk-expert", OtherPlace("https", "h.example:443", "sms-risk-expert", "")),
        ("oip+grpc://10.0.0.1:8001/a_b.c", OtherPlace("grpc", "10.0.0.1:8001", "a_b.c", "")),
        ("oip+grpc://[::1]:8001/m/versions/3", OtherPlace("grpc", "[::1]:8001", "m", "3")),
        ("oip+grpcs://h:8001/m", OtherPlace("grpcs", "h:8001", "m", "")),
    ],
)
def test_a_model_on_another_server_has_a_place(url: str, place: OtherPlace) -> None:
    assert checked(url) == url
    assert other_place(url) == place


@pytest.mark.parametrize("url", ["http://h", "https://h:3000", "file:///tmp/expert.sock"])
def test_ours_have_none(url: str) -> None:
    assert other_place(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "oip+http://h/m",
        "oip+http://h:8000",
        "oip+http://h:8000/",
        "oip+http://h:8000/a/b",
        "oip+http://h:8000/m/versions/",
        "oip+http://h:8000/m?a",
        "oip+http://h:8000/m\r\nX: y",
        "oip+http://h:0/m",
        "oip+http://h:65536/m",
        "oip+http://[nonsense]:1/m",
        "oip+ftp://h:8000/m",
        "grpc://h:8001/m",
        "oip+grpc://user@h:8001/m",
    ],
)
def test_what_is_no_such_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be http://HOST:PORT or https://HOST:PORT of an expert of Sieve"):
        checked(url)

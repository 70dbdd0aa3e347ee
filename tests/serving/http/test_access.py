"""What variables and settings say of who may do what."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config

from serving.errors import KeyMissingError, RightMissingError, SettingsError
from serving.http.access import Access
from serving.http.keys import Right, new_key
from serving.settings import Settings

KEY, ENTRY = new_key("shop", ["classify"], 8)
OPERATORS = "0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "keys.toml").write_text(ENTRY)
    return str(tmp_path / "keys.toml")


def admitted(access: Access, key: str, right: Right = "classify") -> str:
    gate = access.gate(lambda _key, _outcome: None)
    found = gate.admit(right, [(b"x-api-key", key.encode())], "10.0.0.1")
    assert found is not None
    return found.name


def test_without_variables_everybody_may_do_everything_but_operate() -> None:
    variables: dict[str, str] = {}
    access = Access(variables, Settings())
    assert not access.gate(lambda _key, _outcome: None).stands
    assert dict(access.admin.methods) == {}
    assert "SIEVE_ADMIN_KEY" not in variables


def test_a_file_of_keys_is_read_and_the_key_of_operators_is_one_of_them(file: str) -> None:
    access = Access({"SIEVE_API_KEYS_FILE": file, "SIEVE_ADMIN_KEY": OPERATORS}, Settings(workers=2))
    assert admitted(access, KEY) == "shop"
    assert admitted(access, OPERATORS, "admin") == "operator"
    with pytest.raises(RightMissingError):
        admitted(access, OPERATORS)
    with pytest.raises(KeyMissingError):
        admitted(access, "")


def test_a_process_has_its_share_of_the_rate(file: str) -> None:
    access = Access({"SIEVE_API_KEYS_FILE": file}, Settings(workers=4))
    assert [admitted(access, KEY) for _ in range(2)] == ["shop"] * 2
    with pytest.raises(Exception, match="this key has sent more requests a second"):
        admitted(access, KEY)


@pytest.mark.parametrize("stated", [{}, {"SIEVE_ADMIN_KEY": ""}], ids=["none", "empty"])
def test_with_keys_operators_need_no_variable_since_the_processes_of_a_server_share_one(
    file: str, stated: dict[str, str]
) -> None:
    variables = {"SIEVE_API_KEYS_FILE": file, **stated}
    first = Access(variables, Settings())
    assert dict(first.admin.methods) == {"/admin/models/{name}": "POST"}
    assert Access(variables, Settings()).admin.stated == first.admin.stated == variables["SIEVE_ADMIN_KEY"]
    assert len(first.admin.stated) == 64


def test_workers_find_the_file_in_whatever_folder_they_run(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(file).parent)
    variables = {"SIEVE_API_KEYS_FILE": "keys.toml"}
    Access(variables, Settings())
    assert variables["SIEVE_API_KEYS_FILE"] == file


def test_a_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="keys must be a file that can be read"):
        Access({"SIEVE_API_KEYS_FILE": str(tmp_path / "none")}, Settings())


@pytest.mark.parametrize(
    ("variables", "proxies", "trusted"),
    [
        ({}, (), ""),
        ({}, ("10.0.0.0/8", "::1"), "10.0.0.0/8,::1"),
        ({"FORWARDED_ALLOW_IPS": "10.1.1.1"}, (), "10.1.1.1"),
    ],
    ids=["nobody", "named", "stated"],
)
def test_nobody_s_x_forwarded_for_counts_unless_a_proxy_is_named(
    variables: dict[str, str], proxies: tuple[str, ...], trusted: str
) -> None:
    Access(variables, Settings(trusted_proxies=proxies))
    assert variables["FORWARDED_ALLOW_IPS"] == trusted


def test_an_address_has_its_rate() -> None:
    gate = Access({}, Settings(requests_per_address=2, workers=2)).gate(lambda _key, _outcome: None)
    assert gate.admit("classify", [], "10.0.0.1") is None
    with pytest.raises(Exception, match="this address has sent more requests a second"):
        gate.admit("classify", [], "10.0.0.1")
    assert gate.admit("classify", [], "10.0.0.2") is None


@pytest.mark.parametrize(
    ("host", "keys", "warned"),
    [("127.0.0.1", False, 0), ("::1", False, 0), ("0.0.0.0", False, 1), ("10.0.0.1", False, 1), ("0.0.0.0", True, 0)],
)
def test_a_service_that_others_reach_without_a_key_says_so_once(
    file: str, host: str, keys: bool, warned: int, logged: list[logging.LogRecord]
) -> None:
    Access({"SIEVE_API_KEYS_FILE": file} if keys else {}, Settings()).warn_if_open(host)
    assert len(logged) == warned
    for record in logged:
        assert record.levelno == logging.WARNING
        assert "there are no keys. Set SIEVE_API_KEYS_FILE" in record.getMessage()


@pytest.mark.parametrize(("proxies", "client"), [((), "127.0.0.1"), (("127.0.0.1",), "10.0.0.9")])
def test_uvicorn_follows_it(monkeypatch: pytest.MonkeyPatch, proxies: tuple[str, ...], client: str) -> None:
    """What a client writes itself stands before what its proxy adds, also in a line of its own."""
    variables: dict[str, str] = {}
    Access(variables, Settings(trusted_proxies=proxies))
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", variables["FORWARDED_ALLOW_IPS"])
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["client"][0])

    config = Config(app, log_config=None)
    config.load()
    sent = [(b"x-forwarded-for", b"192.0.2.1, 192.0.2.2"), (b"x-forwarded-for", b"10.0.0.9")]
    scope = {"type": "http", "client": ("127.0.0.1", 5000), "headers": sent}
    asyncio.run(config.loaded_app(scope, None, None))  # type: ignore[arg-type]  # nobody calls them
    assert seen == [client]

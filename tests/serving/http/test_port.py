from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from serving.errors import SettingsError
from serving.http.port import end_unless_free, require_free_port


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_another_process_has_is_refused_in_one_sentence(family: int, host: str) -> None:
    try:
        taken = socket.socket(family)
        taken.bind((host, 0))
    except OSError:
        pytest.skip(f"this machine has no address {host}")
    with taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            SettingsError, match=rf"^port {port} of {host} cannot be had \(Address already in use\); end"
        ) as e:
            require_free_port(host, port)
        assert "\n" not in str(e.value)
    require_free_port(host, port)


def test_a_host_must_be_an_address() -> None:
    with pytest.raises(SettingsError, match=r"^host must be an IP address, got 'localhost'; 127\.0\.0\.1 is for"):
        require_free_port("localhost", 3000)


def test_all_ports_that_are_needed_must_be_free() -> None:
    with socket.socket() as free, socket.socket() as taken:
        for one in (free, taken):
            one.bind(("127.0.0.1", 0))
        port, other = (one.getsockname()[1] for one in (free, taken))
        free.close()
        defaults = SimpleNamespace(
            host=SimpleNamespace(get=lambda: "127.0.0.1"), port=SimpleNamespace(get=lambda: port)
        )
        assert end_unless_free(defaults, grpc_port="") == "127.0.0.1"
        with pytest.raises(SystemExit, match=rf"^port {other} of 127.*, such as --arg grpc_port=\d+$"):
            end_unless_free(defaults, grpc_port=str(other))

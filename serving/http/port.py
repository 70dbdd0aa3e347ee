"""The port of the API, before any process is started for it."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import click

from serving.errors import SettingsError


def end_unless_free(defaults: Any, **others: str) -> str:
    """The host that is served on. End `bentoml serve` with one sentence if a port of it cannot be had.

    BentoML would end with a traceback. `defaults` are its providers of `host` and `port`, for what the command line
    does not say. `others` are ports that are needed beside that one, by their arguments; an empty one is none.
    """
    context = click.get_current_context(silent=True)
    asked = {name: value for name, value in (context.params if context else {}).items() if value is not None}
    host = str(asked.get("host", defaults.host.get()))
    try:
        require_free_port(host, asked.get("port", defaults.port.get()))
        for argument, port in others.items():
            if port:
                require_free_port(host, int(port), f"--arg {argument}=")
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    return host


def require_free_port(host: str, port: int, option: str = "--port ") -> None:
    """Raise SettingsError if another process listens on `port`, if this one may not, or if `host` is a name.

    `option` is what chooses the port on the command line.
    """
    try:
        family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    except ValueError:
        raise SettingsError(
            f"host must be an IP address, got {host!r}; 127.0.0.1 is for this machine alone, 0.0.0.0 for all of its "
            "addresses"
        ) from None
    with socket.socket(family) as probe:
        # A port whose last server has just ended may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except PermissionError:
            raise SettingsError(
                f"port {port} is for the superuser; serve on one above 1023, such as {option}3000"
            ) from None
        except OSError as error:
            raise SettingsError(
                f"port {port} of {host} cannot be had ({error.strerror}); end the process that listens there, or serve "
                f"on another port, such as {option}{port + 1 if port < 65535 else 3000}"
            ) from None

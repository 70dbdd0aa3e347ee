"""Connections that are used again about five seconds later, when many servers close them; through proxies, too."""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from loadtest.traffic.process import free_port, running
from tests.hostile.conftest import Tally
from tests.hostile.raw import answers_in, place_of
from tests.server import Server

REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
IDLE_S = (4.9, 5.1)
CONNECTIONS, ROUNDS = 600, 12
LOST = 0
"""Stands for the status of a request on a connection that was closed."""

NGINX = """
daemon off; worker_processes 1; error_log stderr; pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_timeout 60s; keepalive_requests 1000000;
  upstream sieve {{ server {server}; keepalive 1024; keepalive_timeout 60s; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://sieve; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream off;
    }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  retries 0
  http-reuse always
frontend here
  bind 127.0.0.1:{port}
  default_backend sieve
backend sieve
  server one {server} pool-purge-delay 60s pool-max-conn -1
"""


async def again_and_again(url: str, rounds: int, spread_s: float) -> Counter[int]:
    """The statuses of requests over one connection, each about five seconds after the one before.

    The first comes within `spread_s`.
    """
    reader, writer = await asyncio.open_connection(*place_of(url))
    came: Counter[int] = Counter()
    try:
        for turn in range(rounds + 1):
            await asyncio.sleep(random.uniform(*IDLE_S) if turn else random.uniform(0, spread_s))
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = [
                line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
            ]
            (answer,) = answers_in(head + await reader.readexactly(int(length)))
            came[answer.status] += 1
    except (asyncio.IncompleteReadError, ConnectionError):
        came[LOST] += 1
    finally:
        writer.close()
    return came


async def asked_by_all(urls: list[str], connections: int, rounds: int, spread_s: float) -> list[Counter[int]]:
    """The statuses by URL, of so many connections each."""

    async def one(url: str) -> Counter[int]:
        each = await asyncio.gather(*(again_and_again(url, rounds, spread_s) for _ in range(connections)))
        return sum(each, Counter())

    async with asyncio.timeout(300):
        return await asyncio.gather(*map(one, urls))


@contextmanager
def nginx(server: Server, folder: Path) -> Iterator[str]:
    """The URL of nginx in front of the server. It sends no request twice."""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, server=host_and_port(server), port="{port}"))
    with proxy(["nginx", "-p", str(folder), "-c"], folder / "nginx.conf") as url:
        yield url


@contextmanager
def haproxy(server: Server, folder: Path) -> Iterator[str]:
    """The URL of HAProxy in front of the server. It sends no request twice."""
    (folder / "haproxy.cfg").write_text(HAPROXY.format(server=host_and_port(server), port="{port}"))
    with proxy(["haproxy", "-db", "-f"], folder / "haproxy.cfg") as url:
        yield url


@contextmanager
def proxy(line: list[str], configuration: Path) -> Iterator[str]:
    port = free_port()
    configuration.write_text(configuration.read_text().replace("{port}", str(port)))
    log = configuration.with_suffix(".log")
    folder = configuration.parent
    with running([*line, str(configuration)], ready="/livez", log=log, folder=folder, port=port) as started:
        yield started.url


def host_and_port(server: Server) -> str:
    return ":".join(map(str, place_of(server.url)))


PROXIES = {"nginx": nginx, "haproxy": haproxy}


@pytest.fixture
def there() -> list[str]:
    """The proxies of this machine; skips where one is missing, or where a process may have few connections."""
    missing = [name for name in PROXIES if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} here (apt-get install {' '.join(missing)})")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
        pytest.skip("a process may have too few connections here (ulimit -n 4096)")
    return list(PROXIES)


@pytest.mark.hostile
def test_none_of_20000_requests_is_lost_about_five_seconds_after_another(
    server: Server, tally: Tally, there: list[str], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        urls = [server.url]
        for name in there:
            (folder := tmp_path / name).mkdir()
            urls.append(stack.enter_context(PROXIES[name](server, folder)))
        came = asyncio.run(asked_by_all(urls, CONNECTIONS, ROUNDS, IDLE_S[0]))
    for name, statuses in zip(["keep-alive", *(f"keep-alive through {name}" for name in there)], came, strict=True):
        for status, count in statuses.items():
            tally.add(name, status, count)
    assert came == [{200: CONNECTIONS * (ROUNDS + 1)}] * len(urls)
    assert CONNECTIONS * ROUNDS * len(urls) > 20_000

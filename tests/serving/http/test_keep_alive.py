"""How long idle connections are kept, as click knows what was stated."""

from __future__ import annotations

import asyncio

import click
import pytest
from _bentoml_impl.worker.service import main as worker
from click.testing import CliRunner

from serving.http.keep_alive import KEEP_ALIVE_S, OPTION, keep_alive_s
from serving.http.protocol import install_protocol
from tests.serving.http.test_door import request
from tests.serving.http.test_protocol import installed as installed
from tests.serving.http.test_protocol import response, run, served


def test_bentomls_worker_has_the_option_with_a_default() -> None:
    (option,) = [each for each in worker.params if each.name == OPTION]
    assert option.default == 5


@pytest.mark.parametrize(
    ("stated", "seconds"), [([], str(KEEP_ALIVE_S)), (["--timeout-keep-alive", "5"], "None")], ids=["default", "stated"]
)
def test_what_is_stated_holds_also_where_it_is_bentomls_default(stated: list[str], seconds: str) -> None:
    @click.command()
    @click.option("--timeout-keep-alive", type=int, default=5)
    def command(timeout_keep_alive: int) -> None:
        click.echo(str(keep_alive_s()))

    assert CliRunner().invoke(command, stated).output.strip() == seconds


def test_outside_of_any_command_it_is_ours() -> None:
    assert keep_alive_s() == KEEP_ALIVE_S


def test_a_server_keeps_connections_for_so_long() -> None:
    install_protocol(1)  # and not the 60 of its configuration

    async def scenario() -> None:
        async with served(keep_alive_s=60) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request())
            assert (await response(reader))[0] == 200
            assert await reader.read() == b"", "closed after a second"
            writer.close()

    run(scenario)

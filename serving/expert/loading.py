"""Has an expert's process serve another version beside the one that it serves."""

from __future__ import annotations

import asyncio

import orjson

from serving.errors import MalformedError, SwitchRefusedError
from serving.expert.connection import Connections, Reply
from serving.expert_tls import ExpertTls

LOAD_LIMIT_S = 60.0
OK, NOT_FOUND = 200, 404


async def load_expert(url: str, tls: ExpertTls, key: str, tag: str) -> None:
    """Have the expert at `url` serve the model `tag`, NAME-expert:VERSION, too. `tls` is as `Connections` takes it.

    Returns once it is loaded, warm and checked. Raises SwitchRefusedError with the reason if it is not.
    """
    model, _, version = tag.partition(":")
    connections = Connections(url, tls)
    body = orjson.dumps({"version": version})
    head = (
        f"POST /admin/models/{model.removesuffix('-expert')} HTTP/1.1\r\nHost: {connections.host}\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(LOAD_LIMIT_S):
            reply = await _asked(connections, head.encode() + body)
    except (OSError, TimeoutError, MalformedError) as error:
        raise SwitchRefusedError(f"the expert does not answer ({type(error).__name__}); see its log") from None
    if reply.status == NOT_FOUND:
        raise SwitchRefusedError("the expert takes no such request; start it with the same SIEVE_ADMIN_KEY and cascade")
    if reply.status != OK:
        raise SwitchRefusedError(f"the expert refuses {tag}: {_said(reply)}")


async def _asked(connections: Connections, request: bytes) -> Reply:
    connection = await connections.take()
    try:
        return await connection.ask(request)
    finally:
        connection.close()


def _said(reply: Reply) -> str:
    try:
        return str(orjson.loads(reply.body)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"status {reply.status}"

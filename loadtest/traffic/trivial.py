"""A server that does no work, to test the generator against: python -m loadtest.traffic.trivial PORT."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

BODY = b'{"label":"ham","stage":"screen","degraded":null}'
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Server-Timing: screen;dur=0.01, total;dur=0.02\r\n\r\n%b" % (len(BODY), BODY)
)
END, LENGTH = b"\r\n\r\n", b"content-length:"


class Trivial(asyncio.Protocol):
    """Reads requests by their Content-Length and answers each with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports can write, but are no subclass of asyncio.Transport.
        self._transport, self._data = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(END)) >= 0:
            head = self._data[:end].lower()
            place = head.find(LENGTH)
            size = int(head[place + len(LENGTH) :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._data) < end + len(END) + size:
                return
            self._data = self._data[end + len(END) + size :]
            self._transport.write(REPLY)


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until the process ends."""
    server = await asyncio.get_running_loop().create_server(Trivial, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))

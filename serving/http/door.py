"""Refuses requests before they are parsed, while the work ahead of them is too much.

At five times the load that a process can serve, it refuses four of five requests. A request that is parsed and gets a
task and an endpoint costs as much as a fast screen. Here it costs a fraction of that. A request is refused unread only
where the response depends on nothing but its first line, its length and its id. All others go the usual way.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable

from serving.errors import OverloadedError
from serving.http.draining import Draining
from serving.http.guard import RETRY_AFTER_S, described, sound_id, to_bytes
from serving.http.mount import Methods
from serving.load.admission import MESSAGES, Admission
from serving.watch.observer import Observer

# Headers that have a say in the response, or in what becomes of the connection.
SAYS_MORE = re.compile(
    rb"\r\n(?:x-priority|traceparent|origin|expect|upgrade|transfer-encoding"
    rb"|connection(?!:[ \t]*keep-alive[ \t]*\r\n)):"
)
# A head that all parsers read alike, in lower case. A proxy in front may find other lines or another length in others.
PLAIN = re.compile(rb"(?:\r\n[!#$%&'*+\-.^_`|~0-9a-z]++:[^\x00-\x08\x0a-\x1f\x7f]*+)++\r\n")
LENGTH_NAME = b"\r\ncontent-length:"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n")
ID = b"\r\nx-request-id:"
FIRST_LINE = b"HTTP/1.1 503 Service Unavailable\r\n"
REST = (
    b"content-type: application/json\r\nretry-after: %d\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
    b"server-timing: %b\r\n\r\n%b%b"
)


class Door:
    """Refuses POSTs to the addresses of `methods` for `admission`, and reports them to `observer`; not while
    `draining`.

    `connection_made` is called for each new connection, and `looked` says whether a request might be refused.
    """

    def __init__(
        self,
        methods: Methods,
        observer: Observer,
        admission: Admission,
        draining: Draining,
        connection_made: Callable[[], None],
    ) -> None:
        self.connection_made = connection_made
        self.looked, self.turns = admission.looked, admission.turns
        self._addresses = {f"POST {path} HTTP/1.1".encode(): path for path in methods if methods[path] == "POST"}
        self._observer, self._admission, self._draining = observer, admission, draining
        self._errors = {
            reason: to_bytes({"error": described(OverloadedError(message)), "request_id": ""})[:-2]
            for reason, message in MESSAGES.items()
        }

    def refuse(
        self, data: bytes, came: Callable[[], float], server_headers: Iterable[tuple[bytes, bytes]]
    ) -> bytes | None:
        """The response to the one request that `data` holds, as sent over HTTP; None if it must be parsed.

        A request of normal priority is refused if `admission` would refuse it. `came` says when its bytes came.
        `server_headers` are those that the server adds to each response.
        """
        turns, now_s = self.turns, time.monotonic()
        arrived_s = came()
        reason = self._admission.reason("normal", arrived_s, now_s)
        if reason is None:
            if turns.expect():
                asyncio.get_running_loop().call_soon(turns.expect_nobody)
            return None
        begin, end = data.find(b"\r\n"), data.find(b"\r\n\r\n")
        address = self._addresses.get(data[:begin])
        if address is None or end < 0 or self._draining():
            return None
        head = data[begin : end + 2]
        lower = head.lower()
        length = LENGTH.search(lower)
        if length is None or len(data) != end + 4 + int(length[1]) or SAYS_MORE.search(lower):
            return None
        if lower.count(LENGTH_NAME) > 1 or not PLAIN.fullmatch(lower):
            return None
        place = lower.find(ID)
        sent = head[place + len(ID) : head.find(b"\r\n", place + 2)].strip() if place >= 0 else b""
        if b'"' in sent or b"\\" in sent:  # would have to be escaped in the body
            return None
        self._admission.count_refusal("normal", reason)
        request_id = sound_id(sent.decode("latin-1"))
        timing = self._observer.refused(address, "normal", reason, request_id, arrived_s).encode()
        said, error = request_id.encode(), self._errors[reason]
        first = [FIRST_LINE]
        for name, value in server_headers:
            first += (name, b": ", value, b"\r\n")
        ended = said + b'"}'
        return b"".join(first) + REST % (RETRY_AFTER_S, len(error) + len(ended), said, timing, error, ended)

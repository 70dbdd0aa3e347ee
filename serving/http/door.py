"""Refuses requests before they are parsed, while the work ahead of them is too much.

At five times the load that a process can serve, it refuses four of five requests. A request that is parsed and gets a
task and an endpoint costs as much as a fast screen. Here it costs a fraction of that. A request is refused unread only
where the response depends on nothing but its first line, its length and its id. All others go the usual way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

from serving.errors import OverloadedError
from serving.http.draining import Draining
from serving.http.guard import RETRY_AFTER_S, described, sound_id, to_bytes
from serving.load.admission import MESSAGES, Admission
from serving.watch.observer import Observer

# Headers that have a say in the response, or in what becomes of the connection.
SAYS_MORE = re.compile(
    rb"\r\n(?:x-priority|traceparent|expect|upgrade|transfer-encoding|connection(?!:[ \t]*keep-alive[ \t]*\r\n)):"
)
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n")
ID = b"\r\nx-request-id:"
FIRST_LINE = b"HTTP/1.1 503 Service Unavailable\r\n"
REST = (
    b"content-type: application/json\r\nretry-after: %d\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
    b"server-timing: %b\r\n\r\n%b%b"
)


class Door:
    """Refuses POSTs to `addresses` for `admission`, and reports them to `observer`; not while `draining`.

    `connection_made` is called for each new connection.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        observer: Observer,
        admission: Admission,
        draining: Draining,
        connection_made: Callable[[], None],
    ) -> None:
        self.connection_made = connection_made
        self._addresses = {f"POST {address} HTTP/1.1".encode(): address for address in addresses}
        self._observer, self._admission, self._draining = observer, admission, draining
        self._errors = {
            reason: to_bytes({"error": described(OverloadedError(message)), "request_id": ""})[:-2]
            for reason, message in MESSAGES.items()
        }

    @property
    def open(self) -> bool:
        """Whether no request would be refused now, since nobody is at work."""
        return self._admission.idle

    def refuse(self, data: bytes, arrived_s: float, server_headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The response to the one request that `data` holds, as sent over HTTP; None if it must be parsed.

        A request of normal priority is refused if `admission` would refuse it.

        `arrived_s`: when its bytes came. `server_headers` are those that the server adds to each response.
        """
        if self._admission.reason("normal", arrived_s, time.monotonic()) is None:
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
        place = lower.find(ID)
        sent = head[place + len(ID) : head.find(b"\r\n", place + 2)].strip() if place >= 0 else b""
        if b'"' in sent or b"\\" in sent:  # would have to be escaped in the body
            return None
        reason = self._admission.refuses("normal", arrived_s, time.monotonic())
        if reason is None:
            return None
        record = self._observer.begin(address, {}, sound_id(sent.decode("latin-1")), arrived_s)
        record.timings.end("admission")
        self._observer.metrics.shed("normal", reason)
        self._observer.ended(record, 503)
        said, timing, error = record.request_id.encode(), record.timings.header().encode(), self._errors[reason]
        first = [FIRST_LINE]
        for name, value in server_headers:
            first += (name, b": ", value, b"\r\n")
        ended = said + b'"}'
        return b"".join(first) + REST % (RETRY_AFTER_S, len(error) + len(ended), said, timing, error, ended)

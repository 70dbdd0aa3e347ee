"""Speaks HTTP/1.1 and nothing else: ignores offers of another protocol, and refuses what is no HTTP in our own words.

A client may offer another protocol in any request, as Java's does (`Upgrade: h2c`). A server may ignore the offer and
answer as if it were not there (RFC 9110, 7.8). `httptools` has no option for that: it ends such a request after its
head and takes the body for bytes of the other protocol.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.http.guard import problem, sound_id, to_bytes

UNREADABLE = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\nconnection: close\r\n\r\n%b"


class HttpOneProtocol(HttpToolsProtocol):
    """A connection on which requests are answered over HTTP/1.1, whatever they offer."""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as offer:
                self._parse_without_offers(memoryview(data)[offer.args[0] :])
        except HttpParserError as error:
            self.send_400_response(str(error))

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed, in the shape of all errors, and close the connection."""
        request_id = sound_id("")
        message = f"the request must be HTTP/1.1, got one that cannot be read ({msg}); let an HTTP client make it"
        body = to_bytes(problem(message, request_id))
        head = [STATUS_LINE[400]]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join(head) + UNREADABLE % (len(body), request_id.encode(), body))
        self.transport.close()

    def _parse_without_offers(self, rest: memoryview) -> None:
        """Parse the last request anew, of which only the head was parsed, and then what follows its head."""
        while True:
            self._begin_again()
            try:
                return self.parser.feed_data(rest)
            except HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]

    def _begin_again(self) -> None:
        """Parse the head of the last request once more, without its offer."""
        if self.scope["method"] == "CONNECT":  # the parser takes what follows for a tunnel
            raise HttpParserError("CONNECT is for proxies")
        version = self.scope["http_version"].encode()
        head = [self.scope["method"].encode(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += (name, b": ", value, b"\r\n")
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"".join([*head, b"\r\n"]))

    def _should_upgrade(self) -> bool:
        """Asked where a request brings an offer: True keeps uvicorn from answering it before it is parsed anew."""
        return True

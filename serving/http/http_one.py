"""Speaks HTTP/1.1 and nothing else: ignores offers of another protocol, and refuses what is no HTTP in our own words.

A client may offer another protocol in any request, as Java's does (`Upgrade: h2c`). A server may ignore the offer and
answer as if it were not there (RFC 9110, 7.8). `httptools` has no option for that: it ends such a request after its
head and takes the body for bytes of the other protocol.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from serving.http.heads import BoundedHeads


class HttpOneProtocol(BoundedHeads):
    """A connection on which requests are answered over HTTP/1.1, whatever they offer."""

    def data_received(self, data: bytes) -> None:
        """Parse what came. A timer for idle connections goes on until there is a head, or a part of one."""
        if self._last_words is not None:
            return
        self._unknown_bytes += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as offer:
                self._parse_without_offers(memoryview(data)[offer.args[0] :])
        except HttpParserError as error:
            self.refuse_unread(error)
        else:
            # A whole request needs nothing more, and most data is one.
            if self._unknown_bytes or self.cycle is None or self.cycle.scope is not self.scope:
                self.parsed()

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

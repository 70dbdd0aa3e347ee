"""What leaves together, and what must not wait."""

from __future__ import annotations

from asyncio import Transport

from serving.http.one_write import CONTINUE, OneWrite


class Written(Transport):
    """A transport that notes what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.pieces.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.pieces


def test_the_head_leaves_with_the_first_piece_of_the_body() -> None:
    written = Written()
    response = OneWrite(written)
    response.write(b"head ")
    assert written.pieces == []
    response.write(b"body")
    response.write(b"more")
    response.write(b"")
    response.close()
    assert written.pieces == [b"head body", b"more", b"", b"closed"]
    assert response.is_closing()


def test_a_response_without_a_body_leaves() -> None:
    written = Written()
    response = OneWrite(written)
    response.write(b"head")
    response.write(b"")
    assert written.pieces == [b"head"]


def test_a_client_that_waits_before_it_sends_its_body_is_told_at_once() -> None:
    written = Written()
    response = OneWrite(written)
    response.write(CONTINUE)
    response.write(b"head ")
    response.write(b"body")
    assert written.pieces == [CONTINUE, b"head body"]


def test_a_response_that_breaks_off_loses_nothing() -> None:
    written = Written()
    response = OneWrite(written)
    response.write(b"head")
    response.close()
    assert written.pieces == [b"head", b"closed"]

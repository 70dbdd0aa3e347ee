"""A connection to an expert of this machine on which calls go as frames; replies look like those of HTTP."""

from __future__ import annotations

from serving.errors import MalformedError
from serving.expert.connection import MAX_REPLY_BYTES, Connection, Reply
from serving.expert.frames import REPLY, read_reply, reply_size
from serving.expert.wire import TOOK_HEADER, WAITED_HEADER

TOOK, WAITED = TOOK_HEADER.encode(), WAITED_HEADER.encode()


class FramedConnection(Connection):
    """One connection, for one call at a time. `ask` takes the frame of a call."""

    def is_fresh(self, now_s: float) -> bool:
        """The expert closes it only when it ends, and that is seen."""
        return self.reusable

    def begin(self) -> None:
        self._frame = bytearray()

    def data_received(self, data: bytes) -> None:
        reply, frame = self._reply, self._frame
        if reply is None or reply.done():  # nothing was asked
            return self.close()
        frame += data
        try:
            if len(frame) < REPLY.size or len(frame) < (size := reply_size(frame)) <= MAX_REPLY_BYTES:
                return None
            if len(frame) != size:
                raise MalformedError("reply", f"must be one frame of {MAX_REPLY_BYTES:,} bytes at most, got more")
            said = read_reply(frame)
        except MalformedError as error:
            reply.set_exception(error)
            return self.close()
        headers = {b"etag": b'"%b"' % said.digest.encode(), TOOK: b"%.3f" % said.took_ms}
        reply.set_result(Reply(said.status, said.message, headers | {WAITED: b"%.3f" % said.waited_ms}))
        return None

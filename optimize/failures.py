"""Failures of the machine in one sentence: the disk is full, memory is out, a folder cannot be written.

Native libraries report them in words of their own, so the text of an error is looked at, too.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
# safetensors, then torch.save, whose archive ends before its index does, then ONNX Runtime.
_NO_ROOM = re.compile(
    r"os error (28|122|27)\b|No space left on device|inline_container.* (unexpected pos|PytorchStreamWriter failed)"
    r"|basic_ios::clear: iostream error|file write failed|Protobuf serialization failed"
)
_NO_MEMORY = re.compile(
    r"can't allocate memory|out of memory|bad_alloc|Failed to allocate memory|BFCArena", re.IGNORECASE
)
RESUME = "run the same command again: it goes on from what is there"


def sentence_of(error: BaseException) -> str | None:
    """The failure of the machine behind `error`, and its remedy; None for any other error."""
    for each in _chain(error):
        said = _sentence(each)
        if said is not None:
            return said
    return None


def _sentence(error: BaseException) -> str | None:
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if number in NO_ROOM or (number is None and _NO_ROOM.search(text)):
        what = "a file grew larger than this user may write" if number == errno.EFBIG else "the disk is full"
        return f"{what}{_of(error)}; make room, or name a build folder on another disk with --build, and {RESUME}"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _is_out_of_memory(error, text):
        return (
            "memory is out; end other programs, or lower batch_size in the recipe's steps, max_tokens or the image's "
            f"size, and {RESUME}"
        )
    if number in NOT_ALLOWED:
        return (
            f"this user cannot write or read there{_of(error)}; mend the permissions, or name other folders: --build "
            f"for the build folder, BENTOML_HOME for the model store; then {RESUME}"
        )
    return None


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    # torch and ONNX Runtime raise kinds of RuntimeError; other errors may speak of memory and mean something else.
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(text) is not None


def _of(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None)
    return f" ({name}: {reason})" if name and reason else f" ({reason})" if reason else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or while handling."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__

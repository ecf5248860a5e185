"""The bytes of a file, whatever it is compressed with, and one error for all that can be wrong."""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from risedb.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from zstandard import ZstdDecompressionObj

_READ_BYTES = 2**16


def existing_file(path: str | os.PathLike[str]) -> str:
    """Return the path as it was given, if a file is there.

    Raises
    ------
    NotFound
        If nothing is there.
    InvalidInput
        If a folder is there.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        msg = f"{name} does not exist"
        raise NotFound(msg)
    if os.path.isdir(name):
        msg = f"{name} is a folder, not a file"
        raise InvalidInput(msg)
    return name


@contextmanager
def open_bytes(name: str) -> Iterator[BinaryIO]:
    """Open a file, decompressed if it is called ``.gz`` or ``.zst``, all its frames as one.

    Raises
    ------
    InvalidInput
        If it cannot be opened, or read to its end: it is cut short, damaged, or not compressed at
        all.
    """
    try:
        with open(name, "rb") as file:
            if name.lower().endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as unzipped:
                    yield unzipped  # type: ignore[misc]  # a BinaryIO in all but the annotation
            elif name.lower().endswith(".zst"):
                yield io.BufferedReader(_ZstdFrames(file))
            else:
                yield file
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{name} cannot be read to its end: {reason}"
        raise InvalidInput(msg) from error


class _ZstdFrames(io.RawIOBase):
    """Decompress frames; zstandard's own reader takes one that is cut short for a whole one."""

    def __init__(self, file: BinaryIO) -> None:
        from zstandard import ZstdDecompressor

        self._file = file
        self._decompressor = ZstdDecompressor(max_window_size=2**31)  # zstd --ultra --long=31
        self._frame: ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._ready:
            data = self._compressed or self._file.read(_READ_BYTES)
            if not data and self._frame is not None:
                msg = "it ends in the middle of a zstd frame"
                raise EOFError(msg)
            if not data:
                return 0
            self._ready = memoryview(self._decompress(data))
        target = memoryview(buffer)
        size = min(len(target), len(self._ready))
        target[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _decompress(self, data: bytes) -> bytes:
        from zstandard import ZstdError

        frame = self._frame or self._decompressor.decompressobj()
        try:
            decompressed = frame.decompress(data)
        except ZstdError as error:
            raise OSError(str(error)) from error
        self._frame = None if frame.eof else frame
        self._compressed = frame.unused_data
        return decompressed

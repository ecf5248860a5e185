"""A document's id and record as one compressed value, which carries its own checksum."""

import functools
import json
from collections.abc import Mapping
from typing import Any, Protocol

from risedb.errors import Corrupt


class _Codec(Protocol):
    def encode(self, buffer: bytes) -> bytes: ...
    def decode(self, buffer: bytes) -> bytes: ...


def pack_record(name: str, record: Mapping[str, Any]) -> bytes:
    """Return zstd of the JSON array [id, record]."""
    text = json.dumps([name, record], ensure_ascii=False, separators=(",", ":"))
    return bytes(_zstd().encode(text.encode()))


def unpack_record(value: bytes, what: str) -> tuple[str, dict[str, Any]]:
    """Read back id and record.

    Raises
    ------
    Corrupt
        If it is no such value, naming `what`.
    """
    try:
        name, record = json.loads(bytes(_zstd().decode(value)))
    except (RuntimeError, ValueError) as error:
        msg = f"{what} is damaged: {error}"
        raise Corrupt(msg) from error
    return name, record


@functools.cache
def _zstd() -> _Codec:
    from numcodecs.zstd import Zstd  # 0.1 s that `risedb --help` need not wait

    codec: _Codec = Zstd(level=3, checksum=True)
    return codec

"""crc32c trailers: LMDB notices no flipped bit, so every value carries its own check, and so does every JSON file."""

import json
from collections.abc import Mapping
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from risedb.errors import Corrupt


def crc32c(data: object) -> int:
    """Return the crc32c of a buffer."""
    return int(google_crc32c.value(data))


def row_checksums(rh: NDArray[np.generic], gh: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Return the crc32c of each row, (n,): of its bytes in rh and then in gh.

    Examples
    --------
    >>> row_checksums(np.zeros((1, 2), np.float16), np.zeros((1, 3), np.float16)).tolist() == [crc32c(bytes(10))]
    True
    """
    rows = np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in (rh, gh)], axis=1)
    return np.fromiter((crc32c(row) for row in rows), np.uint32, len(rows))


def seal(value: bytes, key: bytes = b"") -> bytes:
    """Append the crc32c, 4 bytes little-endian, of the key that the value stands under and the value."""
    return value + crc32c(key + value).to_bytes(4, "little")


def unseal(sealed: bytes, what: str, key: bytes = b"") -> bytes:
    """Check and strip the trailer.

    Raises
    ------
    Corrupt
        If the bytes are not those that were sealed, naming `what`.

    Examples
    --------
    >>> unseal(seal(b"abc"), "a value")
    b'abc'
    """
    value, trailer = sealed[:-4], sealed[-4:]
    if len(trailer) < 4 or crc32c(key + value).to_bytes(4, "little") != trailer:
        msg = f"{what} is damaged: its checksum does not fit. Run risedb verify"
        raise Corrupt(msg)
    return value


def seal_json(about: Mapping[str, Any]) -> bytes:
    """Return a JSON file: one line of JSON, and one with its crc32c in hexadecimal digits."""
    line = json.dumps(about).encode()
    return line + f"\n{crc32c(line):08x}\n".encode()


def unseal_json(sealed: bytes, what: str) -> dict[str, Any]:
    """Check a JSON file and read it.

    Raises
    ------
    Corrupt
        If it is not what was written, naming `what`.

    Examples
    --------
    >>> unseal_json(seal_json({"rows": 3}), "a file")
    {'rows': 3}
    """
    line, _, check = sealed.partition(b"\n")
    if check.strip() != f"{crc32c(line):08x}".encode():
        msg = f"{what} is damaged: its checksum does not fit. Run risedb verify"
        raise Corrupt(msg)
    about: dict[str, Any] = json.loads(line)
    return about

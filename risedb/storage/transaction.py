"""What a transaction of the catalog reads and writes: checked values, and the versions of an id.

Keys that are numbers are 8 bytes big-endian; every value ends in a crc32c of key and value. FORMAT.md lists the
databases.
"""

import contextlib
import itertools
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import xxhash

from risedb.errors import Corrupt, InvalidInput
from risedb.storage.checksum import seal, unseal
from risedb.storage.tiers import first_to_merge

DATABASES = ("meta", "ids", "segments", "tail", "tombstones", "deletions", "retired", "commits")
_VERSION = struct.Struct(">QQQ16s")
_MOST_VERSIONS = 1024  # of one id; older ones are found no more, though their rows still are


@dataclass(frozen=True, slots=True)
class Version:
    """One row that an id led to.

    Parameters
    ----------
    sequence
        The row's sequence number.
    born, died
        The commits that added it and that replaced or deleted it; 0 for a live one.
    content
        Hash of the document's content, 16 bytes.
    """

    sequence: int
    born: int
    died: int
    content: bytes


class Transaction:
    """One LMDB transaction over the catalog's databases."""

    def __init__(self, transaction: Any, databases: dict[str, Any]) -> None:
        self._transaction = transaction
        self._databases = databases

    @property
    def id(self) -> int:
        """Number of the catalog's state; every write transaction makes a new one."""
        return int(self._transaction.id())

    def get(self, database: str, key: bytes) -> bytes | None:
        """Return a checked value; None if there is none.

        Raises
        ------
        Corrupt
            If its checksum does not fit, or, when there is none, that of an entry beside its place: a key that damage
            has changed still stands where it stood.
        """
        value = self._transaction.get(key, db=self._databases[database])
        if value is not None:
            return _checked(database, key, value)
        with self._transaction.cursor(self._databases[database]) as cursor:
            if cursor.set_range(key):
                _checked(database, *cursor.item())
                before = cursor.prev()
            else:
                before = cursor.last()
            if before:
                _checked(database, *cursor.item())
        return None

    def put(self, database: str, key: bytes, value: bytes) -> None:
        """Write a value with its checksum."""
        self._transaction.put(key, seal(value, key), db=self._databases[database])

    def delete(self, database: str, key: bytes) -> None:
        """Remove a key."""
        self._transaction.delete(key, db=self._databases[database])

    def count(self, database: str) -> int:
        """Count the keys of a database."""
        return int(self._transaction.stat(self._databases[database])["entries"])

    def items(self, database: str, *, newest_first: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and checked values, by key."""
        with self._transaction.cursor(self._databases[database]) as cursor:
            for key, value in cursor.iterprev() if newest_first else cursor:
                yield key, _checked(database, key, value)

    def keys(self, database: str) -> Iterator[bytes]:
        """Yield the keys in order."""
        with self._transaction.cursor(self._databases[database]) as cursor:
            yield from cursor.iternext(keys=True, values=False)

    def last_key(self, database: str) -> int:
        """Return the last key of a database whose keys are numbers; 0 if it is empty."""
        with self._transaction.cursor(self._databases[database]) as cursor:
            return int.from_bytes(cursor.key()) if cursor.last() else 0

    def clear(self, database: str) -> None:
        """Remove all keys of a database."""
        self._transaction.drop(self._databases[database], delete=False)

    def json(self, database: str, key: bytes) -> Any:
        """Return a value that is JSON; None if there is none."""
        value = self.get(database, key)
        return None if value is None else json.loads(value)

    def put_json(self, database: str, key: bytes, value: object) -> None:
        """Write a value as JSON."""
        self.put(database, key, json.dumps(value, separators=(",", ":")).encode())

    def number(self, name: bytes) -> int:
        """Return a number of ``meta``; 0 if it was never written."""
        value = self.get("meta", name)
        return 0 if value is None else int.from_bytes(value)

    def put_number(self, name: bytes, number: int) -> None:
        """Write a number of ``meta``."""
        self.put("meta", name, number_key(number))

    def versions(self, name: str) -> list[Version]:
        """Return the rows that an id led to, newest first; compaction forgets those that are gone."""
        value = self.get("ids", id_key(name))
        if value is None:
            return []
        (count,) = struct.unpack_from(">H", value)
        end = 2 + count * _VERSION.size
        if value[end:] not in {b"", name.encode()}:
            msg = f"ids {name!r} and {value[end:].decode()!r} have one and the same 128-bit hash"
            raise Corrupt(msg)
        return [Version(*fields) for fields in _VERSION.iter_unpack(value[2:end])]

    def sound_ids(self) -> Iterator[tuple[str, list[Version]]]:
        """Yield every id whose entry is sound, with its rows, newest first."""
        for key in self.keys("ids"):
            with contextlib.suppress(Corrupt):
                value = self.get("ids", key) or b""
                end = 2 + struct.unpack_from(">H", value)[0] * _VERSION.size
                name = key[1:] if key.startswith(b"=") else value[end:]
                yield name.decode(), [Version(*fields) for fields in _VERSION.iter_unpack(value[2:end])]

    def put_versions(self, name: str, versions: Sequence[Version]) -> None:
        """Write an id's rows, or forget it if there are none; a hashed id keeps its whole text in the value."""
        key = id_key(name)
        if not versions:
            self.delete("ids", key)
            return
        packed = [_VERSION.pack(one.sequence, one.born, one.died, one.content) for one in versions[:_MOST_VERSIONS]]
        whole = b"" if key.startswith(b"=") else name.encode()
        self.put("ids", key, struct.pack(">H", len(packed)) + b"".join(packed) + whole)

    def append_block(
        self, database: str, start: int, size: int, block: bytes, join: Callable[[list[bytes]], bytes]
    ) -> None:
        """Append to a log of blocks, merging small ones as :mod:`risedb.storage.tiers` says.

        Parameters
        ----------
        start, size
            Ordinal of the block's first entry, and how many entries it has.
        join
            Makes one block of several.
        """
        starts = [*(int.from_bytes(key) for key in self.keys(database)), start]
        sizes = [end - begin for begin, end in itertools.pairwise([*starts, start + size])]
        merged = starts[first_to_merge(sizes) :]
        parts = [self.get(database, number_key(one)) or b"" for one in merged[:-1]]
        for one in merged[:-1]:
            self.delete(database, number_key(one))
        self.put(database, number_key(merged[0]), join([*parts, block]) if parts else block)


def _checked(database: str, key: bytes, value: bytes) -> bytes:
    return unseal(value, f"the catalog's entry {database}/{key!r}", key)


def version_at(versions: Sequence[Version], commit: int | None) -> Version | None:
    """Return the version that was live after a commit; None stands for the newest one.

    Examples
    --------
    >>> both = [Version(7, 3, 0, b""), Version(2, 1, 3, b"")]
    >>> version_at(both, 2).sequence, version_at(both, None).sequence, version_at(both, 0)
    (2, 7, None)
    """
    for one in versions:
        if (commit is None or one.born <= commit) and (one.died == 0 or (commit is not None and one.died > commit)):
            return one
    return None


def number_key(number: int) -> bytes:
    """Return the key of a number: LMDB's byte order is then the numbers' order."""
    return struct.pack(">Q", number)


def id_key(name: str) -> bytes:
    """Return the key of an id: ``=`` and the id, or ``#`` and its xxh3_128 if that is longer than LMDB's 511 bytes.

    Raises
    ------
    InvalidInput
        If the id has no UTF-8 form.
    """
    try:
        raw = b"=" + name.encode()
    except UnicodeEncodeError as error:
        msg = f"the id {name!r} is no text: {error.reason}"
        raise InvalidInput(msg) from error
    return raw if len(raw) <= 511 else b"#" + xxhash.xxh3_128_digest(raw[1:])

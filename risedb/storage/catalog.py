"""The LMDB catalog: the only commit point. It names segments, ids, records, tombstones and the tail.

Every write happens in one transaction that is durable when it returns. Keys that are numbers are 8 bytes big-endian;
every value ends in a crc32c. FORMAT.md lists the databases.
"""

import contextlib
import errno
import json
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import xxhash

from risedb.errors import Corrupt, InvalidInput
from risedb.storage.checksum import seal, unseal
from risedb.storage.vfs import disk_errors

DATABASES = ("meta", "ids", "records", "segments", "tail", "tombstones", "commits")
_MAP_BYTES = 2**34  # virtual address space, not disk; grows when it is half full
_MAX_READERS = 510
_LMDB_MAGIC = 0xBEEFC0DE


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalog knows of an id: its row's sequence number and its document's content hash (16 bytes)."""

    sequence: int
    content_hash: bytes


class Transaction:
    """One LMDB transaction over the catalog's databases."""

    def __init__(self, transaction: Any, databases: dict[str, Any]) -> None:
        self._transaction = transaction
        self._databases = databases

    def get(self, database: str, key: bytes) -> bytes | None:
        """Return a checked value.

        Raises
        ------
        Corrupt
            If its checksum does not fit.
        """
        value = self._transaction.get(key, db=self._databases[database])
        return None if value is None else unseal(value, f"the catalog's entry {database}/{key!r}")

    def put(self, database: str, key: bytes, value: bytes) -> None:
        """Write a value with its checksum."""
        self._transaction.put(key, seal(value), db=self._databases[database])

    def delete(self, database: str, key: bytes) -> None:
        """Remove a key."""
        self._transaction.delete(key, db=self._databases[database])

    def count(self, database: str) -> int:
        """Count the keys of a database."""
        return int(self._transaction.stat(self._databases[database])["entries"])

    def items(self, database: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and checked values, by key."""
        with self._transaction.cursor(self._databases[database]) as cursor:
            for key, value in cursor:
                yield key, unseal(value, f"the catalog's entry {database}/{key!r}")

    def keys(self, database: str) -> Iterator[bytes]:
        """Yield the keys in order."""
        with self._transaction.cursor(self._databases[database]) as cursor:
            yield from cursor.iternext(keys=True, values=False)

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

    def entry(self, name: str) -> Entry | None:
        """Look an id up."""
        value = self.get("ids", id_key(name))
        if value is None:
            return None
        (sequence,) = struct.unpack_from(">Q", value)
        if value[24:] not in {b"", name.encode()}:
            msg = f"ids {name!r} and {value[24:].decode()!r} have one and the same 128-bit hash"
            raise Corrupt(msg)
        return Entry(sequence, value[8:24])

    def put_entry(self, name: str, entry: Entry) -> None:
        """Write an id's row; a hashed id keeps its whole text in the value."""
        key = id_key(name)
        whole = b"" if key.startswith(b"=") else name.encode()
        self.put("ids", key, struct.pack(">Q", entry.sequence) + entry.content_hash + whole)


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


class Catalog:
    """The LMDB environment of one index; handles of one process share it.

    Parameters
    ----------
    folder
        The index's ``catalog`` folder.
    """

    _shared: dict[Path, "_Environment"] = {}  # noqa: RUF012  LMDB allows one a process
    _registry = threading.Condition(threading.RLock())

    def __init__(self, folder: Path) -> None:
        self._path = folder.resolve()
        self._closed = False
        self._attach()

    def _attach(self) -> None:
        with self._registry:
            shared = self._shared.get(self._path)
            if shared is not None and shared.process != os.getpid():
                shared.environment.close()  # a fork's copy, which LMDB forbids to use
                shared = None
            if shared is None:
                shared = self._shared[self._path] = _Environment(self._path)
            shared.users += 1
            self._mine = shared

    def close(self) -> None:
        """Let go of the environment; the last handle closes it."""
        with self._registry:
            if self._closed:
                return
            self._closed = True
            self._mine.users -= 1
            if self._mine.users == 0 and self._mine is self._shared.get(self._path):
                del self._shared[self._path]
                self._mine.environment.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Run a short read transaction: a snapshot that blocks nobody."""
        environment = self._environment()
        with self._registry:
            try:
                transaction = environment.begin()
            except lmdb.MapResizedError:  # another process let the file grow beyond this map
                self._resize(environment, 0)
                transaction = environment.begin()
            mine = self._mine
            mine.transactions += 1
        try:
            with transaction:
                yield Transaction(transaction, self._mine.databases)
        except lmdb.Error as error:
            msg = f"LMDB cannot read {self._path}: {error}. Run risedb verify"
            raise Corrupt(msg) from error
        finally:
            with self._registry:
                mine.transactions -= 1
                self._registry.notify_all()

    @contextlib.contextmanager
    def write(self, payload_bytes: int = 0) -> Iterator[Transaction]:
        """Run a write transaction: all of it is durable when the block ends, or none of it happened.

        Parameters
        ----------
        payload_bytes
            About how much will be put, so that the map can grow before.

        Raises
        ------
        OutOfSpace, ReadOnly, DiskFailure
            If the disk does not take it.
        """
        environment = self._environment()
        self._grow(environment, payload_bytes)
        with _lmdb_disk_errors(self._path), environment.begin(write=True) as transaction:
            yield Transaction(transaction, self._mine.databases)

    def _grow(self, environment: Any, payload_bytes: int) -> None:
        """Double the map until it has ample room; nobody else writes, since the caller holds the writer's lock."""
        with self._registry:
            info = environment.info()
            used = (info["last_pgno"] + 1) * environment.stat()["psize"]
            size = info["map_size"]
            while 2 * (used + 4 * payload_bytes) > size:
                size *= 2
            if size != info["map_size"]:
                self._resize(environment, size)

    def _resize(self, environment: Any, size: int) -> None:
        """Map anew, which LMDB allows only while this process has no transaction; 0 takes the file's own size."""
        self._registry.wait_for(lambda: self._mine.transactions == 0)
        environment.set_mapsize(size)

    def _environment(self) -> Any:
        if self._closed:
            msg = f"{self._path.parent} was closed; open it again"
            raise InvalidInput(msg)
        if self._mine.process != os.getpid():
            self._attach()
        return self._mine.environment


class _Environment:
    """LMDB's environment and databases, shared by all handles of one process."""

    def __init__(self, path: Path) -> None:
        check_size(path)
        self.process = os.getpid()
        self.users = 0
        self.transactions = 0
        writable = os.access(path, os.W_OK)
        try:
            with disk_errors(path):
                self.environment: Any = lmdb.open(
                    str(path),
                    map_size=max(_MAP_BYTES, 2 * _data_bytes(path)),
                    max_dbs=len(DATABASES),
                    max_readers=_MAX_READERS,
                    readonly=not writable,
                    lock=writable,
                    readahead=False,
                )
                self.databases: dict[str, Any] = {
                    name: self.environment.open_db(name.encode(), create=writable) for name in DATABASES
                }
        except lmdb.Error as error:
            msg = f"LMDB cannot open {path}: {error}"
            raise Corrupt(msg) from error


def _data_bytes(path: Path) -> int:
    file = path / "data.mdb"
    return file.stat().st_size if file.exists() else 0


def check_size(path: Path) -> None:
    """Check that data.mdb is as long as it says: LMDB maps it, and a page that is not there kills the process.

    Raises
    ------
    Corrupt
        If the file is shorter than its last page, or its head is no LMDB head.
    """
    file = path / "data.mdb"
    if not file.exists():
        return
    with file.open("rb") as opened:
        head = opened.read(152)
    # Page header (16), magic and version (8), map address and size (16), two databases (96), last page.
    if len(head) < 152 or struct.unpack_from("=I", head, 16)[0] != _LMDB_MAGIC:
        msg = f"{file} does not begin as an LMDB file does"
        raise Corrupt(msg)
    page_size = struct.unpack_from("=I", head, 40)[0]
    size = file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(page_size)
        heads = [head, opened.read(152)]
    if len(heads[1]) < 152:
        msg = f"{file} is cut short: {size} bytes"
        raise Corrupt(msg)
    newest = max(heads, key=lambda one: struct.unpack_from("=Q", one, 144)[0])
    needed = (struct.unpack_from("=Q", newest, 136)[0] + 1) * page_size
    if size < needed:
        msg = f"{file} is cut short: {size} bytes, and its last page ends at {needed}"
        raise Corrupt(msg)


@contextlib.contextmanager
def _lmdb_disk_errors(path: Path) -> Iterator[None]:
    with disk_errors(path):
        try:
            yield
        except lmdb.Error as error:
            raise OSError(getattr(error, "code", errno.EIO), str(error)) from error

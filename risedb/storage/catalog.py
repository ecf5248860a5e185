"""The LMDB catalog: the only commit point. It names segments, ids, records, tombstones and the tail.

Every write happens in one transaction that is durable when it returns. What stands in it, and how, is in
:mod:`risedb.storage.transaction`; FORMAT.md lists the databases.
"""

import contextlib
import errno
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from risedb.errors import Busy, Corrupt, DiskFailure, InvalidInput, SyncFailed
from risedb.storage import vfs
from risedb.storage.transaction import DATABASES, Transaction
from risedb.storage.vfs import disk_errors

_MAP_BYTES = 2**34  # virtual address space, not disk; grows when it is half full
_MAX_READERS = 2046
_LMDB_MAGIC = 0xBEEFC0DE
_TRIES = 3
_CHECKED_BYTES = 2**23  # a catalog up to this is checked whole before LMDB maps it: 3 ms a MiB


class Catalog:
    """The LMDB environment of one index; handles of one process share it.

    Parameters
    ----------
    folder
        The index's ``catalog`` folder.
    create
        Make an empty one; else it must be there.
    """

    _shared: dict[Path, "_Environment"] = {}  # noqa: RUF012  LMDB allows one a process
    _registry = threading.Condition(threading.RLock())

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self._path = folder.resolve()
        self._closed = False
        self._attach(create=create)

    def _attach(self, *, create: bool = False) -> None:
        with self._registry:
            shared = self._shared.get(self._path)
            if shared is not None and shared.process != os.getpid():
                shared.environment.close()  # a fork's copy, which LMDB forbids to use
                shared = None
            if shared is not None and shared.file != _identity(self._path):
                shared = None  # a repair has put another catalog in its place
            if shared is None:
                shared = self._shared[self._path] = _Environment(self._path, create=create)
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
            transaction = self._begin(environment)
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

    def copy(self, folder: Path) -> None:
        """Write a copy as of now, without the free pages; others may write meanwhile."""
        with _lmdb_disk_errors(folder):
            self._environment().copy(str(folder), compact=True)
        vfs.sync_file(folder / "data.mdb")

    def forget_dead_readers(self) -> None:
        """Free the reader slots of processes that died in a transaction."""
        self._environment().reader_check()

    def _begin(self, environment: Any) -> Any:
        try:
            try:
                return environment.begin()
            except lmdb.MapResizedError:  # another process let the file grow beyond this map
                self._resize(environment, 0)
                return environment.begin()
        except lmdb.ReadersFullError as error:
            msg = f"{self._path} has {_MAX_READERS} readers already; close some"
            raise Busy(msg) from error
        except lmdb.PanicError as error:
            msg = f"{self._path} could not be made durable, and is not read before it is opened again"
            raise DiskFailure(errno.EIO, msg) from error
        except lmdb.Error as error:
            msg = f"LMDB cannot read {self._path}: {error}. Run risedb verify"
            raise Corrupt(msg) from error

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

    def __init__(self, path: Path, *, create: bool) -> None:
        if not create:
            check_size(path)
            if _data_bytes(path) <= _CHECKED_BYTES:
                check_structure(path)
        self.process = os.getpid()
        self.users = 0
        self.transactions = 0
        writable = all(os.access(one, os.W_OK) for one in (path, *path.glob("*.mdb")))
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
            msg = f"LMDB cannot open {path}: {error}. Run risedb repair"
            raise Corrupt(msg) from error
        self.file = _identity(path)


def _data_bytes(path: Path) -> int:
    file = path / "data.mdb"
    return file.stat().st_size if file.exists() else 0


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell one data.mdb from another that takes its place."""
    file = path / "data.mdb"
    if not file.exists():
        return None
    about = file.stat()
    return about.st_dev, about.st_ino


def check_structure(path: Path) -> None:
    """Check every page of data.mdb without LMDB, which a damaged one can kill.

    A writer may commit meanwhile; then what was read belongs to no one state, and it is read again.

    Raises
    ------
    Corrupt
        Naming the first thing that is wrong.
    """
    from lmdb import verify

    for _ in range(_TRIES):
        before = _newest_transaction(path)
        try:
            problems = verify.verify(os.fspath(path))  # type: ignore[no-untyped-call]
        except (verify.VerifyError, OSError, struct.error) as error:
            problems = [str(error)]
        if not problems:
            return
        if before == _newest_transaction(path):
            msg = f"{path / 'data.mdb'} is damaged: {problems[0]}. Run risedb repair"
            raise Corrupt(msg)


def _newest_transaction(path: Path) -> bytes:
    """Return the two heads of data.mdb, one of which changes with every commit."""
    with (path / "data.mdb").open("rb") as file:
        first = file.read(152)
        file.seek(struct.unpack_from("=I", first, 40)[0])
        return first + file.read(152)


def check_size(path: Path) -> None:
    """Check that data.mdb is as long as it says: LMDB maps it, and a page that is not there kills the process.

    Raises
    ------
    Corrupt
        If the file is missing or shorter than its last page, or its head is no LMDB head.
    """
    file = path / "data.mdb"
    if not file.is_file():
        msg = f"{file} is missing. Run risedb repair"
        raise Corrupt(msg)
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
            code = getattr(error, "code", errno.EIO)
            if code in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}:
                raise OSError(code, str(error)) from error
            msg = f"{path} could not be made durable ({error}); nothing committed before is lost. Look at the disk"
            raise SyncFailed(code, msg) from error

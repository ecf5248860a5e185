"""One index on disk: create, open, look up, take snapshots; and, for the one writer, change.

FORMAT.md beside this file says what lies where.
"""

import contextlib
import errno
import os
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from risedb.config import Identity, StoreConfig
from risedb.errors import AlreadyExists, Corrupt, DiskFailure, InvalidInput, ReadOnly
from risedb.storage import vfs
from risedb.storage.catalog import Catalog
from risedb.storage.compaction import CompactReport, compact
from risedb.storage.compaction import preview as preview_compaction
from risedb.storage.format import read_format, write_format
from risedb.storage.medium import refuse_network
from risedb.storage.readers import ReaderLease, begin_generation
from risedb.storage.snapshot import Commit, Snapshot, read_commit
from risedb.storage.transaction import Version, version_at
from risedb.storage.writer import FOLDERS, NewRows, Writer


class Store:
    """An index's folder, as of one commit. Readers need no lock; a writer calls :meth:`lock` first.

    What is read stays as it was when the store was opened, whatever others write, until :meth:`refresh` or a change of
    its own. Several threads may change it, one at a time.

    Parameters
    ----------
    path
        The index's folder.
    at
        Read it as it was after this commit; then it cannot be changed.

    Raises
    ------
    NotFound, InvalidInput
        If there is no such folder or commit, or it is no index, or may not be read.
    UnsupportedFormat
        If it is of a format version that is not read here.
    Corrupt
        If the catalog cannot be read.
    """

    @vfs.readable()
    def __init__(self, path: Path, at: int | None = None) -> None:
        self.path = path
        self._at = at
        read_format(path)
        self._catalog = Catalog(path / "catalog")
        self._writer: Writer | None = None
        self._known: Snapshot | None = None  # the last snapshot, whose open files are used again
        self._stale = False
        self._refreshing = threading.Lock()
        self._changing = threading.RLock()
        _stores.add(self)
        try:
            with self._catalog.read() as transaction:
                self.identity = Identity.from_dict(transaction.json("meta", b"identity"))
                self.config = StoreConfig(**transaction.json("meta", b"store"))
                self.settings: dict[str, Any] = transaction.json("meta", b"settings")
            self.refresh()
        except (InvalidInput, TypeError) as error:
            self._catalog.close()
            msg = f"the catalog of {path} holds no identity: {error}. Run risedb verify"
            raise Corrupt(msg) from error
        except BaseException:
            self._catalog.close()
            raise

    @classmethod
    def create(cls, path: Path, identity: Identity, settings: Mapping[str, Any], config: StoreConfig) -> Self:
        """Make an empty index; it appears whole or not at all.

        Parameters
        ----------
        path
            A folder that does not exist or is empty.
        identity
            Fixed from now on.
        settings
            JSON object that the index remembers for its user (model, fields, template).
        config
            Layout on disk.

        Raises
        ------
        AlreadyExists
            If something is there.
        """
        refuse_network(path)
        vfs.make_folder(path.absolute().parent, durable=True)
        with new_folder(path) as new:
            for folder in FOLDERS:
                vfs.make_folder(new / folder)
            about = {"identity": identity.as_stored(), "settings": settings, "store": asdict(config)}
            with contextlib.closing(Catalog(new / "catalog", create=True)) as catalog, catalog.write() as transaction:
                for name, value in about.items():
                    transaction.put_json("meta", name.encode(), value)
            begin_generation(new, 0)
            write_format(new, about)
        return cls(path)

    def close(self) -> None:
        """Release the lock, the snapshot and the catalog."""
        with self._changing:
            if self._writer is not None:
                self._writer.release()
                self._writer = None
            self._known = None
            self._catalog.close()

    def lock(self) -> None:
        """Become the index's one writer until :meth:`close`; clear what a dead writer left unfinished.

        Raises
        ------
        Busy
            If another process is.
        ReadOnly
            If the store shows an earlier commit.
        InvalidInput
            If the index lies on a network file system.
        """
        if self._at is not None:
            msg = f"{self.path} is open as it was at commit {self._at}; what is past cannot be changed"
            raise ReadOnly(msg)
        with self._changing:
            if self._writer is None:
                self._writer = Writer(self.path, self._catalog, self.identity, self.config)
                self.refresh()

    def snapshot(self) -> Snapshot:
        """Return the index as of its commit; the value stays as it is while others write."""
        with self._refreshing:  # else a slow thread could put an older snapshot in the place of a newer one
            if self._stale or self._known is None:
                self._known = self._renewed()
            return self._known

    def refresh(self) -> bool:
        """Go on to the newest commit, and tell whether there is another one than before."""
        with self._refreshing:
            before, self._known = self._known, self._renewed()
            return before is None or before.version != self._known.version

    def lookup(self, ids: Sequence[str], snapshot: Snapshot | None = None) -> list[Version | None]:
        """Find ids, now or as of a snapshot: each one's live row and content hash, or None."""
        snapshot = snapshot or self.snapshot()
        with self._catalog.read() as transaction:
            if transaction.number(b"oldest_commit") <= snapshot.commit.number:
                return [version_at(transaction.versions(name), snapshot.commit.number) for name in ids]
        return snapshot.lookup(ids)  # a compaction has forgotten what was dead; this snapshot has not

    def records(self, sequences: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
        """Return id and record of rows by their sequence numbers.

        Raises
        ------
        Corrupt
            If one is missing or damaged.
        """
        return self.snapshot().records(sequences)

    def commits(self) -> Iterator[Commit]:
        """Yield the commits that can be read, newest first."""
        newest = self.snapshot().commit.number
        with self._catalog.read() as transaction:
            for number in range(newest, max(transaction.number(b"oldest_commit"), 1) - 1, -1):
                yield read_commit(transaction, number)

    def disk_bytes(self) -> int:
        """Return how many bytes the folder's files have; a writer may make and remove some meanwhile."""
        total = 0
        for folder, _, files in os.walk(self.path):
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def copy_catalog(self, folder: Path) -> None:
        """Copy the catalog as it is now, into a folder that is there."""
        self._catalog.copy(folder)

    def append(self, rows: NewRows) -> None:
        """Commit rows: after this returns they are durable; a row whose id was there takes the old one's place.

        Raises
        ------
        OutOfSpace, DiskFailure
            If the disk does not take them; then none was added.
        """
        with self._changed() as writer:
            writer.append(rows)

    def delete(self, ids: Iterable[str]) -> int:
        """Commit the deletion of documents, and return how many there were; other ids are passed over."""
        with self._changed() as writer:
            return writer.delete(ids)

    def seal(self) -> None:
        """Turn the tail, if there is one, into a segment."""
        with self._changed() as writer:
            writer.seal()

    def compact(self, *, preview: bool = False) -> CompactReport:
        """Merge small segments and rewrite those with dead rows; earlier commits can then no longer be read.

        Parameters
        ----------
        preview
            Change nothing; tell what would be done.

        Raises
        ------
        Corrupt
            If a segment is damaged.
        """
        if preview:
            return preview_compaction(self.snapshot(), self.config.seal_bytes)
        with self._changed() as writer:
            before = len(self.snapshot().segments)
            writer.seal()
            self.refresh()
            report = compact(writer, self.snapshot())
            self.refresh()  # lets go of the files that were rewritten
            return replace(report, segments_before=before, waiting=writer.remove_retired())

    @contextlib.contextmanager
    def _changed(self) -> Iterator[Writer]:
        with self._changing:
            if self._writer is None:
                msg = f"{self.path} is open for reading"
                raise ReadOnly(msg)
            try:
                yield self._writer
            finally:
                self._stale = True  # the next snapshot is another one

    def _renewed(self) -> Snapshot:
        self._stale = False  # before it is read: what another thread changes meanwhile makes it stale again
        try:
            return self._newest()
        except BaseException:
            self._stale = True
            raise

    def _newest(self) -> Snapshot:
        """Take a snapshot, with a lease on its generation that began while it was the newest."""
        previous = self._known
        while True:
            with self._catalog.read() as transaction:
                generation = transaction.number(b"generation")
            lease = previous.lease if previous else None
            try:
                if lease is None or lease.generation != generation:
                    lease = ReaderLease(self.path, generation)
            except FileNotFoundError:
                lease = None
            with self._catalog.read() as transaction:
                if transaction.number(b"generation") != generation:
                    continue
                if lease is None:
                    msg = f"{self.path / 'readers'} lacks the file of generation {generation}. Run risedb repair"
                    raise Corrupt(msg)
                if previous and previous.version == transaction.id:
                    return previous
                return Snapshot(self.path, transaction, self.config, lease, self._at, previous)


_stores: "weakref.WeakSet[Store]" = weakref.WeakSet()


def _fresh_locks() -> None:
    """Let a fork's child go on: a thread that it does not have may hold a lock of its parent's."""
    for store in list(_stores):
        store._refreshing, store._changing = threading.Lock(), threading.RLock()


os.register_at_fork(after_in_child=_fresh_locks)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, that takes its place at `path` at the end, whole and durable, or is removed.

    Raises
    ------
    AlreadyExists
        If something is there, or was made there meanwhile.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        msg = f"{path} is there already; choose another folder"
        raise AlreadyExists(msg)
    new = path.absolute().with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield new
        vfs.sync_tree(new)
        vfs.rename(new, path.absolute())
    except DiskFailure as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
            raise
        msg = f"{path} was made by another process meanwhile; run the same command again"
        raise AlreadyExists(msg) from error
    finally:
        if new.exists():
            vfs.remove_tree(new)

"""The one writer of an index: every change of it is one method here, and one LMDB transaction.

Rows are appended in commits. Small commits collect in the catalog's tail; when they would make a segment of
``seal_bytes``, or when the writer seals, they become an immutable segment. The transaction that names a segment also
takes away the tail it replaces, so a reader sees either, never both or neither.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.config import Identity, StoreConfig
from risedb.errors import Busy, DiskFailure, InvalidInput, SyncFailed
from risedb.signature import Signatures
from risedb.storage import tombstones, vfs
from risedb.storage.catalog import Catalog
from risedb.storage.lock import WriterLock
from risedb.storage.medium import refuse_network
from risedb.storage.names import new_name
from risedb.storage.readers import begin_generation, is_read
from risedb.storage.records import pack_record
from risedb.storage.rows import StoredRows
from risedb.storage.segment_writer import SegmentPlan, write_segment
from risedb.storage.snapshot import read_commit, segment_names
from risedb.storage.tail import TailBlock, append_tail, read_tail
from risedb.storage.transaction import Transaction, Version, number_key, version_at

FOLDERS = ("catalog", "segments", "staging", "deletions", "readers")
_DELETIONS = 4096  # tombstones in a file of deletions before the next one is begun


@dataclass(frozen=True, slots=True, eq=False)
class NewRows:
    """n documents to append, in the order of the input.

    Parameters
    ----------
    signatures
        Their signatures, with their ids; none twice.
    content_hashes
        n hashes of 16 bytes, by which an unchanged document is recognised.
    records
        n JSON objects.
    """

    signatures: Signatures
    content_hashes: Sequence[bytes]
    records: Sequence[Mapping[str, Any]]


class Writer:
    """Holds the writer's lock from construction to :meth:`release`; clears what a dead writer left unfinished.

    Raises
    ------
    Busy
        If another process holds it.
    InvalidInput
        If the index lies on a network file system.
    """

    def __init__(self, path: Path, catalog: Catalog, identity: Identity, config: StoreConfig) -> None:
        refuse_network(path)
        self.path = path
        self.catalog = catalog
        self.config = config
        self._identity = identity
        self._stopped: SyncFailed | None = None
        self._lock = WriterLock(path / "writer.lock")
        try:
            catalog.forget_dead_readers()
            self._remove_uncommitted()
            self.remove_retired()
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Let the next writer in."""
        self._lock.release()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Guard a change: after a failed fsync there is none.

        Raises
        ------
        Busy
            In a child of the process that holds the lock.
        DiskFailure
            If an fsync failed before.
        """
        if self._lock.process != os.getpid():
            msg = f"{self.path} is being written by process {self._lock.process}, of which this one is a fork"
            raise Busy(msg)
        if self._stopped is not None:
            msg = f"{self.path} takes no more changes after a failed fsync ({self._stopped}); open it again"
            raise DiskFailure(self._stopped.errno, msg)
        try:
            yield
        except SyncFailed as error:
            self._stopped = error
            raise

    def append(self, rows: NewRows) -> None:
        """Commit rows; those whose id was there take the old ones' place."""
        ids = rows.signatures.ids
        if len(set(ids)) < len(ids):
            msg = f"{len(ids)} rows to append have only {len(set(ids))} ids; each needs its own"
            raise InvalidInput(msg)
        with self.changing():
            with self.catalog.read() as transaction:
                commit = transaction.last_key("commits") + 1
                first = transaction.number(b"next_sequence")
                tail_bytes = transaction.number(b"tail_bytes")
                known = [transaction.versions(name) for name in ids]
            replaced = [live.sequence for versions in known if (live := version_at(versions, None))]
            dead = tombstones.pairs(replaced, commit)
            stored = StoredRows.of(rows.signatures, rows.content_hashes, first, commit, self.config.dtype)
            packed = [pack_record(*pair) for pair in zip(ids, rows.records, strict=True)]
            block = TailBlock(stored, packed)
            sealed = None
            if tail_bytes + block.nbytes >= self.config.seal_bytes:
                sealed = self._write_tail(block, dead, commit)
            payload = block.nbytes + sum(2 * len(name) + 256 for name in ids)
            with self.catalog.write(payload) as transaction:
                if sealed is None:
                    append_tail(transaction, block, self.config.dtype)
                    transaction.put_number(b"tail_bytes", tail_bytes + block.nbytes)
                else:
                    obsolete = self._name_tail(transaction, sealed, commit)
                for i, (name, versions) in enumerate(zip(ids, known, strict=True)):
                    new = Version(first + i, commit, 0, bytes(rows.content_hashes[i]))
                    transaction.put_versions(name, [new, *_killed(versions, commit)])
                tombstones.append_log(transaction, dead)
                transaction.put_number(b"next_sequence", first + len(ids))
                put_commit(transaction, commit, "add", added=len(ids), removed=len(replaced))
            if sealed is not None:
                self.remove_deletions(obsolete)

    def delete(self, ids: Iterable[str]) -> int:
        """Commit the deletion of documents, and return how many there were; other ids are passed over."""
        with self.changing():
            with self.catalog.read() as transaction:
                commit = transaction.last_key("commits") + 1
                known = {name: transaction.versions(name) for name in ids}
                tail_start = min(map(int.from_bytes, transaction.keys("tail")), default=2**64)
                lasting_commit = transaction.number(b"lasting_commit")
                files = tombstones.file_names(transaction)
            live = {name: one.sequence for name, versions in known.items() if (one := version_at(versions, None))}
            if not live:
                return 0
            dead = tombstones.pairs(sorted(live.values()), commit)
            # All versions of these ids that lie in segments, unless files tell already that they are dead: an update
            # that waits in the tail has told nobody. Of rows in the tail, the segment that takes them will tell.
            lasting = np.array(
                [
                    (one.sequence, one.died)
                    for name in live
                    for one in _killed(known[name], commit)
                    if one.sequence < tail_start and one.died > lasting_commit
                ],
                np.uint64,
            ).reshape(-1, 2)
            written, grown = None, None
            if len(lasting):
                before = tombstones.read_file(self.path / "deletions" / files[-1]) if files else tombstones.NONE
                if files and len(before) < _DELETIONS:
                    grown, lasting = files[-1], np.concatenate([before, lasting])
                written = self.write_deletions(lasting, commit)
            with self.catalog.write(1024 * len(live)) as transaction:
                for name in live:
                    transaction.put_versions(name, _killed(known[name], commit))
                tombstones.append_log(transaction, dead)
                if written:
                    self.name_deletions(transaction, written, instead=grown is not None)
                put_commit(transaction, commit, "delete", added=0, removed=len(live))
            self.remove_deletions([grown] if grown else [])
        return len(live)

    def seal(self) -> None:
        """Turn the tail, if there is one, into a segment."""
        with self.changing():
            with self.catalog.read() as transaction:
                commit = transaction.last_key("commits")
                empty = transaction.count("tail") == 0
            if empty:
                return
            sealed = self._write_tail(None, tombstones.NONE, commit)
            with self.catalog.write() as transaction:
                obsolete = self._name_tail(transaction, sealed, commit)
            self.remove_deletions(obsolete)

    def put_segment(self, plan: SegmentPlan, parts: Iterator[tuple[StoredRows, Sequence[bytes]]]) -> str:
        """Write a segment that no commit names yet, and return its name."""
        commit = plan.about["commit"]
        name = new_name(commit)
        job = self.path / "staging" / name
        rh_width = self._identity.sketch.rh_dim
        about = {"name": name, **plan.about, "identity": self._identity.as_stored(), "rh_width": rh_width}
        write_segment(job, replace(plan, about=about), parts, self.config)
        vfs.rename(job, self.path / "segments" / name)
        return name

    def make_lasting(self, transaction: Transaction, commit: int) -> list[str]:
        """Say that all tombstones up to a commit stand in segments; return the files of deletions it leaves over."""
        transaction.put_number(b"lasting_commit", commit)
        obsolete = tombstones.file_names(transaction)
        transaction.clear("deletions")
        return obsolete

    def retire(self, transaction: Transaction, names: Iterable[str]) -> None:
        """Begin a generation to which these segments no longer belong."""
        generation = transaction.number(b"generation") + 1
        begin_generation(self.path, generation)
        transaction.put_number(b"generation", generation)
        for number, name in enumerate(names, transaction.last_key("retired") + 1):
            transaction.put_json("retired", number_key(number), {"name": name, "generation": generation})

    def remove_retired(self) -> int:
        """Remove the segments that no reader can need any more, and return how many are still needed."""
        with self.catalog.read() as transaction:
            retired = {key: transaction.json("retired", key) for key in transaction.keys("retired")}
            segment_names(transaction, "retired")  # checks them
        free = [key for key, one in retired.items() if not is_read(self.path, one["generation"])]
        gone = [key for key in free if vfs.clear(self.path / "segments" / retired[key]["name"])]
        if gone:
            with self.changing(), self.catalog.write() as transaction:
                for key in gone:
                    transaction.delete("retired", key)
        return len(retired) - len(gone)

    def write_deletions(self, dead: NDArray[np.uint64], commit: int) -> str:
        """Write a file of deletions that no commit names yet, and return its name."""
        name = new_name(commit)
        tombstones.write_file(self.path / "deletions" / name, dead)
        return name

    def name_deletions(self, transaction: Transaction, name: str, *, instead: bool = False) -> None:
        """Commit a file of deletions, perhaps instead of the last one."""
        number = transaction.last_key("deletions") + (not instead)
        transaction.put("deletions", number_key(number), name.encode())

    def remove_deletions(self, names: Iterable[str]) -> None:
        """Remove files of deletions that no commit names any more."""
        for name in names:
            vfs.clear(self.path / "deletions" / name)

    def _write_tail(self, last: TailBlock | None, dead: NDArray[np.uint64], commit: int) -> tuple[str, StoredRows]:
        """Write the tail and then `last` as a segment that no commit names yet."""
        with self.catalog.read() as transaction:
            blocks = [*read_tail(transaction, self.config.dtype), *([last] if last else [])]
            log = tombstones.read_log(transaction)
            lasting = transaction.number(b"lasting_commit")
        rows = blocks[0].rows
        plan = SegmentPlan(
            rows=sum(len(block.rows) for block in blocks),
            row_bytes=max(rows.rh[:1].nbytes, rows.gh[:1].nbytes),
            record_bytes=sum(len(record) for block in blocks for record in block.records),
            tombstones=np.concatenate([log[log[:, 1] > lasting], dead]),
            about={"commit": commit, "supersedes": []},
        )
        return self.put_segment(plan, ((block.rows, block.records) for block in blocks)), rows

    def _name_tail(self, transaction: Transaction, sealed: tuple[str, StoredRows], commit: int) -> list[str]:
        """Put a segment in the place of the tail; return the files of deletions that it makes superfluous."""
        name, rows = sealed
        transaction.clear("tail")
        transaction.put_number(b"tail_bytes", 0)
        transaction.put_json("segments", number_key(int(rows.sequence[0])), {"name": name})
        return self.make_lasting(transaction, commit)

    def _remove_uncommitted(self) -> None:
        """Remove what no commit names: a writer died before its commit, or after it and before it had cleared up."""
        with self.catalog.read() as transaction:
            named = {*segment_names(transaction), *segment_names(transaction, "retired")}
            named.update(tombstones.file_names(transaction))
            generation = transaction.number(b"generation")
        for folder in FOLDERS:  # a copy may have left the empty ones out
            vfs.make_folder(self.path / folder)
        begin_generation(self.path, generation)
        for folder in ("staging", "segments", "deletions"):
            for leftover in (self.path / folder).iterdir():
                if folder == "staging" or leftover.name not in named:
                    vfs.clear(leftover)


def put_commit(transaction: Transaction, number: int, what: str, *, added: int, removed: int) -> None:
    """Write what a commit did; see :class:`risedb.storage.snapshot.Commit`."""
    rows = read_commit(transaction, number - 1).rows + (0 if what == "compact" else added - removed)
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    about = {"time": time, "what": what, "added": added, "removed": removed, "rows": rows}
    transaction.put_json("commits", number_key(number), about)


def _killed(versions: Sequence[Version], commit: int) -> list[Version]:
    """Mark the live one of an id's versions as dead since a commit."""
    return [replace(one, died=commit) if one.died == 0 else one for one in versions]

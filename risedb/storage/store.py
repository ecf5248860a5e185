"""One index on disk: create, open, append, look up, take a snapshot.

Rows are appended in commits. Small commits collect in the catalog's tail; when they would make a segment of
``seal_bytes``, or when the writer seals, they become an immutable segment. The transaction that names a segment also
takes away the tail it replaces, so a reader sees either, never both or neither.
"""

import contextlib
import errno
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from risedb.config import Identity, StoreConfig
from risedb.errors import AlreadyExists, Corrupt, DiskFailure, InvalidInput
from risedb.signature import Signatures
from risedb.storage import vfs
from risedb.storage.catalog import Catalog, Entry, Transaction, number_key
from risedb.storage.format import check_format, write_format
from risedb.storage.lock import WriterLock
from risedb.storage.records import pack_record, unpack_record
from risedb.storage.rows import StoredRows
from risedb.storage.segment import Segment, write_segment
from risedb.storage.snapshot import Snapshot, segment_names


@dataclass(frozen=True, slots=True, eq=False)
class NewRows:
    """n documents to append, in the order of the input.

    Parameters
    ----------
    signatures
        Their signatures, with their ids.
    content_hashes
        n hashes of 16 bytes, by which an unchanged document is recognised.
    records
        n JSON objects.
    """

    signatures: Signatures
    content_hashes: Sequence[bytes]
    records: Sequence[Mapping[str, Any]]


class Store:
    """An index's folder. Readers need no lock; a writer calls :meth:`lock` first.

    Parameters
    ----------
    path
        The index's folder.

    Raises
    ------
    NotFound, InvalidInput
        If there is no such folder, or it is no index.
    UnsupportedFormat
        If it is of a format version that is not read here.
    Corrupt
        If the catalog cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_format(path)
        self._catalog = Catalog(path / "catalog")
        self._lock: WriterLock | None = None
        self._snapshot: Snapshot | None = None
        try:
            with self._catalog.read() as transaction:
                self.identity = Identity.from_dict(transaction.json("meta", b"identity"))
                self.config = StoreConfig(**transaction.json("meta", b"store"))
        except (InvalidInput, TypeError) as error:
            self._catalog.close()
            msg = f"the catalog of {path} holds no identity: {error}. Run risedb verify"
            raise Corrupt(msg) from error
        except Corrupt:
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
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            msg = f"{path} is there already and is not a RiseDB index; choose another folder"
            raise AlreadyExists(msg)
        new = path.absolute().with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            for folder in ("catalog", "segments", "staging"):
                vfs.make_folder(new / folder)
            with contextlib.closing(Catalog(new / "catalog")) as catalog, catalog.write() as transaction:
                transaction.put_json("meta", b"identity", identity.as_dict())
                transaction.put_json("meta", b"settings", settings)
                transaction.put_json("meta", b"store", asdict(config))
            write_format(new)
            vfs.sync_tree(new)
            vfs.rename(new, path.absolute())
        except DiskFailure as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                raise
            msg = f"{path} was made by another process meanwhile; run the same command again"
            raise AlreadyExists(msg) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return cls(path)

    def close(self) -> None:
        """Release the lock and the catalog."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._catalog.close()

    def lock(self) -> None:
        """Become the index's one writer until :meth:`close`; clear what a dead writer left unfinished.

        Raises
        ------
        Busy
            If another process is.
        """
        if self._lock is None:
            self._lock = WriterLock(self.path / "writer.lock")
            self._remove_uncommitted()

    @property
    def settings(self) -> dict[str, Any]:
        """What the index remembers for its user."""
        with self._catalog.read() as transaction:
            settings: dict[str, Any] = transaction.json("meta", b"settings")
        return settings

    def lookup(self, ids: Sequence[str]) -> list[Entry | None]:
        """Find ids: each one's sequence number and content hash, or None."""
        with self._catalog.read() as transaction:
            return [transaction.entry(name) for name in ids]

    def append(self, rows: NewRows) -> None:
        """Commit rows: after this returns they are durable; a row whose id was there takes the old one's place.

        Parameters
        ----------
        rows
            At least one; no id twice.

        Raises
        ------
        OutOfSpace, DiskFailure
            If the disk does not take them; then none was added.
        """
        ids = rows.signatures.ids
        with self._catalog.read() as transaction:
            commit = transaction.count("commits") + 1
            first = _number(transaction, b"next_sequence")
            replaced = [entry.sequence for name in ids if (entry := transaction.entry(name))]
            tail_bytes = _number(transaction, b"tail_bytes")
        stored = StoredRows.of(rows.signatures, first, commit, replaced, self.config.dtype)
        packed = [pack_record(*pair) for pair in zip(ids, rows.records, strict=True)]
        segment = None
        if tail_bytes + stored.nbytes >= self.config.seal_bytes:
            segment = self._write_segment(stored, packed)
        payload = stored.nbytes + sum(map(len, packed)) + 2 * sum(len(name.encode()) + 64 for name in ids)
        with self._catalog.write(payload) as transaction:
            if segment is None:
                transaction.put("tail", number_key(first), stored.pack())
                transaction.put("meta", b"tail_bytes", number_key(tail_bytes + stored.nbytes))
            else:
                _name_segment(transaction, *segment)
            for offset, name in enumerate(ids):
                transaction.put("records", number_key(first + offset), packed[offset])
                transaction.put_entry(name, Entry(first + offset, rows.content_hashes[offset]))
            for sequence in replaced:
                transaction.put("tombstones", number_key(sequence), number_key(commit))
            transaction.put("meta", b"next_sequence", number_key(first + len(ids)))
            about = {
                "rows": len(ids),
                "replaced": len(replaced),
                "time": datetime.now(UTC).isoformat(),
            }
            transaction.put_json("commits", number_key(commit), about)

    def seal(self) -> None:
        """Turn the tail, if there is one, into a segment."""
        with self._catalog.read() as transaction:
            if transaction.count("tail") == 0:
                return
        segment = self._write_segment(None, [])
        with self._catalog.write() as transaction:
            _name_segment(transaction, *segment)

    def snapshot(self) -> Snapshot:
        """Return the index as of its newest commit; it stays as it is while others write."""
        with self._catalog.read() as transaction:
            version = Snapshot.version_of(transaction)
            if self._snapshot is None or self._snapshot.version != version:
                self._snapshot = Snapshot(self.path, transaction, self.config.dtype, self._snapshot)
            return self._snapshot

    def records(self, sequences: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
        """Return id and record of rows by their sequence numbers.

        Raises
        ------
        Corrupt
            If one is missing or damaged.
        """
        with self._catalog.read() as transaction:
            return [_record(transaction, sequence) for sequence in sequences]

    def all_records(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield sequence number, id and record of every row that was ever committed, oldest first."""
        with self._catalog.read() as transaction:
            for key, value in transaction.items("records"):
                sequence = int.from_bytes(key)
                yield sequence, *unpack_record(value, f"the record of row {sequence}")

    def _write_segment(self, rows: StoredRows | None, packed: list[bytes]) -> tuple[str, Segment]:
        """Write the tail and then `rows` as a segment that no commit names yet."""
        with self._catalog.read() as transaction:
            tail = [StoredRows.unpack(block, self.config.dtype) for _, block in transaction.items("tail")]
            tail_records = [
                transaction.get("records", number_key(sequence)) or b""
                for block in tail
                for sequence in block.sequence.tolist()
            ]
            number = transaction.count("segments")
        name = f"{number:06d}-{uuid.uuid4().hex[:12]}"
        job = self.path / "staging" / name
        everything = StoredRows.concatenate([*tail, rows] if rows is not None else tail)
        write_segment(
            job,
            everything,
            [*tail_records, *packed],
            chunk_bytes=self.config.chunk_bytes,
            extra={"identity": self.identity.as_dict(), "commit": int(everything.commit[-1])},
        )
        vfs.rename(job, self.path / "segments" / name)
        return name, Segment(self.path / "segments" / name)

    def _remove_uncommitted(self) -> None:
        """Remove segments and staging folders that no commit names: a writer died before its commit."""
        with self._catalog.read() as transaction:
            named = set(segment_names(transaction))
        leftovers = [*(self.path / "staging").iterdir()]
        leftovers += [folder for folder in (self.path / "segments").iterdir() if folder.name not in named]
        for folder in leftovers:
            vfs.remove_tree(folder)


def _number(transaction: Transaction, name: bytes) -> int:
    value = transaction.get("meta", name)
    return 0 if value is None else int.from_bytes(value)


def _name_segment(transaction: Transaction, name: str, segment: Segment) -> None:
    """Put a segment in the place of the tail."""
    transaction.clear("tail")
    transaction.put("meta", b"tail_bytes", number_key(0))
    about = {"name": name, "rows": segment.rows, "bytes": segment.nbytes}
    transaction.put_json("segments", number_key(transaction.count("segments")), about)


def _record(transaction: Transaction, sequence: int) -> tuple[str, dict[str, Any]]:
    value = transaction.get("records", number_key(sequence))
    if value is None:
        msg = f"row {sequence} has no record in the catalog. Run risedb verify"
        raise Corrupt(msg)
    return unpack_record(value, f"the record of row {sequence}")

"""Whether an index is what was committed: findings, not exceptions, so that all damage is named at once."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from risedb.errors import Corrupt, RiseDBError
from risedb.storage import tombstones, vfs
from risedb.storage.catalog import Catalog, check_size, check_structure
from risedb.storage.format import read_format
from risedb.storage.layout import is_intact
from risedb.storage.records import unpack_record
from risedb.storage.segment import Segment
from risedb.storage.snapshot import Snapshot, segment_names
from risedb.storage.store import Store
from risedb.storage.transaction import DATABASES, Transaction, version_at


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Parameters
    ----------
    place
        File or catalog entry.
    problem
        What is wrong with it.
    """

    place: str
    problem: str


@vfs.readable()
def verify(path: Path, *, full: bool = True) -> list[Finding]:
    """Check an index; an empty list means that it is sound. A writer may go on meanwhile.

    Parameters
    ----------
    path
        The index's folder.
    full
        Read every byte: all checksums, every page of the catalog, and every row to its record to its id and back.
        Without it, only what exists and how long it is.

    Raises
    ------
    NotFound, InvalidInput, UnsupportedFormat
        If there is no index to check.
    """
    try:
        read_format(path)
    except Corrupt as error:
        return [Finding("FORMAT", str(error))]
    try:
        check_size(path / "catalog")
        if full:  # without LMDB, which a damaged file can kill
            check_structure(path / "catalog")
        with contextlib.closing(Store(path)) as store:
            snapshot = store.snapshot()
            with contextlib.closing(Catalog(path / "catalog")) as catalog:
                return list(_findings(path, catalog, snapshot, full=full))
    except Corrupt as error:
        found = _catalog_values(path) if full else []
        return found or [Finding("catalog", str(error))]


def _findings(path: Path, catalog: Catalog, snapshot: Snapshot, *, full: bool) -> Iterator[Finding]:
    with catalog.read() as transaction:
        found = list(_values(transaction)) if full else []
        for folder in (segment.folder for segment in snapshot.segments):
            found += damaged_files(folder, full=full)
        for name in tombstones.file_names(transaction):
            try:
                tombstones.read_file(path / "deletions" / name)
            except Corrupt as error:
                with catalog.read() as newer:  # a writer may have put another in its place
                    if name in tombstones.file_names(newer):
                        found.append(Finding(f"deletions/{name}", str(error)))
        yield from found
        if full and not found:  # else what follows would only repeat it
            yield from _rows(transaction, snapshot)


def _catalog_values(path: Path) -> list[Finding]:
    """Name the entries of a catalog that the store cannot make sense of."""
    try:
        check_size(path / "catalog")
        check_structure(path / "catalog")
        with contextlib.closing(Catalog(path / "catalog")) as catalog, catalog.read() as transaction:
            found = list(_values(transaction))
            for name in segment_names(transaction) if not found else ():
                found += damaged_files(path / "segments" / name, full=False)
            return found
    except Corrupt:
        return []


def _values(transaction: Transaction) -> Iterator[Finding]:
    """Check every value's checksum."""
    for database in DATABASES:
        for key in transaction.keys(database):
            try:
                transaction.get(database, key)
            except Corrupt as error:
                yield Finding(f"catalog/{database}/{key!r}", str(error))


def damaged_files(folder: Path, *, full: bool) -> Iterator[Finding]:
    """Check the files of a segment against segment.json: whether they exist and how long they are; their bytes too."""
    try:
        files = Segment(folder).summary["files"]
    except Corrupt as error:
        yield Finding(str(folder), str(error))
        return
    for name, about in files.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            yield Finding(str(folder), f"its summary names a file outside it, {name!r}")
        elif not file.is_file():
            yield Finding(str(file), "the file is missing")
        elif file.stat().st_size != about["bytes"]:
            yield Finding(str(file), f"{file.stat().st_size} bytes where {about['bytes']} were written")
        elif full and not is_intact(name, file.read_bytes(), about):
            yield Finding(str(file), "its checksum is not the one that was written")


def _rows(transaction: Transaction, snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every row leads to its record, its id, and back to itself."""
    dead = set(snapshot.dead.tolist())
    rows, newest = 0, -1
    for piece in snapshot.pieces:
        for row, sequence in enumerate(piece.sequence.tolist()):
            if sequence <= newest:
                yield Finding(f"row {sequence}", f"it stands after row {newest}")
            newest = sequence
            rows += sequence not in dead
            try:
                name, _ = unpack_record(piece.record(row), f"the record of row {sequence}")
                versions = transaction.versions(name)
            except RiseDBError as error:
                yield Finding(f"row {sequence}", str(error))
                continue
            live = version_at(versions, None)
            if (sequence in dead) == (live is not None and live.sequence == sequence):
                yield Finding(f"row {sequence}", f"its id {name!r} leads to {live and live.sequence}")
    commits = [int.from_bytes(key) for key in transaction.keys("commits")]
    if commits and commits != list(range(commits[0], commits[0] + len(commits))):
        yield Finding("catalog/commits", f"{len(commits)} commits are numbered from {commits[0]} to {commits[-1]}")
    if rows != snapshot.rows:
        yield Finding("catalog/commits", f"the newest tells of {snapshot.rows} documents, and there are {rows}")
    ids = sum(1 for _ in transaction.keys("ids"))
    if ids < rows:
        yield Finding("catalog/ids", f"{ids} ids for {rows} documents")

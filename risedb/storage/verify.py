"""Whether an index is what was committed: findings, not exceptions, so that all damage is named at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from risedb.errors import Corrupt, RiseDBError
from risedb.storage.catalog import DATABASES, Catalog, Transaction, check_size, number_key
from risedb.storage.checksum import crc32c
from risedb.storage.records import unpack_record
from risedb.storage.rows import StoredRows
from risedb.storage.segment import Segment
from risedb.storage.snapshot import segment_names
from risedb.storage.store import Store


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


def verify(path: Path, *, full: bool = True) -> list[Finding]:
    """Check an index; an empty list means that it is sound.

    Parameters
    ----------
    path
        The index's folder.
    full
        Read every byte: all checksums, and every row to its record to its id and back. Without it, only what exists and
        how long it is.

    Raises
    ------
    NotFound, InvalidInput, UnsupportedFormat
        If there is no index to check.
    """
    try:
        check_size(path / "catalog")
        store = Store(path)
    except Corrupt as error:
        return [Finding(str(path / "catalog"), str(error))]
    try:
        return list(_findings(path, store.config.dtype, full=full))
    finally:
        store.close()


def _findings(path: Path, dtype: str, *, full: bool) -> Iterator[Finding]:
    catalog = Catalog(path / "catalog")
    try:
        with catalog.read() as transaction:
            found = list(_values(transaction)) if full else []
            try:
                folders = [path / "segments" / name for name in segment_names(transaction)]
            except Corrupt as error:
                folders = []
                found += [] if found else [Finding("catalog/segments", str(error))]
            for folder in folders:
                found += _segment(folder, full=full)
            yield from found
            if full and not found:  # else what follows would only repeat it
                yield from _rows(transaction, folders, dtype)
    finally:
        catalog.close()


def _values(transaction: Transaction) -> Iterator[Finding]:
    """Check every value's checksum."""
    for database in DATABASES:
        for key in transaction.keys(database):
            try:
                transaction.get(database, key)
            except Corrupt as error:
                yield Finding(f"catalog/{database}/{key!r}", str(error))


def _segment(folder: Path, *, full: bool) -> Iterator[Finding]:
    try:
        files = Segment.read_summary(folder)["files"]
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
        elif full and crc32c(file.read_bytes()) != about["crc32c"]:
            yield Finding(str(file), "its checksum is not the one that was written")


def _rows(transaction: Transaction, segments: list[Path], dtype: str) -> Iterator[Finding]:
    """Check that every row has its record, the same in catalog and segment, and every live row its id."""
    tombstones = {int.from_bytes(key) for key in transaction.keys("tombstones")}
    seen: set[int] = set()
    for folder in segments:
        segment = Segment(folder)
        for sequence, copy in zip(segment.sequences().tolist(), segment.records(), strict=True):
            if transaction.get("records", number_key(sequence)) != copy:
                yield Finding(f"{folder} row {sequence}", "its record is not the catalog's")
            seen.add(sequence)
    for _, block in transaction.items("tail"):
        seen.update(StoredRows.unpack(block, dtype).sequence.tolist())
    for sequence in sorted(seen):
        yield from _row(transaction, sequence, live=sequence not in tombstones)
    if (live := len(seen - tombstones)) != (ids := transaction.count("ids")):
        yield Finding("catalog/ids", f"{ids} ids for {live} live rows")
    missing = {int.from_bytes(key) for key in transaction.keys("records")} - seen
    for sequence in sorted(missing):
        yield Finding(f"catalog/records/{sequence}", "a record whose row is in no segment")


def _row(transaction: Transaction, sequence: int, *, live: bool) -> Iterator[Finding]:
    place = f"catalog/records/{sequence}"
    try:
        value = transaction.get("records", number_key(sequence))
        name, _ = unpack_record(value or b"", place)
        entry = transaction.entry(name)
    except RiseDBError as error:
        yield Finding(place, str(error))
        return
    if live and (entry is None or entry.sequence != sequence):
        yield Finding(place, f"its id {name!r} leads to {entry and entry.sequence}")

"""What is sound of damaged segments: their names, their tombstones, and rows of whose every part the checksum fits."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.config import StoreConfig
from risedb.errors import Corrupt, RiseDBError
from risedb.storage import tombstones, vfs
from risedb.storage.checksum import row_checksums
from risedb.storage.names import new_name
from risedb.storage.records import unpack_record
from risedb.storage.rows import StoredRows
from risedb.storage.segment import Segment
from risedb.storage.segment_writer import SegmentPlan, write_segment

_MOVED = ".moved"


def summary(folder: Path) -> dict[str, Any]:
    """Return a segment's segment.json, or nothing if it cannot be read."""
    try:
        return Segment.read_summary(folder)
    except Corrupt:
        return {}


def rename_back(folder: Path) -> None:
    """Give segments that were moved or swapped within `folder` their own names again."""
    own = {entry.name: name for entry in folder.iterdir() if (name := summary(entry).get("name"))}
    strays = {name: entry for entry, name in own.items() if entry != name and own.get(name) != name}
    for name, entry in strays.items():
        if entry != name + _MOVED:  # else an earlier repair was killed here
            vfs.rename(folder / entry, folder / (name + _MOVED))
    for name in strays:
        if not (folder / name).exists():
            vfs.rename(folder / (name + _MOVED), folder / name)


def readable_ids(folder: Path) -> list[str]:
    """Return the ids of a damaged segment, as far as its records can be read."""
    names = []
    with contextlib.suppress(RiseDBError, OSError, ValueError, KeyError):
        segment = Segment(folder)
        for row in range(segment.rows):
            with contextlib.suppress(RiseDBError):
                names.append(unpack_record(segment.record(row), "a record")[0])
    return names


def sound_tombstones(segment: Segment) -> NDArray[np.uint64]:
    """Return the tombstones that a segment tells of, (m, 2); none if they are damaged."""
    try:
        return segment.whole("tombstones")
    except Corrupt:
        return tombstones.NONE


def salvage(segment: Segment, path: Path, config: StoreConfig) -> Segment | None:
    """Write the sound rows of a damaged segment as one that supersedes it and that no commit names yet.

    Parameters
    ----------
    segment
        Whose summary is sound.
    path
        The index's folder.
    config
        Chunk size, dtype, codes.

    Returns
    -------
    Segment, or None
        None if no row is sound.
    """
    rows = row_bytes = record_bytes = 0
    for part, packed in _sound_rows(segment):
        rows += len(part)
        row_bytes = max(part.rh[:1].nbytes, part.gh[:1].nbytes)
        record_bytes += sum(map(len, packed))
    if rows == 0:
        return None
    name = new_name(segment.summary["commit"])
    about = {key: segment.summary[key] for key in ("commit", "identity", "rh_width")}
    about |= {"name": name, "supersedes": [segment.folder.name, *segment.summary["supersedes"]]}
    plan = SegmentPlan(rows, row_bytes, record_bytes, sound_tombstones(segment), about)
    write_segment(path / "staging" / name, plan, _sound_rows(segment), config)
    vfs.rename(path / "staging" / name, path / "segments" / name)
    return Segment(path / "segments" / name)


def _sound_rows(segment: Segment) -> Iterator[tuple[StoredRows, list[bytes]]]:
    """Yield the sound rows of each chunk, with their packed records."""
    for i in range(segment.chunks):
        try:
            rows, sound = _rows(segment, i)
            records = [_sound_record(segment, i * segment.chunk_rows + row) for row in np.flatnonzero(sound).tolist()]
        except Corrupt:
            continue
        sound[sound] = [record is not None for record in records]
        if sound.any():
            yield rows[sound], [record for record in records if record is not None]


def _rows(segment: Segment, i: int) -> tuple[StoredRows, NDArray[np.bool_]]:
    """Return the rows of chunk i, and which of them are as written: of a damaged chunk, by the crc32c of each.

    Raises
    ------
    Corrupt
        If what all of them need is damaged, or rows have no crc32c of their own, as in a store of codes alone.
    """
    with contextlib.suppress(Corrupt):
        rows = segment.stored(i)
        return rows, np.ones(len(rows), np.bool_)
    rh, gh, _ = segment.vectors(i)
    sound = row_checksums(rh, gh) == segment.chunk("row_crc32c", i)
    sequence, commit, content, norms = (segment.chunk(one, i) for one in ("sequence", "commit", "content", "norms"))
    return StoredRows(sequence, commit, content, rh, gh, norms, np.ones(len(rh), np.float32)), sound


def _sound_record(segment: Segment, row: int) -> bytes | None:
    try:
        record = segment.record(row)
        unpack_record(record, f"the record of row {row}")
    except Corrupt:
        return None
    return record

"""Compaction: merges small segments and rewrites those with dead rows, beside running readers.

What is dead afterwards is gone, so history before it can no longer be read. Each group of neighbouring segments is one
commit, and memory holds one chunk of rows at a time. Sequence numbers stay, so rankings do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from risedb.storage import tombstones
from risedb.storage.records import unpack_record
from risedb.storage.rows import StoredRows
from risedb.storage.segment import Segment
from risedb.storage.segment_writer import SegmentPlan
from risedb.storage.snapshot import Snapshot
from risedb.storage.transaction import number_key
from risedb.storage.writer import Writer, put_commit

_SEALS = 8  # a merged segment is as large as so many sealed ones


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did, or would do.

    Parameters
    ----------
    segments_before, segments_after
        Segments of the index.
    removed
        Dead rows that are gone.
    freed_bytes
        Of the segments that were rewritten, less that of the new ones; an estimate for a dry run.
    waiting
        Old segments that running readers still need; the next writer removes them.
    """

    segments_before: int
    segments_after: int
    removed: int
    freed_bytes: int
    waiting: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Size:
    """How large a segment is, and which of its rows are live."""

    nbytes: int
    live: NDArray[np.bool_]

    @property
    def live_bytes(self) -> int:
        return int(self.nbytes * self.live.mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Source(_Size):
    """A segment to read live rows from."""

    segment: Segment


_AnySize = TypeVar("_AnySize", bound=_Size)
Group = Sequence[_Source]


def _grouped(sizes: Sequence[_AnySize], target_bytes: int) -> list[list[_AnySize]]:
    """Choose what to rewrite together: neighbours that are small or holed, up to `target_bytes` a group."""
    groups: list[list[_AnySize]] = [[]]
    for one in sizes:
        eligible = not one.live.all() or one.live_bytes < target_bytes // 2
        filled = sum(other.live_bytes for other in groups[-1]) + one.live_bytes
        if groups[-1] and (not eligible or filled > target_bytes):
            groups.append([])
        if eligible:
            groups[-1].append(one)
    return [group for group in groups if len(group) > 1 or (group and not group[0].live.all())]


def _sources(snapshot: Snapshot) -> list[_Source]:
    return [
        _Source(segment.nbytes, ~np.isin(segment.sequence, snapshot.dead, assume_unique=True), segment)
        for segment in snapshot.segments
    ]


def preview(snapshot: Snapshot, seal_bytes: int) -> CompactReport:
    """Tell what a compaction would do; it would seal the tail before, into a segment of a size that is estimated."""
    sizes: list[_Size] = [*_sources(snapshot)]
    if snapshot.tail:
        waiting = np.concatenate([block.sequence for block in snapshot.tail])
        sizes.append(_Size(sum(block.nbytes for block in snapshot.tail), ~np.isin(waiting, snapshot.dead)))
    groups = _grouped(sizes, _SEALS * seal_bytes)
    after = len(sizes) - sum(len(group) - _has_rows(group) for group in groups)
    removed = sum(int((~one.live).sum()) for group in groups for one in group)
    freed = sum(one.nbytes - one.live_bytes for group in groups for one in group)
    return CompactReport(len(snapshot.segments), after, removed, freed)


def compact(writer: Writer, snapshot: Snapshot) -> CompactReport:
    """Rewrite every group, each in a commit of its own.

    Parameters
    ----------
    snapshot
        Of the newest commit, with an empty tail. It keeps its files until it is let go of.

    Raises
    ------
    Corrupt
        If a segment is damaged; then it stays as it is, and what was compacted before stays too.
    """
    report = preview(snapshot, writer.config.seal_bytes)
    before = sum(segment.nbytes for segment in snapshot.segments)
    after = before
    for group in _grouped(_sources(snapshot), _SEALS * writer.config.seal_bytes):
        name = _rewrite(writer, group)
        after -= sum(source.segment.nbytes for source in group)
        after += Segment(writer.path / "segments" / name).nbytes if name else 0
    return replace(report, freed_bytes=before - after)


def _rewrite(writer: Writer, group: Group) -> str | None:
    """Commit one segment, or none if no row is live, in the place of several."""
    with writer.changing():
        names = [source.segment.folder.name for source in group]
        gone = np.concatenate([source.segment.sequence[~source.live] for source in group])
        with writer.catalog.read() as transaction:
            commit = transaction.last_key("commits") + 1
            log = tombstones.read_log(transaction)
            retired = [transaction.json("retired", key)["name"] for key in transaction.keys("retired")]
        remaining = log[~np.isin(log[:, 0], gone)]
        name = deletions = None
        if _has_rows(group):
            name = writer.put_segment(_plan(group, remaining, commit, [*retired, *names]), _live_rows(group))
        elif len(remaining):  # what the group's segments told of other rows has to stay told
            deletions = writer.write_deletions(remaining, commit)
        with writer.catalog.write(256 * len(gone)) as transaction:
            for source in group:
                transaction.delete("segments", number_key(int(source.segment.sequence[0])))
            if name:
                first = next(int(source.segment.sequence[source.live][0]) for source in group if source.live.any())
                transaction.put_json("segments", number_key(first), {"name": name})
                obsolete = writer.make_lasting(transaction, commit)
            elif deletions:
                writer.name_deletions(transaction, deletions)
                transaction.put_number(b"lasting_commit", 0)  # the next segment tells all of them
            for name_of_dead, sequence in _dead_ids(group):
                versions = [one for one in transaction.versions(name_of_dead) if one.sequence != sequence]
                transaction.put_versions(name_of_dead, versions)
            tombstones.replace_log(transaction, remaining)
            writer.retire(transaction, names)
            transaction.put_number(b"oldest_commit", commit)
            put_commit(transaction, commit, "compact", added=0, removed=len(gone))
        if name:
            writer.remove_deletions(obsolete)
    return name


def _plan(group: Group, remaining: NDArray[np.uint64], commit: int, supersedes: Sequence[str]) -> SegmentPlan:
    first = group[0].segment.vectors(0)
    return SegmentPlan(
        rows=sum(int(source.live.sum()) for source in group),
        row_bytes=max(first[0][:1].nbytes, first[1][:1].nbytes),
        record_bytes=sum(int(_record_sizes(source.segment)[source.live].sum()) for source in group),
        tombstones=remaining,
        about={"commit": commit, "supersedes": list(supersedes)},
    )


def _record_sizes(segment: Segment) -> NDArray[np.uint64]:
    return np.diff(segment.record_ends, prepend=np.uint64(0))


def _live_rows(group: Group) -> Iterator[tuple[StoredRows, list[bytes]]]:
    for source in group:
        start = 0
        for i in range(source.segment.chunks):
            rows = source.segment.stored(i)
            live = source.live[start : start + len(rows)]
            if live.any():
                yield rows[live], [source.segment.record(start + int(at)) for at in np.flatnonzero(live)]
            start += len(rows)


def _dead_ids(group: Group) -> Iterator[tuple[str, int]]:
    for source in group:
        for row in np.flatnonzero(~source.live).tolist():
            sequence = int(source.segment.sequence[row])
            yield unpack_record(source.segment.record(row), f"the record of row {sequence}")[0], sequence


def _has_rows(group: Sequence[_Size]) -> bool:
    return any(source.live.any() for source in group)

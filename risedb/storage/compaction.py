"""Compaction: merges small segments and rewrites those with dead rows, beside running readers.

What is dead afterwards is gone, so history before it can no longer be read. Each group of neighbouring segments is one
commit, and memory holds one chunk of rows at a time. Sequence numbers stay, so rankings do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
class _Source:
    """A segment, and which of its rows are live."""

    segment: Segment
    live: NDArray[np.bool_]

    @property
    def live_bytes(self) -> int:
        return int(self.segment.nbytes * self.live.mean())


Group = list[_Source]


def plan_groups(snapshot: Snapshot, target_bytes: int) -> list[Group]:
    """Choose the segments to rewrite together: neighbours that are small or holed, up to `target_bytes` a group."""
    groups: list[Group] = [[]]
    for segment in snapshot.segments:
        source = _Source(segment, ~np.isin(segment.sequence, snapshot.dead, assume_unique=True))
        eligible = not source.live.all() or source.live_bytes < target_bytes // 2
        filled = sum(one.live_bytes for one in groups[-1]) + source.live_bytes
        if groups[-1] and (not eligible or filled > target_bytes):
            groups.append([])
        if eligible:
            groups[-1].append(source)
    return [group for group in groups if len(group) > 1 or (group and not group[0].live.all())]


def dry_run(snapshot: Snapshot, writer_seal_bytes: int) -> CompactReport:
    """Tell what a compaction would do."""
    groups = plan_groups(snapshot, _SEALS * writer_seal_bytes)
    before = len(snapshot.segments)
    after = before - sum(len(group) - _has_rows(group) for group in groups)
    removed = sum(int((~source.live).sum()) for group in groups for source in group)
    freed = sum(source.segment.nbytes - source.live_bytes for group in groups for source in group)
    return CompactReport(before, after, removed, freed)


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
    report = dry_run(snapshot, writer.config.seal_bytes)
    before = sum(segment.nbytes for segment in snapshot.segments)
    after = before
    for group in plan_groups(snapshot, _SEALS * writer.config.seal_bytes):
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


def _has_rows(group: Group) -> bool:
    return any(source.live.any() for source in group)

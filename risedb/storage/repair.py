"""Repair: a new catalog from what is sound. What is damaged is set aside with a list of its ids; nothing is deleted.

Of a damaged segment, :mod:`risedb.storage.salvage` keeps the rows that are sound.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray  # noqa: TC002

from risedb.config import StoreConfig
from risedb.errors import Corrupt
from risedb.storage import salvage, tombstones, vfs
from risedb.storage.catalog import Catalog, check_size, check_structure
from risedb.storage.format import format_name, read_format, write_format
from risedb.storage.lock import WriterLock
from risedb.storage.medium import refuse_network
from risedb.storage.readers import begin_generation
from risedb.storage.records import unpack_record
from risedb.storage.segment import Segment
from risedb.storage.snapshot import segment_names
from risedb.storage.tail import TailBlock
from risedb.storage.transaction import Transaction, Version, number_key, version_at
from risedb.storage.verify import damaged_files, verify
from risedb.storage.writer import FOLDERS

_BATCH = 10_000  # ids in one transaction of the new catalog


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair found and did.

    Parameters
    ----------
    changed
        False if all was sound, and nothing was done.
    rows
        Documents in the index now.
    set_aside
        Folders under ``damaged``, each with the problem and the ids that it held, as far as they are known.
    lost
        What is nowhere any more, in words.
    """

    changed: bool
    rows: int = 0
    set_aside: list[dict[str, Any]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def repair(path: Path) -> RepairReport:
    """Make an index sound again from its immutable files and what can still be read of its catalog.

    Parameters
    ----------
    path
        The index's folder.

    Raises
    ------
    Busy
        If a writer is at work.
    Corrupt
        If neither FORMAT nor the catalog tells what the index is.
    NotFound, InvalidInput, UnsupportedFormat
        If it is no index.
    """
    refuse_network(path)
    with contextlib.suppress(Corrupt):
        format_name(path)  # else the lock's file would be made in a folder that is no index
    lock = WriterLock(path / "writer.lock")
    try:
        if not verify(path, full=True):
            return RepairReport(changed=False)
        return _Repair(path, _Remains(path)).run()
    finally:
        lock.release()


class _Remains:
    """What can still be read of the catalog; all of it if it is sound."""

    def __init__(self, path: Path) -> None:
        self.tail: list[TailBlock] = []
        self.dead = tombstones.NONE
        self.named: list[str] | None = None
        self.ids: set[str] = set()  # of live documents
        self.lost: list[str] = []
        self.generation = 0
        about: dict[str, Any] | None = None
        with contextlib.suppress(Corrupt):
            about = read_format(path)
        self.format_is_sound = about is not None
        try:
            check_size(path / "catalog")
            check_structure(path / "catalog")
            with contextlib.closing(Catalog(path / "catalog")) as catalog, catalog.read() as transaction:
                about = about or {name: transaction.json("meta", name.encode()) for name in _ABOUT}
                self._read(transaction, StoreConfig(**about["store"]).dtype)
        except (Corrupt, TypeError) as error:
            self.lost.append(f"the catalog cannot be read, and with it what only its tail held ({error})")
        if about is None:
            msg = f"neither FORMAT nor the catalog of {path} can be read; restore one of them from a backup"
            raise Corrupt(msg)
        self.about = {name: about[name] for name in _ABOUT}
        self.config = StoreConfig(**about["store"])

    def _read(self, transaction: Transaction, dtype: str) -> None:
        for key in transaction.keys("tail"):
            with self._reading(f"rows of the tail from number {int.from_bytes(key)} on"):
                self.tail.append(TailBlock.unpack(transaction.get("tail", key) or b"", dtype))
        for key in transaction.keys("tombstones"):
            with self._reading("some deletions of the newest commits"):
                block = transaction.get("tombstones", key) or b""
                self.dead = np.concatenate([self.dead, np.frombuffer(block, "<u8").reshape(-1, 2)])
        died = []
        for name, versions in transaction.sound_ids():
            if version_at(versions, None):
                self.ids.add(name)
            died += [(one.sequence, one.died) for one in versions if one.died]
        self.dead = np.concatenate([self.dead, np.array(died, np.uint64).reshape(-1, 2)])
        with contextlib.suppress(Corrupt):
            self.generation = transaction.number(b"generation")
        with contextlib.suppress(Corrupt):
            self.named = segment_names(transaction)

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except (Corrupt, ValueError) as error:
            self.lost.append(f"{what} ({error})")


_ABOUT = ("identity", "settings", "store")


class _Repair:
    """One repair, under the writer's lock."""

    def __init__(self, path: Path, remains: _Remains) -> None:
        self._path = path
        self._remains = remains
        self._aside = path / "damaged" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ") / uuid.uuid4().hex[:6]
        self._set_aside: list[dict[str, Any]] = []
        self._lost = remains.lost
        self._told: list[NDArray[np.uint64]] = []  # tombstones that damaged segments tell of

    def run(self) -> RepairReport:
        for folder in FOLDERS:
            vfs.make_folder(self._path / folder, durable=True)
        new = self._path / "staging" / f"repair-{uuid.uuid4().hex[:12]}"
        vfs.make_folder(new)
        if not self._remains.format_is_sound:
            write_format(new, self._remains.about)
            self._replace("FORMAT", new / "FORMAT", "its checksum does not fit")
            if not verify(self._path, full=True):  # that was all
                return RepairReport(changed=True, rows=len(self._remains.ids), set_aside=self._set_aside)
        segments = self._sound_segments()
        dead = self._tombstones(segments)
        with contextlib.closing(Catalog(new, create=True)) as catalog:
            rows = self._fill(catalog, segments, dead)
        vfs.sync_file(new / "data.mdb")
        self._replace("catalog/data.mdb", new / "data.mdb", "the catalog before this repair")
        return RepairReport(changed=True, rows=rows, set_aside=self._set_aside, lost=self._lost)

    def _sound_segments(self) -> list[Segment]:
        """Return the segments to go on with, by their rows; of the damaged ones, which move aside, what is sound."""
        folder = self._path / "segments"
        salvage.rename_back(folder)
        there = {entry.name: salvage.summary(entry) for entry in sorted(folder.iterdir())}
        used = self._used(there)
        used = used.difference(*(there[name].get("supersedes", ()) for name in used))
        sound: list[Segment] = []
        for name in sorted(used):
            if problems := list(damaged_files(folder / name, full=True)):
                sound += self._salvaged(folder / name, problems[0].problem)
            else:
                sound.append(Segment(folder / name))
        sound.sort(key=lambda segment: (int(segment.sequence[0]), -segment.summary["commit"]))
        kept: list[Segment] = []
        for segment in sound:
            if kept and segment.sequence[0] <= kept[-1].sequence[-1]:
                place = f"segments/{segment.folder.name}"
                self._move(place, f"it has rows of {kept[-1].folder.name}", salvage.readable_ids(segment.folder))
            else:
                kept.append(segment)
        return kept

    def _used(self, there: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Choose the segments that belong to the index, as far as one can tell; the next writer clears the others."""
        if self._remains.named is None:
            return set(there)
        named = set(self._remains.named)
        missing = named.difference(there)
        # A repair that was killed may have moved one aside, and left what was sound of it in its stead.
        instead = {name for name, about in there.items() if missing.intersection(about.get("supersedes", ()))}
        missing = missing.difference(*(there[name]["supersedes"] for name in instead))
        self._lost += [f"segment {name} is not there" for name in sorted(missing)]
        return named.intersection(there) | instead

    def _salvaged(self, folder: Path, problem: str) -> list[Segment]:
        """Move a damaged segment aside, and return what is sound of it, as a segment, if anything is."""
        ids, kept = salvage.readable_ids(folder), []
        with contextlib.suppress(Corrupt):  # of segment.json: nothing tells what the other files are
            segment = Segment(folder)
            self._told.append(salvage.sound_tombstones(segment))
            if rescued := salvage.salvage(segment, self._path, self._remains.config):
                problem += f". {rescued.rows} of its {segment.rows} rows are sound, and now in {rescued.folder}"
                kept.append(rescued)
        self._move(f"segments/{folder.name}", problem, ids)
        return kept

    def _tombstones(self, segments: list[Segment]) -> dict[int, int]:
        """Return the commit that killed each dead row, as far as any file tells."""
        parts = [self._remains.dead, *self._told, *(segment.whole("tombstones") for segment in segments)]
        for file in sorted((self._path / "deletions").iterdir()):
            try:
                parts.append(tombstones.read_file(file))
            except Corrupt as error:
                self._lost.append(f"deletions in {file.name}, unless the catalog or a segment tells them too ({error})")
                self._move(f"deletions/{file.name}", str(error), [])
        return {int(sequence): int(commit) for sequence, commit in np.concatenate(parts)}

    def _fill(self, catalog: Catalog, segments: list[Segment], dead: dict[int, int]) -> int:
        """Write the new catalog, and return how many documents it has."""
        sealed = {int(sequence) for segment in segments for sequence in segment.sequence[[0, -1]]}
        tail = [block for block in self._remains.tail if int(block.sequence[0]) > max(sealed, default=-1)]
        rows = sorted(_rows(segments, tail), key=lambda row: row[1].sequence, reverse=True)
        versions: dict[str, list[Version]] = {}
        for name, row in rows:  # newest first: of two that seem live, the older was replaced
            newer = versions.setdefault(name, [])
            killed = dead.get(row.sequence, newer[-1].born if newer else 0)
            if killed:
                dead[row.sequence] = killed
            newer.append(Version(row.sequence, row.born, killed, row.content))
        commit = max([*(row.born for _, row in rows), *dead.values(), 0]) + 1
        known = {row.sequence for _, row in rows}
        names = list(versions)
        for start in range(0, len(names), _BATCH):
            with catalog.write(_BATCH * 256) as transaction:
                for name in names[start : start + _BATCH]:
                    transaction.put_versions(name, versions[name])
        live = {name for name in names if versions[name][0].died == 0}
        with catalog.write(sum(block.nbytes for block in tail)) as transaction:
            for name, value in self._remains.about.items():
                transaction.put_json("meta", name.encode(), value)
            for segment in segments:
                transaction.put_json("segments", number_key(int(segment.sequence[0])), {"name": segment.folder.name})
            for block in tail:
                transaction.put("tail", number_key(int(block.sequence[0])), block.pack())
            transaction.put_number(b"tail_bytes", sum(block.nbytes for block in tail))
            transaction.put_number(b"next_sequence", max([*known, *dead, -1]) + 1)
            pairs = np.array(sorted((s, c) for s, c in dead.items() if s in known), np.uint64).reshape(-1, 2)
            tombstones.replace_log(transaction, pairs)
            transaction.put_number(b"oldest_commit", commit)
            transaction.put_number(b"generation", self._next_generation())
            about = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "what": "repair"}
            counts = {"added": 0, "removed": 0, "rows": len(live)}
            transaction.put_json("commits", number_key(commit), about | counts)
        self._tell_lost(self._remains.ids - live)
        return len(live)

    def _next_generation(self) -> int:
        """Begin a generation that no reader has seen."""
        files = [int(file.name) for file in (self._path / "readers").iterdir() if file.name.isdigit()]
        generation = max([self._remains.generation, *files]) + 1
        begin_generation(self._path, generation)
        return generation

    def _tell_lost(self, ids: set[str]) -> None:
        if ids:
            vfs.make_folder(self._aside)
            vfs.write_file(self._aside / "lost-ids.json", json.dumps(sorted(ids), ensure_ascii=False).encode())
            self._lost.append(f"{len(ids)} documents, whose ids are in {self._aside / 'lost-ids.json'}; add them again")

    def _replace(self, place: str, new: Path, problem: str) -> None:
        """Put a new file in the place of one of which a copy is set aside: at no moment is there none."""
        target, aside = self._path / place, self._aside / place
        if target.exists():
            vfs.make_folder(aside.parent, durable=True)
            vfs.copy_file(target, aside)
            vfs.sync_folder(aside.parent)
            self._set_aside.append({"place": place, "problem": problem, "ids": [], "now": str(aside)})
        lock = target.with_name("lock.mdb")  # of LMDB, which tells of transactions of the old catalog
        vfs.remove_file(lock)
        vfs.rename(new, target)
        vfs.remove_file(lock)

    def _move(self, place: str, problem: str, ids: list[str]) -> None:
        """Set something aside, with the ids that it held."""
        source, target = self._path / place, self._aside / place
        if not source.exists():
            return
        vfs.make_folder(target.parent, durable=True)
        vfs.rename(source, target)
        about = {"place": place, "problem": problem, "ids": ids}
        vfs.write_file(target.parent / f"{target.name}.json", json.dumps(about, ensure_ascii=False).encode())
        self._set_aside.append({**about, "now": str(target)})


def _rows(segments: list[Segment], tail: list[TailBlock]) -> Iterator[tuple[str, Version]]:
    """Yield id, sequence, commit and content hash of every row."""
    pieces: list[Segment | TailBlock] = [*segments, *tail]
    for piece in pieces:
        commit, content = piece.whole("commit"), piece.whole("content")
        for row, sequence in enumerate(piece.sequence.tolist()):
            name, _ = unpack_record(piece.record(row), f"the record of row {sequence}")
            yield name, Version(sequence, int(commit[row]), 0, content[row].tobytes())

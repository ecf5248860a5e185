"""One writer and many reader processes on one index: no reader sees a torn, lost or revived row, and memory stays flat.

The writer keeps one row, the *sum*, that is replaced with every change; its record has a digest of all documents as
they are after it, and after the deletion that may follow it. So every snapshot can be judged by itself, whole; and each
is read a second time when the writer has gone on, with the same bytes.
"""

import contextlib
import random
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from risedb.storage import Snapshot, Store
from tools.crash.check import row_problems
from tools.crash.workload import create, rows

_SUM = "sum"
_DOCUMENTS = 400  # about so many are kept


@dataclass(frozen=True, slots=True)
class Report:
    """What one process did.

    Parameters
    ----------
    rounds
        Changes of the writer; snapshots that a reader checked.
    rows
        Rows checked, each bit for bit.
    memory_mib
        Private memory after a quarter of the time, and at the end.
    problems
        What was wrong.
    """

    rounds: int
    rows: int
    memory_mib: tuple[float, float]
    problems: list[str]


def run(path: Path, seconds: float, readers: int) -> tuple[Report, list[Report]]:
    """Make an index and load it.

    Parameters
    ----------
    path
        Where to make it.
    seconds
        How long.
    readers
        Processes that read.

    Returns
    -------
    the writer's report, and each reader's
    """
    with contextlib.closing(create(path)) as store:
        store.lock()
        _Writer(store, random.Random(0)).add()
    with ProcessPoolExecutor(readers + 1, mp_context=get_context("spawn")) as pool:
        writing = pool.submit(write, path, seconds)
        reading = [pool.submit(read, path, seconds, seed) for seed in range(readers)]
        return writing.result(), [one.result() for one in reading]


def write(path: Path, seconds: float) -> Report:
    """Change an index for some time: add, replace, delete, seal and compact."""
    clock = _Clock(seconds)
    done = 0
    with contextlib.closing(Store(path)) as store:
        store.lock()
        writer = _Writer(store, random.Random(1))
        while clock.runs():
            writer.change()
            done += 1
    return Report(done, 0, clock.memory(), [])


def read(path: Path, seconds: float, seed: int) -> Report:
    """Read an index for some time: each snapshot twice, the second time when a newer one has been read."""
    clock = _Clock(seconds)
    rng = random.Random(seed)
    found: list[str] = []
    done = checked = 0
    before: tuple[Snapshot, dict[str, int]] | None = None
    store = Store(path)
    while clock.runs() and not found:
        if before is not None:
            found += _lookup_problems(store, before[1])
        if rng.random() < 0.05:
            store.close()
            store = Store(path)
        else:
            store.refresh()
        snapshot = store.snapshot()
        wrong, documents = _judged(snapshot)
        found += [f"commit {snapshot.commit.number}: {one}" for one in wrong]
        if before is not None and _judged(before[0]) != ([], before[1]):
            found.append(f"commit {before[0].commit.number} is another one when it is read again")
        before = snapshot, documents
        done += 1
        checked += len(documents)
    before = None
    store.close()
    return Report(done, checked, clock.memory(), found)


def _lookup_problems(store: Store, documents: dict[str, int]) -> list[str]:
    """Return which ids of its snapshot a store does not find, now that the writer has gone on."""
    entries = zip(documents.items(), store.lookup(list(documents)), strict=True)
    return [
        f"{name!r} of version {version} leads to {entry}"
        for (name, version), entry in entries
        if entry is None or entry.content != version.to_bytes(16)
    ]


def _judged(snapshot: Snapshot) -> tuple[list[str], dict[str, int]]:
    """Return what is wrong with a snapshot, and its documents with their versions."""
    found: list[str] = []
    documents: dict[str, int] = {}
    total: dict[str, int] = {}
    for block in snapshot.blocks():
        block.check(None)
        live = np.flatnonzero(block.live)
        for row, (name, record) in zip(live, snapshot.records(block.sequence[live].tolist()), strict=True):
            found += row_problems(block, int(row), name, record)
            if name == _SUM:
                total = record
            elif name in documents:
                found.append(f"{name!r} is there twice")
            else:
                documents[name] = record["version"]
    if _digest(documents) not in (total.get("now"), total.get("next")):
        found.append(f"its {len(documents)} documents are not those that the writer left")
    if snapshot.rows != len(documents) + 1:
        found.append(f"it counts {snapshot.rows} rows and has {len(documents) + 1}")
    return found, documents


def _digest(documents: dict[str, int]) -> int:
    return zlib.crc32(repr(sorted(documents.items())).encode())


class _Writer:
    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store, self._rng, self._version = store, rng, 0
        self._documents: dict[str, int] = {}
        for block in store.snapshot().blocks():
            for name, record in store.records(block.sequence[block.live].tolist()):
                self._version = max(self._version, record["version"])
                if name != _SUM:
                    self._documents[name] = record["version"]

    def change(self) -> None:
        """Do one thing."""
        many = len(self._documents) > _DOCUMENTS
        self._rng.choices(
            (self.add, self.replace, self.delete, self._store.seal, self._store.compact),
            (2 if many else 6, 4, 8 if many else 2, 1, 1),
        )[0]()

    def add(self) -> None:
        self._version += 1
        self._write([f"{self._version}.{i}" for i in range(self._rng.choice((1, 1, 5, 40)))])

    def replace(self) -> None:
        self._version += 1
        self._write(self._some())

    def delete(self) -> None:
        self._version += 1
        doomed = self._some()
        self._write([], doomed)
        self._store.delete(doomed)
        for name in doomed:
            del self._documents[name]

    def _some(self) -> list[str]:
        return self._rng.sample(sorted(self._documents), min(len(self._documents), self._rng.choice((1, 5, 30))))

    def _write(self, names: list[str], doomed: list[str] | None = None) -> None:
        """Commit rows together with the sum of what is there then, and of what is left after a deletion."""
        self._documents.update(dict.fromkeys(names, self._version))
        left = {name: version for name, version in self._documents.items() if name not in set(doomed or ())}
        new = rows([*names, _SUM], self._version)
        new.records[-1].update(now=_digest(self._documents), next=_digest(left))  # type: ignore[attr-defined]
        self._store.append(new)


class _Clock:
    def __init__(self, seconds: float) -> None:
        self._begun = time.monotonic()
        self._seconds = seconds
        self._early = 0.0

    def runs(self) -> bool:
        gone = time.monotonic() - self._begun
        if not self._early and gone > self._seconds / 4:
            self._early = _private_mib()
        return gone < self._seconds

    def memory(self) -> tuple[float, float]:
        return self._early, _private_mib()


def _private_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

"""What an index must be after a crash: in a state that it may be in, bit for bit; sound; and ready for the next add."""

import contextlib
import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risedb.signature import Block
from risedb.storage import Store, repair, verify
from risedb.storage.catalog import Catalog
from risedb.storage.snapshot import segment_names
from risedb.storage.tombstones import file_names
from tools.crash.workload import State, create, rows

AFTER = "after the crash"


def problems(path: Path, allowed: Sequence[State], mend: bool = False, go_on: bool = True) -> list[str]:
    """Check an index whose writer is dead; an empty list means that every promise was kept.

    Parameters
    ----------
    path
        The index; rows are added to it.
    allowed
        What may be seen: the state of the last acknowledged operation and of the one in flight.
    mend
        Repair it first: its writer died in a repair.
    go_on
        Add rows, too.
    """
    try:
        if mend:
            repair(path)
        return _problems(path, allowed, go_on)
    except Exception:  # noqa: BLE001  whatever escapes is what is being looked for
        return [traceback.format_exc()]


def _problems(path: Path, allowed: Sequence[State], go_on: bool) -> list[str]:
    if None in allowed and not path.exists():
        create(path).close()
        allowed = [{}]
    found = [f"verify: {finding}" for finding in verify(path, full=True)]
    store = Store(path)
    try:
        state, wrong = seen(store)
        found += wrong
        if not any(list(state.items()) == list(one.items()) for one in allowed if one is not None):
            found.append(f"a reader sees {_difference(state, allowed)}")
        store.lock()
        found += _leftovers(store)
        if not go_on:
            return found
        for ids in ([AFTER], [f"{AFTER} {i}" for i in range(40)]):  # into the tail, and as a segment
            store.append(rows(ids, 1))
            state |= dict.fromkeys(ids, 1)
        now, wrong = seen(store)
        found += wrong
        if list(now.items()) != list(state.items()):
            found.append(f"after the next add a reader sees {_difference(now, [state])}")
    finally:
        store.close()
    return found + [f"verify after the next add: {finding}" for finding in verify(path, full=True)]


def seen(store: Store) -> tuple[dict[str, int], list[str]]:
    """Return what a reader sees, and what is wrong with any row of it."""
    found: list[str] = []
    live: list[tuple[int, str, int]] = []
    snapshot = store.snapshot()
    for block in snapshot.blocks():
        block.check(None)
        at = np.flatnonzero(block.live)
        stored = store.records(block.sequence[at].tolist())
        for row, (name, record) in zip(at, stored, strict=True):
            found += row_problems(block, int(row), name, record)
            entry = store.lookup([name])[0]
            if entry is None or entry.content != rows([name], record["version"]).content_hashes[0]:
                found.append(f"{name!r} has the record {record} and the entry {entry}")
            live.append((int(block.sequence[row]), name, record["version"]))
    state = {name: version for _, name, version in sorted(live)}
    if not len(state) == len(live) == snapshot.rows:
        found.append(f"{len(state)} ids, {len(live)} live rows, and a snapshot that counts {snapshot.rows}")
    return state, found


def row_problems(block: Block, row: int, name: str, record: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with one row, whose numbers follow from its id and version."""
    want = rows([name], record["version"]).signatures
    found = [f"the record of {name!r} is {record}"] * (record["id"] != name)
    for channel in ("rh", "gh", "norms"):
        got = getattr(block, channel)[row]
        if got.tobytes() != getattr(want, channel)[0].astype(got.dtype).tobytes():
            found.append(f"{channel} of {name!r} is not what was written")
    return found


def _leftovers(store: Store) -> list[str]:
    """Name what the dead writer left and the new one did not clear."""
    with contextlib.closing(Catalog(store.path / "catalog")) as catalog, catalog.read() as transaction:
        named = {
            "staging": set[str](),
            "segments": set(segment_names(transaction)),
            "deletions": set(file_names(transaction)),
        }
    there = {folder: set(os.listdir(store.path / folder)) for folder in named}
    return [
        f"{folder} has {there[folder]} where {named[folder]} are named"
        for folder in named
        if there[folder] != named[folder]
    ]


def _difference(state: dict[str, int], allowed: Sequence[State]) -> str:
    return " and ".join(
        f"{len(state)} rows: lacks {sorted(one.keys() - state.keys())}, has {sorted(state.keys() - one.keys())} too,"
        f" other versions of {sorted(name for name in one.keys() & state.keys() if one[name] != state[name])}"
        for one in allowed
        if one is not None
    )

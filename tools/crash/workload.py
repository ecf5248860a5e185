"""A seeded sequence of operations on a store, and what must be seen after each of them.

Every row's numbers follow from its id and version alone, so that a row can be judged wherever it is met.
"""

import os
import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb.verify  # noqa: F401
import numpy as np
import zarr.codecs  # noqa: F401  here and below: so that no child of this process need import it

from risedb.config import Identity, ReadoutConfig, SketchConfig, StoreConfig
from risedb.signature import Signatures
from risedb.storage import NewRows, Store, backup, repair
from risedb.storage.columns import columns_bytes

SKETCH = SketchConfig(kr=4, kh=3, kg=5)
_WARM = columns_bytes([{"id": "a"}])
IDENTITY = Identity(readout=ReadoutConfig(), sketch=SKETCH, model="model", tokenizer="tokenizer")
CONFIG = StoreConfig(seal_bytes=2500, chunk_bytes=2000)
KINDS = ("add one", "add many", "replace", "replace", "delete", "delete", "seal", "compact", "back up")
MENDS = ("mend FORMAT", "mend catalog")
DONE = b"done"  # an acknowledgement

Tell = Callable[[bytes], None]
State = dict[str, int] | None
"""Id to version, in the order of insertion; None where there is no index yet."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a writer.

    Parameters
    ----------
    kind
        ``create``, or one of :data:`KINDS` or :data:`MENDS`.
    ids
        The rows that it adds, replaces or deletes.
    version
        Of the rows that it writes.
    """

    kind: str
    ids: tuple[str, ...] = ()
    version: int = 0

    def after(self, state: State) -> State:
        """Return what is seen after it, given what was seen before."""
        rest = {name: version for name, version in (state or {}).items() if name not in self.ids}
        return rest if self.kind in {"delete", "mend catalog"} else rest | dict.fromkeys(self.ids, self.version)


def operations(seed: int, count: int) -> list[Operation]:
    """Draw `count` operations: the first makes the index, and each kind comes about equally often."""
    rng = random.Random(seed)
    drawn = [Operation("create")]
    kinds: list[str] = []
    for version in range(1, count):
        kinds = kinds or rng.sample((*KINDS, rng.choice(MENDS)), len(KINDS) + 1)
        drawn.append(_operation(kinds.pop(), version, list(states(drawn)[-1] or ()), rng))
    return drawn


def _operation(kind: str, version: int, there: list[str], rng: random.Random) -> Operation:
    new = [f"{version}.{i}" for i in range(25)]
    some = rng.sample(there, min(len(there), rng.randint(1, 6)))
    match kind:
        case "add one":
            return Operation(kind, (new[0],), version)
        case "add many":
            return Operation(kind, tuple(new), version)
        case "replace":
            return Operation(kind, (*some, new[0]), version)
        case "delete" | "mend catalog":
            return Operation(kind, tuple(some), version)
        case _:
            return Operation(kind, version=version)


def states(done: Iterable[Operation]) -> list[State]:
    """Return what is seen before the first operation, and after each."""
    seen: list[State] = [None]
    for operation in done:
        seen.append(operation.after(seen[-1]))
    return seen


def rows(ids: Sequence[str], version: int) -> NewRows:
    """Return the rows of some ids at a version."""
    drawn = [np.random.default_rng([version, zlib.crc32(name.encode())]) for name in ids]
    rh, gh = (np.array([rng.normal(size=dim) for rng in drawn]) for dim in (SKETCH.rh_dim, SKETCH.gh_dim))
    return NewRows(
        Signatures.from_phi(tuple(ids), rh, gh),
        [version.to_bytes(16)] * len(ids),
        [{"id": name, "version": version} for name in ids],
    )


def perform(store: Store, operation: Operation) -> Store:
    """Do one operation, which is durable when this returns; return the store to go on with."""
    match operation.kind:
        case "delete":
            store.delete(operation.ids)
        case "seal":
            store.seal()
        case "compact":
            store.compact()
        case "back up":
            backup(store.path, copy_of(store.path, operation.version))
        case "mend FORMAT":
            store.close()
            return _mended(store.path, store.path / "FORMAT")
        case "mend catalog":
            store.seal()  # what only the tail holds would be lost
            store.delete(operation.ids)  # of which only a file of deletions tells then
            store.close()
            return _mended(store.path, store.path / "catalog" / "data.mdb")
        case _:
            store.append(rows(operation.ids, operation.version))
    return store


def copy_of(path: Path, version: int) -> Path:
    """Return where the copy of an index stands that the operation of a version makes."""
    return path.with_name(f"copy {version}.rise")


def _mended(path: Path, damaged: Path) -> Store:
    with damaged.open("r+b") as file:
        file.write(b"damage")
        os.fsync(file.fileno())
    repair(path)
    return _opened(path)


def _opened(path: Path) -> Store:
    store = Store(path)
    store.lock()
    return store


def create(path: Path) -> Store:
    """Make an empty index."""
    return Store.create(path, IDENTITY, {"model": "demo"}, CONFIG)


def work(path: Path, todo: Sequence[Operation], tell: Tell) -> None:
    """Open an index as its writer and do some operations, acknowledging each; the writer's part of a crash."""
    if todo[0].kind == "create":
        create(path).close()
        tell(DONE)
        todo = todo[1:]
    store = _opened(path)
    for operation in todo:
        store = perform(store, operation)
        tell(DONE)
    store.close()

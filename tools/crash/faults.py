"""Let each of LMDB's writes and syncs fail once: a typed error refuses the operation, and nothing committed is lost.

strace makes the Nth call of a name fail in a real writer. After a failed sync, or a failed write of a page that says
which commit is the newest, the writer must refuse to go on; after any other failure it may. (A sync for which there is
no space cannot be told from such a write, and need not be: only pages of the commit that failed were not synced.)
``tests/storage/test_faults.py`` does the same to the store's own calls, which need no strace.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from risedb.errors import RiseDBError
from risedb.storage import Store
from tools.crash import process
from tools.crash.kill import Bench
from tools.crash.trace import Call
from tools.crash.workload import DONE, Operation, Tell, create, perform, rows

_NEXT = "next"
_ERRORS = {
    "pwrite64": ("error=ENOSPC", "error=EIO", "error=EINTR", "retval=100"),
    "writev": ("error=ENOSPC", "error=EIO", "error=EINTR", "retval=100"),
    "fdatasync": ("error=EIO", "error=ENOSPC"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure: of the nth call of a name in the workload of a seed. ``retval=100`` is a short write."""

    seed: int
    name: str
    nth: int
    error: str
    must_stop: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault: the errors that the writer got, and what was wrong."""

    fault: Fault
    refused: list[str]
    problems: list[str]


def run(seed: int, count: int, most: int) -> list[Outcome]:
    """Let LMDB's calls fail one at a time.

    Parameters
    ----------
    seed, count
        Of the workload, and its operations.
    most
        Faults; where there are more, they are drawn.
    """
    with Bench(seed, count) as bench:
        faults = _faults(seed, bench.calls())
        if len(faults) > most:
            faults = random.Random(seed).sample(faults, most)
        return [_outcome(bench, fault) for fault in faults]


def _faults(seed: int, calls: list[Call]) -> list[Fault]:
    """List the faults of LMDB's calls; those of its making are left out, since no index is open then."""
    at_once: set[int] = (
        set()
    )  # descriptors with O_DSYNC, through which the pages are written that name the newest commit
    faults = []
    for call in calls:
        if call.name == "openat":
            (at_once.add if "O_DSYNC" in call.arguments else at_once.discard)(call.result)
        elif call.by_writer and call.name in _ERRORS and call.file.endswith("data.mdb"):
            for error in _ERRORS[call.name]:
                stop = call.descriptor in at_once or (call.name == "fdatasync" and error != "error=ENOSPC")
                faults.append(Fault(seed, call.name, call.nth, error, stop))
    return faults


def _outcome(bench: Bench, fault: Fault) -> Outcome:
    ended = bench.run(process.inject(fault.name, fault.error, fault.nth), writer=_writer)
    refused = [line.decode() for line in ended.told if line.startswith(b"refused")]
    found = [] if ended.status == 0 else [f"the writer failed: {ended}"]
    went_on = _NEXT.encode() in ended.told
    if refused and went_on and fault.must_stop:
        found.append(f"the writer went on after {refused}")
    found += bench.check(ended.told.count(DONE), {_NEXT: 1} if went_on else {})
    return Outcome(fault, refused, found)


def _writer(path: Path, todo: Sequence[Operation], tell: Tell) -> None:
    """Do some operations; when one is refused, add one row more and end."""
    store: Store | None = None
    try:
        for operation in todo:
            if store is None:
                store = create(path) if operation.kind == "create" else Store(path)
                store.lock()
            if operation.kind != "create":
                store = perform(store, operation)
            tell(DONE)
    except RiseDBError as error:
        tell(f"refused {type(error).__name__}: {error}".encode())
        if store is not None:
            _go_on(store, tell)


def _go_on(store: Store, tell: Tell) -> None:
    try:
        store.append(rows([_NEXT], 1))
    except RiseDBError as error:
        tell(f"refused to go on {type(error).__name__}: {error}".encode())
    else:
        tell(_NEXT.encode())
    store.close()

"""Kill a writer with SIGKILL at every system call that changes the disk, and at random times; check what is left.

strace kills it as the Nth call of a name is entered, so before that call happens: together the kills stop at every
point between two changes, the acknowledgements among them. A kill leaves the page cache, so what it leaves is what was
written, synced or not; ``states`` holds what a power cut may leave.
"""

import itertools
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from risedb.storage import Store, vfs
from tools.crash import process, trace
from tools.crash.check import problems
from tools.crash.workload import MENDS, Operation, State, Tell, copy_of, operations, rows, states, work

RANDOM = "random time"
_HISTORY = 9  # operations before the first kill
_INDEX = Path("new", "pool.rise")
Writer = Callable[[Path, Sequence[Operation], Tell], None]


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: of the workload of a seed, at the nth call of a name, or so many microseconds after its beginning."""

    seed: int
    name: str
    nth: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a kill.

    Parameters
    ----------
    kill
        The kill.
    killed
        Whether the writer was still at work.
    problems
        What was wrong with the index that it left.
    """

    kill: Kill
    killed: bool
    problems: list[str]


class Bench:
    """One seed's workload, to be run again and again in a folder of its own.

    Parameters
    ----------
    seed
        Of the workload. Seed 0 begins with nothing, others with an index that has some history; odd ones with what an
        earlier writer left when it died between writing a segment and committing it.
    count
        Its operations after those of the history.
    """

    def __init__(self, seed: int, count: int) -> None:
        self.seed = seed
        self._history = _HISTORY if seed else 0
        self._operations = operations(seed, self._history + count)
        self._states = states(self._operations)
        self._folder = tempfile.TemporaryDirectory(prefix="risedb-crash-", dir=process.SCRATCH)
        self.base = Path(self._folder.name, "base")
        self.work = Path(self._folder.name, "work")
        self.path = self.work / _INDEX
        self.base.mkdir()
        if self._history:
            history = self._operations[: self._history]
            ended = process.run(lambda _: _prepare(self.base / _INDEX, history, leave=seed % 2 == 1))
            if ended.status not in {0, _LEFT}:
                msg = f"the history of seed {seed} failed: {ended}"
                raise RuntimeError(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, strace: Sequence[str] = (), kill_after_seconds: float = 0, writer: Writer = work) -> process.Ended:
        """Run the workload on a new copy of the base; the writer tells its parent of each operation that is done."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.base, self.work)
        todo = self._operations[self._history :]
        return process.run(lambda tell: writer(self.path, todo, tell), strace, kill_after_seconds)

    def calls(self) -> list[trace.Call]:
        """Return the calls of the whole workload.

        Raises
        ------
        RuntimeError
            If it does not run to its end.
        """
        log = Path(self._folder.name, "log")
        ended = self.run(["-o", str(log), *trace.OPTIONS])
        if ended.status or len(ended.told) != len(self._operations) - self._history:
            msg = f"the workload of seed {self.seed} failed: {ended}"
            raise RuntimeError(msg)
        return trace.read(log)

    def check(self, acknowledged: int, also: State = None) -> list[str]:
        """Check the index that a writer left after so many acknowledgements, and the copies it made.

        Parameters
        ----------
        acknowledged
            Operations.
        also
            What else it has added; if not None, nothing was in flight.
        """
        done = self._history + acknowledged
        flying = self._operations[done : done + 1]
        allowed = self._states[done : done + 2]
        mend = any(operation.kind in MENDS for operation in flying)  # which deletes first
        if also:
            allowed = [{**(allowed[0] or {}), **also}]
        elif also is not None and not mend:
            allowed = allowed[:1]
        found = list(process.call(problems, self.path, allowed, mend))
        for i in range(self._history, done + len(flying)):
            if self._operations[i].kind == "back up":
                states = [*[None] * (i == done), self._states[i]]
                copy = copy_of(self.path, self._operations[i].version)
                found += [f"the copy: {one}" for one in process.call(problems, copy, states, False, False)]
        return found

    def make(self, kill: Kill) -> Outcome:
        """Kill, and check."""
        if kill.name == RANDOM:
            ended = self.run(kill_after_seconds=kill.nth / 1e6)
        else:
            ended = self.run(process.inject(kill.name, "signal=SIGKILL", kill.nth))
        found = [] if ended.status in {0, -signal.SIGKILL} else [f"the writer failed: {ended}"]
        found += self.check(len(ended.told))
        return Outcome(kill, ended.signal == signal.SIGKILL, found)


_LEFT = 77


def _prepare(path: Path, history: Sequence[Operation], *, leave: bool) -> None:
    """Make an index with a history, and what a writer leaves that dies between a segment's rename and its commit."""
    work(path, history, lambda _: None)
    if leave:
        store = Store(path)
        store.lock()
        vfs.disk = _DiesAfterRename()
        store.append(rows([f"never committed {i}" for i in range(60)], 1))


class _DiesAfterRename(vfs.Disk):
    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        shutil.copytree(target, source)  # and what one leaves that dies before
        os._exit(_LEFT)


def run(seed: int, count: int, most: int, random_kills: int) -> list[Outcome]:
    """Kill the workload of a seed at every call, and some more times at random.

    Parameters
    ----------
    seed
        Of the workload.
    count
        Its operations.
    most
        Kills at calls; where there are more calls, they are drawn, of each name about equally many.
    random_kills
        Kills at a random time.
    """
    rng = random.Random(seed)
    with Bench(seed, count) as bench:
        kills = _drawn(bench.calls(), most, rng) if most else []
        took = int(1e6 * bench.run().seconds)
        return [
            *(bench.make(Kill(seed, call.name, call.nth)) for call in kills),
            *(bench.make(Kill(seed, RANDOM, rng.randrange(1, took))) for _ in range(random_kills)),
        ]


def _drawn(calls: list[trace.Call], most: int, rng: random.Random) -> list[trace.Call]:
    """Draw from each name in turn."""
    named: dict[str, list[trace.Call]] = {}
    for call in rng.sample(calls, len(calls)):
        if call.changes and call.by_writer:
            named.setdefault(call.name, []).append(call)
    turns = itertools.zip_longest(*named.values())
    return [call for turn in turns for call in turn if call is not None][:most]

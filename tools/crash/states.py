"""What a power cut may leave of a traced writer: each prefix of its calls, and of it what may not have been durable.

The calls come from strace, LMDB's own among them. They are replayed into a model of a file system that promises as
little as POSIX does: bytes are durable after an fsync of their file (or a write through a descriptor with O_DSYNC, the
way of LMDB's meta pages), a name is durable after an fsync of its folder, and anything else may have arrived or not, in
any order. Of one sector (512 bytes) that is overwritten either the old or the new content is left, which LMDB relies on
for its meta pages; all other writes may tear.

``lock.mdb``, which LMDB writes through a map, is left as zeros: nothing in it outlives its processes.
"""

import hashlib
import itertools
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.crash.kill import Bench
from tools.crash.trace import Call
from tools.crash.workload import DONE

_SECTOR = 512
_BYTES = ("whole", "old", "zeroed", "torn")
_NAMES = ("new", "old")
Tree = dict[str, bytes | None]
"""Path to bytes, or to None for a folder."""


@dataclass(slots=True)
class _File:
    now: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)  # writes since the last fsync

    def write(self, at: int, data: bytes) -> None:
        _put(self.now, at, data)
        self.pending.append((at, data))

    def truncate(self, size: int) -> None:
        del self.now[size:]
        self.now.extend(bytes(size - len(self.now)))
        self.pending = [(at, data[: max(0, size - at)]) for at, data in self.pending]

    def sync(self) -> None:
        self.durable = bytearray(self.now)
        self.pending = []

    def sync_last(self) -> None:
        """Make the last write durable, as O_DSYNC does."""
        _put(self.durable, *self.pending.pop())

    def left(self, how: str, rng: random.Random) -> bytes:
        """Return what a power cut leaves."""
        if how == "whole" or not self.pending:
            return bytes(self.now)
        left = bytearray(self.durable)
        if how == "zeroed":
            left.extend(bytes(max(0, len(self.now) - len(left))))
        elif how == "torn":
            for at, data in self.pending[:-1]:
                _put(left, at, data)
            self._tear(left, *self.pending[-1])
        elif how == "random":
            for at, data in self.pending:
                what = rng.choice(_BYTES)
                if what == "whole":
                    _put(left, at, data)
                elif what == "zeroed":
                    left.extend(bytes(max(0, at + len(data) - len(left))))
                elif what == "torn":
                    self._tear(left, at, data)
        return bytes(left)

    def _tear(self, left: bytearray, at: int, data: bytes) -> None:
        """Write the first half, at a boundary of sectors if there is one."""
        end = at + len(data)
        if end <= len(self.durable) and at // _SECTOR == (end - 1) // _SECTOR:
            return
        middle = at + len(data) // 2
        boundary = middle // _SECTOR * _SECTOR
        _put(left, at, data[: (boundary if boundary > at else middle) - at])


@dataclass(slots=True)
class _Folder:
    now: "dict[str, _File | _Folder]" = field(default_factory=dict)
    durable: "dict[str, _File | _Folder]" = field(default_factory=dict)

    def sync(self) -> None:
        self.durable = dict(self.now)

    def left(self, how: str, rng: random.Random) -> "dict[str, _File | _Folder]":
        """Return the names that a power cut leaves."""
        if how == "old":
            return self.durable
        if how == "random":
            either = {name: rng.choice((self.now, self.durable)) for name in self.now | self.durable}
            return {name: names[name] for name, names in either.items() if name in names}
        if how == "without unsynced":
            return {
                name: node
                for name, node in self.now.items()
                if self.durable.get(name) is node or isinstance(node, _Folder) or not node.pending
            }
        return self.now


class Replay:
    """A file system's model after some of a trace's calls.

    Parameters
    ----------
    base
        A folder as it is before the first call, durable.
    root
        Where the calls say that it is.
    """

    def __init__(self, base: Path, root: Path) -> None:
        self._root = root
        self._top = _loaded(base)
        self._open: dict[int, tuple[_File | _Folder, bool]] = {}  # node, and whether with O_DSYNC
        self._position: dict[int, int] = {}
        self.acknowledged = 0

    def apply(self, call: Call) -> bool:
        """Make a call; return whether it changed anything.

        Raises
        ------
        ValueError
            If it is one that this model does not know.
        """
        if call.name == "write" and call.file.startswith("pipe:"):
            self.acknowledged += call.strings[0].split().count(DONE)
            return True
        return self._concerns(call) and self._made(call)

    def left(self, content: str, names: str, rng: random.Random) -> Tree:
        """Return what a power cut leaves: of bytes and of names not yet synced.

        Parameters
        ----------
        content
            ``whole``, ``old`` (none of it; a new file is empty), ``zeroed`` (the length, and zeros), ``torn`` (all but
            half of the last write), or ``random`` for each write.
        names
            ``new``, ``old``, ``without unsynced`` (new, but no new file that has bytes not synced), or ``random``.
        rng
            For ``random``.
        """
        tree: Tree = {}

        def walk(folder: _Folder, path: str) -> None:
            for name, node in folder.left(names, rng).items():
                if isinstance(node, _Folder):
                    tree[path + name] = None
                    walk(node, f"{path}{name}/")
                else:
                    tree[path + name] = node.left("whole" if name == "lock.mdb" else content, rng)

        walk(self._top, "")
        return tree

    def _concerns(self, call: Call) -> bool:
        paths = [call.file] if "<" in call.arguments.split(",")[0] and call.name != "openat" else call.paths
        return any(Path(path).is_relative_to(self._root) for path in paths)

    def _made(self, call: Call) -> bool:
        match call.name:
            case "openat":
                return self._opened(call)
            case "lseek":
                self._position[call.descriptor] = call.result
                return False
            case "write" | "pwrite64" | "writev":
                self._write(call)
            case "ftruncate":
                self._file(call.file).truncate(int(call.arguments.rsplit(",", 1)[1]))
            case "fsync" | "fdatasync":
                self._node(call.file).sync()
            case "mkdir":
                self._put(call.paths[0], _Folder())
            case "rename":
                self._put(call.paths[1], self._taken(call.paths[0]))
            case "unlink" | "unlinkat" | "rmdir":
                self._taken(call.paths[0])
            case _:
                msg = f"this model knows no {call.name}({call.arguments[:200]})"
                raise ValueError(msg)
        return True

    def _opened(self, call: Call) -> bool:
        path = call.paths[0]
        self._position[call.result] = 0
        made = "O_CREAT" in call.arguments and Path(path).name not in self._parent(path).now
        if made:
            self._put(path, _File())
        node = self._node(path)
        if "O_TRUNC" in call.arguments:
            self._file(path).truncate(0)
        self._open[call.result] = node, "O_DSYNC" in call.arguments
        return made

    def _write(self, call: Call) -> None:
        file, at_once = self._open[call.descriptor]
        if not isinstance(file, _File) or len(data := b"".join(call.strings)[: call.result]) != call.result:
            msg = f"strace did not write down the whole of {call.name}({call.arguments[:200]})"
            raise ValueError(msg)
        if call.name == "pwrite64":
            at = int(call.arguments.rsplit(",", 1)[1], 0)
        else:
            at = self._position[call.descriptor]
            self._position[call.descriptor] = at + len(data)
        file.write(at, data)
        if at_once:
            file.sync_last()

    def _node(self, path: str) -> _File | _Folder:
        node: _File | _Folder = self._top
        for part in Path(path).relative_to(self._root).parts:
            if not isinstance(node, _Folder):
                raise NotADirectoryError(path)
            node = node.now[part]
        return node

    def _file(self, path: str) -> _File:
        node = self._node(path)
        if not isinstance(node, _File):
            raise IsADirectoryError(path)
        return node

    def _parent(self, path: str) -> _Folder:
        node = self._node(str(Path(path).parent))
        if not isinstance(node, _Folder):
            raise NotADirectoryError(path)
        return node

    def _put(self, path: str, node: _File | _Folder) -> None:
        self._parent(path).now[Path(path).name] = node

    def _taken(self, path: str) -> _File | _Folder:
        return self._parent(path).now.pop(Path(path).name)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the enumeration of one workload came to.

    Parameters
    ----------
    seed
        Of the workload.
    calls
        Its calls that changed something.
    states
        States that differ.
    checked
        How many of them were checked.
    problems
        What was wrong with any.
    """

    seed: int
    calls: int
    states: int
    checked: int
    problems: list[str]


def run(seed: int, count: int, most: int, random_states: int) -> list[Outcome]:
    """Enumerate what power cuts leave of a seed's workload, and check each.

    Parameters
    ----------
    seed, count
        Of the workload, and its operations.
    most
        States to check; where there are more, those right after an acknowledgement come first, and others are drawn.
    random_states
        Random states after each call.
    """
    with Bench(seed, count) as bench:
        calls = bench.calls()
        rng = random.Random(seed)
        rank = [(not promised, rng.random()) for _, _, promised, _ in _states(bench, calls, random_states)]
        chosen = set(sorted(range(len(rank)), key=rank.__getitem__)[:most])
        found = []
        for i, (acknowledged, label, _, tree) in enumerate(_states(bench, calls, random_states)):
            if i in chosen:
                _write(tree, bench.work)
                found += [f"seed {seed}, {label}: {one}" for one in bench.check(acknowledged)]
        replay = Replay(bench.base, bench.work)
        return [Outcome(seed, sum(map(replay.apply, calls)), len(rank), len(chosen), found)]


def _states(bench: Bench, calls: list[Call], random_states: int) -> Iterator[tuple[int, str, bool, Tree]]:
    """Yield states that differ, or that another number of acknowledgements preceded.

    Each comes with that number, a label, and whether the last call was an acknowledgement.
    """
    rng = random.Random(bench.seed)
    replay = Replay(bench.base, bench.work)
    ways = [*itertools.product(_BYTES, _NAMES), ("whole", "without unsynced"), *[("random", "random")] * random_states]
    known: set[tuple[int, bytes]] = set()
    for call in filter(replay.apply, calls):
        for content, names in ways:
            tree = replay.left(content, names, rng)
            key = replay.acknowledged, _digest(tree)
            if key not in known:
                known.add(key)
                label = f"after {call.name} {call.nth}, bytes {content}, names {names}"
                yield replay.acknowledged, label, call.file.startswith("pipe:"), tree


def _digest(tree: Tree) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path, data in sorted(tree.items()):
        digest.update(f"{path}\0{-1 if data is None else len(data)}\0".encode())
        digest.update(data or b"")
    return digest.digest()


def _write(tree: Tree, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, data in tree.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)


def _loaded(path: Path) -> _Folder:
    folder = _Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            folder.now[entry.name] = _loaded(entry)
        else:
            folder.now[entry.name] = file = _File(bytearray(entry.read_bytes()))
            file.sync()
    folder.sync()
    return folder


def _put(content: bytearray, at: int, data: bytes) -> None:
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data

"""The Nth call of an operation fails: a typed error, nothing committed is lost, and no going on after a failed sync."""

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from risedb.errors import Corrupt, DiskFailure, OutOfSpace, SyncFailed
from risedb.storage import Store, backup, repair, vfs
from tests.storage.test_kill import crash, needs_strace
from tools.crash.check import problems, seen
from tools.crash.process import SCRATCH
from tools.crash.workload import create, rows

PRIMITIVES = [name for name in vars(vfs.Disk) if not name.startswith("_")]
BEFORE = {"a": 1, "b": 1, "c": 2}


class Faulty(vfs.Disk):
    """Fails with an error at its nth call; with no error it is a disk of very short writes and many signals."""

    def __init__(self, nth=0, error=0):
        self.nth, self.error, self.calls, self.failed, self.interrupted = nth, error, 0, None, False

    def begin(self, name):
        self.calls += 1
        if self.error and self.calls == self.nth:
            self.failed = name
            raise OSError(self.error, os.strerror(self.error))
        if not self.error:
            self.interrupted = not self.interrupted
            if self.interrupted:
                raise InterruptedError(errno.EINTR, "a signal")

    def write(self, descriptor, data):
        self.begin("write")
        return super().write(descriptor, data if self.error else data[:5])


def faulty(name):
    real = getattr(vfs.Disk, name)

    def call(self, *arguments):
        self.begin(name)
        return real(self, *arguments)

    return call


for name in set(PRIMITIVES) - {"write"}:
    setattr(Faulty, name, faulty(name))


@contextlib.contextmanager
def on(disk):
    real, vfs.disk = vfs.disk, disk
    try:
        yield disk
    finally:
        vfs.disk = real


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        yield Path(name)


@pytest.fixture
def base(folder):
    """An index with two segments, a tail, a replaced and a deleted row, and what a dead writer left."""
    path = folder / "base.rise"
    store = create(path)
    store.lock()
    for ids in (["a", "b"], ["c", "d"]):
        store.append(rows(ids, 1))
        store.seal()
    store.append(rows(["c"], 2))
    store.delete(["d"])
    store.close()
    for left in (path / "segments" / "000009-0123456789ab", path / "staging" / "000010-0123456789ab"):
        (left / "rh").mkdir(parents=True)
        (left / "rh" / "zarr.json").write_text("{}")
    return path


def append_in_the_tail(store):
    store.append(rows(["new", "a"], 3))
    return {"b": 1, "c": 2, "new": 3, "a": 3}


def append_a_segment(store):
    many = [f"new {i}" for i in range(40)]
    store.append(rows([*many, "a"], 3))
    return {"b": 1, "c": 2, **dict.fromkeys(many, 3), "a": 3}


def seal(store):
    store.seal()
    return BEFORE


def delete(store):
    store.delete(["a", "c"])
    return {"b": 1}


def compact(store):
    store.compact()
    return BEFORE


OPERATIONS = [append_in_the_tail, append_a_segment, seal, delete, compact]


def faults(run):
    """Yield disks of which each fails at one call of `run`: at every one in a nightly run, else at most of them.

    What is passed over lies amid the files of a segment, of which all are written alike.
    """
    with on(Faulty(2**60, errno.EIO)) as counting:
        run()
    total = counting.calls
    step = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 7
    chosen = {*range(1, min(total, 12) + 1), *range(1, total + 1, step), *range(max(1, total - 15), total + 1)}
    for nth in sorted(chosen):
        yield Faulty(nth, (errno.EIO, errno.ENOSPC)[nth % 2])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_whose_nth_call_fails_is_refused_and_changes_nothing(base, folder, operation):
    def opened():
        path = folder / "pool.rise"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(base, path)
        store = Store(path)
        store.lock()
        return store

    counted = opened()
    for faulty in faults(lambda: operation(counted)):
        counted.close()
        store = opened()
        with on(faulty) as disk:
            try:
                state, refusal = operation(store), None
            except (DiskFailure, Corrupt) as raised:
                state, refusal = BEFORE, raised
        where = f"call {disk.nth}, {disk.failed}"
        assert disk.failed, where
        if disk.failed == "sync":
            assert isinstance(refusal, SyncFailed), where
            for change in (append_in_the_tail, seal, delete):
                with pytest.raises(DiskFailure):
                    change(store)
        else:
            if disk.error == errno.ENOSPC and isinstance(refusal, DiskFailure):
                assert isinstance(refusal, OutOfSpace), where
            assert not isinstance(refusal, Corrupt) or disk.failed == "map", where
            store.append(rows(["more"], 4))
            state = {**state, "more": 4}
        assert [*seen(store)[0].items()] == [*state.items()], where
        store.close()
        assert problems(store.path, [state], go_on=False) == [], where


def test_a_recovery_whose_nth_call_fails_is_refused_and_made_again(base, folder):
    path = folder / "pool.rise"

    def recover(again=False):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(base, path)
        with contextlib.closing(Store(path)) as store:
            with contextlib.suppress(DiskFailure, Corrupt):  # Corrupt: of what cannot be mapped
                store.lock()
            if again:
                store.lock()

    for faulty in faults(recover):
        with on(faulty) as disk:
            recover(again=True)
        assert disk.failed
        assert problems(path, [BEFORE], go_on=False) == [], disk.failed


def test_an_index_whose_making_fails_at_the_nth_call_is_not_there(folder):
    path = folder / "new" / "pool.rise"

    def make():
        shutil.rmtree(path.parent, ignore_errors=True)
        with contextlib.suppress(DiskFailure):
            create(path).close()

    for faulty in faults(make):
        with on(faulty) as disk:
            make()
        if path.exists():  # only its name could not be synced
            assert disk.failed in {"sync", "open_folder"}
        assert not path.parent.exists() or os.listdir(path.parent) in ([], [path.name])
        assert problems(path, [None, {}], go_on=False) == [], disk.failed


def test_a_backup_whose_nth_call_fails_is_not_there(base, folder):
    def back_up():
        shutil.rmtree(folder / "copy.rise", ignore_errors=True)
        with contextlib.suppress(DiskFailure):
            backup(base, folder / "copy.rise")

    for faulty in faults(back_up):
        with on(faulty) as disk:
            back_up()
        if (folder / "copy.rise").exists():  # only its name could not be synced
            assert disk.failed in {"sync", "open_folder"}
            assert problems(folder / "copy.rise", [BEFORE], go_on=False) == []
        assert set(os.listdir(folder)) <= {"base.rise", "copy.rise"}, disk.failed
    back_up()
    assert problems(folder / "copy.rise", [BEFORE]) == []
    assert problems(base, [BEFORE]) == []


@pytest.mark.parametrize("damaged", ["FORMAT", "catalog/data.mdb"])
def test_a_repair_whose_nth_call_fails_is_made_again_and_loses_nothing(base, folder, damaged):
    """The tail is lost with a damaged catalog, so there is none; what cannot be mapped is set aside as damaged."""
    path = folder / "pool.rise"
    if damaged != "FORMAT":
        with contextlib.closing(Store(base)) as store:
            store.lock()
            store.seal()
    (base / damaged).write_bytes(b"damage")

    def mend():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(base, path)
        with contextlib.suppress(DiskFailure, Corrupt):
            repair(path)

    for faulty in faults(mend):
        with on(faulty) as disk:
            mend()
        if disk.failed != "map":
            repair(path)
            assert problems(path, [BEFORE], go_on=False) == [], f"call {disk.nth}, {disk.failed}"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_short_writes_and_signals_at_every_call_change_nothing(base, operation):
    with on(Faulty()):
        store = Store(base)
        store.lock()
        state = operation(store)
        assert [*seen(store)[0].items()] == [*state.items()]
        store.close()
    assert problems(base, [state]) == []


@needs_strace
@pytest.mark.parametrize("seed", [0, 2])
def test_a_fault_in_any_write_or_sync_of_lmdb_is_refused_and_changes_nothing(seed):
    result = crash("faults", "--seeds", seed, "--operations", 8, "--most", 40)
    assert result["failures"] == []
    assert result["faults"] == 40
    assert result["refused"] > 20

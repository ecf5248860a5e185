"""Many processes, many segments, few descriptors, media that cannot be written."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from risedb.errors import Busy, DiskFailure, InvalidInput, ReadOnly, SyncFailed
from risedb.storage import Store, verify, vfs
from risedb.storage.medium import ALLOW, refuse_network
from tests.storage.pools import contents, new_rows, new_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.rise"


@pytest.fixture
def store(path):
    store = new_store(path)
    store.lock()
    store.append(new_rows(["a", "b"]))
    store.seal()
    store.append(new_rows(["c"]))
    yield store
    store.close()


def test_sixty_segments_are_read_with_few_descriptors(path):
    store = new_store(path)
    store.lock()
    for i in range(60):
        store.append(new_rows([f"a{i}", f"b{i}"]))
        store.seal()
    before = contents(store)
    store.close()
    code = """
        import pathlib, resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))  # 60 segments have 1,500 files
        from risedb.storage import Store, verify
        from tests.storage.pools import contents
        store = Store(pathlib.Path(sys.argv[1]))
        seen, order = contents(store)
        assert len(order) == 120, order
        assert verify(pathlib.Path(sys.argv[1])) == []
        store.lock()
        store.compact()
        assert contents(store) == (seen, order)
        print(len(store.snapshot().segments))
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=False
    )
    assert told.stdout.strip() == "1", told.stderr
    again = Store(path)
    assert contents(again) == before
    again.close()


def test_a_forked_child_reads_and_refreshes_and_does_not_write(store, path):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert len(contents(store)[1]) == 3
            with pytest.raises(Busy, match="fork"):
                store.append(new_rows(["x"]))
            store.refresh()
            assert len(contents(store)[1]) == 3
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.append(new_rows(["d"]))
    assert verify(path) == []


def test_a_child_that_outlives_the_writer_does_not_keep_its_lock(path):
    new_store(path).close()
    code = """
        import os, pathlib, sys
        from risedb.storage import Store
        store = Store(pathlib.Path(sys.argv[1]))
        store.lock()
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            sys.stdin.readline()  # until the test lets it go
        else:
            sys.stdin.readline()
        os._exit(0)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        store = Store(path)
        store.lock()
        store.append(new_rows(["a"]))
        store.close()
        os.kill(child, signal.SIGKILL)


def test_spawned_processes_read_while_one_writes(store, path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pending = [pool.apply_async(_count, (path,)) for _ in range(4)]
        for i in range(20):
            store.append(new_rows([f"n{i}"]))
        assert all(3 <= one.get(60) <= 23 for one in pending)


def _count(path):
    store = Store(path)
    try:
        return len(contents(store)[1])
    finally:
        store.close()


def test_threads_share_a_store_that_one_of_them_writes(store):
    wrong = []

    def read():
        for _ in range(30):
            snapshot = store.snapshot()
            live = sum(int(block.live.sum()) for block in snapshot.blocks())
            if live != snapshot.rows:
                wrong.append((live, snapshot.rows))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for i in range(40):
        store.append(new_rows(["a", f"t{i}"], version=i))
        if i % 10 == 0:
            store.seal()
            store.compact()
    for reader in readers:
        reader.join()
    assert wrong == []


@contextlib.contextmanager
def read_only(path, mounted):
    """Make a folder one that cannot be written: by its mode, or, for root whom no mode stops, by a mount."""
    if os.geteuid() == 0:
        mounted.mkdir()
        if subprocess.run(["mount", "--bind", path, mounted], capture_output=True, check=False).returncode:
            pytest.skip("root writes whatever the mode says, and this machine lets nobody mount")
        subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True)
        yield mounted
        subprocess.run(["umount", "--lazy", mounted], check=True)
    else:
        entries = [path, *path.rglob("*")]
        for entry in entries:
            entry.chmod(0o555 if entry.is_dir() else 0o444)
        yield path
        for entry in entries:
            entry.chmod(0o755 if entry.is_dir() else 0o644)


def test_read_only_media_are_read_and_refused_for_writing(store, path, tmp_path):
    before = contents(store)
    store.close()
    with read_only(path, tmp_path / "mounted") as place:
        reader = Store(place)
        assert contents(reader) == before
        assert verify(place) == []
        with pytest.raises(ReadOnly, match="cannot be written"):
            reader.lock()
        reader.close()


@contextlib.contextmanager
def as_nobody():
    """Be a user whom modes stop, as root is not."""
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


@pytest.mark.parametrize("hidden", ["FORMAT", "catalog/data.mdb", "readers"])
@pytest.mark.parametrize("look", [Store, verify])
def test_index_that_may_not_be_read_is_no_damaged_one(hidden, look):
    with tempfile.TemporaryDirectory() as folder:  # whose parents anybody may enter
        os.chmod(folder, 0o755)
        path = Path(folder) / "pool.rise"
        new_store(path).close()
        (path / hidden).chmod(0)
        with as_nobody(), pytest.raises(InvalidInput, match=f"{hidden}.* cannot be read: Permission denied"):
            look(path)
        (path / hidden).chmod(0o755)


def test_catalog_of_another_user_is_read(store, path):
    before = contents(store)
    store.close()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        copy = shutil.copytree(path, Path(folder) / "pool.rise")
        (copy / "catalog").chmod(0o777)
        (copy / "catalog" / "data.mdb").chmod(0o444)
        with as_nobody():
            reader = Store(copy)
            assert contents(reader) == before
            reader.close()


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False), ("9p", True)])
@pytest.mark.parametrize("name", ["with space", "données 東京"])
def test_network_file_systems_are_refused_for_writing_unless_told(tmp_path, monkeypatch, kind, refused, name):
    mounts = tmp_path / "mounts"
    folder = str(tmp_path / name).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {folder} {kind} rw 0 0\n")
    inside = tmp_path / name / "pool.rise"
    refuse_network(tmp_path / f"{name} not" / "pool.rise", mounts)
    if refused:
        with pytest.raises(InvalidInput, match=f"network file system \\({kind}"):
            refuse_network(inside, mounts)
        monkeypatch.setenv(ALLOW, "1")
    refuse_network(inside, mounts)


def test_bytes_are_counted_while_files_come_and_go(store, path):
    def come_and_go():
        while not done.is_set():
            (path / "staging" / "brief").write_bytes(b"x")
            (path / "staging" / "brief").unlink()

    done = threading.Event()
    thread = threading.Thread(target=come_and_go)
    sound = store.disk_bytes()
    thread.start()
    try:
        assert all(store.disk_bytes() - sound in (0, 1) for _ in range(300))
    finally:
        done.set()
        thread.join()


def test_folders_that_a_copy_left_out_are_made_again(store, path, tmp_path):
    before = contents(store)
    store.close()
    shutil.copytree(path, tmp_path / "copy.rise")
    for folder in ("staging", "deletions"):
        (tmp_path / "copy.rise" / folder).rmdir()
    copy = Store(tmp_path / "copy.rise")
    copy.lock()
    copy.append(new_rows(["new"]))
    assert copy.delete(["a"]) == 1
    assert set(contents(copy)[0]) == {*before[0], "new"} - {"a"}
    copy.close()


def test_after_a_failed_fsync_the_writer_refuses_to_go_on(store, path, monkeypatch):
    class Failing(vfs.Disk):
        def sync(self, descriptor):
            raise OSError(5, "Input/output error")

    before = contents(store)
    with monkeypatch.context() as failing:
        failing.setattr(vfs, "disk", Failing())
        with pytest.raises(SyncFailed):
            store.seal()
    for change in (lambda: store.append(new_rows(["x"])), lambda: store.delete(["a"]), store.seal, store.compact):
        with pytest.raises(DiskFailure, match="open it again"):
            change()
    assert contents(store) == before
    store.close()
    again = Store(path)
    again.lock()
    again.append(new_rows(["x"]))
    assert set(contents(again)[0]) == {*before[0], "x"}
    again.close()


def test_a_lock_says_who_holds_it_and_is_free_when_its_holder_is_gone(store, path):
    second = Store(path)
    with pytest.raises(Busy, match=f"process {os.getpid()} on "):
        second.lock()
    with pytest.raises(Busy):
        second.lock()
    store.close()
    second.lock()
    second.close()


def test_a_removal_that_fails_after_the_commit_takes_nothing_back(path, monkeypatch, caplog):
    class Stuck(vfs.Disk):
        def remove_file(self, path):
            raise OSError(5, "Input/output error")

    store = new_store(path)
    store.lock()
    store.append(new_rows(["a", "b", "c"]))
    store.seal()
    store.delete(["a"])
    with monkeypatch.context() as stuck:
        stuck.setattr(vfs, "disk", Stuck())
        assert store.delete(["b"]) == 1
        store.append(new_rows(["d"]))
        assert store.compact().waiting > 0
    assert "left for the next writer" in caplog.text
    assert contents(store)[1] == ["c", "d"]
    store.close()
    again = Store(path)
    again.lock()
    assert len(list((path / "segments").iterdir())) == len(again.snapshot().segments)
    assert list((path / "deletions").iterdir()) == []
    again.close()


def test_threads_of_one_handle_change_an_index_one_after_the_other(path):
    store = new_store(path, seal_bytes=4000)
    store.lock()

    def change(thread):
        for i in range(30):
            store.append(new_rows([f"{thread}-{i}"]))
            if i % 3 == 2:
                assert store.delete([f"{thread}-{i - 1}"]) == 1
            if i % 10 == 9:
                store.compact()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))
    assert store.snapshot().rows == 80
    assert set(contents(store)[0]) == {f"{thread}-{i}" for thread in range(4) for i in range(30) if i % 3 != 1}
    store.close()
    assert verify(path) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_in_the_midst_of_another_thread_s_change_can_close(store):
    holds, done = threading.Event(), threading.Event()

    def change():
        with store._changed():
            holds.set()
            done.wait()

    thread = threading.Thread(target=change)
    thread.start()
    holds.wait()
    child = os.fork()
    if child == 0:
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    done.set()
    thread.join()

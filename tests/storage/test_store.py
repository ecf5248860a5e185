import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import lmdb
import numpy as np
import pytest
import zarr

from risedb.config import ReadoutConfig, StoreConfig
from risedb.errors import (
    AlreadyExists,
    Busy,
    Corrupt,
    InvalidInput,
    NotFound,
    OutOfSpace,
    UnsupportedFormat,
)
from risedb.storage import Store, repair, verify, vfs
from risedb.storage.catalog import Catalog
from risedb.storage.checksum import seal_json, unseal_json
from risedb.storage.format import write_format
from risedb.storage.segment import Segment
from risedb.storage.transaction import id_key
from tests.storage.pools import IDENTITY, contents, expected, new_rows, new_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.rise"


@pytest.fixture
def store(path):
    store = new_store(path)
    store.lock()
    yield store
    store.close()


def segment_folders(path):
    return sorted((path / "segments").iterdir())


def test_a_new_index_is_empty_and_sound(store, path):
    assert contents(store) == ({}, [])
    assert verify(path, full=True) == []
    about = json.loads((path / "FORMAT").read_text().splitlines()[0])
    assert about["format"] == "risedb"
    assert about["version"] == 1


def test_settings_and_identity_come_back(store, path):
    again = Store(path)
    assert again.identity == IDENTITY
    assert again.settings == {"model": "demo"}
    again.close()


def test_segment_opens_with_plain_zarr_and_gives_the_same_numbers(store, path):
    rows = new_rows([f"d{i}" for i in range(50)])
    store.append(rows)
    store.seal()
    (folder,) = segment_folders(path)
    group = zarr.open_group(folder, mode="r")
    np.testing.assert_array_equal(group["rh"][:], rows.signatures.rh.astype(np.float16))
    np.testing.assert_array_equal(group["gh"][:], rows.signatures.gh.astype(np.float16))
    np.testing.assert_array_equal(group["norms"][:], rows.signatures.norms)
    np.testing.assert_array_equal(group["sequence"][:], np.arange(50))


def test_one_append_holds_no_id_twice(store):
    with pytest.raises(InvalidInput, match="2 rows to append have only 1 ids"):
        store.append(new_rows(["a", "a"]))
    assert contents(store) == ({}, [])


def test_float32_store_keeps_every_bit(path):
    store = new_store(path, dtype="float32")
    store.lock()
    rows = new_rows(["a", "b"])
    store.append(rows)
    store.seal()
    assert contents(store)[0] == expected(rows, "float32")
    store.close()


def test_chunks_of_one_segment_are_cut_alike_and_read_back_in_order(path):
    store = new_store(path, chunk_bytes=200)
    store.lock()
    rows = new_rows([f"d{i:03}" for i in range(37)])
    store.append(rows)
    store.seal()
    assert Segment(segment_folders(path)[0]).chunks > 3
    seen, order = contents(store)
    assert seen == expected(rows)
    assert order == list(rows.signatures.ids)
    store.close()


def test_single_adds_make_no_folder_until_they_fill_a_segment(path):
    store = new_store(path, seal_bytes=20_000)
    store.lock()
    for i in range(250):
        store.append(new_rows([f"d{i}"]))
        if i < 100:
            assert segment_folders(path) == []
    assert 1 <= len(segment_folders(path)) <= 3
    assert len(contents(store)[0]) == 250
    store.close()


@pytest.mark.parametrize("name", ["x" * 510, "x" * 511, "x" * 5000, "é" * 300, "a/b\\c\0d\n", "=", "#"])
def test_any_id_works_whatever_its_length(store, name):
    store.append(new_rows([name, "other"]))
    entry, missing = store.lookup([name, name + "!"])
    assert entry.sequence == 0
    assert missing is None
    assert len(id_key(name)) <= 511
    assert store.records([0])[0][0] == name
    assert store.snapshot().signature(name, 0).ids == (name,)


def test_every_file_is_synced_before_its_segment_is_renamed_and_the_names_before_the_commit(store, path, monkeypatch):
    store.append(new_rows([f"d{i}" for i in range(20)]))
    events, write = [], Catalog.write

    class Recorded(vfs.Disk):
        def sync(self, descriptor):
            events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
            super().sync(descriptor)

        def rename(self, source, target):
            events.append(("rename", str(source)))
            super().rename(source, target)

    monkeypatch.setattr(vfs, "disk", Recorded())
    monkeypatch.setattr(Catalog, "write", lambda self, *size: (events.append(("commit", "")), write(self, *size))[1])
    store.seal()
    (folder,) = segment_folders(path)
    renamed = next(i for i, (what, _) in enumerate(events) if what == "rename")
    committed = events.index(("commit", ""))
    assert renamed < committed
    staged = path / "staging" / folder.name
    before = {where for what, where in events[:renamed] if what == "sync"}
    inside = [staged, *(staged / file.relative_to(folder) for file in folder.rglob("*"))]
    assert {str(one) for one in inside} <= before
    between = {where for what, where in events[renamed:committed] if what == "sync"}
    assert {str(path / "segments"), str(path / "staging")} <= between


def test_a_snapshot_stays_as_it_is_while_others_write(store):
    store.append(new_rows(["a", "b"]))
    before = store.snapshot()
    store.append(new_rows(["a"], version=1))
    store.seal()
    assert before.rows == 2
    assert sum(len(block) for block in before.blocks()) == 2
    assert store.snapshot().rows == 2
    assert sum(len(block) for block in store.snapshot().blocks()) == 3


def test_readers_in_threads_see_the_newest_commit_once_they_refresh(store, path):
    reader = Store(path)
    store.append(new_rows(["a"]))
    assert reader.snapshot().rows == 0
    assert reader.refresh()
    assert not reader.refresh()
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: reader.snapshot().rows, range(20))) == {1}
    reader.close()
    assert store.snapshot().rows == 1  # the shared environment is still open


def test_a_second_writer_is_told_who_writes(store, path):
    second = Store(path)
    with pytest.raises(Busy, match=f"process {os.getpid()} on "):
        second.lock()
    store.close()
    second.lock()
    second.close()


def test_a_fork_reads_with_an_environment_of_its_own(store):
    store.append(new_rows(["a", "b"]))
    child = os.fork()
    if child == 0:
        os._exit(0 if store.snapshot().rows == 2 and len(store.records([0, 1])) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def in_a_process(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


WRITER = """
    import itertools, pathlib, sys
    from risedb.storage import Store
    from tests.storage.pools import new_rows
    store = Store(pathlib.Path(sys.argv[1]))
    store.lock()
    for i in itertools.count():
        store.append(new_rows([f"d{i}", f"e{i}"]))
        print(i, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [0, 3, 17, 40])
def test_kill_loses_nothing_acknowledged_and_leaves_nothing_torn(path, acknowledged):
    new_store(path, seal_bytes=1500).close()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        for line in writer.stdout:
            if int(line) >= acknowledged:
                writer.kill()
                break
        last = max([acknowledged, *map(int, writer.stdout.read().split())])
    assert writer.returncode == -signal.SIGKILL
    store = Store(path)
    store.lock()  # the dead writer's lock is free, its leftovers are cleared
    seen, order = contents(store)
    pairs = len(order) // 2
    assert pairs in {last + 1, last + 2}  # the last commit may have been durable before it was told
    for i in range(pairs):
        rows = new_rows([f"d{i}", f"e{i}"])
        assert {name: seen[name] for name in rows.signatures.ids} == expected(rows)
    store.append(new_rows(["after"]))
    assert contents(store)[1][-1] == "after"
    store.close()
    assert verify(path, full=True) == []
    assert list((path / "staging").iterdir()) == []


def test_leftovers_of_a_dead_writer_are_removed_and_commits_are_not(store, path):
    store.append(new_rows(["a"]))
    store.seal()
    store.close()
    (path / "segments" / "000009-dead").mkdir()
    (path / "staging" / "000010-dead").mkdir()
    again = Store(path)
    again.lock()
    assert len(segment_folders(path)) == 1
    assert list((path / "staging").iterdir()) == []
    assert again.snapshot().rows == 1
    again.close()


def test_full_disk_is_an_error_that_loses_nothing(store, path):
    store.append(new_rows(["kept"]))
    store.close()
    code = """
        import pathlib, resource, signal, sys
        from risedb.errors import DiskFailure
        from risedb.storage import Store
        from tests.storage.pools import new_rows
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = Store(pathlib.Path(sys.argv[1]))
        store.lock()
        limit = (pathlib.Path(sys.argv[1]) / "catalog/data.mdb").stat().st_size + 8192
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            store.append(new_rows([f"d{i}" for i in range(20_000)]))
        except DiskFailure as error:
            print("told:", error)
    """
    told = in_a_process(code, path)
    assert told.stdout.startswith("told:"), told.stderr
    again = Store(path)
    assert contents(again)[0] == expected(new_rows(["kept"]))
    again.close()
    assert verify(path, full=True) == []


def test_segment_that_does_not_fit_on_the_disk_is_an_error_that_loses_nothing(path):
    store = new_store(path, seal_bytes=10_000)
    store.lock()
    store.append(new_rows(["kept"]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(OutOfSpace, match="no space left"):
            store.append(new_rows([f"d{i}" for i in range(2000)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    store.close()
    again = Store(path)
    again.lock()
    assert contents(again)[0] == expected(new_rows(["kept"]))
    again.append(new_rows(["more"]))
    again.close()
    assert verify(path, full=True) == []


def test_create_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AlreadyExists, match="choose another folder"):
        new_store(tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


def test_open_tells_what_is_no_index(tmp_path):
    with pytest.raises(NotFound, match="there is no index at"):
        Store(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="not a RiseDB index"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"format": "other"}, "other"),
        ({"byte_order": "big"}, "big-endian"),
        ({"version": 0}, "version 0"),
        ({"requires": ["telepathy"]}, "needs telepathy"),
    ],
)
def test_unknown_formats_are_refused_by_name(store, path, change, message):
    store.close()
    about = unseal_json((path / "FORMAT").read_bytes(), "FORMAT")
    (path / "FORMAT").write_bytes(seal_json({**about, **change}))
    with pytest.raises(UnsupportedFormat, match=message):
        Store(path)


def test_index_with_a_later_choice_says_so_to_readers_that_do_not_know_it(tmp_path):
    kept = {}
    for norm in ("unit", "none"):
        identity = replace(IDENTITY, readout=ReadoutConfig(factor_norm=norm))
        store = Store.create(tmp_path / norm, identity, {}, StoreConfig())
        store.lock()
        store.append(new_rows(["a"]))
        store.seal()
        assert store.identity == identity
        store.close()
        (tmp_path / norm / "FORMAT").write_bytes(b"lost")
        repair(tmp_path / norm)
        about = [unseal_json((tmp_path / norm / "FORMAT").read_bytes(), "FORMAT")]
        about += [json.loads(file.read_text().splitlines()[0]) for file in (tmp_path / norm).rglob("segment.json")]
        kept[norm] = (about[0]["requires"], *(one["identity"].get("factor_norm") for one in about))
    assert kept == {"unit": ([], None, None), "none": (["factor_norm"], "none", "none")}


def filled(path):
    store = new_store(path, seal_bytes=10**6)
    store.lock()
    store.append(new_rows([f"d{i}" for i in range(30)]))
    store.seal()
    store.append(new_rows(["d3", "tail"], version=1))
    store.close()
    return path


def read_everything(path):
    store = Store(path)
    try:
        store.lookup([f"d{i}" for i in range(30)] + ["tail"])
        return contents(store)
    finally:
        store.close()


@pytest.mark.parametrize("database", ["ids", "tail", "segments", "tombstones", "commits"])
def test_a_flipped_bit_in_any_value_of_the_catalog_is_named(tmp_path, database):
    path = filled(tmp_path / "pool.rise")
    environment = lmdb.open(str(path / "catalog"), readonly=True, max_dbs=9)
    with environment.begin() as transaction:
        inner = environment.open_db(database.encode(), transaction, create=False)
        key, value = next(iter(transaction.cursor(inner)))
    environment.close()
    file = path / "catalog" / "data.mdb"
    data = file.read_bytes()
    assert value in data
    flipped = bytes([value[0] ^ 16]) + value[1:]
    file.write_bytes(data.replace(value, flipped))
    assert any(finding.place == f"catalog/{database}/{key!r}" for finding in verify(path, full=True))
    if database != "commits":  # of which the first is not read
        with pytest.raises(Corrupt, match="checksum"):
            read_everything(path)


def test_a_damaged_row_is_named_when_it_is_read_and_not_before(path):
    store = new_store(path)
    store.lock()
    store.append(new_rows([f"d{i}" for i in range(200)]))
    store.seal()
    store.close()
    file = segment_folders(path)[0] / "gh/c/0/0"
    data = bytearray(file.read_bytes())
    data[2 * 15 * 70 + 3] ^= 1  # float16, 15 numbers a row: row 70
    file.write_bytes(data)
    store = Store(path)
    (block,) = store.snapshot().blocks()
    block.check(np.array([3, 69, 71]))
    block.part(slice(60, 80)).check(np.array([0, 19]))
    with pytest.raises(Corrupt, match="row 70 of"):
        block.part(slice(60, 80)).check(np.array([10]))
    with pytest.raises(Corrupt, match="row 70 of"):
        store.snapshot().signature("d70", 70)
    assert store.snapshot().signature("d71", 71).ids == ("d71",)
    with pytest.raises(Corrupt, match="gh/c/0/0"):
        block.check(None)
    store.close()


@pytest.mark.parametrize(("database", "key"), [("ids", b"=tail"), ("meta", b"next_sequence")])
def test_a_flipped_bit_in_a_key_of_the_catalog_is_no_miss(tmp_path, database, key):
    path = filled(tmp_path / "pool.rise")
    environment = lmdb.open(str(path / "catalog"), readonly=True, max_dbs=9)
    with environment.begin() as transaction:
        value = transaction.get(key, db=environment.open_db(database.encode(), transaction, create=False))
    environment.close()
    file = path / "catalog" / "data.mdb"
    data = file.read_bytes()
    assert key + value in data
    file.write_bytes(data.replace(key + value, key[:-1] + bytes([key[-1] ^ 1]) + value))
    with pytest.raises(Corrupt, match="checksum"):
        read_everything(path)
    assert any(finding.place.startswith(f"catalog/{database}/") for finding in verify(path))


def test_a_chunk_of_another_segment_is_no_chunk_of_this_one(tmp_path):
    path = tmp_path / "pool.rise"
    store = new_store(path)
    store.lock()
    for version in range(2):
        store.append(new_rows([f"d{i}" for i in range(5)], version=version))
        store.seal()
    store.close()
    for name in ("norms/c/0/0", "gh/c/0/0", "sequence/c/0", "records/c/0"):
        other, one = (folder / name for folder in segment_folders(path))  # the rows of the newer one are live
        first, second = one.read_bytes(), other.read_bytes()
        assert len(first) == len(second)
        one.write_bytes(second)
        assert [finding.place for finding in verify(path)] == [str(one)]
        with pytest.raises(Corrupt, match=name):
            read_everything(path)
        one.write_bytes(first)
    assert verify(path) == []


def test_an_index_that_was_restored_at_the_same_path_is_read_anew(tmp_path):
    path, other = filled(tmp_path / "pool.rise"), tmp_path / "other.rise"
    shutil.copytree(path, other)
    truth = read_everything(path)
    shutil.rmtree(path)
    store = new_store(path)
    store.lock()
    store.append(new_rows(["x"]))
    store.seal()
    store.close()
    assert read_everything(path)[1] == ["x"]
    shutil.rmtree(path)
    shutil.copytree(other, path)
    assert read_everything(path) == truth


@pytest.mark.parametrize("size", [0, 100, 5000, -4096, -1])
def test_a_catalog_that_was_cut_short_is_named_not_mapped(tmp_path, size):
    path = filled(tmp_path / "pool.rise")
    file = path / "catalog" / "data.mdb"
    whole = file.stat().st_size
    os.truncate(file, size if size >= 0 else whole + size)
    with pytest.raises(Corrupt, match=r"data\.mdb"):
        Store(path)
    (finding,) = verify(path)
    assert "data.mdb" in finding.problem


@pytest.mark.parametrize("name", ["rh/c/0/0", "records/c/0", "segment.json"])
@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_missing_and_cut_files_of_a_segment_are_found_without_reading_them(tmp_path, name, damage):
    path = filled(tmp_path / "pool.rise")
    file = segment_folders(path)[0] / name
    if damage == "missing":
        file.unlink()
    else:
        os.truncate(file, file.stat().st_size // 2)
    findings = verify(path, full=False)
    assert any(str(file) in finding.place + finding.problem for finding in findings), findings


def test_the_catalog_s_map_grows_under_an_open_reader(path, monkeypatch):
    monkeypatch.setattr("risedb.storage.catalog._MAP_BYTES", 2**20)
    store = new_store(path)
    store.lock()
    code = WRITER.replace("itertools.count()", "range(0, 1)")
    reader = Store(path)
    store.append(new_rows([f"d{i}" for i in range(20_000)]))
    reader.refresh()
    assert reader.snapshot().rows == 20_000
    store.close()
    grown = in_a_process(code.replace('[f"d{i}", f"e{i}"]', '[f"x{j}" for j in range(30_000)]'), path)
    assert grown.returncode == 0, grown.stderr
    reader.refresh()
    assert reader.snapshot().rows == 50_000
    assert len(reader.records([49_999])) == 1
    reader.close()


def test_environment_is_shared_and_closed_with_its_last_handle(store, path):
    first, second = Catalog(path / "catalog"), Catalog(path / "catalog")
    first.close()
    with second.read() as transaction:
        assert transaction.count("meta") > 0
    second.close()


@pytest.mark.parametrize("name", ["../outside", "/etc", "000000-0123456789ab/../../x", ""])
def test_a_catalog_that_names_a_folder_outside_is_refused(store, path, name):
    store.append(new_rows(["a"]))
    store.seal()
    with store._catalog.write() as transaction:
        transaction.put_json("segments", (0).to_bytes(8), {"name": name, "rows": 1, "bytes": 1})
    with pytest.raises(Corrupt, match="which no writer did"):
        store.refresh()


def test_a_summary_that_names_a_file_outside_is_a_finding(store, path):
    store.append(new_rows(["a"]))
    store.seal()
    summary = segment_folders(path)[0] / "segment.json"
    about = unseal_json(summary.read_bytes(), "a summary")
    summary.write_bytes(seal_json({**about, "files": {"../../FORMAT": {"bytes": 1, "crc32c": 0}}}))
    assert any("outside" in finding.problem for finding in verify(path))


def test_map_grows_only_when_this_process_reads_nothing(path, monkeypatch):
    monkeypatch.setattr("risedb.storage.catalog._MAP_BYTES", 2**20)
    store = new_store(path)
    store.lock()
    reader = Catalog(path / "catalog")
    with ThreadPoolExecutor(1) as writer:
        with reader.read() as transaction:
            adding = writer.submit(store.append, new_rows([f"d{i}" for i in range(20_000)]))
            assert transaction.count("ids") == 0  # the map under this transaction stays where it is
        adding.result()
    assert store.snapshot().rows == 20_000
    reader.close()
    store.close()


def test_closing_twice_takes_nothing_from_other_handles_and_use_after_closing_is_told(store, path):
    other = Store(path)
    other.close()
    other.close()
    assert store.snapshot().rows == 0
    with pytest.raises(InvalidInput, match="was closed; open it again"):
        other.snapshot()


def test_create_tells_of_an_index_that_appeared_meanwhile(path, monkeypatch):
    with monkeypatch.context() as inner:
        inner.setattr("risedb.storage.store.write_format", lambda new, about: _make_meanwhile(new, about, path, inner))
        with pytest.raises(AlreadyExists, match="meanwhile"):
            new_store(path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def _make_meanwhile(new, about, path, inner):
    inner.setattr("risedb.storage.store.write_format", write_format)
    new_store(path).close()
    write_format(new, about)

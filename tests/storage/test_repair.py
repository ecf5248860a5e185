"""Repair rebuilds a catalog from immutable files; backup copies an index that is being written."""

import json
import os
import shutil
import threading

import numpy as np
import pytest

from risedb.errors import AlreadyExists, Busy, Corrupt
from risedb.storage import Store, backup, repair, verify
from risedb.storage.repair import _Repair
from risedb.storage.segment import Segment
from tests.storage.pools import SKETCH, contents, new_rows, new_store


@pytest.fixture
def path(tmp_path):
    """Three segments with dead rows of every kind, one of them merged; and a tail."""
    path = tmp_path / "pool.rise"
    store = new_store(path, chunk_bytes=600)
    store.lock()
    for start in (0, 10, 20):
        store.append(new_rows([f"d{i}" for i in range(start, start + 10)]))
        store.seal()
    store.delete(["d1", "d11"])
    store.compact()
    store.append(new_rows(["d2", "e1", "e2", "x" * 600], version=1))
    store.delete(["e1"])
    store.seal()
    store.append(new_rows(["f1", "f2"]))
    store.seal()
    store.delete(["d3", "f1"])
    store.append(new_rows(["d4", "tail"], version=2))
    store.close()
    return path


def read(path):
    store = Store(path)
    seen = contents(store)
    store.close()
    return seen


def go_on(path):
    """Write after a repair: the index is whole again."""
    store = Store(path)
    store.lock()
    before = contents(store)
    rows = new_rows(["new", "d5"], version=9)
    store.append(rows)
    assert store.delete(["d6"]) == ("d6" in before[0])
    store.seal()
    store.compact()
    assert {"new", "d5"} <= set(contents(store)[0])
    assert "d6" not in contents(store)[0]
    store.close()
    assert verify(path) == []


def test_a_sound_index_is_left_alone(path):
    files = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file() and "lock" not in file.name}
    assert not repair(path).changed
    assert all(file.stat().st_mtime_ns == before for file, before in files.items())


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
def test_a_lost_catalog_is_rebuilt_from_files_and_deletions_stay_deleted(path, damage):
    before, order = read(path)
    file = path / "catalog" / "data.mdb"
    if damage == "missing":
        shutil.rmtree(path / "catalog")
    else:
        file.write_bytes(b"" if damage == "empty" else os.urandom(file.stat().st_size))
    with pytest.raises(Corrupt, match=r"data\.mdb"):
        Store(path)
    assert verify(path)
    report = repair(path)
    assert report.changed
    assert any("tail" in lost for lost in report.lost)
    assert verify(path) == []
    after, new_order = read(path)
    old_d4 = new_rows([f"d{i}" for i in range(10)]).signatures
    assert set(after) == set(before) - {"tail"}  # which only the tail held
    assert after["d4"][2] == old_d4.norms[4].tolist()  # its update was in the tail: the version before it is back
    assert all(after[name] == before[name] for name in after if name != "d4")
    assert [name for name in new_order if name != "d4"] == [name for name in order if name in after and name != "d4"]
    assert report.rows == len(after)
    go_on(path)


def test_a_document_whose_update_waited_in_the_tail_stays_deleted_when_the_catalog_is_lost(path):
    store = Store(path)
    store.lock()
    store.append(new_rows(["d7"], version=3))
    store.delete(["d7"])
    store.close()
    shutil.rmtree(path / "catalog")
    repair(path)
    assert "d7" not in read(path)[0]


def test_a_damaged_segment_is_set_aside_with_its_ids_and_its_sound_rows_go_on(path):
    before, _ = read(path)
    folder = min((path / "segments").iterdir())
    target = folder / "gh/c/0/0"
    data = bytearray(target.read_bytes())
    data[3] ^= 64  # in d0
    data[2 * SKETCH.gh_dim * 4] ^= 64  # in d5, the fifth row after d0, d2, d3 and d4
    target.write_bytes(data)
    assert Segment(folder).chunk_rows > 5
    held = {f"d{i}" for i in range(30)} - {"d1", "d11"}
    report = repair(path)
    (aside, catalog) = report.set_aside
    assert set(aside["ids"]) == held
    assert catalog["place"] == "catalog/data.mdb"
    assert (path / "damaged").is_dir()
    assert json.loads((path / aside["now"]).with_name(f"{folder.name}.json").read_text())["ids"] == aside["ids"]
    lost = {"d0", "d5"}
    (names,) = (path / "damaged").rglob("lost-ids.json")
    assert set(json.loads(names.read_text())) == lost
    after, _ = read(path)
    assert after == {name: row for name, row in before.items() if name not in lost}
    assert target.name not in {file.name for file in (path / "segments").iterdir()}
    go_on(path)


@pytest.mark.parametrize("name", ["columns.arrow", "zarr.json", "rh/zarr.json", "codes/c/0/0", "tombstones/c/0/0"])
def test_damage_to_what_is_told_elsewhere_too_costs_no_document(path, name):
    before, order = read(path)
    file = max((path / "segments").glob(f"*/{name}"))
    file.write_bytes(os.urandom(file.stat().st_size))
    assert repair(path).lost == []
    assert read(path) == (before, order)
    go_on(path)


def test_a_damaged_segment_still_tells_its_deletions_when_the_catalog_is_lost(path):
    store = Store(path)
    store.lock()
    store.delete(["d2"])  # whose update lies in the second segment, which tells that the row in the first is dead
    store.close()
    for file in sorted((path / "segments").iterdir())[1].glob("norms/c/*/0"):
        file.unlink()
    shutil.rmtree(path / "catalog")
    repair(path)
    assert "d2" not in read(path)[0]


def test_segments_that_were_swapped_get_their_names_back(path):
    before = read(path)
    one, other = sorted((path / "segments").iterdir())[:2]
    one.rename(path / "third")
    other.rename(one)
    (path / "third").rename(other)
    with pytest.raises(Corrupt, match="moved or renamed"):
        Store(path)
    assert repair(path).lost == []
    assert read(path) == before
    go_on(path)


@pytest.mark.parametrize("step", ["_move", "_fill", "_replace"])
def test_a_repair_that_is_killed_loses_nothing_that_the_next_one_could_keep(path, step, monkeypatch):
    before, _ = read(path)
    file = min((path / "segments").iterdir()) / "columns.arrow"
    file.write_bytes(os.urandom(file.stat().st_size))
    with monkeypatch.context() as inner:
        inner.setattr(_Repair, step, _killed)
        with pytest.raises(KeyboardInterrupt):
            repair(path)
    assert repair(path).lost == []
    assert read(path)[0] == before
    go_on(path)


def _killed(*_):
    raise KeyboardInterrupt


def test_a_missing_segment_is_named_as_lost(path):
    before, _ = read(path)
    shutil.rmtree(max((path / "segments").iterdir()))
    report = repair(path)
    assert any("is not there" in lost for lost in report.lost)
    assert set(read(path)[0]) == set(before) - {"f2"}
    go_on(path)


def test_a_flip_in_one_value_of_the_catalog_costs_no_more_than_that_value(path):
    before, _ = read(path)
    store = Store(path)
    with store._catalog.read() as transaction:
        value = transaction.get("ids", b"=d7")
    store.close()
    file = path / "catalog" / "data.mdb"
    data = file.read_bytes()
    assert value in data
    file.write_bytes(data.replace(value, value[:-1] + bytes([value[-1] ^ 1])))
    assert verify(path)
    report = repair(path)
    assert report.lost == []
    assert read(path)[0] == before
    go_on(path)


def test_a_damaged_log_of_tombstones_brings_nothing_back(path):
    store = Store(path)
    store.lock()
    store.append(new_rows(["gone"], version=3))
    store.delete(["gone"])  # which waits in the tail: no file tells of it
    with store._catalog.read() as transaction:
        values = [value for _, value in transaction.items("tombstones")]
    store.close()
    before = read(path)
    file = path / "catalog" / "data.mdb"
    for value in values:
        file.write_bytes(file.read_bytes().replace(value, bytes(len(value))))
    with pytest.raises(Corrupt, match="tombstones"):
        Store(path)
    repair(path)
    assert read(path) == before
    go_on(path)


def test_a_damaged_format_file_is_written_again_from_the_catalog(path):
    before, _ = read(path)
    whole = (path / "FORMAT").read_bytes()
    (path / "FORMAT").write_bytes(whole.replace(b'"tau": 1.0', b'"tau": 2.0'))
    with pytest.raises(Corrupt, match="FORMAT"):
        Store(path)
    assert repair(path).changed
    assert (path / "FORMAT").read_bytes() == whole
    assert read(path)[0] == before


def test_repair_gives_up_only_when_nothing_tells_what_the_index_is(path):
    (path / "FORMAT").write_bytes(b"{")
    shutil.rmtree(path / "catalog")
    with pytest.raises(Corrupt, match="neither FORMAT nor the catalog"):
        repair(path)


def test_repair_waits_for_no_writer(path):
    store = Store(path)
    store.lock()
    with pytest.raises(Busy, match="is being written by"):
        repair(path)
    store.close()


def test_a_superseded_segment_that_a_reader_still_holds_brings_nothing_back(path):
    store = Store(path)
    store.lock()
    reader = Store(path)
    store.delete(["d12"])
    assert store.compact().waiting > 0
    before = contents(store)
    store.close()
    shutil.rmtree(path / "catalog")
    assert len(list((path / "segments").iterdir())) > 1
    repair(path)
    assert read(path) == before
    reader.close()


def test_a_backup_is_the_index_as_of_one_commit(path, tmp_path):
    before = read(path)
    commit = backup(path, tmp_path / "copy.rise")
    assert read(tmp_path / "copy.rise") == before
    assert commit.rows == len(before[0])
    assert verify(tmp_path / "copy.rise") == []
    with pytest.raises(AlreadyExists, match="choose another folder"):
        backup(path, tmp_path / "copy.rise")
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]
    go_on(tmp_path / "copy.rise")
    assert read(path) == before


def test_a_backup_of_an_index_that_is_being_written_is_one_of_its_commits(path, tmp_path):
    store = Store(path)
    store.lock()
    stop, states = threading.Event(), {}

    def write():
        change = 0
        while not stop.is_set():
            store.append(new_rows([f"w{(change + i) % 9}" for i in range(2)], version=change))
            states[store.snapshot().commit.number] = contents(store)
            if change % 3 == 0:
                store.seal()
            if change % 7 == 0:
                store.delete(["w1"])
                store.compact()
                states[store.snapshot().commit.number] = contents(store)
            change += 1

    writer = threading.Thread(target=write)
    writer.start()
    copied = {}
    try:
        for i in range(6):
            copied[i] = backup(path, tmp_path / f"copy{i}.rise").number
    finally:
        stop.set()
        writer.join()
    store.close()
    assert len(set(copied.values())) > 1
    for i, number in copied.items():
        assert verify(tmp_path / f"copy{i}.rise") == []
        if number in states:  # a deletion just before a compaction was not looked at
            assert read(tmp_path / f"copy{i}.rise") == states[number]


def test_repair_finds_the_same_rows_whatever_was_sealed(tmp_path):
    rng = np.random.default_rng(0)
    for case in range(6):
        path = tmp_path / f"{case}.rise"
        store = new_store(path, seal_bytes=int(rng.integers(2_000, 9_000)))
        store.lock()
        for change in range(25):
            ids = [f"d{i}" for i in rng.choice(15, int(rng.integers(1, 6)), replace=False)]
            if rng.random() < 0.3:
                store.delete(ids)
            else:
                store.append(new_rows(ids, version=change))
            if rng.random() < 0.1:
                store.compact()
        store.seal()
        before = contents(store)
        store.close()
        shutil.rmtree(path / "catalog")
        assert [lost for lost in repair(path).lost if "tail" not in lost] == []
        assert read(path) == before
        assert verify(path) == []

"""Deletion, compaction, and what readers and history see of them."""

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from risedb.errors import Corrupt, NotFound, ReadOnly
from risedb.storage import Condition, Store, verify
from risedb.storage.tiers import first_to_merge
from tests.storage.pools import contents, expected, new_rows, new_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.rise"


@pytest.fixture
def store(path):
    store = new_store(path, seal_bytes=20_000, chunk_bytes=2_000)
    store.lock()
    yield store
    store.close()


def names(count, prefix="d"):
    return [f"{prefix}{i:03}" for i in range(count)]


def holed(store):
    """Three segments and a tail; some rows of each are dead."""
    for start in (0, 100, 200):
        store.append(new_rows(names(300)[start : start + 100]))
        store.seal()
    store.append(new_rows(names(20, "t")))
    store.append(new_rows(["d005", "t003"], version=1))
    assert store.delete(["d100", "d150", "d299", "t007", "nobody"]) == 4
    return [name for name in names(300) if name not in {"d005", "d100", "d150", "d299"}]


def files_of(path):
    return {file for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("sealed", [False, True])
def test_deleted_documents_are_gone_from_every_read(store, path, sealed):
    store.append(new_rows(["a", "b", "c"]))
    if sealed:
        store.seal()
    assert store.delete(["b", "b", "nobody"]) == 1
    assert contents(store)[1] == ["a", "c"]
    assert store.lookup(["b"]) == [None]
    assert store.snapshot().rows == 2
    assert store.delete(["b"]) == 0
    assert len(list(store.commits())) == 2  # a deletion of nothing is no commit
    store.append(new_rows(["b"], version=5))
    assert contents(store)[0]["b"] == expected(new_rows(["b"], version=5))["b"]
    assert verify(path) == []


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "int8"])
def test_compaction_keeps_every_live_bit_in_its_place_and_drops_the_dead(path, dtype):
    store = new_store(path, seal_bytes=20_000, chunk_bytes=2_000, dtype=dtype)
    store.lock()
    holed(store)
    before = contents(store)
    sequence = np.concatenate([block.sequence[block.live] for block in store.snapshot().blocks()])
    report = store.compact()
    assert contents(store) == before
    assert report.removed == 6
    assert report.segments_after == len(store.snapshot().segments) == len(list((path / "segments").iterdir()))
    blocks = list(store.snapshot().blocks())
    np.testing.assert_array_equal(np.concatenate([block.sequence for block in blocks]), sequence)
    assert all(block.live.all() for block in blocks)
    assert store.compact().removed == 0
    assert contents(store) == before
    assert list((path / "deletions").iterdir()) == []
    store.close()
    assert verify(path) == []


def test_preview_of_a_compaction_tells_what_it_then_does(store):
    holed(store)
    preview = store.compact(preview=True)
    before = contents(store)
    report = store.compact()
    assert (preview.segments_after, preview.removed) == (report.segments_after, report.removed)
    assert contents(store) == before


def test_a_segment_without_a_live_row_goes_and_what_it_told_of_others_stays(store, path):
    for part in (["a", "b"], ["c", "d"]):
        store.append(new_rows(part))
        store.seal()
    store.delete(["a"])
    store.append(new_rows(["e"]))
    store.seal()  # this segment tells that a is dead
    store.delete(["e"])
    store.compact()
    assert contents(store)[1] == ["b", "c", "d"]
    store.delete(["b", "c", "d"])
    store.compact()
    assert contents(store) == ({}, [])
    assert list((path / "segments").iterdir()) == []
    store.append(new_rows(["a"]))
    assert contents(store)[1] == ["a"]
    assert verify(path) == []


def test_compaction_stops_at_damage_and_loses_nothing(store, path):
    holed(store)
    store.seal()
    before = contents(store)
    folder = next(iter(sorted((path / "segments").iterdir())))
    target = folder / "rh/c/0/0"
    sound = target.read_bytes()
    store.close()
    target.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    again = Store(path)
    again.lock()
    with pytest.raises(Corrupt, match="rh"):
        again.compact()
    target.write_bytes(sound)
    again.close()
    again = Store(path)
    assert contents(again) == before
    again.close()


def test_a_reader_keeps_its_snapshot_through_a_compaction_and_its_files_go_after_it(store, path):
    holed(store)
    store.seal()
    reader = Store(path)
    before = contents(reader)
    old = {folder.name for folder in (path / "segments").iterdir()}
    report = store.compact()
    assert report.waiting == len(old)
    assert old <= {folder.name for folder in (path / "segments").iterdir()}
    assert contents(reader) == before  # records of rows that are dead by now, too
    assert all(reader.lookup(before[1]))
    assert [row and row.sequence for row in reader.lookup(["d100", "d101"])] == [None, 101]
    assert reader.refresh()
    assert contents(reader) == contents(store)
    reader.close()
    store.close()
    writer = Store(path)
    writer.lock()
    assert not old & {folder.name for folder in (path / "segments").iterdir()}
    writer.close()
    assert verify(path) == []


def test_a_reader_in_another_process_keeps_its_files_and_its_death_frees_them(store, path):
    holed(store)
    store.seal()
    code = """
        import pathlib, sys
        from risedb.storage import Store
        from tests.storage.pools import contents
        store = Store(pathlib.Path(sys.argv[1]))
        print(len(contents(store)[1]), flush=True)
        sys.stdin.readline()
        store._known.segments[0]._maps.clear()
        print(len(contents(store)[1]), flush=True)
        sys.stdin.readline()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as reader:  # fmt: skip
        first = int(reader.stdout.readline())
        assert store.compact().waiting > 0
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert int(reader.stdout.readline()) == first
        reader.kill()
    assert store._writer.remove_retired() == 0
    assert len(list((path / "segments").iterdir())) == len(store.snapshot().segments)


def test_history_reads_every_commit_until_compaction_passes_it(store, path):
    states = [contents(store)]
    for change in range(12):
        if change % 4 == 3:
            store.delete([f"d{change % 5:03}", "d001"])
        else:
            store.append(new_rows([f"d{(change + i) % 7:03}" for i in range(3)], version=change))
        if change % 5 == 0:
            store.seal()
        states.append(contents(store))
    log = list(store.commits())
    assert [commit.number for commit in log] == list(range(12, 0, -1))
    for number, state in enumerate(states):
        past = Store(path, at=number)
        assert contents(past) == state
        assert past.snapshot().rows == len(state[0])
        for name, row in zip(state[0], past.lookup(list(state[0])), strict=True):
            assert past.snapshot().signature(name, row.sequence).norms.tolist() == [state[0][name][2]]
        with pytest.raises(ReadOnly, match="past cannot be changed"):
            past.lock()
        past.close()
    with pytest.raises(NotFound, match="there is no commit 99; the newest is 12"):
        Store(path, at=99)
    store.compact()
    with pytest.raises(NotFound, match=r"commit 5 of .* was compacted away; the oldest that can be read is 1\d"):
        Store(path, at=5)
    assert [commit.what for commit in store.commits()] == ["compact"]
    newest = Store(path, at=next(store.commits()).number)
    assert contents(newest) == states[-1]
    newest.close()


def test_conditions_are_met_in_segments_and_tail_alike(store):
    holed(store)
    wanted = [Condition("version", "=", ("1",))]
    live = [block.sequence[block.live] for block in store.snapshot().blocks(wanted)]
    found = {name for name, _ in store.records(np.concatenate(live).tolist())}
    assert found == {"d005", "t003"}
    assert sorted(np.concatenate(live)) == store.snapshot().live_sequences(wanted).tolist()


def test_a_condition_on_a_field_without_a_column_reads_the_records(store):
    rows = new_rows(["a", "b"])
    records = [{"text": "x" * 1000, "tags": ["u"]}, {"text": "y", "tags": ["v"]}]
    store.append(type(rows)(rows.signatures, rows.content_hashes, records))
    for condition, live in [
        (Condition("text", "=", ("x" * 1000,)), [0]),
        (Condition("tags", "!=", ('["u"]',)), [1]),
        (Condition("text", "=", ("y",)), [1]),
    ]:
        assert store.snapshot().live_sequences([condition]).tolist() == live
    store.seal()
    assert store.snapshot().live_sequences([Condition("text", "=", ("x" * 1000,))]).tolist() == [0]


def test_deletions_of_sealed_rows_lie_in_few_files(store, path, monkeypatch):
    monkeypatch.setattr("risedb.storage.writer._DELETIONS", 10)
    store.append(new_rows(names(60)))
    store.seal()
    for name in names(35):
        store.delete([name])
    assert 3 <= len(list((path / "deletions").iterdir())) <= 4
    store.append(new_rows(["new"]))
    store.seal()
    assert list((path / "deletions").iterdir()) == []
    assert len(store.snapshot().segments[-1].whole("tombstones")) == 35


def test_small_blocks_are_merged_so_that_few_are_read():
    sizes = []
    for n in [1] * 5000 + [300, 1] * 200 + [2] * 300:
        sizes.append(n)
        first = first_to_merge(sizes)
        sizes[first:] = [sum(sizes[first:])]
        assert len(sizes) <= 15 * 4
    assert sum(sizes) == 5000 + 301 * 200 + 600


def test_the_tail_is_read_in_few_pieces_however_small_the_adds(path):
    store = new_store(path)
    store.lock()
    for i in range(300):
        store.append(new_rows([f"d{i}"]))
    assert len(store.snapshot().tail) < 40
    assert len(contents(store)[0]) == 300
    store.close()


def test_an_index_without_codes_holds_the_same_rows(tmp_path):
    plain, coded = (new_store(tmp_path / codes, codes=codes) for codes in ("none", "int8"))
    for store in (plain, coded):
        store.lock()
        holed(store)
    assert contents(plain) == contents(coded)
    assert all(block.codes is None for block in plain.snapshot().blocks())
    assert all(block.codes is not None for block in coded.snapshot().blocks())
    plain.close()
    coded.close()


def test_a_moved_index_is_the_same(store, path, tmp_path):
    holed(store)
    before = contents(store)
    store.close()
    shutil.move(path, tmp_path / "elsewhere.rise")
    again = Store(tmp_path / "elsewhere.rise")
    assert contents(again) == before
    again.close()

"""Golden indexes: what was once written is read exactly, by RiseDB and by a reader that knows FORMAT.md alone."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from risedb.errors import NotFound
from risedb.signature import widened
from risedb.storage import Condition, Store, repair, verify
from tests.storage.pools import new_rows
from tests.storage.second_reader import read_index

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(params=sorted(file.stem for file in GOLDEN.glob("*.json")))
def expected(request):
    return json.loads((GOLDEN / f"{request.param}.json").read_text()) | {"name": request.param}


@pytest.fixture
def path(tmp_path, expected):
    with tarfile.open(GOLDEN / f"{expected['name']}.tar.xz") as tar:
        tar.extractall(tmp_path / "golden.rise", filter="data")
    return tmp_path / "golden.rise"


def live(expected, at):
    return [row for row in expected["rows"] if row["commit"] <= at and not 0 < row["died"] <= at]


def test_all_stored_types_have_golden_indexes():
    kept = [json.loads(file.read_text())["dtype"] for file in GOLDEN.glob("1-*.json")]
    assert sorted(kept) == ["bfloat16", "float16", "float32", "int8"]


def test_second_reader_reads_what_was_written(path, expected):
    index = read_index(path)
    assert sorted(index.rows) == [row["sequence"] for row in expected["rows"]]
    for row in expected["rows"]:
        read = index.rows[row["sequence"]]
        assert (read.id, read.record) == (row["id"], row["record"])
        assert (read.commit, read.content.hex()) == (row["commit"], row["content"])
        assert index.tombstones.get(read.sequence, 0) == row["died"]
        for name in ("rh", "gh", "norms", "scale"):
            assert np.array_equal(getattr(read, name), row[name]), name
    for at in range(expected["oldest_commit"], expected["newest_commit"] + 1):
        assert [read.id for read in index.live(at)] == [row["id"] for row in live(expected, at)]
        assert index.commits[at]["rows"] == len(live(expected, at))


def test_second_reader_finds_rows_by_id_and_deletions_in_files(path, expected):
    index = read_index(path)
    for row in expected["rows"]:
        version = (row["sequence"], row["commit"], row["died"], bytes.fromhex(row["content"]))
        assert version in index.versions[row["id"]]
    assert sum(map(len, index.versions.values())) == len(expected["rows"])
    living = {row["id"] for row in live(expected, expected["newest_commit"])}
    deleted = [row for row in expected["rows"] if row["died"] and row["id"] not in living]
    lasting = [row for row in deleted if index.rows[row["sequence"]].place != "tail"]
    assert len(lasting) >= 4
    assert all(index.lasting.get(row["sequence"]) == row["died"] for row in lasting), "no file tells of a deletion"


def test_risedb_reads_what_was_written_at_every_commit(path, expected):
    for at in [*range(expected["oldest_commit"], expected["newest_commit"] + 1), None]:
        store = Store(path, at=at)
        rows = live(expected, at or expected["newest_commit"])
        seen = []
        for block in store.snapshot().blocks():
            block.check(None)
            for i in np.flatnonzero(block.live).tolist():
                row = rows[len(seen)]
                seen.append(int(block.sequence[i]))
                assert np.array_equal(widened(block.rh[i]), row["rh"])
                assert np.array_equal(widened(block.gh[i]), row["gh"])
                assert np.array_equal(block.norms[i], row["norms"])
                assert expected["dtype"] != "int8" or block.code_scale[i] == np.float32(row["scale"])
        assert seen == [row["sequence"] for row in rows]
        assert store.records(seen) == [(row["id"], row["record"]) for row in rows]
        found = store.lookup([row["id"] for row in rows])
        assert [one.sequence for one in found] == seen
        assert [one.content.hex() for one in found] == [row["content"] for row in rows]
        store.close()
    with pytest.raises(NotFound, match="compacted away"):
        Store(path, at=expected["oldest_commit"] - 1)


@pytest.mark.parametrize(
    "condition",
    [
        Condition("source", "in", ("c4", "日本語")),
        Condition("label", "=", ("1",)),
        Condition("score", "<", ("0.5",)),
        Condition("part", "!=", ("1",)),
        Condition("tags", "=", ('["a", {"b": []}]',)),
        Condition("none", "=", ("null",)),
        Condition("nobody", "=", ("x",)),
    ],
)
def test_conditions_choose_the_rows_whose_records_meet_them(path, expected, condition):
    store = Store(path)
    chosen = store.snapshot().live_sequences([condition]).tolist()
    assert chosen == [row["sequence"] for row in live(expected, 99) if condition.matches(row["record"])]
    store.close()


def test_golden_index_is_sound_and_takes_changes(path, expected):
    assert verify(path, full=True) == []
    assert not repair(path).changed
    before = [row["id"] for row in live(expected, 99)]
    store = Store(path)
    store.lock()
    store.append(new_rows([before[0], "new"]))
    store.delete([before[1]])
    store.compact()
    store.close()
    assert [row.id for row in read_index(path).live()] == [*before[2:], before[0], "new"]
    assert verify(path, full=True) == []

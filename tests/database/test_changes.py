"""Deletion, history, export and other processes, through RiseDB with the model that it ships."""

import pickle
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest

import risedb
from risedb.database.exporting import export
from risedb.errors import AlreadyExists, InvalidInput, NotFound, ReadOnly

POOL = [
    {"id": "cat", "text": "The cat sleeps on the blanket.", "source": "pets", "year": 2020},
    {"id": "lock", "text": "Acquire the lock, blocking or non-blocking.", "source": "threads", "year": 2021},
    {"id": "path", "text": "Return the absolute pathname of the file or directory.", "source": "files", "year": 2022},
    {"id": "dog", "text": "The dog sleeps on the blanket, and the cat on the dog.", "source": "pets", "year": 2023},
]


@pytest.fixture
def db(path, model):
    with risedb.open(path, model, create=True) as db:
        db.add(POOL)
        yield db


def ids(db, **choices):
    return {hit.id for hit in db.query(db.signatures(["lock"]), **choices)[0]}


def test_deletion_by_id_and_by_condition_reaches_the_next_query(db):
    assert db.delete(["cat", "nobody", "cat"], preview=True) == ["cat"]
    assert ids(db) == {"cat", "lock", "path", "dog"}
    assert db.delete(["cat", "nobody"]) == ["cat"]
    assert ids(db) == {"lock", "path", "dog"}
    assert db.delete(where="source=files and year<2023") == ["path"]
    assert ids(db) == {"lock", "dog"}
    assert db.compact().removed == 2
    assert ids(db) == {"lock", "dog"}
    assert len(db) == 2
    with pytest.raises(NotFound):
        db.signatures(["cat"])
    assert db.add(POOL).added == 2  # what was deleted is new


def test_conditions_in_a_query_are_those_of_deletion(db):
    assert ids(db, where="source in (pets, files) and year >= 2022") == {"path", "dog"}
    assert ids(db, where={"source": ["pets"], "year": 2020}) == {"cat"}
    with pytest.raises(InvalidInput, match="character"):
        db.query(["x y z"], where="source = ")


def test_the_past_is_read_with_at_and_cannot_be_changed(db, path):
    db.delete(["cat"])
    db.add([{**POOL[1], "text": "Release the lock and wait for nobody."}])
    assert [(one.what, one.added, one.removed, one.rows) for one in db.commits()] == [
        ("add", 1, 1, 3),
        ("delete", 0, 1, 3),
        ("add", 4, 0, 4),
    ]
    with risedb.open(path, at=1) as past:
        assert ids(past) == {"cat", "lock", "path", "dog"}
        with pytest.raises(ReadOnly):
            past.delete(["dog"])
    with risedb.open(path, at=2) as past:
        (hit,) = past.query(past.signatures(["lock"]), k=1)[0]
        assert hit.record == POOL[1]
    with pytest.raises(NotFound, match="no commit 7"):
        risedb.open(path, at=7)


def test_a_reader_sees_one_commit_until_it_refreshes(db, path):
    with risedb.open(path) as reader:
        db.delete(["cat"])
        db.compact()
        assert ids(reader) == {"cat", "lock", "path", "dog"}
        assert reader.refresh()
        assert ids(reader) == {"lock", "path", "dog"}
        assert not reader.refresh()


def test_an_index_can_be_sent_to_another_process(db, path, tmp_path):
    (tmp_path / "db.pickle").write_bytes(pickle.dumps(db))
    db.delete(["cat"])
    code = (
        "import pickle, sys; db = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(len(db), *(hit.id for hit in db.query(db.signatures(['cat']), k=1)[0]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "db.pickle"], capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["4", "cat"], told.stderr  # as of the commit that was sent


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "int8"])
def test_export_gives_the_vectors_that_are_compared(tmp_path, model, dtype):
    with risedb.open(tmp_path / "pool.rise", model, create=True, store=risedb.StoreConfig(dtype=dtype)) as db:
        db.add(POOL)
        assert export(db.documents(where="source=pets"), tmp_path / "pets.parquet") == 2
        table = pyarrow.parquet.read_table(tmp_path / "pets.parquet")
        assert table["id"].to_pylist() == ["cat", "dog"]
        stored = db.signatures(["cat", "dog"])
        for channel in ("rh", "gh"):
            np.testing.assert_array_equal(np.array(table[channel].to_pylist(), np.float32), getattr(stored, channel))
        np.testing.assert_array_equal(table["norm_gh"].to_numpy(), stored.norms[:, 1])
        computed = db.sign([POOL[0], POOL[3]])
        for one, other in ((stored.rh, computed.rh), (stored.gh, computed.gh)):
            assert ((one * other).sum(axis=1) > 0.999).all()
        assert export(db.documents(), tmp_path / "all.jsonl") == 4
        assert db.add(risedb.corpus.read(str(tmp_path / "all.jsonl"))).unchanged == 4
        with pytest.raises(AlreadyExists):
            export(db.documents(), tmp_path / "all.jsonl")
        with pytest.raises(InvalidInput, match="neither in"):
            export(db.documents(), tmp_path / "all.txt")
        assert export(db.documents(where="source=none"), tmp_path / "none.parquet") == 0

"""Several checkpoints: one index each, kept in step, and one ranking by the sum of their scores."""

import contextlib
import itertools
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import risedb
from risedb.config import SketchConfig
from risedb.corpus import BadRow, Row
from risedb.database import Checkpoints, JointSignatures
from risedb.errors import Busy, Corrupt, IdentityMismatch, InvalidInput, NotFound
from risedb.featurize import load_model
from risedb.storage import repair
from tests.database.test_querying import TEXTS
from tests.featurize.test_checkpoint import DEMO

WEIGHTS = (1.0, 0.5)
ROWS = [{"id": f"d{i}", "text": text, "odd": i % 2} for i, text in enumerate(TEXTS)]
QUERIES = ["A cat sleeps near the file.", "The thread waits for the lock."]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Give the demo model, and a copy of it in which every weight has moved."""
    folder = shutil.copytree(DEMO, tmp_path_factory.mktemp("models") / "later")
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: (weight * (1 + 0.1 * torch.randn(weight.shape, generator=generator))).to(weight.dtype)
        for name, weight in weights.items()
    }
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return "demo", str(folder)


@pytest.fixture(scope="module")
def models(folders):
    return [load_model(folder) for folder in folders]


def opened(path, models, **options):
    return risedb.open(path, models, create=True, sketch=SketchConfig.parse("compact"), **options)


@pytest.fixture
def db(path, models):
    with opened(path, models, weights=WEIGHTS) as db:
        db.add(ROWS, commit_every=7)
        yield db


def sums(db, queries=QUERIES, weights=WEIGHTS, **choices):
    """Return id to score of every query by plain arithmetic: each index asked for all its documents."""
    queries = [child.sign(queries) for child in db.children]
    each = [child.query(one, k=1000, **choices) for child, one in zip(db.children, queries, strict=True)]
    for rankings in zip(*each, strict=True):
        scores = [{hit.id: hit.score for hit in ranking} for ranking in rankings]
        both = set.intersection(*(set(one) for one in scores))
        yield {name: sum(weight * one[name] for weight, one in zip(weights, scores, strict=True)) for name in both}


def ranked(db, queries=QUERIES, **choices):
    return [{hit.id: hit.score for hit in ranking} for ranking in db.query(queries, k=1000, **choices)]


@pytest.mark.parametrize(
    "choices",
    [{}, {"lambda_rh": 0.0, "normalize": False}, {"center": True}, {"where": "odd=1"}, {"pool": "mean"}],
    ids=str,
)
def test_score_is_the_weighted_sum_of_the_checkpoints_own(db, choices):
    ours, theirs = ranked(db, **choices), list(sums(db, **choices))
    assert ours == theirs  # bit by bit
    assert all(len(one) == (10 if "where" in choices else len(ROWS)) for one in ours)
    for ranking in db.query(QUERIES, k=5, **choices):
        scores = [hit.score for hit in ranking]
        assert scores == sorted(scores, reverse=True)
        assert scores == sorted(ours.pop(0).values(), reverse=True)[:5]


def test_checkpoints_disagree_and_weights_decide(db, path, models):
    first, second = (child.query(QUERIES[0], k=20)[0] for child in db.children)
    assert [hit.id for hit in first] != [hit.id for hit in second]
    for weights in ((1, 0), (0, 2), (1, -1)):
        with risedb.open(path, models, weights=weights) as other:
            assert ranked(other) == list(sums(db, weights=weights))
    with risedb.open(path) as remembered:
        assert remembered.weights == WEIGHTS
        assert ranked(remembered, db.sign(QUERIES)) == ranked(db)


def test_bottom_minus_and_stored_queries(db):
    query, junk = db.sign(QUERIES[0]), db.sign("Item 3")
    (lowest,) = db.query(query, k=4, bottom=True)
    assert [hit.score for hit in lowest] == sorted(ranked(db, query)[0].values())[:4]
    (less,) = db.query(query, minus=junk, k=1000)
    (plain,), (minus,) = ranked(db, query), ranked(db, junk)
    for hit in less:
        assert abs(hit.score - (plain[hit.id] - minus[hit.id])) < 1e-12
    stored = db.signatures(["d3", "d4"])
    assert isinstance(stored, JointSignatures)
    assert [ranking[0].id for ranking in db.query(stored)] == ["d3", "d4"]
    assert [ranking.query for ranking in db.query(JointSignatures.concatenate([stored, stored]))] == ["d3", "d4"] * 2
    assert db.query(stored, k=1)[0][0].record == ROWS[3]
    with pytest.raises(InvalidInput, match="each of its checkpoints"):
        db.query(stored.parts[0])


def test_all_scores_are_those_of_a_query_in_bounded_memory(db, tmp_path):
    parts = list(db.scores(QUERIES, memory_bytes=2**20))
    names = [name for part in parts for name in part.ids]
    assert names == [row["id"] for row in ROWS]
    scores = np.concatenate([part.scores for part in parts])
    assert [dict(zip(names, column, strict=True)) for column in scores.T.tolist()] == ranked(db)
    assert db.save_scores(tmp_path / "scores.npy", QUERIES) == len(ROWS)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), scores)


def test_query_sees_what_all_checkpoints_have_with_the_same_content_in_whatever_order(db):
    first, second = db.children
    second.delete(["d5"])
    second.add([{**ROWS[6], "text": "Other words."}, ROWS[5], {"id": "mine", "text": "Only here."}])
    first.add([{"id": "new", "text": "Only there."}])
    first.delete(["d8"])
    first.compact()
    assert len(db) == db.count() == len(ROWS) - 2  # d6 differs, d8 is gone; d5 stands elsewhere
    assert db.count(where="odd=0") == len(db.query(QUERIES[0], k=1000, where="odd=0")[0]) == 8
    ours = ranked(db)
    assert all(one.keys() == {row["id"] for row in ROWS} - {"d6", "d8"} for one in ours)
    expected = list(sums(db))
    for one in expected:
        one.pop("d6")
    assert ours == expected
    assert [part.sequence.tolist() for part in db.scores(QUERIES)] == [sorted(set(range(20)) - {6, 8})]


def test_one_content_under_two_ids_is_two_documents(path, models):
    with opened(path, models) as db:
        same = risedb.Fields(id="a"), risedb.Fields(id="b")
        row = {"a": "x", "b": "y", "text": "The cat sleeps."}
        for fields in same:
            db.add([row, {"a": "z", "b": "z", "text": "The dog."}], fields=fields)
        db.children[1].delete(["z"])
        assert {hit.id for hit in db.query("The cat sleeps.")[0]} == {"x", "y"}


@pytest.mark.parametrize("once", [False, True], ids=["rows again", "rows only once"])
def test_add_that_was_stopped_is_completed_by_running_it_again(path, models, once):
    def stop(_):
        if len(db.children[1]) > 0:
            raise KeyboardInterrupt

    rows = [{"id": f"{i}-{row['id']}", "text": f"{i}: {row['text']}"} for i in range(15) for row in ROWS]
    with opened(path, models) as db, contextlib.suppress(KeyboardInterrupt):
        db.add(iter(rows) if once else rows, commit_every=100, progress=stop)
    with risedb.open(path, models) as db:
        first, second = map(len, db.children)
        assert first == 300
        assert 0 < second < 300
        assert len(db) == second
        report = db.add(iter(rows) if once else rows)
        assert (report.added, report.unchanged, report.rows) == (300 - second, second, 300)
        assert ranked(db) == list(sums(db, weights=(1, 1)))
        assert sorted(file.name for file in path.iterdir()) == ["1", "2", "FORMAT"]


def test_rows_that_come_only_once_reach_every_checkpoint_as_they_are(path, models):
    rows = [
        Row("a.jsonl:1", {"id": "a", "text": "The cat 🙂 sleeps.", "of": {"list": [1, 2.5, None, True]}}),
        BadRow("a.jsonl:2", "not JSON: \udc80"),
        "A plain text.",
        {"id": "b", "text": "Half a pair \ud83d of a surrogate."},
        {"id": "c", "text": "Another text.", "odd": {1, 2}},
        {"id": "d", "text": "The last."},
    ]
    reports = []
    for name, given in (("list", rows), ("once", iter(rows))):
        with opened(path / name, models) as db:
            reports.append(db.add(given, on_error="skip"))
            assert [len(child) for child in db.children] == [3, 3]
            stored = [[records for _, records in child.documents()] for child in db.children]
            assert stored[0] == stored[1] == [[rows[0].values, {"text": rows[2]}, rows[5]]]
    assert reports[0] == reports[1]
    assert [bad.place for bad in reports[0].skipped] == ["a.jsonl:2", "row 4", "row 5"]


def test_changes_reach_every_checkpoint(db, path):
    assert db.delete(["d1"], where="odd=1", preview=True) == [row["id"] for row in ROWS if row["odd"]]
    assert len(db) == 20
    assert len(db.delete(["d0", "nothing"])) == 1
    report = db.add([{**ROWS[2], "text": "New words."}])
    assert (report.updated, report.rows) == (1, 19)
    assert [len(child) for child in db.children] == [19, 19]
    before = ranked(db)
    assert db.compact().removed == 4
    assert ranked(db) == before
    with risedb.open(path) as reader:
        db.delete(["d3"])
        assert len(reader) == 19
        assert reader.refresh()
        assert len(reader) == 18
        assert not reader.refresh()


def test_info_verify_and_the_history_of_each(db, path):
    about = db.info()
    assert (about["rows"], [one["weight"] for one in about["checkpoints"]]) == (20, list(WEIGHTS))
    assert json.dumps(about)
    assert db.verify() == []
    for refused in (db.commits, db.documents):
        with pytest.raises(InvalidInput, match="an index for each checkpoint"):
            refused()
    with pytest.raises(InvalidInput, match=r"each has its own commits"):
        risedb.open(path, at=1)
    with pytest.raises(InvalidInput, match="do this with each"):
        repair(path)
    broken = next((path / "2" / "catalog").glob("data.mdb"))
    db.close()
    broken.write_bytes(broken.read_bytes()[:5000])
    assert risedb.database.verify(path)[0].place.startswith("2: ")


def test_handle_travels_to_another_process(path, folders):
    with opened(path, folders) as db:
        db.add(ROWS[:3])
        with pickle.loads(pickle.dumps(db)) as copy:
            assert isinstance(copy, Checkpoints)
            assert ranked(copy, QUERIES[:1]) == ranked(db, QUERIES[:1])
        assert db.children[0]._signer.loaded is not None  # for queries


def test_add_holds_one_model_at_a_time(path, folders):
    with opened(path, folders) as db:
        seen = []
        db.add(ROWS[:3], progress=lambda _: seen.append([child._signer.loaded is not None for child in db.children]))
        assert [one for one, _ in itertools.groupby(seen)] == [[True, False], [False, True]]
        assert [child._signer.loaded for child in db.children] == [None, None]


def test_what_cannot_be_opened_is_refused_by_name(path, models, folders, tmp_path):
    with pytest.raises(NotFound):
        risedb.open(path, models)
    for few in (models[:1], []):
        with pytest.raises(InvalidInput, match="needs two models"):
            opened(path, few)
    for weights in ((1,), (0, 0), (1, float("nan"))):
        with pytest.raises(InvalidInput, match="checkpoints' weights"):
            opened(path, models, weights=weights)
    with pytest.raises(NotFound, match="no model folder"):
        opened(path, ["demo", "./nowhere"])
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []
    opened(path, models).close()
    with pytest.raises(InvalidInput, match="has 2 checkpoints"):
        opened(path, "demo")
    with opened(path, models[::-1]) as db, pytest.raises(IdentityMismatch):
        db.add(ROWS[:1])
    with opened(path, models) as db, opened(path, models) as other:
        db.add(ROWS[:1])
        with pytest.raises(Busy):
            other.add(ROWS[:1])
    opened(tmp_path / "one.rise", models[0]).close()
    with pytest.raises(InvalidInput, match="index by one model"):
        opened(tmp_path / "one.rise", models)
    (path / "FORMAT").write_text((path / "FORMAT").read_text().replace("[1.0, 1.0]", "[1.0, 9.0]"))
    with pytest.raises(Corrupt, match="checksum"):
        risedb.open(path)
    shutil.rmtree(path / "2")
    with pytest.raises((NotFound, Corrupt)):
        risedb.open(path)

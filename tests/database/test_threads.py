"""Threads that ask one handle while another changes the index: each answer is that of one commit, whole."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import risedb
from risedb.config import Identity, ReadoutConfig, SketchConfig, StoreConfig
from risedb.database.querying import Asking
from risedb.signature import Signatures
from risedb.storage import NewRows, Store
from risedb.topk import Center

QUESTIONS = [{}, {"center": True}, {"where": {"odd": 1}}, {"bottom": True}, {"lambda_rh": 0.0, "center": True}, None]
SKETCH = SketchConfig.parse("compact")


def new_index(path):
    identity = Identity(readout=ReadoutConfig(), sketch=SKETCH, model="none", tokenizer="none")
    settings = {"model": "none", "revision": None, "fields": {}}
    Store.create(path, identity, settings, StoreConfig(seal_bytes=30_000)).close()


def documents(rng, names):
    signatures = Signatures.from_phi(
        names, rng.normal(size=(len(names), SKETCH.rh_dim)), rng.normal(size=(len(names), SKETCH.gh_dim))
    )
    return NewRows(signatures, [rng.bytes(16) for _ in names], [{"id": one, "odd": int(one) % 2} for one in names])


def changes(db):
    """Add, replace, delete, seal and compact, the same each time; yield after each commit."""
    rng = np.random.default_rng(5)
    db._store.lock()
    for turn in range(4):
        db._store.append(documents(rng, [str(8 * turn + i) for i in range(12)]))  # four take the place of others
        yield
        db.delete([str(i) for i in rng.integers(0, 8 * turn + 8, 3)])
        yield
        db.compact()
        yield


def answer(db, queries, choices):
    if choices is None:
        return [
            (name, row) for part in db.scores(queries) for name, row in zip(part.ids, part.scores.tolist(), strict=True)
        ]
    return [[(hit.id, hit.score, hit.record["odd"]) for hit in one] for one in db.query(queries, k=7, **choices)]


@pytest.mark.parametrize("devices", [[], ["cpu", "cpu"]], ids=["compiled", "devices"])
def test_every_answer_is_that_of_one_commit_and_never_of_one_before_the_last(tmp_path, devices):
    import risedb.topk.compiled  # which then scans also what is as small as this

    queries = documents(np.random.default_rng(1), ["0", "1", "2", "3"]).signatures
    new_index(tmp_path / "alone.rise")
    with risedb.open(tmp_path / "alone.rise") as db:
        expected = [[answer(db, queries, choices) for choices in QUESTIONS] for _ in changes(db)]
    new_index(tmp_path / "shared.rise")
    with risedb.open(tmp_path / "shared.rise", devices=devices) as db:
        steps = changes(db)
        next(steps)
        over, ready = threading.Event(), threading.Barrier(3)

        def read(start):
            seen, question = [], start
            ready.wait()
            while not over.is_set() or question < start + len(QUESTIONS):
                question += 1
                which = question % len(QUESTIONS)
                seen.append((which, answer(db, queries, QUESTIONS[which])))
            return seen

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read, start) for start in (0, 3)]
            try:
                ready.wait()
                list(steps)
            finally:
                over.set()
            results = [reader.result() for reader in readers]
    for seen in results:
        commit = 0
        for question, found in seen:
            fitting = [i for i in range(commit, len(expected)) if expected[i][question] == found]
            assert fitting, f"question {question} got what is no answer to it at commit {commit} or later"
            commit = fitting[0]


@pytest.fixture
def db(tmp_path):
    new_index(tmp_path / "pool.rise")
    with risedb.open(tmp_path / "pool.rise") as db:
        db._store.lock()
        db._store.append(documents(np.random.default_rng(0), [str(i) for i in range(20)]))
        yield db


def test_hits_that_are_compacted_away_after_they_were_ranked_still_have_their_records(db, monkeypatch):
    queries, rank = db.signatures(["3", "4"]), Asking.rank
    expected = answer(db, queries, {})

    def rank_and_compact(*question, **choices):
        ranked = rank(*question, **choices)
        db.delete(["3"])
        db.compact()
        return ranked

    monkeypatch.setattr(Asking, "rank", rank_and_compact)
    assert answer(db, queries, {}) == expected
    assert "3" not in [hit[0] for hit in answer(db, queries, {})[0]]


def test_scores_that_are_compacted_away_while_they_are_read_still_have_their_ids(db):
    parts = db.scores(db.signatures(["3"]))
    db.delete(["3"])
    db.compact()
    assert [name for part in parts for name in part.ids] == [str(i) for i in range(20)]


def test_a_centre_that_was_begun_before_a_change_is_not_taken_for_the_one_after_it(db, monkeypatch):
    queries, of, between = db.signatures(["3"]), Center.of, []

    def change_and_ask(*rows, **choices):
        if not between:  # the first time: as if another thread came in between
            between.append(True)
            db.delete(["5", "6"])
            between.append(answer(db, queries, {"center": True}))
        return of(*rows, **choices)

    monkeypatch.setattr(Center, "of", change_and_ask)
    before, after = answer(db, queries, {"center": True}), answer(db, queries, {"center": True})
    assert before != after == between[1]

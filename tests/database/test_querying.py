"""The query side of an index: stored dtypes, centred scores, all scores, bounded memory."""

import json
import pickle

import numpy as np
import pytest

import risedb
from risedb.config import ScoreConfig, SketchConfig, StoreConfig
from risedb.errors import InvalidInput
from tests.topk.pools import fused

TEXTS = [f"Item {i}: the {word} sleeps near the {other}." for i, (word, other) in enumerate(
    zip(["cat", "dog", "lock", "path"] * 5, ["file", "blanket", "thread"] * 7, strict=False)
)]  # fmt: skip


@pytest.fixture(params=["float16", "float32", "bfloat16", "int8"])
def db(request, tmp_path, model):
    store = StoreConfig(dtype=request.param, seal_bytes=10_000)
    rows = [{"id": str(i), "text": text, "odd": i % 2} for i, text in enumerate(TEXTS)]
    with risedb.open(
        tmp_path / "pool.rise", model, create=True, sketch=SketchConfig.parse("compact"), store=store
    ) as db:
        db.add(rows, commit_every=5)
        db.delete(["3"])
        yield db


def test_scores_are_those_of_a_query_bit_by_bit_and_ids_name_them(db):
    queries = db.sign(["A cat sleeps.", "The thread waits for the lock."])
    parts = list(db.scores(queries, memory_bytes=2**20))
    ids = [name for part in parts for name in part.ids]
    scores = np.concatenate([part.scores for part in parts])
    assert ids == [str(i) for i in range(len(TEXTS)) if i != 3]
    for j, ranking in enumerate(db.query(queries, k=100)):
        assert {hit.id: hit.score for hit in ranking} == dict(zip(ids, scores[:, j].tolist(), strict=True))


def test_saved_scores_are_one_npy_array(db, tmp_path):
    queries = db.sign(["A cat sleeps.", "The thread waits."])
    assert db.save_scores(tmp_path / "scores.npy", queries, where={"odd": 1}) == 9
    expected = np.concatenate([part.scores for part in db.scores(queries, where={"odd": 1})])
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), expected)
    names = json.loads((tmp_path / "scores.ids.json").read_text())
    assert names == {"queries": list(queries.ids), "documents": ["1", *map(str, range(5, len(TEXTS), 2))]}
    assert db.save_scores(tmp_path / "none.npy", queries, where={"odd": 2}) == 0
    assert np.load(tmp_path / "none.npy").shape == (0, 2)
    assert json.loads((tmp_path / "none.ids.json").read_text())["documents"] == []


def test_centred_scores_are_cosines_about_the_pool_s_mean_and_follow_its_changes(db):
    def expected():
        phi = np.concatenate([fused(block, ScoreConfig())[block.live] for block in db._store.snapshot().blocks()])
        query = np.concatenate([0.7 * query_signature.phi_rh, query_signature.phi_gh], axis=1)[0]
        mean = phi.mean(axis=0)
        moved, query = phi - mean, query / np.linalg.norm(query) - mean
        return moved @ query / np.linalg.norm(moved, axis=1) / np.linalg.norm(query)

    query_signature = db.sign("A cat sleeps.")
    for _ in range(2):
        scores = np.concatenate([part.scores for part in db.scores(query_signature, center=True)])[:, 0]
        np.testing.assert_allclose(scores, expected(), atol=1e-6)
        ranked = [hit.score for hit in db.query(query_signature, k=100, center=True)[0]]
        assert ranked == sorted(scores.tolist(), reverse=True)
        db.delete(["7", "8"])


def test_a_filter_does_not_move_the_centre(db):
    query = db.sign("A cat sleeps.")
    whole = {hit.id: hit.score for hit in db.query(query, k=100, center=True)[0]}
    odd = {hit.id: hit.score for hit in db.query(query, k=100, center=True, where={"odd": 1})[0]}
    assert odd == {name: score for name, score in whole.items() if int(name) % 2}


@pytest.mark.parametrize("choice", [{"normalize": False, "center": True}, {"memory_bytes": 1000}, {"pool": "some"}])
def test_what_cannot_be_asked_is_refused(db, choice):
    with pytest.raises(InvalidInput):
        db.query("A cat.", **choice)


@pytest.mark.parametrize("ask", [risedb.RiseDB.query, risedb.RiseDB.scores])
def test_a_choice_that_does_not_exist_is_refused_by_name(db, ask):
    with pytest.raises(TypeError, match="no choice 'lamda_rh'; it has k, bottom, pool"):
        ask(db, "A cat.", lamda_rh=1.0)


@pytest.fixture
def on_two_devices(db):
    """Open the index again, so that its queries run on two lanes of torch, on which everything may stay."""
    db._store.seal()
    with risedb.open(db.path, devices=["cpu", "cpu"], device_cache=2**20) as other:
        yield other


def hits(db, queries, **choices):
    return [[(hit.id, hit.score) for hit in ranking] for ranking in db.query(queries, k=8, **choices)]


def test_devices_follow_upserts_deletes_compaction_and_conditions(db, on_two_devices):
    queries = db.signatures(["0", "7"])

    def assert_same():
        on_two_devices.refresh()
        for choices in ({}, {"where": {"odd": 1}}, {"center": True}, {"bottom": True}, {"lambda_rh": 0.0}):
            expected = hits(db, queries, **choices)
            for _ in range(2):
                assert hits(on_two_devices, queries, **choices) == expected

    assert_same()
    (lanes,) = on_two_devices._asking._lanes.values()
    assert any(lane.kept_bytes for lane in lanes.lanes)
    db.delete([hits(db, queries)[0][0][0]])
    assert_same()
    db.add([{"id": "5", "text": TEXTS[0], "odd": 1}])  # waits in the tail, where nothing has a lasting name
    assert_same()
    before = {key for lane in lanes.lanes for key in lane._kept}
    db.compact()
    assert_same()
    assert before.isdisjoint(key for lane in lanes.lanes for key in lane._kept)


def test_a_handle_on_devices_survives_pickling(on_two_devices):
    queries = on_two_devices.signatures(["0"])
    with pickle.loads(pickle.dumps(on_two_devices)) as again:
        assert hits(again, queries) == hits(on_two_devices, queries)
        assert again._asking._lanes.keys() == {("cpu", "cpu")}


@pytest.mark.parametrize("choice", [{"devices": "tpu"}, {"devices": ["cpu", "mps"]}, {"device_cache": -1}])
def test_devices_that_cannot_be_are_refused(db, choice):
    with pytest.raises(InvalidInput):
        risedb.open(db.path, **choice)

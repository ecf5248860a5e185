"""Benchmarks that train: the score of a case that is known, and small runs from end to end."""

import json

import numpy as np
import pytest
import torch
import zstandard

from benchmarks import closed_loop, lds
from benchmarks.rivals.causal import Causal
from benchmarks.rivals.registry import METHODS
from benchmarks.rivals.rival import Rival
from benchmarks.trained import trained
from risedb.featurize import LanguageModel
from tests.featurize.models import byte_tokenizer, random_model
from tools.finetune import Recipe

LEARNED = Recipe(epochs=4, learning_rate=5e-3, batch_tokens=64)


class Digits(Rival):
    """Knows what control texts look like."""

    def __init__(self, worth):
        self.worth = worth

    def fit(self, pool):
        self.scores = np.array([self.worth * text.isdigit() for text in pool], dtype=np.float64)

    def score(self, queries):
        return np.tile(self.scores, (len(queries), 1))


@pytest.fixture(autouse=True)
def oracles(monkeypatch):
    monkeypatch.setitem(METHODS, "digits", lambda _: Digits(1))
    monkeypatch.setitem(METHODS, "letters", lambda _: Digits(-1))
    monkeypatch.setattr(closed_loop, "RECIPE", LEARNED)
    monkeypatch.setattr(lds, "RECIPE", LEARNED)


@pytest.fixture(scope="module")
def small_shared(tmp_path_factory):
    """Like the shared folder: every sixth text of the pool and all queries are digits, junk is letters."""
    shared, rng = tmp_path_factory.mktemp("shared"), np.random.default_rng(0)
    (shared / "data" / "brain-rot").mkdir(parents=True)
    for name, labels in (("pool", [int(i % 6 == 0) for i in range(150)]), ("queries", [1] * 8)):
        texts = ["".join(rng.choice(list("0123456789" if label else "abcdefghij"), 16)) for label in labels]
        rows = [{"id": text, "text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
        packed = zstandard.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
        (shared / "data" / "brain-rot" / f"{name}.jsonl.zst").write_bytes(packed)
    random_model("GPTNeoX").save_pretrained(shared / "models" / "tiny-neox")
    byte_tokenizer().save_pretrained(shared / "models" / "tiny-neox")
    return shared


def test_a_model_is_trained_within_and_as_before_afterwards():
    causal = Causal(LanguageModel(random_model("GPTNeoX"), byte_tokenizer()), seq_len=24)
    texts = ["0123456789", "9876543210"]
    before, head = causal.losses(texts), causal.head.clone()
    with trained(causal, texts, LEARNED):
        assert (causal.losses(texts) < 0.9 * before).all()
        assert not torch.equal(causal.head, head)  # what logits are read with learns too
    assert torch.equal(causal.losses(texts), before)
    assert torch.equal(causal.head, head)


def test_selection_is_by_the_mean_over_queries_and_ties_keep_their_order():
    scores = np.array([[0.0, 9.0, 4.0, 4.0, 1.0], [0.0, -9.0, 4.0, 4.0, 1.0]])
    assert closed_loop.selection(scores, 4).tolist() == [2, 3, 4, 0]


def test_perplexity_weighs_every_predicted_token_alike():
    causal = Causal(LanguageModel(random_model("GPTNeoX"), byte_tokenizer()), seq_len=24)
    texts = ["ab", "a longer text that is cut by seq_len", "x"]
    with torch.inference_mode():
        losses = [causal.loss(ids).double() * (len(ids) - 1) for ids in causal.ids(texts[:2])]
    assert closed_loop.perplexity(causal, texts) == pytest.approx(float(torch.exp(sum(losses) / 24)), rel=1e-5)


def test_a_loop_gives_the_model_what_was_selected(small_shared, tmp_path):
    loop = closed_loop.Loop.load(small_shared)
    assert (len(loop.pool), int(loop.control.sum())) == (50, 25)
    assert not set(loop.held_out["junk"] + loop.held_out["control"]) & {*loop.pool, *loop.queries}
    out = tmp_path / "out.json"
    result = closed_loop.run(small_shared, out, ["digits", "letters", "hidden"])
    assert json.loads(out.read_text()) == result
    base, digits, letters = (result["methods"][name] for name in ("base", "digits", "letters"))
    assert (digits["purity"], letters["purity"], result["selected"]) == (1.0, 0.0, 5)
    assert digits["control_perplexity"] < 0.8 * min(letters["control_perplexity"], base["control_perplexity"])
    assert letters["junk_perplexity"] < 0.8 * min(digits["junk_perplexity"], base["junk_perplexity"])


def test_an_additive_datamodel_scores_one_and_a_shuffled_one_about_nothing():
    rng = np.random.default_rng(0)
    worth, offset = rng.normal(size=(40, 200)), rng.normal(size=(40, 1))
    members = lds.draw_subsets(200, lds.Size(subsets=64, alpha=0.3))
    assert members.shape == (64, 200)
    assert (members.sum(axis=1) == 60).all()
    utilities = offset + np.stack([worth[:, inside].sum(axis=1) for inside in members], axis=1)
    known = lds.predictions(worth, members)
    assert lds.correlations(known, utilities) == pytest.approx(np.ones(40))
    assert lds.correlations(-known, utilities) == pytest.approx(-np.ones(40))
    assert lds.interval(known, utilities, draws=20) == pytest.approx((1, 1))
    shuffled = lds.predictions(rng.permuted(worth, axis=1), members)
    assert abs(lds.correlations(shuffled, utilities).mean()) < 0.1
    low, high = lds.interval(shuffled, utilities, draws=50)
    assert low < 0 < high
    assert lds.correlations(np.zeros_like(known), utilities).tolist() == [0.0] * 40


def test_an_interval_knows_that_queries_share_the_subsets():
    rng = np.random.default_rng(0)
    same = np.tile(rng.normal(size=12), (50, 1))
    low, high = lds.interval(same + 1e-6 * rng.normal(size=same.shape), np.tile(rng.normal(size=12), (50, 1)), 100)
    assert high - low > 0.5


def test_the_score_knows_which_documents_taught_the_queries(small_shared, tmp_path):
    size = lds.Size(documents=30, subsets=8)
    result = lds.run(small_shared, tmp_path / "out.json", ["digits", "letters", "random"], size)
    assert json.loads((tmp_path / "out.json").read_text()) == result
    assert result["methods"]["digits"]["lds"] > 0.6
    assert result["methods"]["letters"]["lds"] == pytest.approx(-result["methods"]["digits"]["lds"])
    assert result["methods"].keys() == {"digits", "letters", "random"}

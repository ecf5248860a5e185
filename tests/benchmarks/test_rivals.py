"""The rivals' common ground: the metric, the positions, and the order of what they return."""

import numpy as np
import pytest
import torch

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.hidden import HiddenState, InputEmbedding
from benchmarks.rivals.length import Length
from benchmarks.rivals.measure import Measured
from benchmarks.rivals.rise import Rise
from benchmarks.rivals.rival import VectorRival
from risedb.evaluation import Ends, Quality, evaluate
from risedb.featurize import LanguageModel
from tests.featurize.models import byte_tokenizer, random_model

TEXTS = ["a longer text than the others, cut by seq_len", "short", "one of middle length", "x"]


@pytest.fixture(scope="module")
def causal():
    return Causal(LanguageModel(random_model("GPTNeoX"), byte_tokenizer()), seq_len=24)


def average_precision(labels):
    everything = Ends(labels, labels[:0], len(labels), int(labels.sum()))
    return Quality.of(everything, len(labels)).auprc


def auprc(scores, labels, k):
    return evaluate([Ends.of_scores(row, labels, k) for row in scores], [k])[k].auprc


def naive_average_precision(labels):
    hits = [rank for rank, label in enumerate(labels, 1) if label]
    return sum((found + 1) / rank for found, rank in enumerate(hits)) / len(hits) if hits else 0.0


def test_average_precision_is_the_mean_precision_at_each_positive():
    rng = np.random.default_rng(0)
    for size in range(1, 30):
        labels = rng.random(size) < 0.3
        assert average_precision(labels) == pytest.approx(naive_average_precision(labels))


def test_auprc_ranks_both_ends_and_leaves_out_the_middle():
    scores = np.array([[6.0, 5, 4, 3, 2, 1], [1.0, 2, 3, 4, 5, 6]])
    labels = np.array([True, False, False, True, False, True])
    expected = (naive_average_precision([1, 0, 0, 1]) + naive_average_precision([1, 0, 0, 1])) / 2
    assert auprc(scores, labels, 2) == pytest.approx(expected)


def test_auprc_of_ends_that_overlap_counts_each_document_once():
    assert auprc(np.array([[3.0, 2, 1]]), np.array([False, True, False]), 2) == pytest.approx(0.5)


def test_equal_scores_rank_in_the_order_of_the_pool():
    assert auprc(np.zeros((1, 4)), np.array([True, False, False, False]), 1) == 1.0


def test_longest_first():
    rival = Length()
    rival.fit(TEXTS)
    assert (-rival.score(["q", "r"])).argsort(axis=1).tolist() == [[0, 2, 1, 3]] * 2


class Letters(VectorRival):
    def vectors(self, texts):
        return np.array([[text.count(letter) for letter in "ab"] for text in texts], dtype=np.float32)


def test_vectors_are_compared_by_cosine_and_nothing_matches_a_zero_vector():
    rival = Letters()
    rival.fit(["ab", "aab", ""])
    expected = [[1, 3 / np.sqrt(10), 0], [0, 0, 0]]
    np.testing.assert_allclose(rival.score(["ba", "c"]), expected, atol=1e-3)  # kept in float16


@torch.inference_mode()
def test_mean_states_are_those_of_each_text_alone_where_a_token_is_predicted(causal):
    states = HiddenState(causal).vectors(TEXTS)
    inputs = InputEmbedding(causal).vectors(TEXTS)
    table = causal.model.get_input_embeddings().weight
    for text, state, embedded in zip(TEXTS, states, inputs, strict=True):
        ids = torch.tensor([causal.language.tokenizer._tokenizer(text)["input_ids"][:24]])
        body = causal.model.gpt_neox(input_ids=ids).last_hidden_state[0]
        counted = max(ids.shape[1] - 1, 1)
        np.testing.assert_allclose(state, body[:counted].mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(embedded, table[ids[0, :counted]].mean(0), rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_losses_are_the_models_own(causal):
    for text, loss in zip(TEXTS, causal.losses(TEXTS), strict=True):
        ids = torch.tensor([causal.language.tokenizer._tokenizer(text)["input_ids"][:24]])
        expected = causal.model(input_ids=ids, labels=ids).loss if ids.shape[1] > 1 else torch.tensor(0.0)
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_scores_of_an_index_stand_in_the_order_of_the_pool(tmp_path):
    pool = ["Return the encoded bytes.", "Copy the file from src to dst.", "Turn the turtle left by some degrees."]
    rival = Rise("demo", tmp_path / "pool.rise", seq_len=64)
    rival.fit(pool)
    with rival.db:
        assert rival.score(pool).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_copy_is_apart_and_keeps_the_precision_of_positions(causal):
    copied = causal.copy(torch.bfloat16)
    assert {one.dtype for one in copied.parameters()} == {torch.bfloat16}
    assert {one.dtype for one in copied.buffers() if one.is_floating_point()} == {torch.float32}  # rotary frequencies
    assert {one.dtype for one in causal.model.parameters()} == {torch.float32}
    assert not {id(one) for one in copied.modules()} & {id(one) for one in causal.model.modules()}


class Drawn(Letters):
    def vectors(self, texts):
        return torch.rand(len(texts), 2).numpy()


def test_what_a_method_draws_does_not_depend_on_those_before():
    first, again = (Measured.of(Drawn(), TEXTS, TEXTS[:2]).scores for _ in range(2))
    np.testing.assert_array_equal(first, again)

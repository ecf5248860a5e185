"""The rivals written from descriptions of gradients: each against what it stands for, exactly, on a tiny model."""

import itertools

import numpy as np
import pytest
import torch

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.head_gradient import ExactHead, ExactSparseRH, GradSketch
from benchmarks.rivals.oporp import Oporp
from benchmarks.rivals.rapidin import RapidIn
from benchmarks.rivals.shapley import Coalition, Shapley, Training, shapley_values
from benchmarks.rivals.tracin import TracIn
from benchmarks.rivals.zo_inf import ZoInf
from risedb.featurize import LanguageModel
from tests import oracle
from tests.featurize.models import byte_tokenizer, random_model

POOL = ["one text of a few words", "another", "a third one, of more words than the first"]
QUERIES = ["one text", "words"]


@pytest.fixture
def causal():
    return Causal(LanguageModel(random_model("GPTNeoX").double(), byte_tokenizer()), seq_len=32)


def cosines(rows, others):
    return np.array([[oracle.unit(one) @ oracle.unit(other) for other in others] for one in rows])


# --- OPORP


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    x = 1 + rng.standard_normal(100)  # means away from zero: without signs, whole bins would agree by them
    return x, 0.6 * x + rng.standard_normal(100)


def products(x, y, seeds, **numbers):
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    maps = (Oporp(len(x), seed=seed, **numbers) for seed in range(seeds))
    return np.array([float(each(x) @ each(y)) for each in maps])


def test_compressed_inner_products_are_unbiased_with_the_variance_of_oporp(pair):
    x, y = pair
    bins, size, seeds = 16, 112, 2000  # 100 numbers padded to 112
    variance = ((x @ x) * (y @ y) + (x @ y) ** 2 - 2 * np.sum(x**2 * y**2)) / bins * (size - bins) / (size - 1)
    found = products(x, y, seeds, bins=bins, shuffles=5)
    assert abs(found.mean() - x @ y) < 4 * np.sqrt(variance / seeds)  # four standard errors
    assert found.var() == pytest.approx(variance, rel=0.2)  # its standard error is 4 % where kurtosis is 5


def test_as_many_bins_as_numbers_lose_nothing(pair):
    x, y = pair
    np.testing.assert_allclose(products(x, y, 5, bins=100, shuffles=3), x @ y)


def test_bins_are_equal_and_shuffles_move_what_stood_together(pair):
    compress = Oporp(4096, bins=64)
    assert torch.bincount(compress.bin_of).tolist() == [64] * 64
    together = (compress.bin_of[:-1] == compress.bin_of[1:]).double().mean()
    assert together < 0.05  # chance: 1/64; without shuffles: 63/64


# --- gradients of all parameters


def test_tracin_is_the_inner_product_of_autograds_gradients(causal):
    rows = []
    for text in (*QUERIES, *POOL):
        ids = torch.tensor([causal.language.tokenizer._tokenizer(text)["input_ids"][:32]])
        causal.model.zero_grad()
        causal.model(input_ids=ids, labels=ids).loss.backward()
        rows.append(torch.cat([each.grad.flatten() for each in causal.model.parameters()]).numpy())
    rows = np.stack(rows)
    dot, cosine = TracIn(causal, cosine=False), TracIn(causal, cosine=True)
    for rival in (dot, cosine):
        rival.fit(POOL)
    np.testing.assert_allclose(dot.score(QUERIES), rows[:2] @ rows[2:].T, rtol=1e-6)
    np.testing.assert_allclose(cosine.score(QUERIES), cosines(rows[:2], rows[2:]), rtol=1e-6)


def test_tracin_predicts_what_a_small_step_along_a_document_does_to_a_query(causal):
    rival, rate = TracIn(causal, cosine=False), 1e-5
    rival.fit(POOL)
    predicted = rival.score(QUERIES)
    training = Training(causal, POOL, QUERIES, rate, sequential=False)
    for document in range(len(POOL)):
        training.clear()
        before = training.utility()
        training.join(document)
        gained = training.utility() - before  # GPT-NeoX takes its attention's softmax in float32: about 1e-7
        np.testing.assert_allclose(gained / rate, predicted[:, document], rtol=1e-2, atol=2e-2)


def test_rapidin_with_a_bin_for_every_parameter_is_the_layers_cosines_added(causal):
    parameters = causal.model.num_parameters()
    rival = RapidIn(causal, bins=parameters, shuffles=2)
    rival.dtype = np.float64
    rival.fit(POOL)
    layers = [causal.gradients(ids) for ids in causal.ids([*QUERIES, *POOL])]
    rows = np.stack([np.concatenate([oracle.unit(g.flatten().numpy()) for g in each]) for each in layers])
    np.testing.assert_allclose(rival.score(QUERIES), rows[:2] @ rows[2:].T, rtol=1e-9)


def test_zeroth_order_slope_tends_to_the_directional_derivative(causal):
    exact = [torch.cat([g.flatten() for g in causal.gradients(ids)]) for ids in causal.ids(POOL)]
    errors = []
    for epsilon in (4e-3, 2e-3, 1e-3):
        rival = ZoInf(causal, epsilon=epsilon, compress=Oporp(causal.model.num_parameters(), bins=8))
        direction = rival.direction(0)
        expected = torch.stack(exact) @ direction
        errors.append((rival.slopes(POOL, direction) - expected).abs().numpy())
    assert errors[2] == pytest.approx(np.zeros(3), abs=1e-2)
    for coarse, fine in itertools.pairwise(errors):  # central differences: the error falls with the square
        np.testing.assert_allclose(coarse / fine, 4, rtol=0.3)


def test_zeroth_order_estimates_leave_the_model_as_it_was(causal):
    before = {name: value.clone() for name, value in causal.model.state_dict().items()}
    rival = ZoInf(causal, compress=Oporp(causal.model.num_parameters(), bins=8), own=True)
    rival.fit(POOL)
    assert rival.score(QUERIES).shape == (2, 3)
    for name, value in causal.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_zeroth_order_gradient_is_its_slopes_times_directions(causal):
    rival = ZoInf(causal, samples=2, compress=Oporp(causal.model.num_parameters(), bins=64))
    directions = [rival.direction(seed) for seed in range(2)]
    slopes = [rival.slopes(POOL, direction) for direction in directions]
    gradients = sum(slope[:, None] * z for slope, z in zip(slopes, directions, strict=True)) / 2
    expected = torch.stack([rival.compress(gradient) for gradient in gradients])
    np.testing.assert_allclose(rival.vectors(POOL), expected, rtol=1e-4, atol=1e-3)


# --- gradients of the head


def head_gradients(causal, texts):
    heads = []
    for text in texts:
        ids = torch.tensor([causal.language.tokenizer._tokenizer(text)["input_ids"][:32]])
        loss = causal.model(input_ids=ids, labels=ids).loss
        (gradient,) = torch.autograd.grad(loss, [causal.model.get_output_embeddings().weight])
        heads.append(gradient.flatten().numpy())
    return heads


def test_exact_head_is_the_cosine_of_autograds_gradients_of_the_head(causal):
    rival = ExactHead(causal)
    rival.fit(POOL)
    expected = cosines(head_gradients(causal, QUERIES), head_gradients(causal, POOL))
    np.testing.assert_allclose(rival.score(QUERIES), expected, atol=1e-5)


def test_grad_sketch_is_the_count_sketch_of_the_heads_gradient(causal):
    rival = GradSketch(causal, width=64)
    rows = [
        oracle.count_sketch(gradient, 42, "r", 64) * (len(ids) - 1)  # the loss is a mean, the sketch is of its sum
        for gradient, ids in zip(head_gradients(causal, POOL), causal.ids(POOL), strict=True)
    ]
    np.testing.assert_allclose(rival.vectors(POOL), rows, rtol=1e-3, atol=1e-3)


def test_sparse_rh_is_algorithm_2_without_sketches(causal):
    numbers = {"tau": 1.0, "rho_cum": 0.92, "min_keep": 4, "k_max": 256}
    matrices = []
    for text in (*QUERIES, *POOL):
        ids = torch.tensor([causal.language.tokenizer._tokenizer(text)["input_ids"][:32]])
        hidden = causal.model.gpt_neox(input_ids=ids).last_hidden_state[0].detach().numpy()
        logits = causal.model(input_ids=ids).logits[0].detach().numpy()
        matrix = np.zeros(causal.head.shape)
        for h, z, y in zip(hidden, logits, ids[0, 1:].tolist(), strict=False):
            residual = np.zeros(len(z))
            for token, p in oracle.support(z, y, **numbers).items():
                residual[token] = p - (token == y)
            matrix += np.outer(oracle.unit(residual), oracle.unit(h))
        matrices.append(matrix.ravel())
    rival = ExactSparseRH(causal)
    rival.fit(POOL)
    np.testing.assert_allclose(rival.score(QUERIES), cosines(matrices[:2], matrices[2:]), atol=1e-4)


# --- Shapley values


class Game(Coalition):
    """A game of random worths: one for every set of players and every query."""

    def __init__(self, players, queries=2):
        rng = np.random.default_rng(1)
        sets = itertools.chain.from_iterable(itertools.combinations(range(players), k) for k in range(players + 1))
        self.worth = {frozenset(players): rng.uniform(0, 1, queries) for players in sets}
        self.present = frozenset()

    def clear(self):
        self.present = frozenset()

    def join(self, player):
        self.present |= {player}

    def utility(self):
        return self.worth[self.present]


def exact_values(game, players):
    """Sum over all sets with the weights of Shapley's definition."""
    values = np.zeros((2, players))
    for player in range(players):
        others = [each for each in range(players) if each != player]
        for size in range(players):
            weight = 1 / (players * len(list(itertools.combinations(others, size))))
            for some in itertools.combinations(others, size):
                gain = game.worth[frozenset({*some, player})] - game.worth[frozenset(some)]
                values[:, player] += weight * gain
    return values


def test_all_permutations_give_the_shapley_values_and_they_sum_to_the_utility():
    game = Game(4)
    values = shapley_values(game, 4, itertools.permutations(range(4)))
    np.testing.assert_allclose(values, exact_values(game, 4), atol=1e-12)
    total = game.worth[frozenset(range(4))] - game.worth[frozenset()]
    np.testing.assert_allclose(values.sum(axis=1), total, atol=1e-12)


def test_monte_carlo_values_approach_the_shapley_values():
    game, rng, count = Game(4), np.random.default_rng(0), 3000
    values = shapley_values(game, 4, (rng.permutation(4).tolist() for _ in range(count)))
    # a gain is in [-1, 1]: by Hoeffding, an error of 0.09 in any of the 8 means has probability 16 exp(-0.0081 * 1500)
    assert np.abs(values - exact_values(game, 4)).max() < 0.09


def test_truncation_leaves_out_no_more_than_its_tolerance():
    game = Game(4)
    game.worth = {some: np.full(2, 1 - 0.5 ** len(some)) for some in game.worth}  # ever smaller gains
    total = game.worth[frozenset(range(4))][0]
    for tolerance in (0.05, 0.1, 0.5):
        kept = shapley_values(game, 4, itertools.permutations(range(4)), tolerance).sum(axis=1)
        assert (kept >= (1 - tolerance) * total).all()
    assert (kept < total).all()  # at 0.5 something is left out


def test_shapley_values_of_training_sum_to_what_training_gains(causal):
    for sequential in (False, True):
        training = Training(causal, POOL, QUERIES, 1e-3, sequential=sequential)
        training.clear()
        before = training.utility()
        order = [2, 0, 1]
        for player in order:
            training.join(player)
        gained = training.utility() - before
        values = shapley_values(training, 3, [order])
        np.testing.assert_allclose(values.sum(axis=1), gained, atol=1e-9)


def test_shapley_methods_leave_the_model_as_it_was(causal):
    before = causal.losses(QUERIES)
    for sequential in (False, True):
        rival = Shapley(causal, sequential=sequential, permutations=2)
        rival.fit(POOL)
        assert rival.score(QUERIES).any()
        assert torch.equal(causal.losses(QUERIES), before)

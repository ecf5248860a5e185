"""Unsketched and sketched scores against the oracle's loops, rank correlations against counting, and the advice."""

import numpy as np
import pytest
import torch

from risedb.config import ReadoutConfig, ScoreConfig, SketchConfig
from risedb.diagnostics import controlled_ranks
from risedb.diagnostics.controlled import CANDIDATES, QUERY
from risedb.diagnostics.factors import Factors
from risedb.diagnostics.positions import Positions
from risedb.diagnostics.ranking import RankFidelity, advise, measure_ranking, rank_correlations
from risedb.featurize import Featurizer, load_model
from tests import oracle
from tests.diagnostics.samples import READOUT, documents, language_model, read

NUMBERS = {name: getattr(READOUT, name) for name in ("tau", "rho_cum", "min_keep", "k_max")}


def dense_features(model, tokens, *, unit):
    """Return Phi_RH (V x d) and Phi_GH (d x d) of each document, in float64 by the definitions."""
    positions, logits, targets, head, hidden = read(model, tokens)
    features = []
    for a, b in zip(positions.bounds[:-1], positions.bounds[1:], strict=True):
        rh, gh = np.zeros(head.shape), np.zeros((head.shape[1], head.shape[1]))
        for t in range(a, b):
            residual = np.zeros(len(head))
            for v, p in oracle.support(logits[t], int(targets[t]), **NUMBERS).items():
                residual[v] = p - (v == targets[t])
            factors = [residual, head.T @ residual, hidden[t]]
            r, g, h = [oracle.unit(factor) for factor in factors] if unit else factors
            rh += np.outer(r, h)
            gh += np.outer(g, h)
        features.append((rh.reshape(-1), gh.reshape(-1)))
    return [np.array(channel) for channel in zip(*features, strict=True)]


@pytest.mark.parametrize("unit", [True, False])
def test_unsketched_inner_products_are_those_of_dense_features(unit):
    model, tokens = language_model(), documents()
    factors = Factors.of(model, Positions.read(model, tokens, READOUT), READOUT)
    grams = (factors.unit() if unit else factors).grams()
    for ours, features in zip((grams.rh, grams.gh), dense_features(model, tokens, unit=unit), strict=True):
        exact = features @ features.T
        assert np.abs(ours.numpy() - exact).max() < 1e-5 * np.abs(exact).max()


def test_sketched_scores_are_those_of_signatures():
    model, tokens, sketch = language_model(), documents((9, 30, 12)), SketchConfig(kr=16, kh=8, kg=12)
    readout = ReadoutConfig(seq_len=10, long="sum")  # the second document has four windows
    factors = Factors.of(model, Positions.read(model, tokens, readout), readout)
    phi = Featurizer(model, readout, sketch).phi(tokens)
    scores = factors.sketched_grams(sketch, unit=True).fused(ScoreConfig()).numpy()
    for i in range(3):
        for q in range(3):
            exact = oracle.score(phi.rh[i], phi.gh[i], phi.rh[q], phi.gh[q])
            assert scores[i, q] == pytest.approx(exact, abs=1e-5)


def test_scores_without_normalisation_are_inner_products():
    model, tokens, sketch = language_model(), documents(), SketchConfig.parse("compact")
    grams = Factors.of(model, Positions.read(model, tokens, READOUT), READOUT).sketched_grams(sketch, unit=True)
    fused = grams.fused(ScoreConfig(lambda_rh=0.5, lambda_gh=2.0, normalize=False))
    assert torch.allclose(fused, 0.25 * grams.rh + 4 * grams.gh)


def naive_rho(x, y):
    ranks = [[sum(b < a for b in z) + sum(b == a for b in z) / 2 for a in z] for z in (x, y)]
    return np.corrcoef(*ranks)[0, 1]


def test_rank_correlation_is_pearsons_of_the_ranks_with_ties_shared():
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 6, (2, 5, 12)).astype(float)
    exact = [naive_rho(x, y) for x, y in zip(one, other, strict=True)]
    assert rank_correlations(one, other) == pytest.approx(exact)
    assert np.isnan(rank_correlations(np.ones((1, 4)), np.arange(4.0)[None])).all()


def test_fidelity_of_a_preset_is_the_median_over_queries_without_the_query():
    model, tokens, sketch = language_model(), documents(), SketchConfig.parse("compact")
    factors = Factors.of(model, Positions.read(model, tokens, READOUT), READOUT)
    exact, sketched = factors.unit().grams().fused(ScoreConfig()), factors.sketched_grams(sketch, unit=True)
    sketched = sketched.fused(ScoreConfig())
    rho = [
        naive_rho(*(np.delete(scores[q].numpy(), q).tolist() for scores in (exact, sketched)))
        for q in range(len(tokens))
    ]
    fidelity = measure_ranking(factors, {"compact": sketch})["compact"]
    assert fidelity.median == pytest.approx(np.median(rho))
    assert fidelity.over_seeds[0] <= fidelity.median <= fidelity.over_seeds[1]
    assert fidelity.over_seeds[0] < fidelity.over_seeds[1]
    assert fidelity.numbers == 352


def fidelity(numbers, median):
    return RankFidelity(numbers=numbers, median=median, lowest_tenth=0.0, over_seeds=(median, median))


def test_advice_is_the_smallest_that_keeps_the_ranking_or_none():
    found = {"large": fidelity(9, 0.99), "base": fidelity(5, 0.95), "small": fidelity(2, 0.94)}
    assert advise(found).preset == "base"
    assert advise(found, 0.9).preset == "small"
    none = advise(found, 0.995)
    assert none.preset is None
    assert "closest is large with 0.990" in none.sentence


def test_controlled_experiment_ranks_the_query_itself_first():
    model = load_model("demo")
    texts = [*CANDIDATES, QUERY]
    ranks = controlled_ranks(model, candidates=texts)
    assert [candidate.text for candidate in ranks] == texts
    for channel in ("rh", "gh"):
        assert sorted(getattr(candidate, channel) for candidate in ranks) == list(range(1, 9))
    assert (ranks[-1].rh, ranks[-1].gh, ranks[-1].paper_rh) == (1, 1, None)
    assert [(c.paper_rh, c.paper_gh) for c in ranks[:-1]] == list(CANDIDATES.values())

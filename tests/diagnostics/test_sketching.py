"""The comparison of sketches with theory on pairs of documents: every term where it can be computed another way."""

import itertools

import numpy as np
import pytest
import torch

from risedb.config import ReadoutConfig, SketchConfig
from risedb.diagnostics import sketching
from risedb.diagnostics.gradients import LossGradients
from risedb.diagnostics.sketching import measure_sketching, projected_grams
from risedb.diagnostics.variance import ChannelMoments
from tests import oracle
from tests.diagnostics.samples import READOUT, documents, language_model
from tests.diagnostics.test_ranking import dense_features
from tests.diagnostics.test_variance import within_five_standard_errors

SKETCH = SketchConfig(kr=8, kh=4, kg=6)


@pytest.fixture(scope="module")
def tiny():
    model, tokens = language_model(), documents()
    return model, tokens, measure_sketching(model, tokens, READOUT, [SKETCH])


def relative(errors, features):
    """Root mean square over pairs of errors by the features' lengths."""
    lengths = np.linalg.norm(features, axis=1)
    pairs = itertools.combinations(range(len(features)), 2)
    return np.sqrt(np.mean([np.square(errors[..., i, j] / (lengths[i] * lengths[j])) for i, j in pairs]))


SHAPES = {"rh": (300, 32), "gh": (32, 32)}
ROWS = {"rh": ("r", SKETCH.kr), "gh": ("g", SKETCH.kg)}


def estimates(features, channel):
    """Return the inner products of dense features, sketched from both sides: (seeds, n, n)."""
    grams = []
    for seed in range(SKETCH.seed, SKETCH.seed + sketching.SEEDS):
        rows, columns = (
            np.array([oracle.count_sketch({i: 1.0}, seed, role, width) for i in range(size)])
            for size, (role, width) in zip(SHAPES[channel], (ROWS[channel], ("h", SKETCH.kh)), strict=True)
        )
        phi = np.array([(rows.T @ one.reshape(SHAPES[channel]) @ columns).reshape(-1) for one in features])
        grams.append(phi @ phi.T)
    return np.array(grams)


def test_measured_error_is_that_of_sketched_dense_features(tiny):
    model, tokens, ours = tiny
    for name, features in zip(("rh", "gh"), dense_features(model, tokens, unit=False), strict=True):
        measured = getattr(ours, name)["8/4/6"]
        errors = estimates(features, name) - features @ features.T
        assert measured.error == pytest.approx(relative(errors, features), rel=1e-4)
        deviations = np.zeros((len(tokens), len(tokens)))
        for i, j in itertools.combinations(range(len(tokens)), 2):
            pair = (torch.tensor(features[k].reshape(SHAPES[name])) for k in (i, j))
            deviations[i, j] = np.sqrt(ChannelMoments.of(*pair).variance(ROWS[name][1], SKETCH.kh))
        assert measured.predicted == pytest.approx(relative(deviations, features), rel=1e-4)
        assert measured.numbers == ROWS[name][1] * SKETCH.kh


def test_two_documents_of_one_position_are_the_theorems_case():
    ours = measure_sketching(language_model(), documents((2, 2)), READOUT, [SKETCH])
    for channels in (ours.rh, ours.gh):
        assert channels["8/4/6"].token_exact == pytest.approx(channels["8/4/6"].predicted, rel=1e-5)


def test_bounds_stand_in_their_order(tiny):
    for channels in (tiny[2].rh, tiny[2].gh):
        channel = channels["8/4/6"]
        assert channel.token_exact < channel.token_corrected
        assert channel.token_printed < channel.token_corrected
        assert 0 < channel.printed_exceeded < 1


def test_split_is_d4s_of_whole_gradients(tiny):
    model, tokens, ours = tiny
    gradients = [LossGradients(model).flat(window) for window in tokens]
    whole, head = (torch.stack(parts).double().numpy() for parts in zip(*gradients, strict=True))
    truncated, _ = dense_features(model, tokens, unit=False)
    split = ours.split["8/4/6"]
    grams = [each @ each.T for each in (whole, head, truncated)]
    assert split.signal == pytest.approx(relative(grams[0], whole), rel=1e-4)
    assert split.structural == pytest.approx(relative(grams[1] - grams[0], whole), rel=1e-4)
    assert split.truncation == pytest.approx(relative(grams[2] - grams[1], whole), rel=1e-3)
    sketched = estimates(truncated, "rh")
    assert split.sketching == pytest.approx(relative(sketched - grams[2], whole), rel=1e-4)
    assert split.total == pytest.approx(relative(sketched - grams[0], whole), rel=1e-4)


def test_nothing_is_truncated_by_a_support_of_the_whole_vocabulary():
    whole = measure_sketching(language_model(), documents(), ReadoutConfig(k_max=300, rho_cum=1.0), [SKETCH])
    assert whole.split["8/4/6"].truncation < 1e-5


def test_projections_drawn_from_a_gram_matrix_are_those_of_the_vectors():
    vectors = torch.tensor(np.random.default_rng(2).standard_normal((3, 50)))
    gram = vectors @ vectors.T
    drawn = projected_grams(gram, 5, 4000)[:, 0, 1].numpy()
    variance = float(gram[0, 0] * gram[1, 1] + gram[0, 1] ** 2) / 5
    within_five_standard_errors(drawn, float(gram[0, 1]), variance)


def test_whole_gradients_that_do_not_fit_are_left_out(monkeypatch):
    monkeypatch.setattr(sketching, "_GRADIENT_BYTES", 1000)
    assert measure_sketching(language_model(), documents(), READOUT, [SKETCH]).split == {}

"""What the ranking's diagnostics say of noise."""

import numpy as np
import pytest

from benchmarks.diagnostics import movement
from risedb.diagnostics.ranking import rank_correlations


def test_what_is_expected_of_noise_is_what_it_leaves():
    rng = np.random.default_rng(0)
    exact, noise = rng.standard_normal((2, 20, 5000))
    moved = movement(exact, exact + 0.75 * noise)
    assert moved == pytest.approx({"spread": 1, "error": 0.75, "expected": 0.8}, rel=0.02)
    assert np.median(rank_correlations(exact, exact + 0.75 * noise)) == pytest.approx(0.8, abs=0.03)


def test_scores_that_are_all_moved_alike_keep_their_ranks():
    exact = np.array([[0.1, 0.5, 0.3], [3, 2, 1]])
    assert movement(exact, exact + 7) == pytest.approx({"spread": 0.49, "error": 0, "expected": 1}, abs=0.01)

"""Batches: every window once, within the budget, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risedb.featurize.batches import plan_batches


@given(st.lists(st.integers(1, 300), max_size=80), st.integers(1, 2000))
def test_every_window_is_in_one_batch_within_the_budget(lengths, budget):
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@pytest.mark.parametrize("budget", [2048, 32768])
def test_one_in_twenty_tokens_at_most_is_padding(budget):
    lengths = np.minimum(np.random.default_rng(0).lognormal(4.3, 0.8, 5000).astype(int) + 2, 256).tolist()
    batches = plan_batches(lengths, budget)
    cells = sum(len(batch) * lengths[batch[0]] for batch in batches)
    assert 1 - sum(lengths) / cells < 0.05
    assert len(batches) < 5 * cells / budget

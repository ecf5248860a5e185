"""Batches: every window once, within the budget, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risedb.featurize.batches import fitting_tokens, plan_batches


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


def test_batches_grow_with_memory_up_to_a_limit():
    sizes = [fitting_tokens(2**30, token_bytes) for token_bytes in (1e8, 2e6, 1e6, 1e5, 1e3, 0.0)]
    assert sizes == [256, 256, 512, 4096, 32768, 32768]
    assert all(0.7 * 2**30 / 2 < size * token < 2**30 for size, token in zip(sizes[2:4], (1e6, 1e5), strict=True))

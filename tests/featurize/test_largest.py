"""The numba loop of the candidates against sorting everything, in every type that it reads."""

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from risedb.config import ReadoutConfig
from risedb.featurize import active_support
from risedb.featurize.largest import largest
from risedb.featurize.support import _candidates, _loop_pays, checked_support
from tests import oracle

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
assert numba  # once it is imported, small inputs go through the loop too


def by_sorting(logits, k):
    return torch.sort(logits.float(), dim=1, descending=True, stable=True).indices[:, :k]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("tokens", "k"), [(8192, 256), (5003, 100), (50_304, 256), (64, 2)])
def test_candidates_are_the_largest_in_order(tokens, k, dtype):
    logits = (3 * torch.randn(7, tokens, generator=torch.Generator().manual_seed(k))).to(dtype)
    assert _loop_pays(logits, k)
    targets = by_sorting(logits, k)[:, 0]
    values, token_ids, finite = _candidates(logits, targets, k)
    assert torch.equal(token_ids, by_sorting(logits, k))
    assert torch.equal(values, logits.float().gather(1, token_ids))
    assert finite.all()


@pytest.mark.parametrize("rows", [1, 45, 64])
def test_threads_find_what_one_finds(rows):
    logits = torch.randn(rows, 50_304, generator=torch.Generator().manual_seed(0))
    logits[rows // 2, 7] = float("nan")
    bits = logits.view(torch.int32).numpy()
    ids, finite = largest(bits, 256, 0x7F800000)
    for threads in (2, 5):
        some, sound = largest(bits, 256, 0x7F800000, threads)
        np.testing.assert_array_equal(some, ids)
        np.testing.assert_array_equal(sound, finite)
    assert finite.sum() == rows - 1


# Few distinct values, both zeros, both signs: every place is tied, and so is the last one.
TIED = st.integers(64, 300).flatmap(
    lambda v: st.lists(st.sampled_from([-2.5, -1.0, -0.0, 0.0, 1.0, 2.5]), min_size=v, max_size=v)
)


@given(TIED, st.sampled_from(DTYPES), st.sampled_from([0.5, 0.92, 1.0]))
def test_support_by_the_loop_equals_the_oracle_under_ties(logits, dtype, rho_cum):
    readout = ReadoutConfig(k_max=2, min_keep=1, rho_cum=rho_cum)
    tensor = torch.tensor([logits], dtype=dtype)
    assert _loop_pays(tensor, readout.k_max)
    ours = active_support(tensor, torch.tensor([3]), readout)
    exact = oracle.support(logits, 3, tau=1.0, rho_cum=rho_cum, min_keep=1, k_max=2)
    assert ours.token_ids.tolist() == list(exact)
    np.testing.assert_allclose(ours.probabilities, list(exact.values()), rtol=1e-5)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)  # float64 does not go through the loop
def test_logits_that_are_not_finite_are_told_and_touch_no_other_position(dtype, wrong):
    logits = torch.randn(3, 400, generator=torch.Generator().manual_seed(0)).to(dtype)
    sound = active_support(logits[[0, 2]], torch.tensor([5, 7]), ReadoutConfig(k_max=8))
    logits[1, 100] = wrong
    ours, finite = checked_support(logits, torch.tensor([5, 6, 7]), ReadoutConfig(k_max=8))
    assert finite.tolist() == [True, False, True]
    others = ours.positions != 1
    assert torch.equal(ours.token_ids[others], sound.token_ids)
    assert torch.isfinite(ours.residuals).all()

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from risedb.config import ReadoutConfig
from risedb.featurize import active_support
from tests import oracle

# Few distinct values, so that ties are the rule: inside the support, at its end, at the k_max-th place.
LOGITS = st.integers(5, 60).flatmap(
    lambda v: st.tuples(st.lists(st.integers(-3, 3).map(float), min_size=v, max_size=v), st.integers(0, v - 1))
)
READOUTS = st.builds(
    ReadoutConfig,
    tau=st.sampled_from([0.5, 1.0, 3.0]),
    rho_cum=st.sampled_from([0.1, 0.5, 0.92, 1.0]),
    min_keep=st.integers(1, 10),
    k_max=st.integers(2, 70),
)


@given(LOGITS, READOUTS)
@example(
    ([0.0, 0.0, 0.0, 0.0, 1.0], 0), ReadoutConfig(tau=0.5, rho_cum=0.1, min_keep=1, k_max=2)
)  # the only tie is cut
def test_support_and_residual_equal_the_oracle_under_ties(case, readout):
    logits, target = case
    ours = active_support(torch.tensor([logits]), torch.tensor([target]), readout)
    exact = oracle.support(
        logits,
        target,
        tau=readout.tau,
        rho_cum=readout.rho_cum,
        min_keep=readout.min_keep,
        k_max=readout.k_max,
    )
    assert ours.token_ids.tolist() == list(exact)
    np.testing.assert_allclose(ours.probabilities, list(exact.values()), rtol=1e-5)
    expected = [p - (v == target) for v, p in exact.items()]
    np.testing.assert_allclose(ours.residuals, expected, atol=1e-5)


def test_residual_of_a_nearly_certain_target_keeps_its_digits():
    logits = torch.tensor([[12.0, 0.0, -0.5, -1.0]])
    ours = active_support(logits, torch.tensor([0]), ReadoutConfig(min_keep=4))
    p = torch.softmax(logits.double(), dim=1)[0]
    exact = -float(p[1:].sum())
    assert abs(float(ours.residuals[0]) / exact - 1) < 1e-5  # ptilde(y) - 1 in float32 is 1 % off here


def test_positions_and_offsets_say_where_each_support_lies():
    logits = torch.tensor([[5.0, 0, 0, 0, 0], [1.0, 1, 1, 1, 1], [0.0, 0, 0, 0, 9]])
    readout = ReadoutConfig(min_keep=1, rho_cum=0.5)
    ours = active_support(logits, torch.tensor([0, 4, 1]), readout)
    assert len(ours) == 3
    assert ours.token_ids.tolist() == [0, 0, 1, 2, 4, 4, 1]
    assert ours.positions.tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert ours.offsets.tolist() == [0, 1, 5]

"""F.3's metrics against loops over positions and tokens in float64, and in the cases whose value is known."""

import math

import numpy as np
import pytest
import torch

from risedb.diagnostics.positions import Positions
from risedb.diagnostics.sparsity import fidelities, measure_sparsity, top_k_support
from risedb.featurize import active_support
from tests import oracle
from tests.diagnostics.samples import READOUT, documents, language_model, read


def softmax(z, tau):
    weights = [math.exp((value - max(z)) / tau) for value in z]
    return [weight / sum(weights) for weight in weights]


def error_direction(p, y, head):
    return sum(p[v] * head[v] for v in range(len(p))) - head[y]


def kept_by_the_largest(z, y, head, k, tau):
    """Return M, E_full, E_GT, E_tail, cosine and relative error, to dense GH at tau and at 1, of one position."""
    p = softmax(z, tau)
    support = set(sorted(range(len(z)), key=lambda v: -z[v])[:k]) | {y}
    residual = [p[v] - (v == y) for v in range(len(z))]
    whole = sum(r * r for r in residual)
    tail = sum(p[v] ** 2 for v in range(len(z)) if v != y)
    mass = sum(p[v] for v in support)
    sparse = error_direction([p[v] / mass if v in support else 0.0 for v in range(len(z))], y, head)
    values = [
        len(support), mass, sum(residual[v] ** 2 for v in support) / whole, (1 - p[y]) ** 2 / whole,
        sum(p[v] ** 2 for v in support - {y}) / tail,
    ]  # fmt: skip
    for dense in (error_direction(p, y, head), error_direction(softmax(z, 1.0), y, head)):
        values.append(sparse @ dense / np.linalg.norm(sparse) / np.linalg.norm(dense))
        values.append(np.linalg.norm(sparse - dense) / np.linalg.norm(dense))
    return values


@pytest.mark.parametrize(("k", "tau"), [(8, 1.0), (3, 0.5), (50, 2.0)])
def test_fidelity_is_that_of_the_definitions(k, tau):
    model = language_model()
    positions, logits, targets, head, _ = read(model, documents())
    rule = lambda z, y: top_k_support(z, y, k=k, tau=tau)  # noqa: E731
    (ours,) = fidelities(model, positions, [rule], tau=tau)
    exact = np.mean(
        [kept_by_the_largest(z, int(y), head, k, tau) for z, y in zip(logits, targets, strict=True)], axis=0
    )
    names = [
        "support", "mass", "full_energy", "target_energy", "tail_energy", "cosine", "relative_error", "cosine_tau_1",
        "relative_error_tau_1",
    ]  # fmt: skip
    assert [getattr(ours, name) for name in names] == pytest.approx(list(exact), rel=1e-4)


def test_the_whole_vocabulary_keeps_everything():
    model = language_model()
    positions = Positions.read(model, documents(), READOUT)
    (whole,) = fidelities(model, positions, [lambda z, y: top_k_support(z, y, k=300, tau=0.7)], tau=0.7)
    kept = [whole.support, whole.mass, whole.full_energy, whole.tail_energy, whole.cosine]
    assert kept == pytest.approx([300, 1, 1, 1, 1], abs=1e-6)
    assert whole.relative_error < 1e-5
    assert whole.relative_error_tau_1 > 0.01  # the other reading of Table 12 is another number


def test_more_tokens_keep_more():
    sparsity = measure_sparsity(language_model(), read(language_model(), documents())[0], READOUT)
    for name in ("support", "mass", "full_energy", "tail_energy", "cosine"):
        sweep = [getattr(one, name) for one in sparsity.by_size.values()]
        assert sweep == sorted(sweep)
        assert sweep[0] < sweep[-1]


def test_support_is_the_largest_and_the_target_renormalised():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]])
    support = top_k_support(logits, torch.tensor([1, 3]), k=2, tau=2.0)
    assert support.token_ids.tolist() == [0, 1, 0, 1, 3]
    assert support.offsets.tolist() == [0, 2]
    p = softmax([3.0, 2.0], 2.0) + softmax([3.0, 2.0, 0.0], 2.0)
    assert support.probabilities.tolist() == pytest.approx(p)
    assert support.residuals.tolist() == pytest.approx([p[0], p[1] - 1, p[2], p[3], p[4] - 1])


def test_adaptive_is_the_support_of_signatures():
    model = language_model()
    positions, logits, targets, _, _ = read(model, documents())
    sparsity = measure_sparsity(model, positions, READOUT)
    numbers = {name: getattr(READOUT, name) for name in ("tau", "rho_cum", "min_keep", "k_max")}
    sizes = [len(oracle.support(z, int(y), **numbers)) for z, y in zip(logits, targets, strict=True)]
    assert sparsity.adaptive.support == pytest.approx(np.mean(sizes))
    assert sparsity.support_quantiles == pytest.approx(
        {"median": np.median(sizes), "95%": np.quantile(sizes, 0.95), "most": max(sizes)}
    )


def test_positions_in_pieces_have_the_supports_of_the_whole(monkeypatch):
    model = language_model()
    positions, logits, _, _, _ = read(model, documents())
    monkeypatch.setattr("risedb.diagnostics.positions._LOGITS_BYTES", 3 * 4 * 300)  # three positions at a time
    pieces = positions.support(model, READOUT)
    whole = active_support(torch.tensor(logits).float(), positions.targets, READOUT)
    for name in ("token_ids", "positions", "offsets"):
        assert getattr(pieces, name).tolist() == getattr(whole, name).tolist()


def test_a_position_without_residual_is_left_out_of_what_needs_one():
    model = language_model()
    positions = Positions.read(model, documents((2, 9)), READOUT)
    sure = torch.full((1, 300), -1e4)
    sure[0, positions.targets[0]] = 1e4
    rest = next(logits[1:] for logits, _ in positions.with_logits(model))

    class SureOfTheFirst(type(positions)):
        def with_logits(self, model):
            yield torch.cat([sure, rest]), self.targets

    rule = lambda z, y: top_k_support(z, y, k=8, tau=1.0)  # noqa: E731
    with_it = SureOfTheFirst(positions.hidden, positions.targets, positions.bounds)
    without = Positions(positions.hidden[1:], positions.targets[1:], (0, len(positions) - 1))
    one, other = (fidelities(model, each, [rule], tau=1.0)[0] for each in (with_it, without))
    assert one.cosine == pytest.approx(other.cosine)
    assert one.full_energy == pytest.approx(other.full_energy)

"""How much of the residual a sparse support keeps: Figure 3, Tables 10 and 12 of arXiv:2604.16197v1, Appendix F.3.

Each number is the mean over positions of what F.3 defines for one position, with p_t = softmax(z_t / tau) over the
whole vocabulary and r_t = p_t - [v = y_t]:

- probability mass M_t(S) = sum_{v in S} p_t(v);
- full residual energy E_full(S) = sum_{v in S} r_t(v)^2 / sum_v r_t(v)^2;
- energy of the target's own coordinate E_GT = (1 - p_t(y_t))^2 / sum_v r_t(v)^2;
- energy of the tail E_tail(S) = sum_{v in S, v != y_t} p_t(v)^2 / sum_{v != y_t} p_t(v)^2;
- cosine of sparse and dense GH, g_t = W^T r_t, where the sparse one has its logits renormalised on S.

The supports are F.3's too: the K largest logits, *and* y_t, so K + 1 tokens where y_t is not among them. (Algorithm 2
keeps K: y_t takes the place of the smallest. ``adaptive`` measures that one.)

Two readings of Table 12's reference are reported. F.3 defines g_t with the same tau as the support; but a support that
holds 99.8 % of the mass, as the table's row tau = 0.4 does, differs from that g_t by next to nothing, and the table has
a cosine of 0.924. Against the dense g_t at tau = 1 its column does peak at tau = 1. The column "Relative error" is read
as |g_dense - g_sparse| / |g_dense|.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from risedb.config import ReadoutConfig
from risedb.diagnostics.positions import Positions
from risedb.featurize import LanguageModel, Support, active_support

SIZES = (8, 16, 32, 64, 128, 256)
"""K of Table 10, at tau = 1."""
TEMPERATURES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
"""tau of Table 12, at K = 128."""
FIXED_SIZE = 128
MOST_POSITIONS = 1000

Rule = Callable[[Tensor, Tensor], Support]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Means over positions of what one rule for supports keeps."""

    support: float
    """Tokens in a support."""
    mass: float
    """Probability mass M_t."""
    full_energy: float
    """Residual energy E_full."""
    target_energy: float
    """Energy of the target's own coordinate, E_GT: what a support of y_t alone would keep."""
    tail_energy: float
    """Energy of all other coordinates, E_tail."""
    cosine: float
    """Cosine of sparse GH with dense GH at the same tau."""
    relative_error: float
    """Length of their difference by the length of the dense one."""
    cosine_tau_1: float
    """Cosine of sparse GH with dense GH at tau = 1."""
    relative_error_tau_1: float
    """Length of their difference by the length of the dense one at tau = 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """What supports keep, by K, by tau and as signatures are made."""

    positions: int
    """Positions measured."""
    vocabulary: int
    """Tokens there are, V."""
    by_size: dict[int, Fidelity]
    """K of Table 10 to what the K largest keep, at tau = 1."""
    by_temperature: dict[float, Fidelity]
    """tau of Table 12 to what the 128 largest keep."""
    adaptive: Fidelity
    """What the supports of signatures keep (Algorithm 2, lines 4 to 9)."""
    support_quantiles: dict[str, float]
    """Sizes of the supports of signatures."""


def measure_sparsity(model: LanguageModel, positions: Positions, readout: ReadoutConfig) -> Sparsity:
    """Measure at most 1,000 positions, drawn with a fixed seed.

    Parameters
    ----------
    model
        The model that made the positions.
    positions
        The sample.
    readout
        How signatures are made, for ``adaptive``.
    """
    positions = positions.drawn(MOST_POSITIONS)
    vocabulary = len(model.head)
    sizes = [k for k in SIZES if k < vocabulary]
    fixed = min(FIXED_SIZE, vocabulary)
    by_size = fidelities(model, positions, [_largest(k, 1.0) for k in sizes], tau=1.0)
    by_temperature = [fidelities(model, positions, [_largest(fixed, tau)], tau=tau)[0] for tau in TEMPERATURES]
    (adaptive,) = fidelities(model, positions, [lambda z, y: active_support(z, y, readout)], tau=readout.tau)
    support = positions.support(model, readout)
    support_sizes = support.positions.bincount(minlength=len(positions)).double()
    quantiles = {"median": 0.5, "95%": 0.95, "most": 1.0}
    return Sparsity(
        positions=len(positions),
        vocabulary=vocabulary,
        by_size=dict(zip(sizes, by_size, strict=True)),
        by_temperature=dict(zip(TEMPERATURES, by_temperature, strict=True)),
        adaptive=adaptive,
        support_quantiles={name: float(torch.quantile(support_sizes, share)) for name, share in quantiles.items()},
    )


def _largest(k: int, tau: float) -> Rule:
    return lambda logits, targets: top_k_support(logits, targets, k=k, tau=tau)


def top_k_support(logits: Tensor, targets: Tensor, *, k: int, tau: float) -> Support:
    """Return TopK(z_t / tau, K) and y_t, renormalised (arXiv:2604.16197v1, Section 2.4): (N, V), (N,) to a Support."""
    values, token_ids = logits.topk(min(k, logits.shape[1]), dim=1)
    absent = (token_ids != targets[:, None]).all(dim=1)
    kept = torch.cat([torch.ones_like(token_ids, dtype=torch.bool), absent[:, None]], dim=1)
    token_ids = torch.cat([token_ids, targets[:, None]], dim=1)
    values = torch.cat([values, logits.gather(1, targets[:, None])], dim=1).double()
    p = torch.softmax((values / tau).masked_fill(~kept, -torch.inf), dim=1)
    is_target = (token_ids == targets[:, None]) & kept
    others = p.masked_fill(is_target, 0.0)
    residuals = torch.where(is_target, -others.sum(dim=1, keepdim=True), others)
    sizes = kept.sum(dim=1)
    return Support(
        token_ids[kept], p[kept].float(), residuals[kept].float(), kept.nonzero()[:, 0], sizes.cumsum(0) - sizes
    )


@torch.no_grad()
def fidelities(model: LanguageModel, positions: Positions, rules: Sequence[Rule], *, tau: float) -> list[Fidelity]:
    """Measure what supports by each rule keep, against the whole vocabulary at a temperature.

    A position whose residual is zero in float64 has no direction and no energy: the means for which that matters leave
    it out.
    """
    parts: list[list[dict[str, Tensor]]] = [[] for _ in rules]
    for logits, targets in positions.with_logits(model):
        dense = _Dense.of(logits, targets, model.head, tau)
        for rule, measured in zip(rules, parts, strict=True):
            measured.append(dense.kept_by(rule(logits, targets), model.head))
    return [
        Fidelity(**{f.name: float(torch.cat([part[f.name] for part in each]).nanmean()) for f in fields(Fidelity)})
        for each in parts
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Dense:
    """The whole residuals of some positions: p_t and r_t^2 (n, V), without y_t, and g_t (n, d); all float64."""

    p: Tensor
    energy: Tensor
    tail: Tensor
    target_energy: Tensor
    g: Tensor
    g_tau_1: Tensor

    @classmethod
    def of(cls, logits: Tensor, targets: Tensor, head: Tensor, tau: float) -> "_Dense":
        p, residual = _residual(logits, targets, tau)
        energy = residual.square()
        g = _projected(residual, head)
        return cls(
            p=p,
            energy=energy,
            tail=energy.scatter(1, targets[:, None], 0.0),
            target_energy=energy.gather(1, targets[:, None])[:, 0],
            g=g,
            g_tau_1=g if tau == 1 else _projected(_residual(logits, targets, 1.0)[1], head),
        )

    def kept_by(self, support: Support, head: Tensor) -> dict[str, Tensor]:
        """Return each number of `Fidelity` for each position, (n,) float64; NaN where it is not defined."""
        sparse = torch.nn.functional.embedding_bag(
            support.token_ids, head.float(), support.offsets, mode="sum", per_sample_weights=support.residuals
        ).double()

        def on_support(values: Tensor) -> Tensor:
            kept = values[support.positions, support.token_ids]
            return kept.new_zeros(len(values)).index_add(0, support.positions, kept)

        energy = self.energy.sum(dim=1)
        return {
            "support": support.positions.bincount(minlength=len(support)).double(),
            "mass": on_support(self.p),
            "full_energy": on_support(self.energy) / energy,
            "target_energy": self.target_energy / energy,
            "tail_energy": on_support(self.tail) / self.tail.sum(dim=1),
            "cosine": _cosine(sparse, self.g),
            "relative_error": (sparse - self.g).norm(dim=1) / self.g.norm(dim=1),
            "cosine_tau_1": _cosine(sparse, self.g_tau_1),
            "relative_error_tau_1": (sparse - self.g_tau_1).norm(dim=1) / self.g_tau_1.norm(dim=1),
        }


def _residual(logits: Tensor, targets: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Return p_t and r_t over the whole vocabulary, (n, V) float64; r_t(y_t) as minus the sum of all others."""
    p = torch.softmax(logits.double() / tau, dim=1)
    others = p.scatter(1, targets[:, None], 0.0)
    return p, others.scatter(1, targets[:, None], -others.sum(dim=1, keepdim=True))


def _projected(residual: Tensor, head: Tensor) -> Tensor:
    """Return g_t = W^T r_t, (n, d), multiplied in float32."""
    return (residual.float() @ head.float()).double()


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    cosine: Tensor = (one * other).sum(dim=1) / (one.norm(dim=1) * other.norm(dim=1))
    return cosine

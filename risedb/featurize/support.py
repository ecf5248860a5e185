"""The active tokens of each position and the residual on them: Algorithm 2, lines 4 to 10."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from risedb.config import ReadoutConfig

_BITS = {  # integers of the same size, and infinity as one
    torch.float32: (torch.int32, 0x7F800000),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float16: (torch.int16, 0x7C00),
}
_LANES = 32  # logits a candidate: in fewer, a sort finds them as fast
_LOOP_LOGITS = 2**23  # of so many at once, the numba loop pays for its import


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """The supports S_t of N positions, one after the other (M tokens in all).

    Source: arXiv:2604.16197v1, Algorithm 2, lines 4 to 10.

    Parameters
    ----------
    token_ids
        (M,) int64: tokens of S_1, then of S_2, and so on, each by falling probability.
    probabilities
        (M,) float32: ptilde_t, which sums to 1 over each support.
    residuals
        (M,) float32: r_t = ptilde_t - [v = y_t], which sums to 0 over each support.
    positions
        (M,) int64: which of the N positions each entry belongs to.
    offsets
        (N,) int64: where each support begins.
    """

    token_ids: Tensor
    probabilities: Tensor
    residuals: Tensor
    positions: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        """Count the positions."""
        return len(self.offsets)

    def residual_norms(self) -> Tensor:
        """Return |r_t|, (N,) float32."""
        squares = torch.zeros(len(self), device=self.residuals.device)
        return squares.index_add_(0, self.positions, self.residuals.square()).sqrt_()


def active_support(logits: Tensor, targets: Tensor, config: ReadoutConfig) -> Support:
    """Find the support and the residual of every position.

    Parameters
    ----------
    logits
        (N, V) float32, bfloat16 or float16: the model's own final logits.
    targets
        (N,) int64: the token y_t that came next.
    config
        tau, rho_cum, min_keep and k_max.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 1.0, 0.0, 3.0]])
    >>> one = active_support(logits, torch.tensor([2]), ReadoutConfig(min_keep=1, rho_cum=0.5))
    >>> one.token_ids.tolist(), [round(r, 4) for r in one.residuals.tolist()]
    ([3, 2], [0.9526, -0.9526])
    """
    return checked_support(logits, targets, config)[0]


def checked_support(logits: Tensor, targets: Tensor, config: ReadoutConfig) -> tuple[Support, Tensor]:
    """Do the same, and tell which positions' logits are all finite, (N,) bool; a support of others means nothing."""
    values, token_ids, finite = _candidates(logits, targets, config.k_max)
    p = torch.softmax(values / config.tau, dim=1)  # pbar_t, (N, K)
    is_target = token_ids == targets[:, None]
    if config.rho_cum < 1:
        before = p.double().cumsum(dim=1) - p  # float64: a prefix sum decides who is in
        kept = before < config.rho_cum
        kept[:, : config.min_keep] = True
        kept |= is_target
    else:
        kept = torch.ones_like(is_target)
    p = p * kept
    p = p / p.sum(dim=1, keepdim=True)  # ptilde_t
    others = p.masked_fill(is_target, 0.0)
    # ptilde(y) - 1 cancels in float32; minus the sum of all others is the same number with all its digits.
    residuals = torch.where(is_target, -others.sum(dim=1, keepdim=True), others)
    chosen = kept.flatten().nonzero()[:, 0]  # once: to index by a mask is to search it each time
    positions = chosen.div(kept.shape[1], rounding_mode="floor")
    ids, probabilities, kept_residuals = (each.flatten()[chosen] for each in (token_ids, p, residuals))
    sizes = kept.sum(dim=1)
    return Support(ids, probabilities, kept_residuals, positions, sizes.cumsum(0) - sizes), finite


def _candidates(logits: Tensor, targets: Tensor, k_max: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find C_t, y_t always in it: falling logits (N, K) float32, ids (N, K), which of the N are finite.

    Equal logits stand by token id.
    """
    if _loop_pays(logits, k_max):
        from risedb.featurize.largest import largest

        integer, infinity = _BITS[logits.dtype]
        found = largest(logits.view(integer).numpy(), k_max, infinity, torch.get_num_threads())
        token_ids, finite = map(torch.from_numpy, found)
        values = logits.gather(1, token_ids)
    else:
        finite = torch.isfinite(logits.sum(dim=1, dtype=torch.float32))
        if not finite.all():
            logits = logits.masked_fill(~finite[:, None], 0.0)
        values, token_ids = _sorted_top(logits, k_max)
    if k_max < logits.shape[1]:
        absent = (token_ids != targets[:, None]).all(dim=1).nonzero()[:, 0]
        token_ids[absent, -1] = targets[absent]
        values[absent, -1] = logits[absent, targets[absent]]
    return values.float().masked_fill_(~finite[:, None], 0.0), token_ids, finite


def _loop_pays(logits: Tensor, k_max: int) -> bool:
    """Tell whether numba's loop is faster than torch's top-K, its import included; both give the same."""
    fits = logits.device.type == "cpu" and logits.dtype in _BITS and logits.is_contiguous()
    large = logits.shape[1] >= _LANES * k_max
    return fits and large and (logits.numel() >= _LOOP_LOGITS or "numba" in sys.modules)


def _sorted_top(logits: Tensor, k_max: int) -> tuple[Tensor, Tensor]:
    """Return the k_max largest and their ids, (N, K) each: falling, equal ones by token id."""
    if k_max >= logits.shape[1]:
        return torch.sort(logits, dim=1, descending=True, stable=True)
    values, token_ids = logits.topk(k_max + 1, dim=1)
    has_ties = (values[:, 1:] == values[:, :-1]).any(dim=1)
    cut_through_ties = (values[:, -2] == values[:, -1]).nonzero()[:, 0]
    values, token_ids = values[:, :-1].contiguous(), token_ids[:, :-1].contiguous()
    if len(cut_through_ties):
        token_ids[cut_through_ties] = _lowest_ids(logits[cut_through_ties], values[cut_through_ties])
    ties = has_ties.nonzero()[:, 0]
    if len(ties):  # stable sort of the values after a sort of the ids orders equal logits by id
        by_id = token_ids[ties].sort(dim=1).values
        values[ties], order = logits[ties].gather(1, by_id).sort(dim=1, descending=True, stable=True)
        token_ids[ties] = by_id.gather(1, order)
    return values, token_ids


def _lowest_ids(logits: Tensor, values: Tensor) -> Tensor:
    """Choose, among tokens that tie for the last places, those of the lowest ids: (n, K) token ids."""
    last = values[:, -1:]
    above, level = logits > last, logits == last
    places = values.shape[1] - above.sum(dim=1, keepdim=True)
    chosen = above | (level & (level.cumsum(dim=1) <= places))
    return chosen.nonzero()[:, 1].view(values.shape)

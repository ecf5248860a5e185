"""What sketching costs on a sample: error against widths, beside the theory, the biases and a random projection.

Three comparisons, all of Appendix D of arXiv:2604.16197v1 and all in its analysis version, without per-vector
normalisation:

- document pairs: the error of sketched inner products over several seeds, and the exact variance of such a score;
- token pairs: Theorem D.1 (ii) and (iii) as printed and corrected, beside the exact variance;
- D.4's split of RH's error into sketching, truncation and the missing body, each against the inner product of whole
  gradients, with TracIn's projection at the same number of numbers (Kr * Kh) beside it. GH has no such target.

Truncation is what changes r_t: the support, and, where there is one, a temperature or the softcap whose Jacobian RISE
leaves out. A score's error is relative to the lengths of the two vectors whose inner product it estimates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from risedb.config import ReadoutConfig, SketchConfig
from risedb.diagnostics.factors import Factors
from risedb.diagnostics.gradients import LossGradients
from risedb.diagnostics.positions import Positions
from risedb.diagnostics.variance import ChannelMoments, InnerProducts, product_variance, projection_variance
from risedb.featurize import LanguageModel, Tokens

SEEDS = 8
"""Sketches that an empirical error is the root mean square of."""
PAIRED_DOCUMENTS = 8
"""Documents whose pairs are compared with the exact variance, and whose whole gradients are kept."""
TOKEN_PAIRS = 1000
_GRADIENT_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """The error of one channel at one triple of widths, root mean square over pairs and seeds."""

    numbers: int
    """Numbers in the channel: Kr * Kh or Kg * Kh."""
    error: float
    """Measured: |sketched - exact| / (|Phi_i| |Phi_q|) of unsketched document features Phi."""
    predicted: float
    """From the exact variance."""
    token_exact: float
    """Of one position in each document, by D.3's product of exact variances, relative likewise."""
    token_printed: float
    """Theorem D.1's bound as printed."""
    token_corrected: float
    """Theorem D.1's bound with Eq. 19 in it."""
    printed_exceeded: float
    """Share of token pairs whose exact variance is above the printed bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """RH's error as D.4 splits it, and TracIn's; root mean square over pairs, relative to |grad_i| |grad_q| in full."""

    numbers: int
    """Kr * Kh, and rows of TracIn's projection."""
    signal: float
    """Of the whole gradients' inner products themselves: what there is to estimate."""
    sketching: float
    """Of the sketched score against the truncated one."""
    truncation: float
    """Of the truncated score against the LM head's inner product."""
    structural: float
    """Of the LM head's inner product against the whole gradient's."""
    total: float
    """Of the sketched score against the whole gradient's inner product."""
    tracin: float
    """Of a Gaussian projection of the whole gradient against its inner product."""
    tracin_predicted: float
    """The same from Lemma D.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketching:
    """Errors by triple ``Kr/Kh/Kg``; the split is empty where whole gradients would not fit in 1 GiB."""

    documents: int
    """Documents whose pairs were compared."""
    seeds: int
    """Sketches each error is over."""
    rh: dict[str, Channel]
    """Residual x hidden."""
    gh: dict[str, Channel]
    """Projected error x hidden."""
    split: dict[str, Split]
    """D.4's terms of RH."""


def measure_sketching(
    model: LanguageModel, documents: Sequence[Tokens], readout: ReadoutConfig, widths: Sequence[SketchConfig]
) -> Sketching:
    """Measure sketching on the pairs of the sample's first eight documents.

    Parameters
    ----------
    model
        The language model.
    documents
        The sample; only the first window of each is read.
    readout
        How residuals are truncated.
    widths
        Triples to compare; their seeds are the first of eight.
    """
    windows = [tokens.windows(readout)[0] for tokens in documents[:PAIRED_DOCUMENTS]]
    factors = Factors.of(model, Positions.read(model, windows, readout), readout)
    residuals = _residuals(factors)
    pairs = _TokenPairs.drawn(factors, residuals)
    channels = {
        "rh": _ExactChannel.of(factors, residuals, pairs.residual, pairs.hidden),
        "gh": _ExactChannel.of(factors, factors.error, pairs.error, pairs.hidden),
    }
    whole = _gradient_grams(model, windows)
    measured: dict[str, dict[str, Channel]] = {"rh": {}, "gh": {}}
    split = {}
    for sketch in widths:
        name = f"{sketch.kr}/{sketch.kh}/{sketch.kg}"
        grams = [factors.sketched_grams(replace(sketch, seed=sketch.seed + i), unit=False) for i in range(SEEDS)]
        estimates = {"rh": torch.stack([one.rh for one in grams]), "gh": torch.stack([one.gh for one in grams])}
        for channel, width in (("rh", sketch.kr), ("gh", sketch.kg)):
            measured[channel][name] = channels[channel].measure(estimates[channel], width, sketch.kh)
        if whole is not None:
            split[name] = _split(estimates["rh"], channels["rh"].gram, whole, sketch)
    return Sketching(documents=len(windows), seeds=SEEDS, rh=measured["rh"], gh=measured["gh"], split=split)


@dataclass(frozen=True, slots=True, eq=False)
class _TokenPairs:
    """Inner products of the three factors of pairs of positions in different documents."""

    residual: InnerProducts
    error: InnerProducts
    hidden: InnerProducts

    @classmethod
    def drawn(cls, factors: Factors, residuals: Tensor) -> "_TokenPairs":
        generator = torch.Generator().manual_seed(0)
        one, other = torch.randint(0, len(factors.hidden), (2, TOKEN_PAIRS), generator=generator)
        document = torch.bucketize(torch.arange(len(factors.hidden)), torch.tensor(factors.bounds[1:]), right=True)
        apart = document[one] != document[other]
        one, other = one[apart].to(residuals.device), other[apart].to(residuals.device)
        return cls(*(InnerProducts.of(rows[one], rows[other]) for rows in (residuals, factors.error, factors.hidden)))


@dataclass(frozen=True, slots=True, eq=False)
class _ExactChannel:
    """One channel of the paired documents, unsketched, and what its sketch's variance depends on."""

    gram: Tensor  # (n, n) float64
    moments: list[ChannelMoments]  # of each pair, in the order of _pairs
    factor: InnerProducts
    hidden: InnerProducts

    @classmethod
    def of(cls, factors: Factors, rows: Tensor, factor: InnerProducts, hidden: InnerProducts) -> "_ExactChannel":
        spans = list(zip(factors.bounds[:-1], factors.bounds[1:], strict=True))
        features = [rows[a:b].double().T @ factors.hidden[a:b].double() for a, b in spans]  # (D, d) each
        flat = torch.stack([feature.flatten() for feature in features])
        moments = [ChannelMoments.of(features[i], features[j]) for i, j in zip(*_pairs(len(features)), strict=True)]
        return cls(flat @ flat.T, moments, factor, hidden)

    def measure(self, estimates: Tensor, width: int, kh: int) -> Channel:
        """Compare (seeds, n, n) sketched inner products with the exact ones, and both with theory."""
        lengths = _lengths(self.gram)
        variances = torch.tensor([moments.variance(width, kh) for moments in self.moments], dtype=torch.float64)
        kinds = {
            kind: product_variance(
                self.factor.value, getattr(self.factor, kind)(width), self.hidden.value, getattr(self.hidden, kind)(kh)
            )
            for kind in ("exact", "printed", "corrected")
        }
        norms = self.factor.norms * self.hidden.norms
        return Channel(
            numbers=width * kh,
            error=_root_mean_square(_of_pairs(estimates - self.gram) / lengths),
            predicted=_root_mean_square(variances.to(lengths.device).sqrt() / lengths),
            token_exact=_root_mean_square((kinds["exact"] / norms).sqrt()),
            token_printed=_root_mean_square((kinds["printed"] / norms).sqrt()),
            token_corrected=_root_mean_square((kinds["corrected"] / norms).sqrt()),
            printed_exceeded=float((kinds["exact"] > kinds["printed"]).double().mean()),
        )


def _residuals(factors: Factors) -> Tensor:
    """Return the residuals densely, (N, U) float32, on the U tokens that occur in any support."""
    columns, tokens = factors.numbered_tokens()
    dense = torch.zeros(len(factors.support), tokens, device=columns.device)
    dense[factors.support.positions, columns] = factors.support.residuals
    return dense


def _gradient_grams(model: LanguageModel, windows: Sequence[Tokens]) -> tuple[Tensor, Tensor] | None:
    """Return inner products of whole gradients and of the head's alone, (m, m) float64, of as many as fit in 1 GiB."""
    gradients = LossGradients(model)
    fitting = min(len(windows), _GRADIENT_BYTES // (4 * gradients.size))
    if fitting < 2:
        return None
    flat = [gradients.flat(window) for window in windows[:fitting]]
    whole, head = (torch.stack(parts) for parts in zip(*flat, strict=True))
    return (whole @ whole.T).double(), (head @ head.T).double()


def _split(estimates: Tensor, truncated: Tensor, whole: tuple[Tensor, Tensor], sketch: SketchConfig) -> Split:
    """Split RH's error on the documents whose whole gradients there are (arXiv:2604.16197v1, D.4)."""
    full, head = whole
    n, numbers = len(full), sketch.rh_dim
    estimates, truncated = estimates[:, :n, :n], truncated[:n, :n]
    lengths = _lengths(full)

    def relative(errors: Tensor) -> float:
        return _root_mean_square(_of_pairs(errors) / lengths)

    predicted = projection_variance(_of_pairs(full), lengths.square(), numbers).sqrt() / lengths
    return Split(
        numbers=numbers,
        signal=relative(full),
        sketching=relative(estimates - truncated),
        truncation=relative(truncated - head),
        structural=relative(head - full),
        total=relative(estimates - full),
        tracin=relative(projected_grams(full, numbers, SEEDS) - full),
        tracin_predicted=_root_mean_square(predicted),
    )


def projected_grams(gram: Tensor, width: int, seeds: int) -> Tensor:
    """Return inner products after Gaussian projections, (seeds, n, n), of vectors that have a Gram matrix (n, n).

    A Gaussian R restricted to the span of n vectors is Gaussian again, width x n in an orthonormal basis of it. So the
    inner products of R x_i, for x_i in millions of dimensions, are drawn exactly from the Gram matrix alone.
    """
    values, vectors = torch.linalg.eigh(gram)
    root = vectors * values.clamp(min=0).sqrt()  # (n, n): root @ root.T is the Gram matrix
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(seeds, width, len(gram), generator=generator, dtype=torch.float64).to(gram.device)
    projected = drawn @ root.T / width**0.5  # (seeds, width, n)
    estimates: Tensor = projected.mT @ projected
    return estimates


def _pairs(n: int) -> Tensor:
    return torch.triu_indices(n, n, offset=1)


def _of_pairs(grams: Tensor) -> Tensor:
    """Return the entries of all pairs i < j, (…, n, n) to (…, pairs)."""
    one, other = _pairs(grams.shape[-1])
    entries: Tensor = grams[..., one, other]
    return entries


def _lengths(gram: Tensor) -> Tensor:
    """Return the product of the two lengths of each pair, from a Gram matrix: (n, n) to (pairs,)."""
    one, other = _pairs(len(gram))
    lengths: Tensor = (gram.diagonal()[one] * gram.diagonal()[other]).sqrt()
    return lengths


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())

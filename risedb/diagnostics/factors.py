"""The sample's factors before any sketch, and the scores that follow from them, sketched and not.

A Gram matrix holds one channel's inner products of all pairs of documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from risedb.config import ReadoutConfig, ScoreConfig, SketchConfig
from risedb.diagnostics.positions import Positions
from risedb.featurize import CountSketch, LanguageModel, Support

_BLOCK_BYTES = 2**27


@dataclass(frozen=True, slots=True, eq=False)
class Grams:
    """Inner products of all pairs of n documents, (n, n) float64 a channel."""

    rh: Tensor
    gh: Tensor

    def fused(self, score: ScoreConfig) -> Tensor:
        """Return the scores of all pairs: both channels, weighted, and cosines if the score is normalised."""
        products = score.lambda_rh**2 * self.rh + score.lambda_gh**2 * self.gh
        if not score.normalize:
            return products
        lengths = products.diagonal().clamp(min=0).sqrt()
        return products / torch.where(lengths > 0, lengths, 1.0) / torch.where(lengths > 0, lengths, 1.0)[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Residuals, projected errors and hidden states of n documents' positions.

    Parameters
    ----------
    support
        N residuals r_t on their supports.
    error
        (N, d) float32: g_t = W^T r_t.
    hidden
        (N, d) float32: h_t.
    bounds
        n + 1 numbers: the positions of document i are ``bounds[i]:bounds[i + 1]``.
    vocabulary
        Tokens there are, V.
    """

    support: Support
    error: Tensor
    hidden: Tensor
    bounds: tuple[int, ...]
    vocabulary: int

    @classmethod
    @torch.no_grad()
    def of(cls, model: LanguageModel, positions: Positions, readout: ReadoutConfig) -> "Factors":
        """Compute the factors as signatures have them, before sketch and normalisation (Algorithm 2, lines 4 to 11)."""
        support = positions.support(model, readout)
        error = torch.nn.functional.embedding_bag(
            support.token_ids, model.head.float(), support.offsets, mode="sum", per_sample_weights=support.residuals
        )
        return cls(support, error, positions.hidden.float(), positions.bounds, len(model.head))

    def __len__(self) -> int:
        """Count the documents."""
        return len(self.bounds) - 1

    def unit(self) -> "Factors":
        """Scale each factor of each position to unit length, as Algorithm 2 does with the sketches."""
        lengths = self.support.residual_norms()
        scales = torch.where(lengths > 0, lengths, 1.0)[self.support.positions]
        return replace(
            self,
            support=replace(self.support, residuals=self.support.residuals / scales),
            error=torch.nn.functional.normalize(self.error, dim=1, eps=1e-30),
            hidden=torch.nn.functional.normalize(self.hidden, dim=1, eps=1e-30),
        )

    def numbered_tokens(self) -> tuple[Tensor, int]:
        """Return which of the U tokens that occur in any support each entry has, (M,) int64, and U."""
        tokens, numbers = self.support.token_ids.unique(return_inverse=True)
        return numbers, len(tokens)

    def grams(self) -> Grams:
        """Return the unsketched inner products of all pairs of documents.

        Of Phi = sum_t factor_t h_t^T (U x d for RH, d x d for GH), some columns of all documents exist at a time.
        """
        n, support, device = len(self), self.support, self.hidden.device
        numbers, tokens = self.numbered_tokens()
        ends = torch.tensor(self.bounds[1:], device=device)
        rows = torch.bucketize(support.positions, ends, right=True) * tokens + numbers  # of n * U
        step = max(_BLOCK_BYTES // (4 * max(n * tokens, len(rows))), 1)
        rh, gh = torch.zeros(2, n, n, dtype=torch.float64, device=device)
        for hidden in self.hidden.split(step, dim=1):
            entries = support.residuals[:, None] * hidden[support.positions]  # (M, step)
            phi = torch.zeros(n * tokens, hidden.shape[1], device=device).index_add_(0, rows, entries).view(n, -1)
            rh += (phi @ phi.T).double()
            phi = torch.stack([(self.error[a:b].T @ hidden[a:b]).flatten() for a, b in self._spans()])
            gh += (phi @ phi.T).double()
        return Grams(rh, gh)

    def sketched_grams(self, sketch: SketchConfig, *, unit: bool) -> Grams:
        """Return the inner products of all pairs of sketched documents.

        Parameters
        ----------
        sketch
            Widths and seed.
        unit
            Scale each sketched factor to unit length, as signatures have it; else Appendix D's analysis version.
        """
        device = self.hidden.device
        seed, d = sketch.seed, self.hidden.shape[1]
        factors = [
            CountSketch("r", self.vocabulary, sketch.kr, seed=seed, device=device).sparse(self.support),
            self.error @ CountSketch("g", d, sketch.kg, seed=seed, device=device).matrix(),
            self.hidden @ CountSketch("h", d, sketch.kh, seed=seed, device=device).matrix(),
        ]
        if unit:
            factors = [torch.nn.functional.normalize(factor, dim=1, eps=1e-30) for factor in factors]
        residual, error, hidden = factors
        grams = []
        for channel in (residual, error):
            phi = torch.stack([(channel[a:b].T @ hidden[a:b]).flatten() for a, b in self._spans()]).double()
            grams.append(phi @ phi.T)
        return Grams(*grams)

    def _spans(self) -> Iterator[tuple[int, int]]:
        return zip(self.bounds[:-1], self.bounds[1:], strict=True)

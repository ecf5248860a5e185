"""The sample's factors before any sketch, and the scores that follow from them, sketched and not.

A Gram matrix holds one channel's inner products of all pairs of documents. Unsketched, <phi_RH(i), phi_RH(q)> is
sum_{t, s} <r_t, r_s> <h_t, h_s>, computed from sparse residuals without a (V x d) matrix.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from risedb.config import ReadoutConfig, ScoreConfig, SketchConfig
from risedb.diagnostics.positions import Positions
from risedb.featurize import CountSketch, LanguageModel, Support


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
        lengths = self.residual_squares().sqrt()
        scales = torch.where(lengths > 0, lengths, 1.0)[self.support.positions]
        return replace(
            self,
            support=replace(self.support, residuals=self.support.residuals / scales),
            error=torch.nn.functional.normalize(self.error, dim=1, eps=1e-30),
            hidden=torch.nn.functional.normalize(self.hidden, dim=1, eps=1e-30),
        )

    def residual_squares(self) -> Tensor:
        """Return |r_t|^2, (N,) float32."""
        squares = torch.zeros(len(self.support), device=self.hidden.device)
        return squares.index_add(0, self.support.positions, self.support.residuals.square())

    def residuals(self) -> Tensor:
        """Return all residuals as one sparse (N, V) float32 matrix."""
        entries = torch.stack([self.support.positions, self.support.token_ids])
        shape = (len(self.support), self.vocabulary)
        return torch.sparse_coo_tensor(entries, self.support.residuals, shape, check_invariants=False).coalesce()

    def grams(self) -> Grams:
        """Return the unsketched inner products of all pairs of documents."""
        residuals = self.residuals()
        rows_rh, rows_gh = [], []
        for start, end in self._spans():
            hidden = self.hidden @ self.hidden[start:end].T  # (N, T_i)
            own = residuals.index_select(0, torch.arange(start, end, device=hidden.device)).to_dense()  # (T_i, V)
            rows_rh.append(self._by_document((torch.sparse.mm(residuals, own.T) * hidden).double().sum(dim=1)))
            rows_gh.append(self._by_document((self.error @ self.error[start:end].T * hidden).double().sum(dim=1)))
        return Grams(torch.stack(rows_rh), torch.stack(rows_gh))

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

    def _by_document(self, values: Tensor) -> Tensor:
        """Add up a value of each position within each document: (N,) to (n,)."""
        sums = torch.zeros(len(values) + 1, dtype=values.dtype, device=values.device)
        sums[1:] = values.cumsum(0)
        ends = sums[torch.tensor(self.bounds, device=values.device)]
        return ends[1:] - ends[:-1]

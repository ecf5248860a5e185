"""RISE with PCA in the place of CountSketch: the same factors, projected on principal directions learnt from the pool.

The directions are those of the factors' second moment, without subtracting a mean, so that the projection is linear and
the outer products keep their meaning. Texts that come later are projected on directions that were not learnt from them.

Source: arXiv:2604.16197v1, Appendix C.5.3 and Algorithm 2.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from torch import Tensor, nn

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import VectorRival, unit
from risedb.config import ReadoutConfig
from risedb.featurize import active_support

Factors = tuple[csr_array, NDArray[np.floating], NDArray[np.floating]]


class Pca(VectorRival):
    """Signatures of projected factors.

    Parameters
    ----------
    causal
        The target model.
    widths
        Kr, Kh, Kg.
    sample_positions
        From how many positions the directions are learnt.
    seed
        Of the randomised SVD.
    """

    def __init__(
        self,
        causal: Causal,
        widths: tuple[int, int, int] = (128, 24, 128),
        sample_positions: int = 20_000,
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.causal, self.sample_positions = causal, sample_positions
        self.projections = [TruncatedSVD(width, random_state=seed) for width in widths]

    def prepare(self, pool: Sequence[str]) -> None:
        """Learn the directions from the pool's first texts."""
        sample: list[Factors] = []
        for start in range(0, len(pool), 16):
            sample += [factors for _, factors in self._factors(pool[start : start + 16])]
            if sum(len(hidden) for _, hidden, _ in sample) >= self.sample_positions:
                break
        for projection, parts in zip(self.projections, zip(*sample, strict=True), strict=True):
            projection.fit(_stacked(parts))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return [0.7 phi_RH; phi_GH], (n, Kr * Kh + Kg * Kh) float32."""
        kr, kh, kg = (projection.n_components for projection in self.projections)
        rows = np.zeros((len(texts), (kr + kg) * kh), np.float32)
        for i, factors in self._factors(texts):
            pairs = zip(self.projections, factors, strict=True)
            rhat, hhat, ghat = (unit(projection.transform(factor)) for projection, factor in pairs)
            rows[i] = np.concatenate([(0.7 * rhat.T @ hhat).ravel(), (ghat.T @ hhat).ravel()])
        return rows

    @torch.inference_mode()
    def _factors(self, texts: Sequence[str]) -> Iterator[tuple[int, Factors]]:
        """Yield each text's residuals (T, V), sparse, hidden states (T, d) and projected errors (T, d)."""
        for i, hidden, ids in self.causal.hidden(texts):
            if len(ids) > 1:
                yield i, self._of(hidden[:-1].float(), ids[1:])

    def _of(self, hidden: Tensor, targets: Tensor) -> Factors:
        support = active_support(self.causal.logits(hidden), targets, ReadoutConfig())
        errors = nn.functional.embedding_bag(
            support.token_ids,
            self.causal.head.float(),
            support.offsets,
            mode="sum",
            per_sample_weights=support.residuals,
        )
        starts = np.append(support.offsets.numpy(), len(support.token_ids))
        shape = (len(targets), len(self.causal.head))
        residuals = csr_array((support.residuals.numpy(), support.token_ids.numpy(), starts), shape=shape)
        return residuals, hidden.numpy(), errors.numpy()


def _stacked(parts: Sequence[csr_array] | Sequence[NDArray[np.floating]]) -> csr_array | NDArray[np.floating]:
    if isinstance(parts[0], csr_array):
        from scipy.sparse import vstack

        return vstack(parts, format="csr")
    return np.concatenate(parts)

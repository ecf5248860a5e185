"""The LM head's gradient and what is left of it: exact, on the sparse support, or sketched whole (Tables 9 and 14).

With residual r_t and hidden state h_t the gradient of a text's summed loss with respect to the head is
sum_t r_t (x) h_t, a (V, d) matrix. Models with a softcap or scale after the head are read as RiseDB reads them.

Source: arXiv:2604.16197v1, Eq. 1, Tables 9 and 14.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import VectorRival
from benchmarks.rivals.streamed import StreamedRival
from risedb.config import ReadoutConfig
from risedb.featurize import CountSketch, active_support


def head_gradient(causal: Causal, hidden: Tensor, targets: Tensor) -> Tensor:
    """Return sum_t r_t (x) h_t over the whole vocabulary: (T, d) and (T,) to (V, d) in the logits' dtype."""
    residuals = torch.softmax(causal.logits(hidden), dim=1)
    residuals[torch.arange(len(targets)), targets] -= 1
    return residuals.T @ hidden.to(residuals.dtype)


class _OverHead(StreamedRival):
    """Cosines of (V, d) matrices."""

    def __init__(self, causal: Causal) -> None:
        super().__init__(cosine=True)
        self.causal = causal

    @abstractmethod
    def matrix(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the (V, d) matrix of some positions."""

    @torch.inference_mode()
    def vector(self, text: str) -> Tensor:
        """Return the matrix of one text, (V * d,)."""
        ((_, hidden, ids),) = self.causal.hidden([text])
        return self.matrix(hidden[:-1], ids[1:]).flatten()


class ExactHead(_OverHead):
    """The head's exact gradient: `LM-head exact cosine` of Table 14."""

    def matrix(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return sum_t r_t (x) h_t over the whole vocabulary."""
        return head_gradient(self.causal, hidden, targets)


class ExactSparseRH(_OverHead):
    """The RH channel without sketches: unit residuals on the support times unit hidden states."""

    def matrix(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return sum_t rhat_t (x) hhat_t with Algorithm 2's factors before CountSketch."""
        support = active_support(self.causal.logits(hidden), targets, ReadoutConfig())
        lengths = torch.zeros(len(targets)).index_add_(0, support.positions, support.residuals**2).sqrt()
        units = nn.functional.normalize(hidden.float(), dim=1) / lengths.clamp_min(1e-30)[:, None]
        matrix = torch.zeros(self.causal.head.shape)
        return matrix.index_add_(0, support.token_ids, support.residuals[:, None] * units[support.positions])


class GradSketch(VectorRival):
    """CountSketch of the head's exact gradient (Table 9: 156 MB for 5,000 documents are 16,384 float16 numbers each).

    Parameters
    ----------
    causal
        The target model.
    width, seed
        Buckets, and the seed of the hashes.
    """

    def __init__(self, causal: Causal, width: int = 16_384, seed: int = 42) -> None:
        super().__init__()
        self.causal = causal
        self.sketch = CountSketch("r", causal.head.numel(), width, seed=seed, device=causal.head.device)

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return sketched gradients, (n, width) float32."""
        rows = torch.zeros(len(texts), self.sketch.width)
        for i, hidden, ids in self.causal.hidden(texts):
            gradient = head_gradient(self.causal, hidden[:-1], ids[1:]).flatten()
            rows[i].index_add_(0, self.sketch.buckets, gradient * self.sketch.signs)
        return rows.numpy()

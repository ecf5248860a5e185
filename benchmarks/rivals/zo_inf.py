"""ZO-Inf: gradients estimated from forward passes at perturbed parameters, compressed as in RapidIn.

The estimate is mean_s (loss(theta + eps z_s) - loss(theta - eps z_s)) / (2 eps) z_s over Gaussian directions z_s. The
directions are the same for every text: two texts' estimates on directions of their own share nothing but what chance
gives, and their inner product is noise about sqrt(p) times the signal for p parameters. That other reading is `own`.

Source: Kokhlikyan et al., arXiv:2510.11832; arXiv:2604.16197v1, Table 6. Written from the descriptions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.oporp import Oporp
from benchmarks.rivals.rival import VectorRival


class ZoInf(VectorRival):
    """Zeroth-order gradients, compared by cosine.

    Parameters
    ----------
    causal
        The target model; its parameters are moved while losses are taken, and put back.
    epsilon
        How far parameters move along a direction.
    samples
        Directions for one estimate.
    own
        Whether each text gets directions of its own.
    compress
        The map to K bins; by default K = 65,536 with 20 shuffles.
    """

    def __init__(
        self,
        causal: Causal,
        *,
        epsilon: float = 1e-3,
        samples: int = 4,
        own: bool = False,
        compress: Oporp | None = None,
    ) -> None:
        super().__init__()
        self.causal, self.epsilon, self.samples, self.own = causal, epsilon, samples, own
        self.parameters = list(causal.model.parameters())
        self.compress = compress or Oporp(causal.model.num_parameters())
        self.seed = 42

    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return compressed estimates, (n, K)."""
        if not self.own:
            return self._estimates(texts, range(self.samples)).numpy()
        rows = []
        for text in texts:
            self.seed += self.samples
            rows.append(self._estimates([text], range(self.seed, self.seed + self.samples)))
        return torch.cat(rows).numpy()

    def direction(self, seed: int) -> Tensor:
        """Return one Gaussian direction, (p,)."""
        kind = self.parameters[0].dtype
        return torch.randn(
            self.causal.model.num_parameters(), dtype=kind, generator=torch.Generator().manual_seed(seed)
        )

    def slopes(self, texts: Sequence[str], direction: Tensor) -> Tensor:
        """Return each text's central difference of the loss along a direction, (n,) float64."""
        with self._moved(self.epsilon * direction):
            ahead = self.causal.losses(texts)
        with self._moved(-self.epsilon * direction):
            behind = self.causal.losses(texts)
        return (ahead - behind) / (2 * self.epsilon)

    def _estimates(self, texts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        rows = torch.zeros(len(texts), self.compress.bins)
        for seed in seeds:
            direction = self.direction(seed)
            rows += self.slopes(texts, direction).to(rows)[:, None] * self.compress(direction).to(rows) / len(seeds)
        return rows

    @contextmanager
    def _moved(self, step: Tensor) -> Iterator[None]:
        with torch.no_grad():
            start = parameters_to_vector(self.parameters)
            vector_to_parameters(start + step, self.parameters)
            try:
                yield
            finally:
                vector_to_parameters(start, self.parameters)

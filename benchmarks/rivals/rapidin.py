"""RapidIn: the whole gradient, each layer's scaled to unit length, compressed by OPORP.

Source: Lin et al., arXiv:2405.11724, Sections 3.1 and 3.2; arXiv:2604.16197v1, Table 6. Written from the descriptions.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.oporp import Oporp
from benchmarks.rivals.rival import VectorRival


class RapidIn(VectorRival):
    """Compressed gradients, compared by inner product.

    Parameters
    ----------
    causal
        The target model.
    bins, shuffles, seed
        As in :class:`benchmarks.rivals.oporp.Oporp`.
    """

    def __init__(self, causal: Causal, bins: int = 65_536, shuffles: int = 20, seed: int = 42) -> None:
        super().__init__(cosine=False)
        self.causal = causal
        self.compress = Oporp(causal.model.num_parameters(), bins, shuffles, seed)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return compressed gradients, (n, K) in the model's dtype."""
        rows = []
        for ids in self.causal.ids(texts):
            layers = self.causal.gradients(ids)
            units = [layer.flatten() / layer.norm().clamp_min(torch.finfo(layer.dtype).tiny) for layer in layers]
            rows.append(self.compress(torch.cat(units)))
        return torch.stack(rows).numpy()

"""LoGra, by dattri: low-rank projections of each linear layer's gradient, with the pool's empirical Fisher matrix.

Its reference package, logix-ai 0.1.1, is for Python below 3.11. dattri's own implementation of the method is used with
its defaults, but for the width: 256 numbers a layer, TrackStar's budget, since each layer's Fisher matrix is inverted.

Source: Choe et al., 2024; arXiv:2604.16197v1, Table 19; dattri 0.3.0.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from dattri.algorithm.logra import LoGraAttributor
from dattri.task import AttributionTask
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import Rival


def next_token_loss(model: nn.Module, batch: dict[str, Tensor], _device: str) -> Tensor:
    """Return the model's own loss, () (dattri takes that one for queries, whatever it is given for the pool)."""
    return model(**batch).loss


class LoGra(Rival):
    """Projected influences.

    Parameters
    ----------
    causal
        The target model.
    scratch
        Folder in which dattri writes what it knows of the pool.
    width
        Numbers a layer, a perfect square.
    """

    def __init__(self, causal: Causal, scratch: Path, width: int = 256) -> None:
        self.causal = causal
        model = causal.copy()
        task = AttributionTask(next_token_loss, model, model.state_dict())
        self.attributor = LoGraAttributor(task, proj_dim=width, offload="cpu", cache_dir=str(scratch))

    def fit(self, pool: Sequence[str]) -> None:
        """Keep the pool's projected gradients, and precondition them."""
        self.pool = self._loader(pool)
        self.attributor.cache(self.pool)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return influences, (m, n) float32."""
        return self.attributor.attribute(self.pool, self._loader(queries)).T.float().cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write the preconditioned rows and what preconditions; dattri's own `disk` needs CUDA's pinned memory."""
        kept = self.attributor.offload_manager
        torch.save([kept.cached_ifvp, kept.preconditioners], folder / "rows.pt")

    def _loader(self, texts: Sequence[str]) -> DataLoader:
        return DataLoader([{"input_ids": ids, "labels": ids} for ids in self.causal.ids(texts)], batch_size=1)

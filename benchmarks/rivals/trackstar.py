"""TrackStar, by bergson: randomly projected gradients of every linear layer of the body.

The paper's configuration (Table 6): Rademacher projections of 16 x 16 a layer, mean cross-entropy, bfloat16, no biases,
and no Hessian (`Base` of Table 15). Since the paper bergson's defaults have become the sum of the losses and float32.

Source: arXiv:2604.16197v1, Tables 6 and 15; bergson 2.5.1.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bergson.collector.collector import CollectorComputer
from bergson.collector.in_memory_collector import InMemoryCollector
from bergson.config.config import IndexConfig
from bergson.gradients import GradientProcessor
from datasets import Dataset
from numpy.typing import NDArray

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import VectorRival


class TrackStar(VectorRival):
    """Projected gradients of all layers, side by side.

    Parameters
    ----------
    causal
        The target model.
    scratch
        Folder in which bergson writes while it runs.
    cosine
        Whether vectors are compared at unit length (`UnitNorm` of Table 15).
    """

    def __init__(self, causal: Causal, scratch: Path, *, cosine: bool = False) -> None:
        super().__init__(cosine=cosine)
        self.causal, self.scratch = causal, scratch
        self.model = causal.copy(torch.bfloat16)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return projected gradients, (n, layers * 256) float32."""
        rows = [ids.tolist() for ids in self.causal.ids(texts)]
        data = Dataset.from_dict({"input_ids": rows, "length": [len(row) for row in rows]})
        config = IndexConfig(str(self.scratch), projection_dim=16, precision="bf16", loss_reduction="mean")
        Path(config.partial_run_path).mkdir(parents=True, exist_ok=True)
        processor = GradientProcessor(projection_dim=16, projection_type="rademacher", projection_seed=42)
        collector = InMemoryCollector(model=self.model.base_model, data=data, cfg=config, processor=processor)
        CollectorComputer(self.model, data, collector=collector, cfg=config).run_with_collector_hooks("TrackStar")
        return torch.cat([part.float() for part in collector.gradients.values()], dim=1).numpy()

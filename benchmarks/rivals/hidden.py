"""Cosine of a text's mean representation inside the model: final hidden states, or input embeddings (Table 13).

Source: arXiv:2604.16197v1, Table 13 and Figure 7. Positions that predict a token are the ones averaged, as for the
signature: with the last one howdy's auPRC at 5 is 0.673 instead of 0.685.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import VectorRival


class HiddenState(VectorRival):
    """The mean of the states that enter the LM head where a next token follows."""

    def __init__(self, causal: Causal) -> None:
        super().__init__()
        self.causal = causal

    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return mean final hidden states, (n, d) float32."""
        means = torch.zeros(len(texts), self.causal.head.shape[1])
        for i, hidden, _ in self.causal.hidden(texts):
            means[i] = predicting(hidden).float().mean(dim=0)
        return means.numpy()


class InputEmbedding(VectorRival):
    """The mean of the model's input embeddings at the same positions."""

    def __init__(self, causal: Causal) -> None:
        super().__init__()
        self.causal = causal

    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return mean input embeddings, (n, d) float32."""
        table = self.causal.model.get_input_embeddings().weight.detach().float()
        return torch.stack([table[predicting(ids)].mean(dim=0) for ids in self.causal.ids(texts)]).numpy()


def predicting(positions: Tensor) -> Tensor:
    """Leave out a text's last position, which predicts nothing, unless it is the only one."""
    return positions[: max(len(positions) - 1, 1)]

"""TracIn with one checkpoint, exact: inner products of the gradients of all parameters.

Source: Pruthi et al., arXiv:2002.08484, Section 3.2; arXiv:2604.16197v1, Section 3 (the same with cosines).
"""

import torch
from torch import Tensor

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.streamed import StreamedRival


class TracIn(StreamedRival):
    """The gradient of a text's mean loss with respect to every parameter of the model, uncompressed."""

    def __init__(self, causal: Causal, *, cosine: bool) -> None:
        super().__init__(cosine=cosine)
        self.causal = causal

    def vector(self, text: str) -> Tensor:
        """Return the whole gradient, (p,)."""
        (ids,) = self.causal.ids([text])
        return torch.cat([gradient.flatten() for gradient in self.causal.gradients(ids)])

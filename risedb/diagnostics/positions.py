"""The sample as the model reads it: final hidden states and targets of all positions that count, document by document.

Read once and shared by the diagnostics that need forward passes only. One document at a time, so that no number here
depends on a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from risedb.config import ReadoutConfig
from risedb.featurize import LanguageModel, Support, Tokens, active_support

_LOGITS_BYTES = 2**26


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """All counted positions of n documents.

    Parameters
    ----------
    hidden
        (N, d): h_t, what enters the LM head, in the model's dtype.
    targets
        (N,) int64: the token y_t that came next.
    bounds
        n + 1 numbers: the positions of document i are ``bounds[i]:bounds[i + 1]``.
    """

    hidden: Tensor
    targets: Tensor
    bounds: tuple[int, ...]

    @classmethod
    def read(cls, model: LanguageModel, documents: Sequence[Tokens], readout: ReadoutConfig) -> "Positions":
        """Run the body over each document, cut or windowed as the readout says."""
        hidden, targets, bounds = [], [], [0]
        for tokens in documents:
            for window in tokens.windows(readout):
                ids = torch.from_numpy(window.ids).to(model.device)
                states = model.hidden(ids[None], torch.ones_like(ids)[None])[0]  # (T, d)
                hidden.append(states[window.first_target - 1 : -1])
                targets.append(ids[window.first_target :])
            bounds.append(sum(map(len, targets)))
        return cls(torch.cat(hidden), torch.cat(targets), tuple(bounds))

    def __len__(self) -> int:
        """Count the positions."""
        return len(self.targets)

    def drawn(self, most: int, seed: int = 42) -> "Positions":
        """Draw at most so many positions, without replacement; which document each is from is forgotten."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self), generator=generator)[:most].to(self.targets.device)
        return Positions(self.hidden[chosen], self.targets[chosen], (0, len(chosen)))

    def with_logits(self, model: LanguageModel) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield logits (n, V) float32 and targets (n,) of a few positions at a time."""
        step = max(_LOGITS_BYTES // (4 * len(model.head)), 1)
        for hidden, targets in zip(self.hidden.split(step), self.targets.split(step), strict=True):
            yield model.logits(hidden), targets

    def support(self, model: LanguageModel, readout: ReadoutConfig) -> Support:
        """Return the supports of all positions, as signatures are made of them (Algorithm 2, lines 4 to 10)."""
        parts = [active_support(logits, targets, readout) for logits, targets in self.with_logits(model)]
        firsts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0).tolist()
        entries = torch.tensor([0, *(len(part.token_ids) for part in parts)]).cumsum(0).tolist()
        return Support(
            torch.cat([part.token_ids for part in parts]),
            torch.cat([part.probabilities for part in parts]),
            torch.cat([part.residuals for part in parts]),
            torch.cat([part.positions + first for part, first in zip(parts, firsts, strict=False)]),
            torch.cat([part.offsets + entry for part, entry in zip(parts, entries, strict=False)]),
        )

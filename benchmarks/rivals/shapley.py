"""Shapley values of documents for queries: truncated Monte Carlo (TMC) and the gradient shortcut (G-Shapley).

The utility is minus the held-out loss, here each query's own; so a player has one value for each query. TMC-Shapley
asks a model trained on each prefix of a permutation; here training is one step of gradient descent on the sum of the
prefix's losses, a function of the set and not of its order. G-Shapley follows one pass of SGD along the permutation.

Source: Ghorbani and Zou, arXiv:1904.02868, Algorithms 1 and 2; arXiv:2604.16197v1, Table 18. Written from the
descriptions.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import Rival


class Coalition(ABC):
    """What players are worth together: grows by one player at a time."""

    @abstractmethod
    def clear(self) -> None:
        """Send all players away."""

    @abstractmethod
    def join(self, player: int) -> None:
        """Take one more player in."""

    @abstractmethod
    def utility(self) -> NDArray[np.float64]:
        """Return what the players so far are worth, (m,), one number for each query."""


def shapley_values(
    coalition: Coalition, players: int, permutations: Iterable[Sequence[int]], tolerance: float = 0.0
) -> NDArray[np.float64]:
    """Average each player's marginal gain over permutations.

    Parameters
    ----------
    coalition
        The game.
    players
        n.
    permutations
        Orders in which players join.
    tolerance
        Once a prefix's mean utility is as near to that of all players as this part of the way from none to all, the
        rest of its permutation gains nothing; 0 truncates nothing.

    Returns
    -------
    NDArray
        (m, n). Without truncation each row sums to utility(all) - utility(none), averaged over the permutations.
    """
    coalition.clear()
    nobody = coalition.utility()
    everybody = _worth(coalition, range(players)) if tolerance else nobody
    near = tolerance * abs(float(np.mean(everybody - nobody)))
    values, count = np.zeros((len(nobody), players)), 0
    for permutation in permutations:
        coalition.clear()
        before, count = nobody, count + 1
        for player in permutation:
            if abs(float(np.mean(everybody - before))) < near:
                break
            coalition.join(player)
            after = coalition.utility()
            values[:, player] += after - before
            before = after
    return values / max(count, 1)


def _worth(coalition: Coalition, players: Iterable[int]) -> NDArray[np.float64]:
    coalition.clear()
    for player in players:
        coalition.join(player)
    return coalition.utility()


class Training(Coalition):
    """A model that learns one document after the other, and is worth minus its loss on each query.

    Parameters
    ----------
    causal
        The target model; :meth:`clear` puts its parameters back.
    pool, queries
        Texts.
    rate
        Step size of gradient descent.
    sequential
        True: each step starts where the last ended (one pass of SGD). False: every gradient is taken at the model as it
        was (one step on the sum of losses).
    """

    def __init__(
        self, causal: Causal, pool: Sequence[str], queries: Sequence[str], rate: float, *, sequential: bool
    ) -> None:
        self.causal, self.queries, self.rate, self.sequential = causal, queries, rate, sequential
        self.ids = causal.ids(pool)
        self.parameters = list(causal.model.parameters())
        self.start = parameters_to_vector(self.parameters).detach().clone()
        self.now = self.start.clone()

    def clear(self) -> None:
        """Go back to the model as it was."""
        self._place(self.start)

    def join(self, player: int) -> None:
        """Take one step along a document's gradient."""
        if not self.sequential:
            vector_to_parameters(self.start, self.parameters)
        step: Tensor = torch.cat([gradient.flatten() for gradient in self.causal.gradients(self.ids[player])])
        self._place(self.now - self.rate * step)

    def utility(self) -> NDArray[np.float64]:
        """Return minus the mean loss of each query."""
        return -self.causal.losses(self.queries).numpy()

    def _place(self, parameters: Tensor) -> None:
        self.now = parameters.clone()
        vector_to_parameters(self.now, self.parameters)


class Shapley(Rival):
    """TMC-Shapley or G-Shapley of every document of the pool, computed when queries are known.

    Parameters
    ----------
    causal
        The target model.
    sequential
        True for G-Shapley, False for TMC-Shapley.
    permutations
        How many; Table 18 takes 32.
    rate
        Step size of gradient descent.
    seed
        Of the permutations.
    """

    def __init__(
        self, causal: Causal, *, sequential: bool, permutations: int = 32, rate: float = 1e-3, seed: int = 42
    ) -> None:
        self.causal, self.sequential, self.permutations = causal, sequential, permutations
        self.rate, self.seed = rate, seed

    def fit(self, pool: Sequence[str]) -> None:
        """Remember the players."""
        self.pool = list(pool)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return values, (m, n)."""
        rng = np.random.default_rng(self.seed)
        orders = [rng.permutation(len(self.pool)).tolist() for _ in range(self.permutations)]
        training = Training(self.causal, self.pool, queries, self.rate, sequential=self.sequential)
        try:
            return shapley_values(training, len(self.pool), orders, 0.0 if self.sequential else 0.05)
        finally:
            training.clear()

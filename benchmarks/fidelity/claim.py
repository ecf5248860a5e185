"""One claim, the paper's numbers for it and this run's; every sentence is made of the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

Curve = dict[str, float]
"""One method's numbers by what they were measured at, ``{"K = 5": 0.98}``; higher is better."""
Pair = tuple[Curve, Curve]


def behind(pair: Pair) -> list[str]:
    """Return where the first side is not ahead of the second, of the points at which both were measured.

    Examples
    --------
    >>> behind(({"K = 5": 0.9, "K = 10": 0.7}, {"K = 5": 0.8, "K = 10": 0.7, "K = 50": 0.6}))
    ['K = 10']
    """
    first, second = pair
    return [key for key in first if key in second and first[key] <= second[key]]


@dataclass(frozen=True, slots=True)
class Claim:
    """That one thing is ahead of another.

    Parameters
    ----------
    where
        What was measured.
    names
        What is ahead, and of what.
    table
        Where the paper has it.
    paper
        Both sides, a pair for each of the paper's models.
    here
        Both sides in this run; either one is empty where it was not measured.
    ahead
        What being ahead is called.
    unsure
        Why this run decides nothing, if it does not.
    """

    where: str
    names: tuple[str, str]
    table: str
    paper: Sequence[Pair]
    here: Pair
    ahead: str = "ahead of"
    unsure: str = ""

    @property
    def points(self) -> list[str]:
        """Where this run has both sides, of what the paper's table has."""
        first, second = self.here
        return [key for key in first if key in second and any(key in one and key in other for one, other in self.paper)]

    @property
    def claimed(self) -> bool:
        """Whether the first is ahead everywhere for more than half of the paper's models."""
        return 2 * self._models > len(self.paper)

    @property
    def holds(self) -> bool | None:
        """Whether the first is ahead everywhere in this run; None where it was not measured or decides nothing."""
        return not self._missing if self.points and not self.unsure else None

    @property
    def sentence(self) -> str:
        """How it is here, with numbers where it is not so, and for how many of the paper's models it is."""
        (first, second), missing = self.names, self._missing
        said = f"{self.where}: {first} is {'not ' if missing else ''}{self.ahead} {second}"
        if points := missing or (self.points if self.unsure else []):
            ours, theirs = (", ".join(f"{side[key]:.3f}" for key in points) for side in self.here)
            at = " at K = " if points[0].startswith("K = ") else ": "
            said += f"{at}{', '.join(one.removeprefix('K = ') for one in points)} ({ours} against {theirs})"
        said += f"; {self.unsure}" if self.unsure else ""
        if len(self.paper) > 1:
            return f"{said}. In {self.table} it is for {self._models or 'none'} of {len(self.paper)} models."
        return f"{said}. In {self.table} it is{'' if self._models else ' not'}."

    @property
    def _missing(self) -> list[str]:
        return [key for key in behind(self.here) if key in self.points]

    @property
    def _models(self) -> int:
        return sum(not behind(pair) for pair in self.paper)

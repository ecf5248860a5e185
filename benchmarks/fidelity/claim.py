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
    says
        What is claimed.
    table
        Where the paper has it.
    paper
        Both sides, a pair for each of the paper's models.
    here
        Both sides in this run; either one is empty where it was not measured.
    overlap
        Whether both sides' intervals in this run overlap, so that it decides nothing.
    """

    says: str
    table: str
    paper: Sequence[Pair]
    here: Pair
    overlap: bool = False

    @property
    def measured(self) -> bool:
        """Whether this run has both sides."""
        return bool(self.here[0].keys() & self.here[1].keys())

    @property
    def holds(self) -> bool | None:
        """Whether the first is ahead everywhere in this run; None where it was not measured or decides nothing."""
        return not behind(self.here) if self.measured and not self.overlap else None

    @property
    def in_the_paper(self) -> str:
        """Whether the first is ahead everywhere, of several models for how many."""
        if len(self.paper) > 1:
            whole = sum(not behind(pair) for pair in self.paper)
            return f"{'everywhere ' if whole else ''}for {whole or 'none'} of {len(self.paper)} models"
        (pair,) = self.paper
        return _where(pair)

    @property
    def in_this_run(self) -> str:
        """Whether the first is ahead everywhere, and if not, where not."""
        if not self.measured:
            return "not measured"
        return _where(self.here) + (", but their intervals overlap" if self.overlap else "")

    @property
    def sentence(self) -> str:
        """What to say of it where this run does not support it."""
        also = "" if any(not behind(pair) for pair in self.paper) else "; nor does the paper's table, everywhere"
        return f"{self.says} ({self.table}): this model does not support it, {self.in_this_run}{also}."


def _where(pair: Pair) -> str:
    first, second = pair
    if not (missing := behind(pair)):
        return "yes"
    numbers = ", ".join(f"{key} ({first[key]:.3f} against {second[key]:.3f})" for key in missing)
    return f"{'nowhere:' if len(missing) == len(first.keys() & second.keys()) else 'not at'} {numbers}"

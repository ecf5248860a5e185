"""What an add has done so far; each stage counts its own part."""

from collections.abc import Mapping
from typing import Literal, get_args

from risedb.corpus import BadRow
from risedb.database.hits import AddReport
from risedb.errors import InvalidInput

OnError = Literal["stop", "skip"]


class Tally:
    """Counts of one add, as in :class:`risedb.database.AddReport`, and the rows that it could not use.

    Parameters
    ----------
    on_error
        Stop at a row that cannot be used, or list it and go on.

    Raises
    ------
    InvalidInput
        If it says neither.
    """

    def __init__(self, on_error: OnError) -> None:
        if on_error not in get_args(OnError):
            msg = f"on_error is {on_error!r}; it must be 'stop' or 'skip'"
            raise InvalidInput(msg)
        self._on_error = on_error
        self._skipped: list[tuple[int, BadRow]] = []
        self.unchanged = self.added = self.updated = self.truncated = 0

    def reject(self, number: int, place: str, reason: str) -> None:
        """Stop at a row that cannot be used, or list it.

        Raises
        ------
        InvalidInput
            With ``on_error="stop"``.
        """
        if self._on_error == "stop":
            msg = f"{place}: {reason}"
            raise InvalidInput(msg)
        self.skip(number, place, reason)

    def skip(self, number: int, place: str, reason: str) -> None:
        """List a row that is not stored."""
        self._skipped.append((number, BadRow(place, reason)))

    def report(self, rows: int, seconds: Mapping[str, float] | None) -> AddReport:
        """Report, with the rows that were not stored in the order of the input."""
        skipped = tuple(row for _, row in sorted(self._skipped, key=lambda one: one[0]))
        return AddReport(self.added, self.unchanged, self.updated, self.truncated, skipped, rows, seconds)

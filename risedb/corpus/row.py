"""What a reader yields: a row with its place, or the place and reason of one it could not read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from risedb.corpus.json_values import canonical_json, describe
from risedb.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a corpus, before any field of it is given a meaning.

    Parameters
    ----------
    place
        Where it stands, for messages: ``pool.jsonl:17``.
    values
        The whole row, by field name.
    """

    place: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read; the consumer decides whether to stop or to list it.

    Parameters
    ----------
    place
        Where it stands: ``pool.jsonl:17``.
    reason
        What is wrong with it.
    """

    place: str
    reason: str


def checked_row(place: str, values: object) -> Row | BadRow:
    """Make a row of a value that was read, if it is an object that an index can keep.

    Examples
    --------
    >>> checked_row("pool.jsonl:17", ["a", "b"])
    BadRow(place='pool.jsonl:17', reason='a list, not an object')
    """
    if not isinstance(values, dict):
        return BadRow(place, f"{describe(values)}, not an object")
    try:
        canonical_json(values)
    except InvalidInput as error:
        return BadRow(place, str(error))
    return Row(place, values)


def at_least_one(rows: Iterator[Row | BadRow], complaint: str) -> Iterator[Row | BadRow]:
    """Pass all rows on; an empty source is a mistake in its name far more often than meant.

    Raises
    ------
    InvalidInput
        Saying `complaint`, when the rows end before the first.
    """
    first = next(rows, None)
    if first is None:
        raise InvalidInput(complaint)
    yield first
    yield from rows

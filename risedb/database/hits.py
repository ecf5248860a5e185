"""What a query gives back, and what an add did."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from risedb.corpus import BadRow


@dataclass(frozen=True, slots=True)
class Hit:
    """One document of a ranking.

    Parameters
    ----------
    rank
        From 1.
    id
        The document's id.
    score
        Inner product of the two signatures; a cosine unless normalisation was switched off.
    record
        The whole row as it was added.
    """

    rank: int
    id: str
    score: float
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents for one query, best first (with ``bottom``, worst first). A sequence of hits.

    Parameters
    ----------
    query
        The query's id.
    hits
        As many as were asked for, or the whole pool.
    """

    query: str
    hits: tuple[Hit, ...]

    def __len__(self) -> int:
        """Count the hits."""
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        """Go through the hits."""
        return iter(self.hits)

    def __getitem__(self, index: int) -> Hit:
        """Return one hit."""
        return self.hits[index]

    def as_dict(self) -> dict[str, Any]:
        """Return the ranking as JSON: ``{"query": …, "hits": [{"rank": 1, …}]}``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AddReport:
    """What one add did.

    Parameters
    ----------
    added, unchanged, updated
        Documents that were new, known with the same content, known with other content.
    truncated
        Of the added and updated ones, those longer than seq_len, of which only the beginning was read.
    skipped
        Rows that were not stored, with the reason.
    rows
        Documents in the index now.
    seconds
        Where the time went, if that was asked for: read, tokenise, forward, head (with top-K), sketch, write, what the
        model waited for tokens and for the disk, and total. Stages overlap; several devices' times are added up.
    """

    added: int
    unchanged: int
    updated: int
    truncated: int
    skipped: tuple[BadRow, ...]
    rows: int
    seconds: Mapping[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AddProgress:
    """How far an add has come.

    Parameters
    ----------
    documents
        Rows of the input that are done with, whatever became of them.
    tokens
        Tokens that went through the model.
    committed
        Documents of this add that are durable.
    """

    documents: int
    tokens: int
    committed: int

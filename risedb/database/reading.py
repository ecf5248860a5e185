"""The first stages of an add: rows to documents, and of these the ones that the index lacks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import xxhash

from risedb.corpus import BadRow, Document, Fields, Row
from risedb.corpus.json_values import describe
from risedb.database.seen import Seen
from risedb.database.stopwatch import Stopwatch
from risedb.database.tally import Tally
from risedb.storage import Store

Rows = Iterable[Row | BadRow | Mapping[str, Any] | str]
_CHUNK = 256  # rows that are read and looked up together


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document that the index lacks, or has with other content.

    Parameters
    ----------
    number
        Of its row in the input, from 1.
    document
        The document.
    replaces
        Whether the index has its id.
    truncated
        Whether only its beginning is read.
    """

    number: int
    document: Document
    replaces: bool
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is new in some rows of the input.

    Parameters
    ----------
    rows
        Rows of the input up to the chunk's end.
    new
        In the order of the input.
    """

    rows: int
    new: tuple[NewDocument, ...]


def read_documents(rows: Rows, fields: Fields, watch: Stopwatch) -> Iterator[list[Document | BadRow]]:
    """Read rows and give them their meaning, a chunk at a time."""
    numbered = enumerate(rows, 1)
    while True:
        with watch("read"):
            chunk = [as_document(row, f"row {number}", fields) for number, row in islice(numbered, _CHUNK)]
        if not chunk:
            return
        yield chunk


def new_documents(chunks: Iterable[list[Document | BadRow]], store: Store, tally: Tally) -> Iterator[Chunk]:
    """Leave out what the index has, by the hash of its content, and what this input held before.

    Raises
    ------
    InvalidInput
        By the tally, for a row that could not be read, or an id that comes again with other content.
    """
    seen, before, rows = Seen(), store.snapshot(), 0
    for chunk in chunks:
        first: list[tuple[int, Document]] = []
        for number, document in enumerate(chunk, rows + 1):
            if isinstance(document, BadRow):
                tally.reject(number, document.place, document.reason)
            elif _is_first(document, number, seen, tally):
                first.append((number, document))
        new = []
        known = store.lookup([document.id for _, document in first], before)
        for (place, document), entry in zip(first, known, strict=True):
            if entry is not None and entry.content == document.content_hash:
                tally.unchanged += 1
            else:
                new.append(NewDocument(place, document, entry is not None))
        rows += len(chunk)
        yield Chunk(rows, tuple(new))


def _is_first(document: Document, number: int, seen: Seen, tally: Tally) -> bool:
    content = xxhash.xxh3_64_intdigest(document.content_hash)
    before = seen.setdefault(xxhash.xxh3_64_intdigest(document.id.encode()), content)
    if before is not None and before == content:
        tally.unchanged += 1
    elif before is not None:
        reason = f"the id {document.id!r} stands twice in this input, with other content than before"
        tally.reject(number, document.place, reason)
    return before is None


def as_document(row: object, place: str, fields: Fields) -> Document | BadRow:
    """Give a row of a reader, a mapping or a plain text its meaning; `place` names those that have none."""
    if isinstance(row, BadRow):
        return row
    if isinstance(row, str):
        row = {fields.text: row}
    if isinstance(row, Mapping):
        row = Row(place, row)
    if not isinstance(row, Row):
        return BadRow(place, f"{describe(row)}, not a text, a mapping or a Row")
    return fields.document(row)

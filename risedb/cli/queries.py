"""The queries of a verb: stored documents, texts and rows of files, signed some at a time."""

from itertools import islice
from typing import TYPE_CHECKING

from risedb.cli.render import document_text
from risedb.corpus import Row
from risedb.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from risedb.corpus import BadRow, Fields
    from risedb.database import RiseDB
    from risedb.signature import Signatures

_CHUNK = 64  # that are signed together


def signed(
    db: "RiseDB", ids: list[str], texts: list[str], rows: "Iterator[Row | BadRow]", fields: "Fields"
) -> "Iterator[tuple[Signatures, list[str]]]":
    """Yield signatures, and texts to show of them where a person would not know them by name.

    Raises
    ------
    InvalidInput
        If there is no query, or one cannot be used.
    NotFound
        If an id is not in the index.
    """
    if ids:
        yield db.signatures(ids), []
    if texts:
        yield db.sign(texts, fields=fields), texts
    some = list(islice(rows, _CHUNK))
    if not (ids or texts or some):
        msg = "there is no query; give a FILE, --text or --id"
        raise InvalidInput(msg)
    while some:
        yield db.sign(some, fields=fields), [document_text(row.values, fields) for row in some if isinstance(row, Row)]
        some = list(islice(rows, _CHUNK))

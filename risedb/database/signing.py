"""Tokens and signatures of documents that are not added: queries, samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from risedb.config import ReadoutConfig
from risedb.corpus import BadRow, Document, Fields, Row
from risedb.database.encoding import encode_documents
from risedb.database.reading import as_document
from risedb.errors import InvalidInput
from risedb.featurize import Featurizer, Tokenizer, Tokens
from risedb.signature import Signatures


def sign(
    rows: Iterable[Row | BadRow | Mapping[str, Any] | str], load: Callable[[], Featurizer], fields: Fields
) -> Signatures:
    """Compute the signatures of all rows, in their order; a row without an id is known by its place, or ``query-1``.

    Parameters
    ----------
    rows, fields
        What is signed, and what its fields mean.
    load
        Called when all rows have been read and found to be documents.

    Raises
    ------
    InvalidInput
        If there is no row; for the first one that cannot be used, naming its place.
    """
    documents = [_query(row, number, fields) for number, row in enumerate(rows, 1)]
    if not documents:
        msg = "there is no query"
        raise InvalidInput(msg)
    featurizer = load()
    tokens = _encoded(documents, featurizer.model.tokenizer, featurizer.readout)
    phi = featurizer.phi(tokens)
    for document, finite in zip(documents, phi.finite, strict=True):
        if not finite:
            msg = f"{document.place}: the model gives NaN or infinite logits for it"
            raise InvalidInput(msg)
    return Signatures.from_phi([document.id for document in documents], phi.rh, phi.gh)


def encode_rows(
    rows: Iterable[Row | BadRow | Mapping[str, Any] | str], tokenizer: Tokenizer, readout: ReadoutConfig, fields: Fields
) -> tuple[list[Document], list[Tokens]]:
    """Tokenize all rows, in their order; each has a position that counts.

    Raises
    ------
    InvalidInput
        For the first row that cannot be used, naming its place.
    """
    documents = [_query(row, number, fields) for number, row in enumerate(rows, 1)]
    return documents, _encoded(documents, tokenizer, readout)


def _encoded(documents: Sequence[Document], tokenizer: Tokenizer, readout: ReadoutConfig) -> list[Tokens]:
    tokens = []
    for document, one in zip(documents, encode_documents(documents, tokenizer), strict=True):
        if isinstance(one, InvalidInput):
            msg = f"{document.place}: {one}"
            raise InvalidInput(msg)
        if not one.windows(readout):
            msg = f"{document.place}: no position to score; it needs at least two tokens that count"
            raise InvalidInput(msg)
        tokens.append(one)
    return tokens


def _query(row: Row | BadRow | Mapping[str, Any] | str, number: int, fields: Fields) -> Document:
    name = f"query-{number}"
    if isinstance(row, str):  # a bare text has no completion to which the loss could be confined
        row, fields = {fields.text: row}, replace(fields, loss_on="all")
    if isinstance(row, Mapping):
        row = Row(name, row)
    if isinstance(row, Row) and fields.id not in row.values:
        row = Row(row.place, {fields.id: row.place, **row.values})
    document = as_document(row, name, fields)
    if isinstance(document, BadRow):
        msg = f"{document.place}: {document.reason}"
        raise InvalidInput(msg)
    return document

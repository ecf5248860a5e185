"""Signatures of documents that are not added: queries."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from risedb.corpus import BadRow, Document, Fields, Row
from risedb.database.adding import as_document
from risedb.database.encoding import encode_documents
from risedb.errors import InvalidInput
from risedb.featurize import Featurizer
from risedb.signature import Signatures


def sign(rows: Iterable[Row | BadRow | Mapping[str, Any] | str], featurizer: Featurizer, fields: Fields) -> Signatures:
    """Compute the signatures of all rows, in their order; a row without an id is known by its place, or ``query-1``.

    Raises
    ------
    InvalidInput
        For the first row that cannot be used, naming its place.
    """
    documents = [_query(row, number, fields) for number, row in enumerate(rows, 1)]
    tokens = []
    encoded = encode_documents(documents, featurizer.model.tokenizer)
    for document, one in zip(documents, encoded, strict=True):
        if isinstance(one, InvalidInput):
            msg = f"{document.place}: {one}"
            raise InvalidInput(msg)
        if not one.windows(featurizer.readout):
            msg = f"{document.place}: no position to score; a query needs at least two tokens that count"
            raise InvalidInput(msg)
        tokens.append(one)
    phi = featurizer.phi(tokens)
    for document, finite in zip(documents, phi.finite, strict=True):
        if not finite:
            msg = f"{document.place}: the model gives NaN or infinite logits for it"
            raise InvalidInput(msg)
    return Signatures.from_phi([document.id for document in documents], phi.rh, phi.gh)


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

"""One add: rows to documents, documents to signatures, signatures to commits, in the order of the input."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

import xxhash

from risedb.corpus import BadRow, Document, Fields, Row
from risedb.database.encoding import encode_documents
from risedb.database.hits import AddProgress, AddReport
from risedb.errors import InvalidInput
from risedb.featurize import Featurizer, Tokens
from risedb.signature import Signatures
from risedb.storage import NewRows, Store

OnError = Literal["stop", "skip"]
Rows = Iterable[Row | BadRow | Mapping[str, Any] | str]
_WINDOW = 256  # documents that are tokenized and batched by length together
_BULK_ROWS = 1000  # an add of as many seals at its end


class Adding:
    """The state of one add.

    Parameters
    ----------
    store
        Locked for writing.
    featurizer
        Makes the signatures.
    fields
        What the fields of a row mean.
    on_error
        Stop at a row that cannot be used, or list it and go on.
    commit_every
        Documents in a commit.
    progress
        Called after each window of documents.
    """

    def __init__(
        self,
        store: Store,
        featurizer: Featurizer,
        *,
        fields: Fields,
        on_error: OnError,
        commit_every: int,
        progress: Callable[[AddProgress], None] | None,
    ) -> None:
        self._store = store
        self._featurizer = featurizer
        self._fields = fields
        self._on_error = on_error
        self._commit_every = commit_every
        self._progress = progress
        self._seen: dict[int, int] = {}  # hashes of id and content of this input's documents
        self._pending: list[tuple[Document, Signatures]] = []
        self._skipped: list[BadRow] = []
        self._added = self._unchanged = self._updated = self._truncated = self._tokens = 0

    def run(self, rows: Rows) -> AddReport:
        """Add all rows and report.

        Raises
        ------
        InvalidInput
            With ``on_error="stop"``, for the first row that cannot be used, naming its place. What was committed before
            stays.
        """
        done = 0
        numbered = enumerate(rows, 1)
        while window := list(islice(numbered, _WINDOW)):
            self._add_window([document for number, row in window for document in self._read(number, row)])
            done += len(window)
            if self._progress is not None:
                committed = self._added + self._updated - len(self._pending)
                self._progress(AddProgress(done, self._tokens, committed))
        self._commit()
        if self._added + self._updated >= _BULK_ROWS:
            self._store.seal()
        return AddReport(
            self._added,
            self._unchanged,
            self._updated,
            self._truncated,
            tuple(self._skipped),
            self._store.snapshot().rows,
        )

    def _read(self, number: int, row: Row | BadRow | Mapping[str, Any] | str) -> Iterator[Document]:
        """Yield the row's document, unless it cannot be read or this input held it before."""
        document = as_document(row, f"row {number}", self._fields)
        if isinstance(document, BadRow):
            self._reject(document.place, document.reason)
            return
        key = xxhash.xxh3_64_intdigest(document.id.encode())
        content = xxhash.xxh3_64_intdigest(document.content_hash)
        before = self._seen.get(key)
        if before is None:
            self._seen[key] = content
            yield document
        elif before == content:
            self._unchanged += 1
        else:
            reason = f"the id {document.id!r} stands twice in this input, with other content than before"
            self._reject(document.place, reason)

    def _add_window(self, documents: list[Document]) -> None:
        known = self._store.lookup([document.id for document in documents])
        new = []
        for document, entry in zip(documents, known, strict=True):
            if entry is not None and entry.content == document.content_hash:
                self._unchanged += 1
            else:
                new.append((document, entry is not None))
        encoded = encode_documents([document for document, _ in new], self._featurizer.model.tokenizer)
        readable: list[tuple[Document, bool, Tokens]] = []
        for (document, replaces), tokens in zip(new, encoded, strict=True):
            if isinstance(tokens, InvalidInput):
                self._reject(document.place, str(tokens))
            elif not tokens.windows(self._featurizer.readout):
                self._skip(
                    document.place,
                    "no position to score: nothing in it is predicted from a token before",
                )
            else:
                readable.append((document, replaces, tokens))
        self._sign(readable)

    def _sign(self, documents: list[tuple[Document, bool, Tokens]]) -> None:
        readout = self._featurizer.readout
        phi = self._featurizer.phi([tokens for _, _, tokens in documents])
        for i, (document, replaces, tokens) in enumerate(documents):
            if not phi.finite[i]:
                reason = f"the model gives NaN or infinite logits for document {document.id!r}"
                self._reject(document.place, reason)
                continue
            one = Signatures.from_phi([document.id], phi.rh[i : i + 1], phi.gh[i : i + 1])
            self._pending.append((document, one))
            self._added += not replaces
            self._updated += replaces
            self._truncated += readout.long == "truncate" and len(tokens.ids) > readout.seq_len
            self._tokens += sum(len(window.ids) for window in tokens.windows(readout))
            if len(self._pending) >= self._commit_every:
                self._commit()

    def _commit(self) -> None:
        if self._pending:
            documents = [document for document, _ in self._pending]
            self._store.append(
                NewRows(
                    Signatures.concatenate([signature for _, signature in self._pending]),
                    [document.content_hash for document in documents],
                    [document.record for document in documents],
                )
            )
            self._pending.clear()

    def _reject(self, place: str, reason: str) -> None:
        """Stop at a row that cannot be used, or list it."""
        if self._on_error == "stop":
            msg = f"{place}: {reason}"
            raise InvalidInput(msg)
        self._skip(place, reason)

    def _skip(self, place: str, reason: str) -> None:
        self._skipped.append(BadRow(place, reason))


def as_document(row: Row | BadRow | Mapping[str, Any] | str, place: str, fields: Fields) -> Document | BadRow:
    """Give a row of a reader, a dict or a plain text its meaning; `place` names those that have none."""
    if isinstance(row, BadRow):
        return row
    if isinstance(row, str):
        row = {fields.text: row}
    if isinstance(row, Mapping):
        row = Row(place, row)
    return fields.document(row)

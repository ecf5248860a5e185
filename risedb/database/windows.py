"""The tokenizing stage of an add: new documents to windows, which go through the model together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from risedb.config import Identity
from risedb.database.encoding import encode_documents
from risedb.database.reading import Chunk, NewDocument
from risedb.database.stopwatch import Stopwatch
from risedb.database.tally import Tally
from risedb.errors import InvalidInput
from risedb.featurize import Tokens

if TYPE_CHECKING:
    from risedb.database.devices import Reading

_MOST_BATCHES = 32  # in a window, sorted by length: padding stays under 5 %
_FIRST_BATCHES = 8
_QUICK_SECONDS, _SLOW_SECONDS = 8.0, 30.0
_MOST_ROWS = 2**14  # of the input behind one window, so that progress is told of rows in which nothing is new


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Documents that go through the model together, in the order of the input.

    Parameters
    ----------
    rows
        Rows of the input that are done with when this is.
    new
        The documents.
    tokens
        Of each, no more than is read.
    size
        Tokens that go through the model.
    """

    rows: int
    new: Sequence[NewDocument]
    tokens: Sequence[Tokens]
    size: int


class Windows:
    """Cuts an add into windows, as large as padding wants, unless that takes the model long.

    Parameters
    ----------
    reading
        What the model wants.
    identity
        The index's.
    most
        Documents in a window, at most; None leaves it to the window's bytes.
    tally, watch
        Count and time.
    """

    def __init__(
        self, reading: "Reading", identity: Identity, most: int | None, tally: Tally, watch: Stopwatch
    ) -> None:
        self._reading = reading
        self._readout = identity.readout
        self._tally = tally
        self._watch = watch
        self._batches = _FIRST_BATCHES
        self._most = max(reading.window_bytes // (4 * (identity.sketch.rh_dim + identity.sketch.gh_dim)), 1)
        if most is not None:
            self._most = min(self._most, most)

    def took(self, seconds: float) -> None:
        """Hear how long a window took, from one to the next: what a kill loses should stay under a minute."""
        if seconds < _QUICK_SECONDS:
            self._batches = min(2 * self._batches, _MOST_BATCHES)
        elif seconds > _SLOW_SECONDS:
            self._batches = max(self._batches // 2, 1)

    def cut(self, chunks: Iterable[Chunk]) -> Iterator[Window]:
        """Yield the windows; one may be empty, where nothing is new in many rows."""
        new: list[NewDocument] = []
        tokens: list[Tokens] = []
        size = before = rows = 0
        for chunk in chunks:
            for one, readable in self._readable(chunk.new):
                new.append(one)
                tokens.append(readable)
                size += readable.tokens_read(self._readout)
                if size >= self._batches * self._reading.batch_tokens or len(new) >= self._most:
                    yield Window(one.number, new, tokens, size)
                    new, tokens, size, before = [], [], 0, one.number
            if chunk.rows - before >= _MOST_ROWS:
                yield Window(chunk.rows, new, tokens, size)
                new, tokens, size, before = [], [], 0, chunk.rows
            rows = chunk.rows
        if before < rows:
            yield Window(rows, new, tokens, size)

    def _readable(self, new: Sequence[NewDocument]) -> Iterator[tuple[NewDocument, Tokens]]:
        with self._watch("tokenise"):
            encoded = encode_documents([one.document for one in new], self._reading.tokenizer)
        for one, tokens in zip(new, encoded, strict=True):
            if isinstance(tokens, InvalidInput):
                self._tally.reject(one.number, one.document.place, str(tokens))
                continue
            parts = tokens.windows(self._readout)
            if not parts:
                reason = "no position to score: nothing in it is predicted from a token before"
                self._tally.skip(one.number, one.document.place, reason)
                continue
            cut = self._readout.long == "truncate" and len(tokens.ids) > self._readout.seq_len
            if cut:
                yield replace(one, truncated=True), Tokens(parts[0].ids.copy(), parts[0].first_target)
            else:
                yield one, tokens

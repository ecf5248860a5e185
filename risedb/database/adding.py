"""One add: rows to documents, these to tokens, these to signatures, these to commits, in the order of the input.

Two threads read and tokenize ahead of the model, and one writes behind it; the model runs in the calling thread, or in
a process for each device.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any

from risedb.corpus import Fields
from risedb.database.ahead import Ahead
from risedb.database.hits import AddProgress, AddReport
from risedb.database.reading import Chunk, Rows, new_documents, read_documents
from risedb.database.stopwatch import STAGES, Stopwatch
from risedb.database.tally import OnError, Tally
from risedb.database.writing import CommitEvery, Writing
from risedb.storage import Store

if TYPE_CHECKING:  # torch is imported when something is to be signed
    from risedb.database.devices import Devices, OneModel
    from risedb.database.windows import Window
    from risedb.featurize import Phi

BULK_ROWS = 1000  # an add of as many seals at its end
_CHUNKS_AHEAD, _WINDOWS_AHEAD = 16, 1


class Adding:
    """The state of one add.

    Parameters
    ----------
    store
        Locked for writing.
    model
        Called when the first new document has been read: what signs, on one device or several.
    fields
        What the fields of a row mean.
    on_error
        Stop at a row that cannot be used, or list it and go on.
    every
        When to commit.
    progress
        Called after each window of documents.
    profile
        Report where the time went.
    """

    def __init__(  # noqa: PLR0913
        self,
        store: Store,
        model: "Callable[[], OneModel | Devices]",
        *,
        fields: Fields,
        on_error: OnError,
        every: CommitEvery,
        progress: Callable[[AddProgress], None] | None,
        profile: bool,
    ) -> None:
        self._store = store
        self._model = model
        self._fields = fields
        self._tally = Tally(on_error)
        self._writing = Writing(store, every, self._tally)
        self._progress = progress or (lambda _: None)
        self._profile = profile
        self._watch = Stopwatch()
        self._rows = self._tokens = 0

    def run(self, rows: Rows) -> AddReport:
        """Add all rows and report.

        Raises
        ------
        InvalidInput
            With ``on_error="stop"``, for the first row that cannot be used, naming its place. What was committed before
            stays.
        """
        start = perf_counter()
        read = Ahead(read_documents(rows, self._fields, self._watch), _CHUNKS_AHEAD)
        try:
            chunks = new_documents(read, self._store, self._tally)
            for chunk in chunks:  # as long as nothing is new, no model is needed
                if chunk.new:
                    self._sign(chain([chunk], chunks), read)
                else:
                    self._tell(chunk.rows)
        finally:
            read.close()
            read.join(patient=False)
        with self._watch("write"):
            self._writing.commit()
            if self._writing.committed >= BULK_ROWS:
                self._store.seal()
        self._tell(self._rows)
        seconds = {**dict.fromkeys(STAGES, 0.0), **self._watch.taken(), "total": perf_counter() - start}
        return self._tally.report(self._store.snapshot().rows, seconds if self._profile else None)

    def _sign(self, chunks: Iterator[Chunk], read: Ahead[Any]) -> None:
        """Take new documents to the writer, in windows, through the model, which is loaded now."""
        from risedb.database.windows import Windows

        with self._model() as model:
            windows = Windows(model.reading, self._store.identity, self._writing.most, self._tally, self._watch)
            cut = Ahead(windows.cut(chunks), _WINDOWS_AHEAD)
            try:
                with ThreadPoolExecutor(1) as thread:
                    written: Future[None] = thread.submit(lambda: None)
                    began = perf_counter()
                    for window, phi in model.sign(self._waited_for(cut), self._watch):
                        windows.took(perf_counter() - began)
                        with self._watch("wait for disk"):
                            written.result()
                        written = thread.submit(self._write, window, phi)
                        self._tokens += window.size
                        self._tell(window.rows)
                        began = perf_counter()
                    written.result()
            finally:
                read.close()  # wakes the thread that cuts, if it waits for rows
                cut.close()
                cut.join()

    def _waited_for(self, windows: Iterator["Window"]) -> Iterator["Window"]:
        while True:
            with self._watch("wait for tokens"):
                window = next(windows, None)
            if window is None:
                return
            yield window

    def _write(self, window: "Window", phi: "Phi") -> None:
        with self._watch("write"):
            self._writing.write(window.new, phi)

    def _tell(self, rows: int) -> None:
        self._rows = rows
        self._progress(AddProgress(rows, self._tokens, self._writing.committed))

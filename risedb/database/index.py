"""RiseDB: one index, its model, and what one does with them. Composes corpus, featurize, storage and topk."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np

from risedb.config import DeviceConfig, Identity, LoadConfig
from risedb.corpus import BadRow, Fields, Row
from risedb.database.hits import AddProgress, AddReport, Hit, Ranking
from risedb.database.querying import Asking, Choices, Queries, Question, Scores, chosen, save_scores
from risedb.database.remembered import Remembered
from risedb.database.signer import Signer
from risedb.database.where import Wanted, Where
from risedb.errors import IdentityMismatch, InvalidInput, NotFound
from risedb.signature import Signatures
from risedb.storage import Commit, CompactReport, Finding, Snapshot, Store, verify
from risedb.topk import Ranked

if TYPE_CHECKING:  # torch and transformers are imported when a model is first needed
    from risedb.featurize import Featurizer, LanguageModel


class RiseDB:
    """An index of RISE signatures in one folder; made by :func:`risedb.open`.

    Any number of processes and threads may read while one adds. Each handle sees the index as of one commit: the newest
    when it was opened, or at its own last change or :meth:`refresh`.
    """

    def __init__(
        self,
        store: Store,
        *,
        model: "str | LanguageModel | None",
        load: LoadConfig | None,
        batch_tokens: int | None,
        devices: DeviceConfig | None = None,
    ) -> None:
        self._store = store
        self._signer = Signer(Remembered(store.path, store.identity, store.settings), model, load, batch_tokens)
        self._devices = devices
        self._asking = Asking(store.config, devices)

    @property
    def path(self) -> Path:
        """The index's folder."""
        return self._store.path

    @property
    def identity(self) -> Identity:
        """The numbers and fingerprints that every signature in the index shares."""
        return self._store.identity

    @property
    def fields(self) -> Fields:
        """What the fields of a row mean, as the index remembers it."""
        return Fields.from_dict(self._store.settings["fields"])

    def __len__(self) -> int:
        """Count the documents."""
        return self._store.snapshot().rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the index again in another process, as of the same commit, for reading; a model is loaded anew there."""
        commit, signer = self._store.snapshot().commit.number, self._signer
        return _reopened, (self.path, commit, signer.name, signer.load, signer.batch_tokens, self._devices)

    def __enter__(self) -> Self:
        """Return the index itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the index."""
        self.close()

    def close(self) -> None:
        """Let the next writer in and let go of the catalog."""
        self._store.close()

    @property
    def featurizer(self) -> "Featurizer":
        """The model that makes signatures, loaded at first use.

        Raises
        ------
        NotFound
            If the model is not where it was; say where with ``model=``.
        IdentityMismatch
            If it is another model or tokenizer than the index was built with.
        """
        return self._signer.featurizer

    def add(  # noqa: PLR0913  the choices of an add
        self,
        rows: Iterable[Row | BadRow | Mapping[str, Any] | str],
        *,
        fields: Fields | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        commit_every: int | str | None = None,
        devices: str | Sequence[str] = (),
        progress: Callable[[AddProgress], None] | None = None,
        profile: bool = False,
    ) -> AddReport:
        """Add documents; a known one is computed again only if its content has changed.

        The model is loaded when the first document that is new has been read. Rows are read in a thread of their own.

        Parameters
        ----------
        rows
            Rows of a :mod:`risedb.corpus` reader, dicts, or plain texts.
        fields
            What their fields mean, if not what the index remembers.
        on_error
            At a row that cannot be used, stop, or list it in the report and go on.
        commit_every
            Documents in a commit, or a time between two: ``1000``, ``"30s"``, ``"5min"``; by default ten seconds. What
            was committed survives whatever happens next.
        devices
            Several devices to sign on, a process and a model on each: ``["cuda:0", "cuda:1"]``.
        progress
            Called now and then.
        profile
            Measure where the time goes, for the report.

        Raises
        ------
        InvalidInput
            With ``on_error="stop"``, for the first row that cannot be used; if an argument is out of range.
        IdentityMismatch, NotFound
            If the model is another one than the index's, or is not where it was.
        Busy
            If another process is adding.
        DeviceFailure
            If one of several devices fails; what was committed stays.
        OutOfSpace, ReadOnly, DiskFailure
            If the disk does not take it; what was committed stays.
        """
        from risedb.database.adding import Adding
        from risedb.database.writing import CommitEvery

        if isinstance(rows, str | Mapping):
            msg = f"rows is one {type(rows).__name__}; give a list of rows, or risedb.corpus.read(FILE)"
            raise InvalidInput(msg)
        every = CommitEvery.parse(commit_every)
        devices = [devices] if isinstance(devices, str) else devices
        self._store.lock()
        self._signer.require_asked()  # even if nothing is new
        adding = Adding(
            self._store,
            lambda: self._signer.on(devices, profile=profile),
            fields=fields or self.fields,
            on_error=on_error,
            every=every,
            progress=progress,
            profile=profile,
        )
        return adding.run(rows)

    def delete(self, ids: str | Iterable[str] = (), *, where: Wanted = None, preview: bool = False) -> list[str]:
        """Delete documents in one commit; no query sees them from then on. Their space comes back with :meth:`compact`.

        Parameters
        ----------
        ids
            Documents to delete, or one; those that are not there are passed over.
        where
            Delete all whose record says so, too; see :meth:`query`.
        preview
            Only tell which ones would go.

        Returns
        -------
        list of str
            The ids of the deleted documents.

        Raises
        ------
        InvalidInput
            If the condition cannot be read.
        Busy, ReadOnly, OutOfSpace, DiskFailure
            As for :meth:`add`.
        """
        if not preview:
            self._store.lock()
        wanted = dict.fromkeys([ids] if isinstance(ids, str) else ids)
        if where is not None:
            matching = self._store.snapshot().live_sequences(Where.parse(where).conditions)
            wanted |= dict.fromkeys(name for name, _ in self._store.records(matching.tolist()))
        known = [name for name, row in zip(wanted, self._store.lookup(list(wanted)), strict=True) if row is not None]
        if not preview:
            self._store.delete(known)
        return known

    def compact(self, *, preview: bool = False) -> CompactReport:
        """Give the space of deleted and replaced rows back, and merge small segments; readers go on meanwhile.

        Commits before this one can no longer be read.

        Parameters
        ----------
        preview
            Only tell what would be done.

        Raises
        ------
        Corrupt
            If a segment is damaged; it stays as it is.
        Busy, ReadOnly, OutOfSpace, DiskFailure
            As for :meth:`add`.
        """
        if not preview:
            self._store.lock()
        return self._store.compact(preview=preview)

    def refresh(self) -> bool:
        """Go on to the newest commit of other processes, and tell whether there is one."""
        return self._store.refresh()

    def commits(self) -> Iterator[Commit]:
        """Yield the commits that can still be read, newest first."""
        return self._store.commits()

    def count(self, *, where: Wanted = None) -> int:
        """Count the documents whose record says so."""
        return len(self._store.snapshot().live_sequences(Where.parse(where).conditions))

    def documents(self, *, where: Wanted = None) -> Iterator[tuple[Signatures, list[dict[str, Any]]]]:
        """Yield all documents in the order of their insertion, signatures and records, some thousand at a time."""
        return self._store.snapshot().documents(Where.parse(where).conditions)

    def query(
        self, queries: Queries, *, k: int = 10, bottom: bool = False, **choices: Unpack[Choices]
    ) -> list[Ranking]:
        """Rank the whole pool, exactly, for each query or for their mean.

        Parameters
        ----------
        queries
            Texts, dicts or rows; or signatures, which need no model.
        k
            Documents wanted; more than there are gives all.
        bottom
            The least similar documents instead, least first.
        pool, minus, where, fields, lambda_rh, lambda_gh, normalize, center, memory_bytes
            Which documents, and how they are scored: see :class:`risedb.database.Choices`.

        Returns
        -------
        list of Ranking
            One for each query; a single one for the mean.

        Raises
        ------
        InvalidInput
            If a query cannot be used, or a number is out of range.
        """
        if k < 1:
            msg = f"k is {k}; it must be at least 1"
            raise InvalidInput(msg)
        snapshot, names, ranked = self._ranked(queries, choices, k, bottom=bottom)
        return [_ranking(snapshot, name, one) for name, one in zip(names, ranked, strict=True)]

    def scores(self, queries: Queries, **choices: Unpack[Choices]) -> Iterator[Scores]:
        """Yield every document's exact score for each query, in the order of insertion, in bounded memory.

        The arguments are those of :meth:`query`, and so are the scores' bits. :meth:`save_scores` writes a file.
        """
        return self._scored(queries, choices)[1]

    def save_scores(self, path: str | os.PathLike[str], queries: Queries, **choices: Unpack[Choices]) -> int:
        """Write what :meth:`scores` yields as one ``.npy`` array, (documents, queries) float64; return how many rows.

        Beside it, ``scores.ids.json`` for ``scores.npy``, goes a JSON object whose ``documents`` and ``queries`` name
        rows and columns.

        Raises
        ------
        InvalidInput, OutOfSpace
            If a file cannot be written; then those that were there before are as they were.
        """
        return save_scores(Path(path), *self._scored(queries, choices))

    def sign(self, queries: Queries, *, fields: Fields | None = None) -> Signatures:
        """Compute signatures of texts or rows without adding them.

        Raises
        ------
        InvalidInput
            If one cannot be read, or has no position to score; there must be at least one.
        IdentityMismatch
            If signatures are of other widths than the index's.
        """
        if not isinstance(queries, Signatures):
            from risedb.database.signing import sign

            rows = [queries] if isinstance(queries, str | Mapping | Row) else list(queries)
            return sign(rows, lambda: self.featurizer, fields or self.fields)
        sketch = self.identity.sketch
        widths, own = (queries.rh.shape[1], queries.gh.shape[1]), (sketch.rh_dim, sketch.gh_dim)
        if widths != own:
            msg = f"the signatures have {widths} numbers in RH and GH, and those of {self.path} have {own}"
            raise IdentityMismatch(msg)
        if len(queries) == 0:
            msg = "there is no query"
            raise InvalidInput(msg)
        return queries

    def signatures(self, ids: str | Sequence[str]) -> Signatures:
        """Return stored signatures by id, one or several, to look at or to query with; no model is loaded.

        Raises
        ------
        NotFound
            If an id is not in the index.
        """
        snapshot, sketch = self._store.snapshot(), self.identity.sketch
        none = [np.empty((0, width), np.float32) for width in (sketch.rh_dim, sketch.gh_dim, 2)]
        ids, rows = [ids] if isinstance(ids, str) else ids, [Signatures((), *none)]
        for name, entry in zip(ids, self._store.lookup(ids, snapshot), strict=True):
            if entry is None:
                msg = f"no document in {self.path} has the id {name!r}"
                raise NotFound(msg)
            rows.append(snapshot.signature(name, entry.sequence))
        return Signatures.concatenate(rows)

    def verify(self, *, full: bool = True) -> list[Finding]:
        """Check that the folder holds what was committed; an empty list means that it does."""
        return verify(self.path, full=full)

    def info(self) -> dict[str, Any]:
        """Describe the index as a JSON object: rows, segments, bytes, identity, and what it remembers."""
        snapshot, settings = self._store.snapshot(), self._store.settings
        return {
            "path": str(self.path),
            "rows": snapshot.rows,
            "segments": len(snapshot.segments),
            "tail_rows": snapshot.tail_rows,
            "dead_rows": len(snapshot.dead),
            "commit": snapshot.commit.number,
            "bytes": self._store.disk_bytes(),
            "model": settings["model"],
            "revision": settings["revision"],
            "dtype": self._store.config.dtype,
            "codes": self._store.config.codes,
            "fields": settings["fields"],
            "identity": self.identity.as_dict(),
        }

    def _ranked(
        self, queries: Queries, choices: Choices, k: int, *, bottom: bool
    ) -> tuple[Snapshot, list[str], list[Ranked]]:
        question, snapshot = self._question(queries, choices), self._store.snapshot()
        return snapshot, question.names, self._asking.rank(snapshot, question, k, bottom=bottom)

    def _scored(self, queries: Queries, choices: Choices) -> tuple[list[str], Iterator[Scores]]:
        question = self._question(queries, choices)
        return question.names, self._asking.scores(self._store.snapshot(), question)

    def _question(self, queries: Queries, choices: Choices) -> Question:
        how, signed, subtracted = self._signed(queries, choices)
        return Question(queries=signed, minus=subtracted, device=self._signer.device, **how)

    def _signed(self, queries: Any, choices: Choices) -> tuple[dict[str, Any], Any, Any]:
        """Return how to ask, and the signatures of the queries and of what is subtracted, or None."""
        how = chosen(choices)  # checked before a model is loaded
        fields, minus = choices.get("fields"), choices.get("minus")
        return how, self.sign(queries, fields=fields), None if minus is None else self.sign(minus, fields=fields)


def _ranking(snapshot: Snapshot, name: str, ranked: Ranked) -> Ranking:
    """Read the records, of the snapshot that was ranked: a later one may lack some of the rows."""
    records = snapshot.records(ranked.sequence.tolist())
    pairs = zip(records, ranked.scores.tolist(), strict=True)
    hits = (Hit(rank, document, score, record) for rank, ((document, record), score) in enumerate(pairs, 1))
    return Ranking(name, tuple(hits))


def _reopened(
    path: Path,
    commit: int,
    model: str | None,
    load: LoadConfig | None,
    batch_tokens: int | None,
    devices: DeviceConfig | None,
) -> RiseDB:
    return RiseDB(Store(path, commit), model=model, load=load, batch_tokens=batch_tokens, devices=devices)

"""RiseDB: one index, its model, and what one does with them. Composes corpus, featurize, storage and topk."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from risedb.config import (
    Identity,
    LoadConfig,
    ReadoutConfig,
    ScoreConfig,
    SketchConfig,
    StoreConfig,
)
from risedb.corpus import BadRow, Fields, Row
from risedb.database.hits import AddProgress, AddReport, Hit, Ranking
from risedb.database.where import Where
from risedb.errors import IdentityMismatch, InvalidInput, NotFound
from risedb.signature import Block, Signatures
from risedb.storage import Finding, Store, verify
from risedb.topk import QueryVectors, Ranked, scan

if TYPE_CHECKING:  # torch and transformers are imported when a model is first needed
    from risedb.featurize import Featurizer, LanguageModel

Queries = Signatures | str | Mapping[str, Any] | Row | Iterable[Row | BadRow | Mapping[str, Any] | str]


_NUMPY_NUMBERS = 10**9  # stored numbers that NumPy scans in about the time in which torch is imported


class RiseDB:
    """An index of RISE signatures in one folder; made by :func:`risedb.open`.

    Any number of processes may read while one adds. A query sees the newest commit.
    """

    def __init__(
        self,
        store: Store,
        *,
        model: "str | LanguageModel | None",
        load: LoadConfig | None,
        batch_tokens: int | None,
    ) -> None:
        self._store = store
        self._model = model
        self._load = load
        self._batch_tokens = batch_tokens
        self._loaded: Featurizer | None = None

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
        return Fields(**self._store.settings["fields"])

    def __len__(self) -> int:
        """Count the documents."""
        return self._store.snapshot().rows

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
        if self._loaded is None:
            from risedb.featurize import Featurizer

            model = _loaded_model(self._model, self._load, self._store.settings)
            featurizer = Featurizer(
                model,
                self.identity.readout,
                self.identity.sketch,
                batch_tokens=self._batch_tokens,
            )
            _require_same(self.identity, featurizer.identity, self.path)
            self._loaded = featurizer
        return self._loaded

    def add(
        self,
        rows: Iterable[Row | BadRow | Mapping[str, Any] | str],
        *,
        fields: Fields | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        commit_every: int = 1000,
        progress: Callable[[AddProgress], None] | None = None,
    ) -> AddReport:
        """Add documents; a known one is computed again only if its content has changed.

        Parameters
        ----------
        rows
            Rows of a :mod:`risedb.corpus` reader, dicts, or plain texts.
        fields
            What their fields mean, if not what the index remembers.
        on_error
            At a row that cannot be used, stop, or list it in the report and go on.
        commit_every
            Documents in a commit; what was committed survives whatever happens next.
        progress
            Called now and then.

        Raises
        ------
        InvalidInput
            With ``on_error="stop"``, for the first row that cannot be used.
        Busy
            If another process is adding.
        OutOfSpace, ReadOnly, DiskFailure
            If the disk does not take it; what was committed stays.
        """
        from risedb.database.adding import Adding

        if commit_every < 1:
            msg = f"commit_every is {commit_every}; it must be at least 1"
            raise InvalidInput(msg)
        self._store.lock()
        adding = Adding(
            self._store,
            self.featurizer,
            fields=fields or self.fields,
            on_error=on_error,
            commit_every=commit_every,
            progress=progress,
        )
        return adding.run(rows)

    def query(  # noqa: PLR0913  the choices of a query
        self,
        queries: Queries,
        *,
        k: int = 10,
        pool: Literal["each", "mean"] = "each",
        minus: Queries | None = None,
        bottom: bool = False,
        where: str | Mapping[str, Any] | None = None,
        fields: Fields | None = None,
        lambda_rh: float = 0.7,
        lambda_gh: float = 1.0,
        normalize: bool = True,
    ) -> list[Ranking]:
        """Rank the whole pool, exactly, for each query or for their mean.

        Parameters
        ----------
        queries
            Texts, dicts or rows; or signatures, which need no model.
        k
            Documents wanted; more than there are gives all.
        pool
            Rank for each query, or once for the mean of their unit signatures.
        minus
            A second set, whose mean is subtracted: like these, unlike those.
        bottom
            The least similar documents instead, least first.
        where
            Only documents whose record says so: ``{"source": "c4"}`` or ``"source=c4"``.
        fields
            What the queries' fields mean, if not what the index remembers.
        lambda_rh, lambda_gh, normalize
            As in :class:`risedb.config.ScoreConfig`.

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
        if pool not in {"each", "mean"}:
            msg = f"pool is {pool!r}; it must be 'each' or 'mean'"
            raise InvalidInput(msg)
        score = ScoreConfig(lambda_rh=lambda_rh, lambda_gh=lambda_gh, normalize=normalize)
        signatures = self.sign(queries, fields=fields)
        names, vectors = list(signatures.ids), QueryVectors.of(signatures, score)
        if pool == "mean":
            names, vectors = [f"mean of {len(names)}"], vectors.mean()
        if minus is not None:
            subtracted = self.sign(minus, fields=fields)
            vectors = vectors.minus(QueryVectors.of(subtracted, score).mean())
        ranked = scan(
            self._blocks(Where.parse(where)),
            vectors,
            score,
            k=min(k, max(len(self), 1)),
            bottom=bottom,
            device=self._scan_device(),
        )
        return [self._ranking(name, one) for name, one in zip(names, ranked, strict=True)]

    def sign(self, queries: Queries, *, fields: Fields | None = None) -> Signatures:
        """Compute signatures of texts or rows without adding them.

        Raises
        ------
        InvalidInput
            If one cannot be read, or has no position to score; there must be at least one.
        """
        if isinstance(queries, Signatures):
            signatures = queries
        else:
            from risedb.database.signing import sign

            rows = [queries] if isinstance(queries, str | Mapping | Row) else list(queries)
            signatures = sign(rows, self.featurizer, fields or self.fields)
        if len(signatures) == 0:
            msg = "there is no query"
            raise InvalidInput(msg)
        return signatures

    def signatures(self, ids: Sequence[str]) -> Signatures:
        """Return stored signatures by id, to look at or to query with; no model is loaded.

        Raises
        ------
        NotFound
            If an id is not in the index.
        """
        snapshot = self._store.snapshot()
        rows = []
        for name, entry in zip(ids, self._store.lookup(ids), strict=True):
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
            "bytes": sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
            "model": settings["model"],
            "revision": settings["revision"],
            "dtype": self._store.config.dtype,
            "fields": settings["fields"],
            "identity": self.identity.as_dict(),
        }

    def _scan_device(self) -> str:
        """Scan where the model is; without one, in NumPy, unless the pool is worth the import of torch."""
        if self._loaded is not None:
            return str(self._loaded.model.device)
        sketch = self.identity.sketch
        numbers = self._store.snapshot().rows * (sketch.rh_dim + sketch.gh_dim)
        return "numpy" if numbers < _NUMPY_NUMBERS else "cpu"

    def _blocks(self, where: Where) -> Iterator[Block]:
        snapshot = self._store.snapshot()
        if where.conditions:
            allowed = np.array(
                [sequence for sequence, _, record in self._store.all_records() if where.matches(record)],
                dtype=np.uint64,
            )
            for block in snapshot.blocks():
                live = block.live & np.isin(block.sequence, allowed, assume_unique=True)
                yield dataclasses.replace(block, live=live)
        else:
            yield from snapshot.blocks()

    def _ranking(self, name: str, ranked: Ranked) -> Ranking:
        records = self._store.records(ranked.sequence.tolist())
        pairs = zip(records, ranked.scores.tolist(), strict=True)
        hits = (Hit(rank, document, score, record) for rank, ((document, record), score) in enumerate(pairs, 1))
        return Ranking(name, tuple(hits))


def open_index(  # noqa: PLR0913  the choices of a new index
    path: str | os.PathLike[str],
    model: "str | LanguageModel | None" = None,
    *,
    create: bool = False,
    readout: ReadoutConfig | None = None,
    sketch: SketchConfig | None = None,
    store: StoreConfig | None = None,
    fields: Fields | None = None,
    load: LoadConfig | None = None,
    batch_tokens: int | None = None,
) -> RiseDB:
    """Open an index, or make one.

    Parameters
    ----------
    path
        The index's folder.
    model
        ``demo``, a folder, a hub id, or a loaded model. An index remembers its model; give it again only if it lies
        somewhere else now.
    create
        Make the index if there is none; then `model` is needed.
    readout, sketch
        The numbers of a new index; for an existing one they must be its own.
    store, fields
        Layout on disk of a new index, and what the fields of its rows mean.
    load
        Precision, device and the like.
    batch_tokens
        Most tokens in one forward pass.

    Raises
    ------
    NotFound
        If there is no index, and `create` is not set.
    InvalidInput
        If the folder is not an index, or a new one lacks its model.
    IdentityMismatch
        If `readout` or `sketch` are not the index's.
    UnsupportedFormat, Corrupt
        If the folder is an index that cannot be read.

    Examples
    --------
    >>> import risedb
    >>> risedb.open("nowhere.rise")
    Traceback (most recent call last):
    ...
    risedb.errors.NotFound: there is no index at nowhere.rise
    """
    path = Path(path)
    if create and (not path.exists() or (path.is_dir() and not any(path.iterdir()))):
        if model is None:
            msg = f"{path} does not exist yet; a new index needs a model, by name, folder or hub id"
            raise InvalidInput(msg)
        from risedb.featurize import Featurizer

        featurizer = Featurizer(
            _loaded_model(model, load, {}),
            readout or ReadoutConfig(),
            sketch or SketchConfig(),
            batch_tokens=batch_tokens,
        )
        settings = {
            "model": _lasting_name(model),
            "revision": load.revision if load else None,
            "fields": dataclasses.asdict(fields or Fields()),
        }
        created = Store.create(path, featurizer.identity, settings, store or StoreConfig())
        return RiseDB(created, model=featurizer.model, load=load, batch_tokens=batch_tokens)
    index = RiseDB(Store(path), model=model, load=load, batch_tokens=batch_tokens)
    identity = index.identity
    asked = dataclasses.replace(identity, readout=readout or identity.readout, sketch=sketch or identity.sketch)
    _require_same(identity, asked, path)
    return index


def _loaded_model(
    model: "str | LanguageModel | None", load: LoadConfig | None, settings: Mapping[str, Any]
) -> "LanguageModel":
    """Load what was asked for, or else what the index remembers."""
    from risedb.featurize import LanguageModel, load_model

    if isinstance(model, LanguageModel):
        return model
    load = load or LoadConfig()
    if model is not None:
        return load_model(model, load)
    if settings["model"] is None:
        msg = "this index was built with a model object; give the model with model="
        raise InvalidInput(msg)
    if load.revision is None:
        load = dataclasses.replace(load, revision=settings["revision"])
    try:
        return load_model(settings["model"], load)
    except NotFound as error:
        msg = f"the index's model cannot be found: {error}. Say where it lies now with --model"
        raise NotFound(msg) from error


def _lasting_name(model: "str | LanguageModel") -> str | None:
    """Return the name under which the model is found again: a folder's absolute path, or the name itself."""
    if not isinstance(model, str):
        return None
    folder = Path(model).expanduser()
    return str(folder.resolve()) if model != "demo" and folder.is_dir() else model


def _require_same(identity: Identity, asked: Identity, path: Path) -> None:
    if differences := identity.differences(asked):
        msg = f"{path} was built with other numbers: {'; '.join(differences)}"
        raise IdentityMismatch(msg)

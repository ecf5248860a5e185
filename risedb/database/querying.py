"""What is asked of a pool, and how the scan is put to work on it: one snapshot, all the ways to score it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from risedb.config import DeviceConfig, ScoreConfig, StoreConfig
from risedb.corpus import BadRow, Fields, Row
from risedb.database.outfile import whole_file
from risedb.database.where import Wanted, Where
from risedb.errors import InvalidInput
from risedb.signature import Block, Signatures
from risedb.storage import Snapshot
from risedb.topk import Center, Part, Plan, QueryVectors, Ranked, all_scores, scaled, scan

if TYPE_CHECKING:  # imports torch
    from risedb.topk.lanes import Lanes

_LEAST_MEMORY = 2**20

Queries = Signatures | str | Mapping[str, Any] | Row | Iterable[Row | BadRow | Mapping[str, Any] | str]


class Choices(TypedDict, total=False):
    """The keyword arguments of every query: which documents, and how they are scored."""

    pool: Literal["each", "mean"]
    """Rank for each query (the default), or once for the mean of their unit signatures."""
    minus: Queries | None
    """A second set, whose mean is subtracted: like these, unlike those."""
    where: Wanted
    """Only documents whose record says so: ``{"source": "c4"}`` or ``"source=c4"``."""
    fields: Fields | None
    """What the queries' fields mean, if not what the index remembers."""
    lambda_rh: float
    """As in :class:`risedb.config.ScoreConfig`, 0.7."""
    lambda_gh: float
    """Likewise, 1.0."""
    normalize: bool
    """Likewise, True."""
    center: bool
    """Subtract the pool's mean unit signature from documents and queries first: what all share counts no more."""
    memory_bytes: int
    """Most that the scan allocates, 256 MiB; rows are read from mapped files. Not counted: the queries, their k best,
    and a few numbers for each document where scores are centred or added up over checkpoints."""


def chosen(choices: Choices) -> dict[str, Any]:
    """Return what of the choices a :class:`Question` takes besides signatures.

    Raises
    ------
    TypeError
        If one is not known.
    InvalidInput
        If a number or `pool` is out of range, or the condition cannot be read.
    """
    if unknown := choices.keys() - Choices.__annotations__.keys():
        msg = f"a query has no choice {min(unknown)!r}; it has k, bottom, {', '.join(Choices.__annotations__)}"
        raise TypeError(msg)
    weights: dict[str, Any] = {
        name: value for name, value in choices.items() if name in {"lambda_rh", "lambda_gh", "normalize"}
    }
    rest: dict[str, Any] = {
        name: value for name, value in choices.items() if name in {"pool", "center", "memory_bytes"}
    }
    if (pool := rest.get("pool", "each")) not in {"each", "mean"}:
        msg = f"pool is {pool!r}; it must be 'each' or 'mean'"
        raise InvalidInput(msg)
    memory = rest.get("memory_bytes", _LEAST_MEMORY)
    if not isinstance(memory, int) or memory < _LEAST_MEMORY:
        msg = f"memory_bytes is {memory!r}; it must be a whole number, of at least 1 MiB"
        raise InvalidInput(msg)
    return {"where": Where.parse(choices.get("where")), "score": ScoreConfig(**weights), **rest}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """One batch of queries and how they are scored.

    Parameters
    ----------
    queries, minus
        Signatures; the mean of `minus` is subtracted from each query.
    pool
        ``each``, or ``mean`` for the mean of all queries.
    where
        Only documents whose record says so.
    score
        Weights.
    center
        Centred scores, see :mod:`risedb.topk.center`.
    memory_bytes
        Bound on what the scan allocates.
    device
        Where the model is; ``cpu`` without one.
    """

    queries: Signatures
    minus: Signatures | None = None
    pool: Literal["each", "mean"] = "each"
    where: Where
    score: ScoreConfig
    center: bool = False
    memory_bytes: int = 2**28
    device: str = "cpu"

    @property
    def names(self) -> list[str]:
        """What each ranking is called."""
        ids = list(self.queries.ids)
        return ids if self.pool == "each" else [f"mean of {len(ids)}"]

    def vectors(self, center: Center | None) -> QueryVectors:
        """Return the queries as the scan takes them."""

        def of(signatures: Signatures) -> QueryVectors:
            return center.queries(signatures) if center else QueryVectors.of(signatures, self.score)

        vectors = of(self.queries)
        if self.pool == "mean":
            vectors = vectors.mean()
        return vectors if self.minus is None else vectors.minus(of(self.minus).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Exact scores of some documents for all queries.

    Parameters
    ----------
    sequence
        (n,) uint64: when each was inserted; rows come in this order.
    scores
        (n, m) float64.
    snapshot
        Where the documents are.
    """

    sequence: NDArray[np.uint64]
    scores: NDArray[np.float64]
    snapshot: Snapshot

    @property
    def ids(self) -> list[str]:
        """The documents' ids, read from their records."""
        return [name for name, _ in self.snapshot.records(self.sequence.tolist())]


@dataclass(frozen=True, slots=True)
class _Rows:
    """All rows of a snapshot, as often as a scan reads them."""

    snapshot: Snapshot
    where: Where

    def __iter__(self) -> Iterator[Block]:
        return self.snapshot.blocks(self.where.conditions)


class Asking:
    """Answers questions about snapshots.

    Keeps the mean of the last one for each pair of weights, and rows on the devices.
    """

    def __init__(self, config: StoreConfig, devices: DeviceConfig | None = None) -> None:
        self._devices = devices or DeviceConfig()
        self._lanes: dict[tuple[str, ...], Lanes] = {}
        self._coded = "int8" in {config.codes, config.dtype}
        self._done = 0.0
        self._centers: dict[tuple[tuple[int, int], ScoreConfig], Center] = {}

    def rank(self, snapshot: Snapshot, question: Question, k: int, *, bottom: bool) -> list[Ranked]:
        """Return the k best rows, or the k worst, for each query."""
        center, vectors, plan = self._prepared(snapshot, question)
        return scan(
            _Rows(snapshot, question.where),
            vectors,
            question.score,
            k=min(k, max(snapshot.rows, 1)),
            bottom=bottom,
            center=center,
            plan=plan,
            lanes=self._lanes_of(plan),
        )

    def scores(self, snapshot: Snapshot, question: Question) -> Iterator[Scores]:
        """Yield the scores of all documents, some at a time."""
        center, vectors, plan = self._prepared(snapshot, question)
        blocks = snapshot.blocks(question.where.conditions)
        for sequence, scores in all_scores(blocks, vectors, question.score, center=center, plan=plan):
            yield Scores(sequence, scores, snapshot)

    def part(self, snapshot: Snapshot, question: Question, rows: NDArray[np.intp], weight: float) -> Part:
        """Return one checkpoint's part of a joint scan of the documents that stand at `rows`."""
        center, vectors, plan = self._prepared(snapshot, question)
        return Part(
            blocks=lambda: scaled(snapshot.blocks(), center),
            rows=rows,
            queries=vectors,
            config=question.score,
            weight=weight,
            plan=plan,
        )

    def _prepared(self, snapshot: Snapshot, question: Question) -> tuple[Center | None, QueryVectors, Plan]:
        queries = question.queries
        plan = Plan.choose(
            rows=snapshot.rows,
            width=queries.rh.shape[1] + queries.gh.shape[1],
            queries=len(question.names),
            coded=self._coded,
            device=question.device,
            asked=self._devices.devices,
            memory_bytes=question.memory_bytes,
            done=self._done,
        )
        self._done += plan.products
        center = self._center(snapshot, question.score, plan) if question.center else None
        return center, question.vectors(center), plan

    def _lanes_of(self, plan: Plan) -> "Lanes | None":
        if plan.engine != "torch":
            return None
        if plan.devices not in self._lanes:
            from risedb.topk.lanes import Lanes

            self._lanes[plan.devices] = Lanes(plan.devices, self._devices.cache)
        return self._lanes[plan.devices]

    def _center(self, snapshot: Snapshot, score: ScoreConfig, plan: Plan) -> Center:
        state = (snapshot.version, snapshot.commit.number)
        center = self._centers.get((state, score))
        if center is None:
            center = Center.of(snapshot.blocks, score, plan)
            kept = {key: one for key, one in self._centers.items() if key[0] == state}
            self._centers = {**kept, (state, score): center}  # at once: other threads may ask of other snapshots
        return center


def save_scores(path: Path, queries: list[str], parts: Iterable[Scores]) -> int:
    """Write all scores as one ``.npy`` array, and beside it the names of its rows and columns; return how many rows.

    Parameters
    ----------
    path
        The array's file.
    queries
        The columns' names.
    parts
        Scores of some rows each.

    Raises
    ------
    InvalidInput, OutOfSpace
        If a file cannot be written; then those that were there before are as they were.
    """
    rows = 0
    with (
        whole_file(path.with_suffix(".ids.json")) as part_of_names,
        whole_file(path) as part,
        part_of_names.open("w", encoding="utf-8") as names,
        part.open("wb") as file,
    ):
        _write_header(file, 0, len(queries))
        names.write(f'{{"queries": {json.dumps(queries, ensure_ascii=False)}, "documents": [')
        for some in parts:
            file.write(np.ascontiguousarray(some.scores, "<f8").tobytes())
            names.write("," * bool(rows) + ",".join(json.dumps(name, ensure_ascii=False) for name in some.ids))
            rows += len(some.sequence)
        names.write("]}\n")
        file.seek(0)
        _write_header(file, rows, len(queries))
    return rows


def _write_header(file: IO[bytes], rows: int, queries: int) -> None:
    """Write the head of a ``.npy`` file; NumPy leaves room in it for as many rows as there may be."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (rows, queries)}
    np.lib.format.write_array_header_1_0(file, header)

"""The scan on devices of torch: they propose, the host decides.

One pass over all blocks leaves, on each device and for each query, the rows with the highest upper bounds, and how high
any other row's score may be; nothing waits for a device until the pass is over. The host scores those rows exactly, the
highest bounds first, and drops the rest where their bounds do not reach the k-th best score. If no other row may reach
that score, the ranking is exact. If one may, too few rows were kept: the query is asked again with room for more, and
when there is no room, the host scans.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block
from risedb.topk.best import Best, Ranked
from risedb.topk.center import Scaled
from risedb.topk.lanes import Lane, Lanes
from risedb.topk.proposing import Proposal, Proposer
from risedb.topk.scores import PairDots, QueryVectors, exact_scores

_log = logging.getLogger(__name__)
_HELD = 32  # blocks that are held through a scan: each keeps some files open
_CANDIDATE_BYTES = 64  # on the device, while old and new ones are compared
_MORE = 8  # times as much room for queries that need it
_TOGETHER = 128  # queries in a pass
_PASSED_FOR = 16  # queries for which a pass of its own is made, or for all that there are
_JOB = 1024  # pairs that one thread decides at once
_WORTH_THREADS = 4 * _JOB  # pairs that one thread decides in several times what it takes to start more


@dataclass(frozen=True, kw_only=True)
class DeviceScan:
    """One question, put to devices.

    Parameters
    ----------
    blocks
        Gives all rows, the same each time, with their scales.
    config, k
        As of :func:`risedb.topk.scan`.
    lanes
        The devices.
    memory_bytes, threads
        As of :class:`risedb.topk.Plan`; on each device as much.
    candidates
        Rows that a device keeps for each query at first.
    pair_dots
        What computes exact products.
    on_host
        Ranks without a device.
    """

    blocks: Callable[[], Iterable[Scaled]]
    config: ScoreConfig
    k: int
    lanes: Lanes
    memory_bytes: int
    threads: int
    candidates: int
    pair_dots: PairDots
    on_host: Callable[[QueryVectors], list[Ranked]]

    def rank(self, queries: QueryVectors) -> list[Ranked]:
        """Rank for each query."""
        ranked: dict[int, Ranked] = {}
        open_, lanes = np.arange(len(queries)), self.lanes
        with lanes.lock:
            capacity = max(self.candidates, min(lanes.capacity, self._room(len(queries))))
            while len(open_) and not lanes.are_wrong and self._room(min(len(open_), _PASSED_FOR)) >= capacity:
                together = min(self._room(1) // capacity, _TOGETHER)
                parts = np.split(open_, range(together, len(open_), together))
                open_ = np.concatenate([self._rank_some(queries, part, capacity, ranked) for part in parts])
                lanes.capacity = capacity
                capacity *= _MORE
        rest = self.on_host(queries.part(open_)) if len(open_) else []
        ranked |= zip(open_.tolist(), rest, strict=True)
        return [ranked[j] for j in range(len(queries))]

    def _rank_some(
        self, queries: QueryVectors, chosen: NDArray[np.intp], capacity: int, ranked: dict[int, Ranked]
    ) -> NDArray[np.intp]:
        """Rank for some of the queries, in one pass, and return those that are not certain yet."""
        part = queries.part(chosen)
        decision = _Decision(self, part, *self._proposals(part, capacity))
        found, certain = decision.ranked()
        ranked.update((int(j), one) for j, one, sure in zip(chosen, found, certain, strict=True) if sure)
        return chosen[~certain]

    def _room(self, queries: int) -> int:
        """Return how many candidates of each query there is room for."""
        return self.memory_bytes // 4 // _CANDIDATE_BYTES // queries

    def _proposals(self, queries: QueryVectors, capacity: int) -> tuple["_Rows", list[Proposal]]:
        share = self.memory_bytes // 4
        lanes = self.lanes.lanes
        proposers = {id(lane): Proposer(lane, queries, self.config, capacity, share) for lane in lanes}
        rows = _Rows(self.blocks, {id(lane): [] for lane in lanes})
        for lane, number, start, piece in self.lanes.pieces(rows.first(), self.memory_bytes // 6):
            proposers[id(lane)].take(piece)
            rows.taken[id(lane)].append((len(piece), number, start))
        return rows, [proposers[id(lane)].proposal() for lane in lanes]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Finds rows again by the number under which a lane took them."""

    blocks: Callable[[], Iterable[Scaled]]
    taken: dict[int, list[tuple[int, int, int]]]
    """For each lane its pieces: rows (padding too), block, first row there."""
    held: list[Scaled] = field(default_factory=list)
    """The blocks, if they are few."""

    def first(self) -> Iterator[tuple[int, Block, NDArray[np.float64] | None]]:
        """Return the blocks with their numbers, and hold them as long as they are few."""
        for number, (block, shift) in enumerate(self.blocks()):
            if number < _HELD:
                self.held.append((block, shift))
            elif number == _HELD:
                self.held.clear()
            yield number, block, shift

    def places(self, lane: Lane, row: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return block and row in it, of rows as a lane numbers them."""
        counts, numbers, starts = np.array(self.taken[id(lane)] or [(0, 0, 0)]).T
        begins = np.cumsum(counts) - counts
        piece = np.searchsorted(begins, row, "right") - 1
        return numbers[piece], row - begins[piece] + starts[piece]

    def of(self, number: NDArray[np.int64]) -> Iterator[tuple[int, Block, NDArray[np.float64] | None]]:
        """Yield the blocks of these numbers."""
        wanted = set(np.unique(number).tolist())
        for each, (block, shift) in enumerate(self.held or (self.blocks() if wanted else ())):
            if each in wanted:
                yield each, block, shift


class _Decision:
    """Scores what was proposed, exactly, the highest bounds first."""

    def __init__(self, scan: DeviceScan, queries: QueryVectors, rows: _Rows, proposals: list[Proposal]) -> None:
        self._scan, self._queries, self._rows = scan, queries, rows
        places = [rows.places(lane, one.row) for lane, one in zip(scan.lanes.lanes, proposals, strict=True)]
        arrays = [np.concatenate(each, axis=1) for each in zip(*places, strict=True)]
        arrays.append(np.concatenate([one.upper for one in proposals], axis=1))
        if len(proposals) > 1:
            order = np.argsort(-arrays[-1], axis=1, kind="stable")
            arrays = [np.take_along_axis(each, order, 1) for each in arrays]
        self._number, self._row, self._upper = arrays
        self._beyond = np.max([one.beyond for one in proposals], axis=0)
        self._best = Best(len(queries), scan.k)

    def ranked(self) -> tuple[list[Ranked], NDArray[np.bool_]]:
        """Return a ranking for each query, and of which it is certain, (m,) bool."""
        may = self._upper > -np.inf
        may[:, self._scan.k :] = False
        self._decide(may)
        self._best.settle()
        may = (self._upper > -np.inf) & (self._upper >= self._best.floors[:, None])
        may[:, : self._scan.k] = False
        self._decide(may)
        ranked = self._best.ranked()
        certain = (self._beyond < self._best.floors) | (self._beyond == -np.inf)
        return ranked, certain & (not self._scan.lanes.are_wrong)

    def _decide(self, may: NDArray[np.bool_]) -> None:
        of, column = np.nonzero(may)
        number, row = self._number[of, column], self._row[of, column]
        order = np.lexsort((row, number))
        of, column, number, row = of[order], column[order], number[order], row[order]

        def exact(job: tuple[Block, NDArray[np.float64] | None, slice]) -> NDArray[np.float64]:
            block, shift, part = job
            scan = self._scan
            at, own = row[part], of[part]
            return exact_scores(block, at, self._queries, own, scan.config, scale=shift, pair_dots=scan.pair_dots)

        jobs = []
        for each, block, shift in self._rows.of(number):
            start, stop = np.searchsorted(number, [each, each + 1]).tolist()
            jobs += [(block, shift, slice(at, min(at + _JOB, stop))) for at in range(start, stop, _JOB)]
        if len(of) < _WORTH_THREADS or self._scan.threads == 1:
            scored = [exact(job) for job in jobs]
        else:
            with ThreadPoolExecutor(self._scan.threads) as pool:
                scored = list(pool.map(exact, jobs))
        for (block, _, part), scores in zip(jobs, scored, strict=True):
            if (scores > self._upper[of[part], column[part]]).any():
                self._distrust()
            self._best.add(of[part], block.sequence[row[part]], scores)

    def _distrust(self) -> None:
        lanes = self._scan.lanes
        if not lanes.are_wrong:
            lanes.are_wrong = True
            devices = ", ".join(str(lane.device) for lane in lanes.lanes)
            _log.warning(
                "an exact score is above its bound by %s: queries are scanned on the host from now on", devices
            )

"""Exact top-k over blocks of stored rows: propose, certify, decide.

A kernel proposes the rows whose score could still be among the k best, by products in fast arithmetic with a bound on
their error; what it leaves out is certified not to be. Exact scores decide between those that are left in the end.
The first slices are small and each next one as large as all before it, so that the threshold is high when most rows
are read; the highest bounds of the first rows raise it at once. No block is sorted whole, and nothing grows with the
pool but k.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block
from risedb.topk.best import Ranked
from risedb.topk.center import Center, Scaled, scaled
from risedb.topk.heat import Heat
from risedb.topk.kernels import Kernel
from risedb.topk.plan import Plan
from risedb.topk.scores import PairDots, QueryVectors, exact_scores, fixed_order_dots

if TYPE_CHECKING:  # imports torch
    from risedb.topk.lanes import Lanes

_SHARED_ROWS = 2**10  # that are worth dividing a block among threads


def scan(  # noqa: PLR0913  a query, how it is scored, how much of it and where
    blocks: Iterable[Block],
    queries: QueryVectors,
    config: ScoreConfig,
    *,
    k: int,
    bottom: bool = False,
    center: Center | None = None,
    plan: Plan | None = None,
    lanes: "Lanes | None" = None,
) -> list[Ranked]:
    """Rank stored rows for each query.

    Parameters
    ----------
    blocks
        Stored rows; those that are not live are passed over. A scan on devices may read them more than once.
    queries
        m queries.
    config
        The weights the queries were made with.
    k
        Rows wanted for each query; fewer come back where fewer are live.
    bottom
        The k lowest scores instead, lowest first.
    center
        What the queries were centred with, if they were.
    plan
        Where proposals are computed, and in how much memory.
    lanes
        The devices of the ``torch`` engine, with what stays on them; those of the plan, with nothing, if not given.

    Returns
    -------
    list of Ranked
        One for each query. Scores and order are the same bits for every plan and every cut into blocks.
    """
    if bottom:
        lowest = scan(blocks, queries.negated(), config, k=k, center=center, plan=plan, lanes=lanes)
        return [Ranked(ranked.sequence, 0.0 - ranked.scores) for ranked in lowest]
    plan = plan or Plan()
    if plan.engine == "torch":
        return _scan_on_devices(blocks, queries, config, k=k, center=center, plan=plan, lanes=lanes)
    heats = [Heat(part, config, k, plan) for part in plan.groups(queries)]
    slices = _Slices(scaled(blocks, center), heats, plan)
    if plan.threads == 1 or plan.engine != "compiled":
        _work(slices, heats)
        return [ranked for heat in heats for ranked in heat.ranked(map)]
    with ThreadPoolExecutor(plan.threads) as pool:
        for done in [pool.submit(_work, slices, heats) for _ in range(plan.threads)]:
            done.result()
        return [ranked for heat in heats for ranked in heat.ranked(pool.map)]


def _scan_on_devices(  # noqa: PLR0913  as for scan
    blocks: Iterable[Block],
    queries: QueryVectors,
    config: ScoreConfig,
    *,
    k: int,
    center: Center | None,
    plan: Plan,
    lanes: "Lanes | None",
) -> list[Ranked]:
    from risedb.topk.device import DeviceScan
    from risedb.topk.lanes import Lanes

    again = list(blocks) if isinstance(blocks, Iterator) else blocks
    host = replace(plan, engine=plan.host)
    return DeviceScan(
        blocks=lambda: scaled(again, center),
        config=config,
        k=k,
        lanes=lanes or Lanes(plan.devices),
        memory_bytes=plan.memory_bytes,
        threads=plan.threads,
        candidates=plan.first_candidates(k),
        pair_dots=host.kernel(queries.part(slice(1)), config).pair_dots,
        on_host=lambda some: scan(again, some, config, k=k, center=center, plan=host),
    ).rank(queries)


def all_scores(
    blocks: Iterable[Block],
    queries: QueryVectors,
    config: ScoreConfig,
    *,
    center: Center | None = None,
    plan: Plan | None = None,
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.float64]]]:
    """Yield sequence numbers, (n,), and exact scores, (n, m) float64, of all live rows, in the order of the blocks.

    The arguments are those of :func:`scan`, and so are the scores' bits.
    """
    plan = plan or Plan()
    m, width = len(queries), queries.rh.shape[1] + queries.gh.shape[1]
    step = max(plan.most_pairs // m, 1)
    with ThreadPoolExecutor(plan.threads) as pool:
        for block, scale in scaled(blocks, center):
            dots = fixed_order_dots
            if plan.compiles(len(block) * m * width):
                from risedb.topk.compiled import CompiledKernel

                dots = CompiledKernel.pair_dots

            def exact(
                rows: NDArray[np.intp],
                block: Block = block,
                scale: NDArray[np.float64] | None = scale,
                dots: PairDots = dots,
            ) -> NDArray[np.float64]:
                at, of = np.repeat(rows, m), np.tile(np.arange(m), len(rows))
                return exact_scores(block, at, queries, of, config, scale=scale, pair_dots=dots)

            rows = np.flatnonzero(block.live)
            block.check(rows)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                scores = np.concatenate(list(pool.map(exact, np.array_split(part, plan.threads))))
                yield block.sequence[part], scores.reshape(len(part), m)


class _Slices:
    """Cuts blocks into slices for whichever thread asks next; small ones first, then each as large as all before it.

    In the end each thread takes a whole block, and checks it while the others compute; the last is divided among them.
    """

    def __init__(self, blocks: Iterable[Scaled], heats: list[Heat], plan: Plan) -> None:
        self._blocks = iter(blocks)
        self._rows, self._threads = plan.rows, plan.threads
        self._block: Block | None = None
        self._scale: NDArray[np.float64] | None = None
        self._first_rows = min(heat.first_rows for heat in heats)
        self._start = self._cut = self._share = 0
        self._lock = threading.Lock()

    def next(self, kernels: list[Kernel]) -> Scaled | None:
        """Return rows that all kernels can take at once, and their scales; None when there are no more."""
        with self._lock:
            while self._block is None or self._start >= len(self._block):
                following = next(self._blocks, None)
                if following is None:
                    return None
                (self._block, self._scale), self._start = following, 0
                self._rows -= len(self._block)
                among = self._threads if self._rows <= 0 else 1
                self._share = max(-(-len(self._block) // among), _SHARED_ROWS)
            most = min(kernel.slice_rows(self._block) for kernel in kernels)
            part = slice(self._start, self._start + min(max(self._cut, self._first_rows), most, self._share))
            self._start = part.stop
            self._cut += part.stop - part.start
            return self._block.part(part), None if self._scale is None else self._scale[part]

    def stop(self) -> None:
        """Give out no more."""
        with self._lock:
            self._blocks, self._block = iter(()), None


def _work(slices: _Slices, heats: list[Heat]) -> None:
    """Take slice after slice, in one thread."""
    kernels = [heat.kernel() for heat in heats]
    try:
        while (rows := slices.next(kernels)) is not None:
            for heat, kernel in zip(heats, kernels, strict=True):
                heat.run(kernel, *rows)
    finally:
        slices.stop()  # if this thread failed, the others need not go on

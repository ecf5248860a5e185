"""How a scan is run: where, with which kernel, and in pieces of which size."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from risedb.config import ScoreConfig
from risedb.topk.kernels import Kernel, NumpyKernel
from risedb.topk.scores import QueryVectors

_QUERIES = 128  # ranked together: what is read once from memory and stays in a cache meanwhile
_DECIDED = 5_000  # products that take NumPy as long as deciding a query's rows
_WORTH_TORCH = 10**9  # products that NumPy computes in about the time in which torch is imported
_WORTH_COMPILED = 3 * 10**8  # and in which the compiled kernel is
_WORTH_LOOPS = 3 * 10**7  # stored numbers that NumPy goes through in about that time
_WORTH_THREAD = 15 * 10**6  # products that are worth a thread; fewer it would take longer to hand out
_WORTH_DEVICE = 10**7  # products that NumPy computes while a device is told what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Choices that change a scan's speed and memory, and nothing else.

    Examples
    --------
    >>> Plan.choose(rows=5_000, width=352, queries=1, coded=True).engine
    'numpy'
    """

    engine: str = "numpy"
    """``numpy``, ``compiled`` for codes on a CPU, or ``torch`` on `devices`."""
    devices: tuple[str, ...] = ("cpu",)
    """As torch names them; blocks are dealt to them in turn."""
    memory_bytes: int = 2**28
    """Bound on what is allocated, beyond the queries and their answers: k rows for each."""
    threads: int = 1
    """Threads of the compiled kernel, and of what decides for devices."""
    first_pairs: int | None = None
    """Pairs of the first slice, for which no floor is known; k may ask for more."""
    rows: int = 0
    """Rows of the pool, about: before the last of them each thread has a block to itself."""
    products: float = 0
    """What the scan takes, about, in numbers that NumPy multiplies."""

    @classmethod
    def choose(  # noqa: PLR0913  what there is to know of a scan
        cls,
        *,
        rows: int,
        width: int,
        queries: int,
        coded: bool,
        device: str = "cpu",
        asked: tuple[str, ...] = (),
        memory_bytes: int = 2**28,
        done: float = 0,
    ) -> "Plan":
        """Pick the engine that answers first, what it would have to import counted, unless earlier scans cost as much.

        A CUDA device is used where it was asked for, and where the model is on one already, unless NumPy answers before
        the device would. Nothing else makes a scan start CUDA: that takes seconds, and a CPU scans a million rows in
        a fraction of one.

        Parameters
        ----------
        rows, width, queries
            Size of the pool, numbers a row, size of the batch.
        coded
            Whether most rows have codes.
        device
            Where the model is, if one is loaded.
        asked
            Devices that were asked for; used whatever they are.
        memory_bytes
            As above.
        done
            Products of earlier scans: whoever asks again and again is better served by what takes a moment to import.
        """
        products = width * (rows * (1 + queries / 8) + _DECIDED * queries)
        devices = asked or ((device,) if device.startswith("cuda") and products >= _WORTH_DEVICE else ())
        if devices:
            engine = "torch"
        elif coded:
            imported = "numba" in sys.modules or products + done >= _WORTH_COMPILED
            compiled = imported and products >= 0.02 * _WORTH_COMPILED
            engine = "compiled" if compiled else "numpy"
        else:
            engine = "torch" if "torch" in sys.modules or products >= _WORTH_TORCH else "numpy"
        return cls(
            engine=engine,
            devices=devices or ("cpu",),
            memory_bytes=memory_bytes,
            threads=min(_cores(), max(int(products / _WORTH_THREAD), 1)),
            rows=rows,
            products=products,
        )

    def compiles(self, numbers: int) -> bool:
        """Tell whether loops over so many stored numbers, each in float64, are worth numba."""
        return self.engine == "compiled" or "numba" in sys.modules or numbers >= _WORTH_LOOPS

    @property
    def host(self) -> str:
        """The engine that takes over from devices, and decides for them."""
        return "compiled" if "numba" in sys.modules or self.devices[0] != "cpu" else "numpy"

    def first_rows(self, queries: int) -> int:
        """Return how many rows the first slice has, at least."""
        pairs = self.first_pairs or (2**13 if self.engine == "compiled" else 2**9)
        return max(pairs // queries, 1)

    def first_candidates(self, k: int) -> int:
        """Return how many rows a device keeps for each query at first; a query that needs more is asked again."""
        return self.first_pairs or max(2 * k, 2**9)

    @property
    def most_pairs(self) -> int:
        """Pairs that are decided at once."""
        return max(self.memory_bytes // 2**12, 1)

    def groups(self, queries: QueryVectors) -> Iterator[QueryVectors]:
        """Cut a batch into those that are ranked together."""
        for start in range(0, len(queries), _QUERIES):
            yield queries.part(slice(start, start + _QUERIES))

    def kernel(self, queries: QueryVectors, config: ScoreConfig) -> Kernel:
        """Return the kernel for some queries, of an engine on the host."""
        share = self.memory_bytes // 4
        if self.engine == "compiled":
            from risedb.topk.compiled import CompiledKernel

            return CompiledKernel(queries, config, share // self.threads)
        return NumpyKernel(queries, config, share)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

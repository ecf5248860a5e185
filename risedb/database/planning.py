"""What an add will take: tokens, disk, memory and time, from a sample of the pool that goes through the model."""

import math
import resource
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from risedb.config import PRESETS, ReadoutConfig, SketchConfig, StoreConfig
from risedb.corpus import BadRow, Document, Fields, Row
from risedb.corpus.sample import draw
from risedb.database.adding import BULK_ROWS
from risedb.database.encoding import encode_documents
from risedb.database.reading import as_document
from risedb.database.writing import CommitEvery, pending_rows
from risedb.errors import InvalidInput
from risedb.featurize import Featurizer, LanguageModel, Tokens
from risedb.storage import columns_bytes, pack_record

_ROW_BYTES = (
    61  # of the smaller arrays: norms, sequence, commit, content, record_ends, row_crc32c, code_scale, code_error
)
_TAIL_ROW_BYTES = 44  # norms, sequence, commit, content, scale, record_ends
_FIRST_BYTES = 180_000  # of an index after its first commit, besides the documents
_ID_BYTES = 57  # of an id's entry in the catalog, besides the id
_ID_SPREAD = 2.2  # LMDB's pages are half full, and copied on write


@dataclass(frozen=True, slots=True)
class PresetPlan:
    """What one preset takes.

    Parameters
    ----------
    preset
        Its name.
    disk_bytes
        Of the finished index.
    memory_bytes
        Most that the model and the signatures needed on the device while the sample went through: of the process on a
        CPU, of the allocator on a GPU.
    seconds
        For all forward passes and signatures.
    tokens_per_second
        As measured.
    """

    preset: str
    disk_bytes: int
    memory_bytes: int
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What adding a pool takes.

    Parameters
    ----------
    rows
        Rows of the pool.
    sampled, unusable
        Rows looked at, and those of them that no add would take.
    tokens, tokens_spread
        Tokens that go through the model; the estimate is within the spread for 19 samples in 20. No spread if the
        sample is the pool.
    truncated
        Share of the documents that are longer than seq_len, of which the readout cuts the rest.
    device, dtype
        Where the timed passes ran, and in which precision.
    timed_tokens
        Tokens that were timed for each preset.
    presets
        One for each preset.
    """

    rows: int
    sampled: int
    unusable: int
    tokens: int
    tokens_spread: int
    truncated: float
    device: str
    dtype: str
    timed_tokens: int
    presets: tuple[PresetPlan, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)


def plan(  # noqa: PLR0913  what an add takes, and how much to look at
    rows: Iterable[Row | BadRow],
    model: LanguageModel,
    readout: ReadoutConfig,
    fields: Fields,
    *,
    most: int = 1000,
    seconds: float = 3.0,
    batch_tokens: int | None = None,
) -> PoolPlan:
    """Sample a pool and run a part of the sample.

    Parameters
    ----------
    rows
        The whole pool; it is read once.
    model, readout, fields
        As for :func:`risedb.open`.
    most
        Documents in the sample.
    seconds
        About how long each preset is timed.
    batch_tokens
        As for :func:`risedb.open`.

    Raises
    ------
    InvalidInput
        If there is nothing in the pool that could be added.
    """
    drawn, count = draw(rows, most)
    documents, tokens = _usable(drawn, model, readout, fields)
    if not documents:
        msg = f"none of the {len(drawn)} rows that were looked at could be added"
        raise InvalidInput(msg)
    lengths = [one.tokens_read(readout) for one in tokens]
    total, spread = _total(lengths + [0] * (len(drawn) - len(documents)), count)
    added = round(count * len(documents) / len(drawn))
    presets = []
    timed: Sequence[Tokens] = ()
    timed_tokens = 0
    for name in PRESETS:
        featurizer = Featurizer(model, readout, SketchConfig.parse(name), batch_tokens=batch_tokens)
        if not timed:
            timed = _timed(tokens, lengths, featurizer, seconds)
            timed_tokens = sum(one.tokens_read(readout) for one in timed)
        start = perf_counter()
        featurizer.phi(timed)
        rate = timed_tokens / (perf_counter() - start)
        disk = disk_bytes(documents, added, SketchConfig.parse(name), added * rate / total)
        presets.append(PresetPlan(name, disk, _peak_memory(model), total / rate, rate))
    return PoolPlan(
        rows=count,
        sampled=len(drawn),
        unusable=len(drawn) - len(documents),
        tokens=round(total),
        tokens_spread=round(spread),
        truncated=sum(len(one.ids) > readout.seq_len for one in tokens) / len(tokens),
        device=str(model.device),
        dtype=str(model.head.dtype).removeprefix("torch."),
        timed_tokens=timed_tokens,
        presets=tuple(presets),
    )


def disk_bytes(documents: Sequence[Document], count: int, sketch: SketchConfig, rows_per_second: float) -> int:
    """Estimate the bytes of an index of `count` documents like these.

    Rows have the size that FORMAT.md gives them, records and columns that of the sample. The catalog keeps the size
    that it had when its tail was fullest, which hangs on how many documents are signed from one commit to the next.
    """
    numbers = sketch.rh_dim + sketch.gh_dim
    records = float(np.mean([len(pack_record(one.id, one.record)) for one in documents]))
    half = [one.record for one in documents[: len(documents) // 2]]
    rest = [one.record for one in documents[len(half) :]]
    columns = (len(columns_bytes([*half, *rest])) - len(columns_bytes(half))) / len(rest)
    ids = _ID_SPREAD * (_ID_BYTES + float(np.mean([len(one.id.encode()) for one in documents])))
    row, tail_row = 3 * numbers + _ROW_BYTES + records + columns, 2 * numbers + _TAIL_ROW_BYTES + records
    step = max(min(pending_rows(sketch), int(rows_per_second * (CommitEvery().seconds or 0))), 1)
    sealed, fullest = _tail_rows(count, step, int((StoreConfig().seal_bytes - 1) // tail_row))
    return round(_FIRST_BYTES + count * ids + sealed * row + fullest * tail_row)


def _tail_rows(count: int, step: int, limit: int) -> tuple[int, int]:
    """Return how many rows segments take, and for how many the catalog has room, of commits of `step` rows each.

    The commit that would fill the tail beyond the limit makes a segment of it, and what that frees serves from the
    second commit after it on: the first one takes new pages. So does that after the next segment, as a rule, because
    rows of a commit lie together and do not quite fit where others were.
    """
    held = limit // step * step
    segments, rest = divmod(count, held + step)
    fullest = min(rest, limit)
    if segments and held:
        fullest = max(fullest, held + (min(step, rest) if segments == 1 else 2 * step))
    return count if count >= BULK_ROWS else segments * (held + step), fullest


def _usable(
    drawn: Sequence[Row | BadRow], model: LanguageModel, readout: ReadoutConfig, fields: Fields
) -> tuple[list[Document], list[Tokens]]:
    """Return the documents that an add would take, with their tokens."""
    documents = [
        document
        for number, row in enumerate(drawn, 1)
        if isinstance(document := as_document(row, f"row {number}", fields), Document)
    ]
    pairs = [
        (document, one)
        for document, one in zip(documents, encode_documents(documents, model.tokenizer), strict=True)
        if not isinstance(one, InvalidInput) and one.windows(readout)
    ]
    return [document for document, _ in pairs], [one for _, one in pairs]


def _total(lengths: Sequence[int], count: int) -> tuple[float, float]:
    """Return the total over a pool, and how far it may be off: 1.96 standard errors, without replacement."""
    n = len(lengths)
    deviation = float(np.std(lengths, ddof=1)) if n > 1 else 0.0
    unseen = (count - n) / max(count - 1, 1)
    return count * float(np.mean(lengths)), 1.96 * count * deviation * math.sqrt(unseen / n)


def _timed(
    tokens: Sequence[Tokens], lengths: Sequence[int], featurizer: Featurizer, seconds: float
) -> Sequence[Tokens]:
    """Warm up, and return as many documents, from all over the sample, as take about so long."""
    shuffled = np.random.default_rng(0).permutation(len(tokens))
    cumulated = np.cumsum([lengths[i] for i in shuffled])
    first = int(np.searchsorted(cumulated, featurizer.batch_tokens)) + 1
    some = [tokens[i] for i in shuffled[:first]]
    featurizer.phi(some[:1])
    start = perf_counter()
    featurizer.phi(some)
    rate = cumulated[min(first, len(cumulated)) - 1] / (perf_counter() - start)
    enough = int(np.searchsorted(cumulated, rate * seconds)) + 1
    return [tokens[i] for i in shuffled[: max(first, enough)]]


def _peak_memory(model: LanguageModel) -> int:
    if model.device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(model.device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

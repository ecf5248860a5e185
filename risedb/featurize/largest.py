"""The k largest logits of each position on a CPU: one read of the logits, and a glance back at a few.

Importing this costs a quarter of a second, and the loops are compiled once for a machine and then read from a cache:
:mod:`risedb.featurize.support` calls for them where that pays. Logits are compared by their bits as integers: those of
float32, bfloat16 and float16 are all in the same order, sign and magnitude. Loops start at 0 and go over views, so that
no index can be negative, and every integer keeps its size: else LLVM would not vectorise them.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.jit import compiled

_FOLDED, _LANES = 4, 16  # times k
_THREAD_LOGITS = 2**19  # take a thread about two milliseconds


def largest(
    logits: NDArray[np.signedinteger], k: int, infinity: int, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the k largest logits of each row, falling, equal ones by token id.

    The row is dealt to 16 k lanes, and lanes are folded by fours: the k-th largest of the folded lanes' maxima is a
    floor that at least k logits reach, and not many more. Only lanes that reach it are looked at again.

    Parameters
    ----------
    logits
        (N, V) bits of a floating type, as signed integers of its size; V at least 16 k.
    k
        How many.
    infinity
        The bits of infinity in that type.
    threads
        Among which rows are divided, where they are worth starting some.

    Returns
    -------
    token_ids, finite
        (N, k) int64, and (N,) bool: False where a logit is NaN or infinite, and the row's ids mean nothing.
    """
    token_ids, finite = np.empty((len(logits), k), np.int64), np.empty(len(logits), np.bool_)
    constants = (logits.dtype.type(0), logits.dtype.type(np.iinfo(logits.dtype).min), infinity)
    if (parts := min(threads, logits.size // _THREAD_LOGITS)) > 1:
        with ThreadPoolExecutor(parts) as pool:
            shares = [np.array_split(array, parts) for array in (logits, token_ids, finite)]
            list(pool.map(_largest, shares[0], [constants] * parts, *shares[1:]))
    else:
        _largest(logits, constants, token_ids, finite)
    return token_ids, finite


@compiled
def _largest(logits: Any, constants: Any, token_ids: Any, finite: Any) -> None:
    zero, lowest, infinity = constants
    k, tokens = token_ids.shape[1], logits.shape[1]
    high, low = np.empty(_LANES * k, logits.dtype), np.empty(_LANES * k, logits.dtype)
    folded, found = np.empty(_FOLDED * k, logits.dtype), np.empty(tokens, np.int64)
    for n in range(len(logits)):
        row = logits[n]
        _extremes(row, zero, lowest, high, low)
        folded[:] = lowest
        for start in range(0, len(high), len(folded)):
            part = high[start : start + len(folded)]
            for i in range(len(folded)):
                folded[i] = max(folded[i], part[i])
        finite[n] = True
        for i in range(len(folded)):
            finite[n] &= folded[i] < infinity
        for i in range(len(low)):
            finite[n] &= low[i] > -infinity
        floor = _floor(folded, k, infinity)
        count = _gather(row, (zero, lowest), floor, (folded, high), found) if finite[n] else k
        chosen = found[:count]
        chosen.sort()
        for i in range(k):
            token_ids[n, i] = chosen[i] & 0xFFFFFFFF if finite[n] else i


@compiled
def _extremes(row: Any, zero: Any, lowest: Any, high: Any, low: Any) -> None:
    """Fill high and low with each lane's extreme keys: a float's bits if positive, else minus those of its size."""
    high[:], low[:] = lowest, zero
    for start in range(0, len(row), len(high)):
        part = row[start : start + len(high)]
        for i in range(len(part)):
            bits = part[i]
            key = bits if bits >= zero else type(zero)(lowest - bits)
            high[i], low[i] = max(high[i], key), min(low[i], key)


@compiled
def _floor(folded: Any, k: int, infinity: int) -> int:
    """Halve to a key that at least k of the maxima reach, and few more."""
    reached, missed = -infinity, infinity
    while missed - reached > 1:
        middle = (reached + missed) >> 1
        count = 0
        for i in range(len(folded)):
            count += folded[i] >= middle
        if count < k:
            missed = middle
        else:
            reached = middle
            if count <= k + 8:
                break
    return reached


@compiled
def _gather(row: Any, constants: Any, floor: int, maxima: Any, found: Any) -> int:
    """Write (-key, token id) of all that reach the floor, as one integer each; return how many there are."""
    zero, lowest = constants
    folded, high = maxima
    count = 0
    for first in range(len(folded)):
        if folded[first] >= floor:
            for lane in range(first, len(high), len(folded)):
                if high[lane] >= floor:
                    for token in range(lane, len(row), len(high)):
                        bits = row[token]
                        key = np.int64(bits) if bits >= zero else np.int64(lowest) - np.int64(bits)
                        if key >= floor:
                            found[count] = (-key << 32) + token
                            count += 1
    return count

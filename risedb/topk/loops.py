"""The compiled kernel's loops, by numba.

Importing this costs a quarter of a second, and the loops are compiled once for a machine and then read from a cache:
:mod:`risedb.topk.plan` calls for them where that pays. No fast-math: each operation is rounded once, in the order
written. All let go of the interpreter's lock. Loops start at 0 and go over views, so that no index can be negative:
else LLVM would not vectorise them.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from risedb.topk import bounds as formulas

_TILE = 64  # rows that are looked at together


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(nogil=True, error_model="numpy")(function)


_code_factor, _code_slack = _compiled(formulas.code_factor), _compiled(formulas.code_slack)


@_compiled
def products(codes: Any, queries: Any, out: Any) -> None:
    """Fill out (m, n) int32 with products of codes (n, D) int8 and queries (m, D) int16."""
    for i in range(len(codes)):
        row = codes[i]
        for j in range(len(queries)):
            query, total = queries[j], np.int32(0)
            for d in range(len(row)):
                total += np.int32(row[d]) * np.int32(query[d])
            out[j, i] = total


@_compiled
def bounds(norms: Any, coded: Any, live: Any, constants: Any, gain: Any, slack: Any) -> None:
    """Fill gain and slack (n,) float64; the slack of a row that is not live is NaN, which reaches no floor.

    `coded` is (scale, error, shift) of the rows. Three loops, since LLVM checks so many arrays for overlap, not more.
    """
    scale, error, shift = coded
    (rh_squared, gh_squared, normalize), (query_error, length) = constants
    for i in range(len(norms)):
        gain[i] = shift[i] * _code_factor(
            np.float64(norms[i, 0]), np.float64(norms[i, 1]), rh_squared, gh_squared, normalize
        )
    for i in range(len(norms)):
        slack[i] = gain[i] * _code_slack(np.float64(error[i]), query_error, length)
    for i in range(len(norms)):
        gain[i] *= scale[i]
        if not live[i]:
            slack[i] = np.nan


@_compiled
def survivors(products: Any, rows: Any, queries: Any, start: int, stop: int, pairs: Any) -> int:
    """Write (row, query) of those that may reach the query's floor to pairs (2, most); return how many there are."""
    step, unit, offset, floors = queries
    count, most = 0, pairs.shape[1]
    for tile in range(start, stop, _TILE):
        gain, slack, shift = (rows[0][tile : tile + _TILE], rows[1][tile : tile + _TILE], rows[2][tile : tile + _TILE])
        for j in range(products.shape[0]):
            near = products[j, tile : min(tile + _TILE, stop)]
            step_j, unit_j, offset_j, floor = step[j], unit[j], offset[j], floors[j]
            hits = 0
            for i in range(len(near)):
                hits += (near[i] * gain[i] * step_j + slack[i]) * unit_j + offset_j * shift[i] >= floor
            if hits > 0:
                for i in range(len(near)):
                    if (near[i] * gain[i] * step_j + slack[i]) * unit_j + offset_j * shift[i] >= floor:
                        if count < most:
                            pairs[0, count], pairs[1, count] = tile + i, j
                        count += 1
    return count


@_compiled
def _halved(products: Any) -> Any:
    width = len(products)
    while width > 1:
        half = (width + 1) // 2
        for d in range(width - half):
            products[d] += products[half + d]
        width = half
    return products[0]


@_compiled
def pair_dots(rows: Any, at: Any, queries: Any, of: Any, sums: Any) -> None:
    """Fill sums (p,) with products of rows (n, D) float32 or int8 and queries (m, D) float64, summed by halving."""
    terms = np.empty(rows.shape[1])
    for p in range(len(at)):
        row, query = at[p], of[p]
        for d in range(len(terms)):
            terms[d] = np.float64(rows[row, d]) * queries[query, d]
        sums[p] = _halved(terms)


@_compiled
def pair_dots_16(rows: Any, half: bool, at: Any, queries: Any, of: Any, sums: Any) -> None:
    """Do the same for rows of float16's bits, or of bfloat16's if not `half`."""
    terms = np.empty(rows.shape[1])
    bits = np.empty(rows.shape[1], np.uint32)
    floats = bits.view(np.float32)
    for p in range(len(at)):
        row, query = at[p], of[p]
        if half:
            for d in range(len(terms)):
                stored = np.uint32(rows[row, d])
                bits[d] = ((stored & np.uint32(0x7FFF)) << np.uint32(13)) | (
                    (stored & np.uint32(0x8000)) << np.uint32(16)
                )
            for d in range(len(terms)):
                terms[d] = np.float64(floats[d]) * 2.0**112 * queries[query, d]  # the exponents' biases differ by 112
        else:
            for d in range(len(terms)):
                bits[d] = np.uint32(rows[row, d]) << np.uint32(16)
            for d in range(len(terms)):
                terms[d] = np.float64(floats[d]) * queries[query, d]
        sums[p] = _halved(terms)

"""The compiled kernel's loops, by numba.

Importing this costs a quarter of a second, and the loops are compiled once for a machine and then read from a cache:
:mod:`risedb.topk.plan` calls for them where that pays. No fast-math: each operation is rounded once, in the order
written, but for float32 products, whose bound allows any order. All let go of the interpreter's lock. Loops start at 0
and go over views, so that no index can be negative: else LLVM would not vectorise them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from risedb.jit import compiled
from risedb.topk import bounds as formulas
from risedb.topk.tiles import products

_TILE = 256  # rows that are looked at together


def _any_order(function: Callable[..., Any]) -> Any:
    """Compile a sum whose bound holds for every order of summation."""
    return compiled(function, fastmath={"reassoc", "contract"})


@intrinsic
def _float_of_half(_: Any, bits: Any) -> Any:
    """Widen a float16's bits, which is one instruction; numba has no float16 on a CPU."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return (types.float32(types.uint16), build) if bits == types.uint16 else None


_code_factor, _code_slack = compiled(formulas.code_factor), compiled(formulas.code_slack)


@compiled
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


@compiled
def survivors(coded: Any, queries: Any, constants: Any, start: int, stop: int, pairs: Any) -> int:
    """Write (row, query) of those that may reach the query's floor to pairs (2, most); return how many there are.

    They may be more than `most`: then the rest is not looked at. `coded` is (codes, norms, live, (scale, error, shift))
    of the rows. A tile of rows stays in a cache, and its products with all queries.
    """
    codes, norms, live, (scale, error, shift) = coded
    vectors, step, unit, offset, floors = queries
    near, gain, slack = np.empty((len(vectors), _TILE), np.int32), np.empty(_TILE), np.empty(_TILE)
    count, most = 0, pairs.shape[1]
    for tile in range(start, stop, _TILE):
        rows = slice(tile, min(tile + _TILE, stop))
        products(codes[rows], vectors, near)
        own_shift = shift[rows]
        bounds(norms[rows], (scale[rows], error[rows], own_shift), live[rows], constants, gain, slack)
        for j in range(len(step)):
            own, step_j, unit_j, offset_j, floor = near[j], step[j], unit[j], offset[j], floors[j]
            hits = 0
            for i in range(len(own_shift)):
                hits += (own[i] * gain[i] * step_j + slack[i]) * unit_j + offset_j * own_shift[i] >= floor
            if hits > 0:
                for i in range(len(own_shift)):
                    if (own[i] * gain[i] * step_j + slack[i]) * unit_j + offset_j * own_shift[i] >= floor:
                        if count < most:
                            pairs[0, count], pairs[1, count] = tile + i, j
                        count += 1
        if count > most:
            break
    return count


@compiled
def _halved(products: Any) -> Any:
    width = len(products)
    while width > 1:
        half = (width + 1) // 2
        for d in range(width - half):
            products[d] += products[half + d]
        width = half
    return products[0]


@compiled
def pair_dots(rows: Any, at: Any, queries: Any, of: Any, sums: Any) -> None:
    """Fill sums (p,) with products of rows (n, D) float32 or int8 and queries (m, D) float64, summed by halving."""
    terms = np.empty(rows.shape[1])
    for p in range(len(at)):
        row, query = at[p], of[p]
        for d in range(len(terms)):
            terms[d] = np.float64(rows[row, d]) * queries[query, d]
        sums[p] = _halved(terms)


@compiled
def pair_dots_16(rows: Any, half: bool, at: Any, queries: Any, of: Any, sums: Any) -> None:
    """Do the same for rows of float16's bits, or of bfloat16's if not `half`."""
    terms, floats = np.empty(rows.shape[1]), np.empty(rows.shape[1], np.float32)
    for p in range(len(at)):
        query = queries[of[p]]
        if p == 0 or at[p] != at[p - 1]:
            widen(rows[at[p]], half, floats)
        for d in range(len(terms)):
            terms[d] = np.float64(floats[d]) * query[d]
        sums[p] = _halved(terms)


@compiled
def widen(row: Any, half: bool, floats: Any) -> None:
    """Fill floats (n,) float32 with float16's bits, or bfloat16's if not `half`."""
    if half:
        for d in range(len(floats)):
            floats[d] = _float_of_half(row[d])  # type: ignore[call-arg]  # numba gives the context
    else:
        bits = floats.view(np.uint32)
        for d in range(len(bits)):
            bits[d] = np.uint32(row[d]) << np.uint32(16)


@_any_order
def _float32_dot(one: Any, other: Any) -> Any:
    total = np.float32(0)
    for d in range(len(one)):
        total += one[d] * other[d]
    return total


@compiled
def near_dots(rows: Any, at: Any, queries: Any, of: Any, sums: Any) -> None:
    """Fill sums (p,) with float32 products of rows (n, D) float32 and queries (m, D) float32."""
    for p in range(len(at)):
        sums[p] = _float32_dot(rows[at[p]], queries[of[p]])


@compiled
def near_dots_16(rows: Any, half: bool, at: Any, queries: Any, of: Any, sums: Any) -> None:
    """Do the same for rows of 16 bits; pairs of one row should stand together, so that it is widened once."""
    floats = np.empty(rows.shape[1], np.float32)
    for p in range(len(at)):
        if p == 0 or at[p] != at[p - 1]:
            widen(rows[at[p]], half, floats)
        sums[p] = _float32_dot(floats, queries[of[p]])


@compiled
def between(dots: Any, rows: Any, pairs: Any, queries: Any, constants: Any, bounds: Any) -> None:
    """Fill bounds (2, p) of scores, float64, at `order`; `dots` are the (p,) products of each channel.

    `rows` is (norms, shift), `pairs` (at, of, order).
    """
    norms, shift = rows
    at, of, order = pairs
    unit, offset = queries
    (lambda_rh, lambda_gh, normalize), slack, rounding = constants
    for p in range(len(at)):
        row, query = at[p], of[p]
        rh, gh = lambda_rh * np.float64(norms[row, 0]), lambda_gh * np.float64(norms[row, 1])
        length = np.sqrt(rh * rh + gh * gh)
        if normalize and length > 0:
            rh, gh = rh / length, gh / length
        middle = (rh * dots[0][p] + gh * dots[1][p]) * unit[query] + offset[query]
        error = slack * (rh + gh) * unit[query] + rounding * np.abs(offset[query])
        bounds[0, order[p]] = (middle - error) * shift[row]
        bounds[1, order[p]] = (middle + error) * shift[row]


@compiled
def fixed_sum(rows: Any, weights: Any, live: Any, unit: float, total: Any) -> None:
    """Add live rows (n, D) float32, times their weights (n,) and `unit`, rounded, to total (D,) int64."""
    for i in range(len(rows)):
        if live[i]:
            row, weight = rows[i], weights[i]
            for d in range(len(row)):
                total[d] += np.int64(np.rint(np.float64(row[d]) * weight * unit))


@compiled
def distances(rh: Any, gh: Any, weights: Any, mean: Any, lengths: Any) -> None:
    """Fill lengths (n,) with distances of [w_rh rh ; w_gh gh], float32 rows and (n, 2) weights, from a mean (D,)."""
    squares = np.empty(len(mean))
    for i in range(len(rh)):
        start = 0
        for row, weight in ((rh[i], weights[i, 0]), (gh[i], weights[i, 1])):
            part, middle = squares[start:], mean[start:]
            for d in range(len(row)):
                difference = np.float64(row[d]) * weight - middle[d]
                part[d] = difference * difference
            start += len(row)
        lengths[i] = np.sqrt(_halved(squares))

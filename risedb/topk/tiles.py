"""Products of codes with integer queries, a few rows by a few queries at a time, in the widest vectors there are.

Written as vectors of LLVM's own, which it cuts to those of any processor: products and the sums of pairs of them are
one instruction on x86. Of a loop in numba LLVM makes narrower ones, since it goes by the width of the sums, and it
reads a row again for each query.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from risedb.jit import compiled

QUERIES = 4  # of a tile: more than one are filled up to a multiple of it
_ROWS = 4  # of a tile: 16 sums and what they are made of stay in registers
_CODES = 32 if get_host_cpu_features().get("avx512f") else 16  # multiplied at once, in registers of 512 or 256 bits


def _lanes(numbers: range | list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def _paired(builder: Any, one: Any, other: Any = None) -> Any:
    """Add neighbours, of `one` and then of `other`, if there is another."""
    lanes = one.type.count * (1 if other is None else 2)
    halves = (builder.shuffle_vector(one, other or one, _lanes(range(first, lanes, 2))) for first in (0, 1))
    return builder.add(*halves)


def _tile(rows: int, queries: int, together: int = _CODES) -> Any:
    """Make a function that fills out[j : j + queries, i : i + rows], of the codes up to a multiple of `together`.

    It takes codes (n, D) int8, queries (m, D) int16, i, j and out (m, n or more) int32, all contiguous.
    """
    codes_type, sums_type = (ir.VectorType(ir.IntType(32), count) for count in (together, together // 2))

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, vectors, out = (make_array(signature.args[at])(context, builder, arguments[at]) for at in (0, 1, 4))
        i, j = arguments[2], arguments[3]
        width = builder.extract_value(codes.shape, 1)

        def lines(array: Any, first: Any, count: int) -> list[Any]:
            length = builder.extract_value(array.shape, 1)
            starts = (builder.mul(builder.add(first, first.type(k)), length) for k in range(count))
            return [builder.gep(array.data, [start]) for start in starts]

        def at(line: Any, place: Any, vector: Any) -> Any:
            return builder.bitcast(builder.gep(line, [place]), vector.as_pointer())

        def load(line: Any, place: Any, bits: int) -> Any:
            vector = ir.VectorType(ir.IntType(bits), together)
            return builder.sext(builder.load(at(line, place, vector), align=1), codes_type)

        row_lines, query_lines = lines(codes, i, rows), lines(vectors, j, queries)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(sums_type, None)) for _ in range(rows * queries)]
        whole = builder.and_(width, width.type(-together))
        with cgutils.for_range_slice(builder, width.type(0), whole, width.type(together), width.type) as (d, _):
            of_rows = [load(line, d, 8) for line in row_lines]
            of_queries = [load(line, d, 16) for line in query_lines]
            for k, total in enumerate(sums):
                products = builder.mul(of_rows[k % rows], of_queries[k // rows])
                pairs = (
                    builder.shuffle_vector(products, products, _lanes(range(first, together, 2))) for first in (0, 1)
                )
                builder.store(builder.add(builder.load(total), builder.add(*pairs)), total)
        level = [builder.load(total) for total in sums]
        for _ in range((together // 2).bit_length() - 1):  # until each sum is one lane
            level = [_paired(builder, level[k], level[min(k + 1, len(level) - 1)]) for k in range(0, len(level), 2)]
        for k, line in enumerate(lines(out, j, queries)):
            vector, lane = divmod(k * rows, together // 2)
            row_sums = builder.shuffle_vector(level[vector], level[vector], _lanes(range(lane, lane + rows)))
            builder.store(row_sums, at(line, i, row_sums.type), align=4)
        return context.get_dummy_value()

    def tile(_: Any, codes: Any, vectors: Any, i: Any, j: Any, out: Any) -> Any:
        taken = [(array.dtype, array.layout) for array in (codes, vectors, out)]
        if taken != [(number, "C") for number in (types.int8, types.int16, types.int32)]:
            return None  # it would read other bytes
        return types.void(codes, vectors, types.intp, types.intp, out), build

    return intrinsic(tile)


_tile_of_many, _row_of_many, _tile_of_one, _row_of_one = (
    _tile(rows, queries) for queries in (QUERIES, 1) for rows in (_ROWS, 1)
)


@compiled
def products(codes: Any, vectors: Any, out: Any) -> None:
    """Fill out (m, n) int32 with products of codes (n, D) int8 and vectors (m, D) int16; m is 1 or a multiple of 4."""
    tiles = len(codes) // _ROWS * _ROWS
    if len(vectors) == 1:
        for i in range(0, tiles, _ROWS):
            _tile_of_one(codes, vectors, i, 0, out)
        for i in range(tiles, len(codes)):
            _row_of_one(codes, vectors, i, 0, out)
    else:
        for j in range(0, len(vectors), QUERIES):
            for i in range(0, tiles, _ROWS):
                _tile_of_many(codes, vectors, i, j, out)
            for i in range(tiles, len(codes)):
                _row_of_many(codes, vectors, i, j, out)
    for d in range(codes.shape[1] // _CODES * _CODES, codes.shape[1]):
        for j in range(len(vectors)):
            for i in range(len(codes)):
                out[j, i] += np.int32(codes[i, d]) * np.int32(vectors[j, d])

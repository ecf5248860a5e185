"""Integer products of tiles against plain int64 matrix products."""

import numba
import numpy as np
import pytest

from risedb.topk import tiles


@pytest.mark.parametrize("width", [1, 15, 16, 33, 352, 1000])
@pytest.mark.parametrize("queries", [1, 4, 12])
@pytest.mark.parametrize("rows", [1, 3, 4, 9, 64])
def test_products_are_exact(rows, queries, width):
    rng = np.random.default_rng(rows * queries * width)
    codes = rng.integers(-128, 128, (rows + 2, width), dtype=np.int8)[1:-1]
    largest = (2**31 - 1) // (128 * width)
    vectors = rng.integers(-min(largest, 2**15), min(largest, 2**15 - 1) + 1, (queries, width)).astype(np.int16)
    out = np.full((queries + 1, rows + 3), 7, np.int32)
    tiles.products(codes, vectors, out)
    expected = vectors.astype(np.int64) @ codes.T.astype(np.int64)
    np.testing.assert_array_equal(out[:queries, :rows], expected)
    assert (out[queries:] == 7).all()
    assert (out[:, rows:] == 7).all(), "what lies beside is another's"


@pytest.mark.parametrize("together", [16, 32])
@pytest.mark.parametrize(("rows", "queries"), [(1, 1), (4, 1), (1, 4), (4, 4)])
def test_tiles_for_every_processor_are_exact_on_this_one(rows, queries, together):
    tile = tiles._tile(rows, queries, together)

    @numba.njit
    def fill(codes, vectors, out):
        tile(codes, vectors, 2, 1, out)

    rng = np.random.default_rng(together)
    codes = rng.integers(-128, 128, (rows + 3, 2 * together + 5), dtype=np.int8)
    vectors = rng.integers(-500, 500, (queries + 1, codes.shape[1])).astype(np.int16)
    out = np.zeros((queries + 1, rows + 3), np.int32)
    fill(codes, vectors, out)
    whole = slice(2 * together)
    expected = np.zeros_like(out)
    expected[1:, 2 : rows + 2] = vectors[1:, whole].astype(int) @ codes[2 : rows + 2, whole].T.astype(int)
    np.testing.assert_array_equal(out, expected)


def test_the_largest_sums_are_exact():
    codes, vectors = np.full((4, 511), -128, np.int8), np.full((4, 511), -(2**15), np.int16)
    out = np.empty((4, 4), np.int32)
    tiles.products(codes, vectors, out)
    assert (out == 511 * 2**22).all()


def test_arrays_that_do_not_lie_row_by_row_are_refused():
    codes, vectors, out = np.zeros((8, 64), np.int8), np.zeros((4, 64), np.int16), np.empty((4, 8), np.int32)
    with pytest.raises(numba.TypingError):
        tiles.products(codes[:, ::2], vectors, out)
    with pytest.raises(numba.TypingError):
        tiles.products(codes, vectors.T, out)

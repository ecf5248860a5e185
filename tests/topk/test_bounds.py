"""The certificate itself: no kernel may leave out a pair that reaches its floor, not even in the worst direction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risedb.config import ScoreConfig
from risedb.signature import widened
from risedb.topk import Plan, QueryVectors, compiled
from risedb.topk.kernels import NumpyKernel
from risedb.topk.scores import exact_scores
from tests.topk.pools import DIMS, DTYPES, KINDS, make_pool, make_signatures

ENGINES = ["numpy", "compiled"]


def along_residuals(pool, config):
    """Return queries that point from each row's code to the row, where codes err most, and back."""
    norms = pool.norms.astype(float)
    lengths = np.hypot(*norms.T)[:, None]
    x = np.concatenate([widened(pool.rh) * norms[:, :1], widened(pool.gh) * norms[:, 1:]], axis=1)
    residual = x / np.where(lengths > 0, lengths, 1) - pool.code_scale[:, None].astype(float) * pool.codes
    both = np.concatenate([residual, -residual])
    return QueryVectors(both[:, : DIMS[0]] / config.lambda_rh, both[:, DIMS[0] :] / config.lambda_gh)


def assert_scores_lie_between(kernel, pool, exact, at, of):
    """Check the second look, which float16, bfloat16 and float32 rows with codes get."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_WORTH_LOOKING", 0)
        between = kernel.near(at, of)
    assert (between is None) == (isinstance(kernel, NumpyKernel) or pool.codes is None or pool.rh.dtype == np.int8)
    if between is not None:
        lower, upper = between
        assert (lower <= exact).all()
        assert (exact <= upper).all()


def assert_all_survive(pool, queries, config, engine, shift):
    n, m = len(pool), len(queries)
    at, of = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    exact = exact_scores(pool, at, queries, of, config, scale=shift).reshape(n, m)
    kernel = Plan(engine=engine, threads=2).kernel(queries, config)
    kernel.load(pool, shift)
    shuffled = np.random.default_rng(n).permutation(n * m)
    assert_scores_lie_between(kernel, pool, exact.ravel()[shuffled], at[shuffled], of[shuffled])
    for row in np.flatnonzero(pool.live):
        rows, found = kernel.survivors(0, n, exact[row], n * m)
        assert sorted(found[rows == row].tolist()) == list(range(m))
        assert pool.live[rows].all()
        assert kernel.survivors(0, n, exact[row], len(rows) - 1) is None


@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
    coded=st.booleans(),
    m=st.sampled_from([1, 3, 6]),
    engine=st.sampled_from(ENGINES),
    normalize=st.booleans(),
    offset=st.sampled_from([0.0, -1.5, 0.7]),
)
def test_a_row_survives_the_floor_that_is_its_exact_score(seed, kind, dtype, coded, m, engine, normalize, offset):
    rng = np.random.default_rng(seed)
    config = ScoreConfig(normalize=normalize)
    pool = make_pool(rng, 12, kind, dtype, coded=coded)
    plain = QueryVectors.of(make_signatures(rng, m, "normal"), config)
    queries = QueryVectors(plain.rh, plain.gh, np.full(m, offset))
    assert_all_survive(pool, queries, config, engine, rng.uniform(0.5, 2, 12))


@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["float16", "float32", "bfloat16"]),
    engine=st.sampled_from(ENGINES),
    rows=st.sampled_from([1, 12]),
)
def test_a_row_survives_where_its_code_errs_most(seed, dtype, engine, rows):
    config = ScoreConfig()
    pool = make_pool(np.random.default_rng(seed), rows, "normal", dtype)
    assert_all_survive(pool, along_residuals(pool, config), config, engine, np.ones(rows))


@pytest.mark.parametrize("engine", ENGINES)
def test_few_rows_survive_a_floor_beyond_their_bounds(engine):
    rng = np.random.default_rng(1)
    pool = make_pool(rng, 500, "normal", "float16", dims=(64, 96))
    config = ScoreConfig()
    queries = QueryVectors.of(make_signatures(rng, 5, "normal", (64, 96)), config)
    at, of = np.repeat(np.arange(500), 5), np.tile(np.arange(5), 500)
    exact = exact_scores(pool, at, queries, of, config).reshape(500, 5)
    floors = np.sort(exact, axis=0)[-5]
    kernel = Plan(engine=engine).kernel(queries, config)
    kernel.load(pool, np.ones(500))
    rows, found = kernel.survivors(0, 500, floors, 2500)
    assert (exact[rows, found] >= floors[found] - 0.06).all()  # twice what codes of 160 numbers may err


def test_a_second_look_leaves_little_open():
    rng = np.random.default_rng(2)
    pool = make_pool(rng, 500, "normal", "float16", dims=(64, 96))
    queries = QueryVectors.of(make_signatures(rng, 3, "normal", (64, 96)), ScoreConfig())
    kernel = Plan(engine="compiled").kernel(queries, ScoreConfig())
    kernel.load(pool, np.ones(500))
    lower, upper = kernel.near(np.repeat(np.arange(500), 3), np.tile(np.arange(3), 500))
    assert (upper - lower).max() < 1e-4

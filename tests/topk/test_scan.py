"""The scan against a float64 ranking of everything, on inputs that break careless ones."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risedb.config import ScoreConfig
from risedb.signature import Block, Signatures
from risedb.topk import Center, Plan, QueryVectors, compiled, scan
from risedb.topk.center import NumpyCenter
from risedb.topk.compiled import CompiledCenter, CompiledKernel
from risedb.topk.scores import exact_scores, fixed_order_dots
from tests import oracle
from tests.topk.pools import DIMS, DTYPES, KINDS, SCORES, fused, make_pool, make_signatures, split

ENGINES = ["numpy", "compiled", "torch"]


def assert_same_bits(one, other):
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours.sequence, theirs.sequence)
        np.testing.assert_array_equal(ours.scores.view(np.uint64), theirs.scores.view(np.uint64))


def assert_ranks(ranked, exact, pool, k, *, bottom, size):
    """Check one ranking against (n,) float64 scores of magnitude `size`."""
    kept = np.isin(pool.sequence, ranked.sequence)
    assert len(ranked.sequence) == min(k, pool.live.sum())
    assert pool.live[kept].all()
    np.testing.assert_allclose(ranked.scores, exact[np.searchsorted(pool.sequence, ranked.sequence)], atol=1e-11 * size)
    order = ranked.scores if bottom else -ranked.scores
    assert np.all(np.diff(order) >= 0)
    ties = np.diff(order) == 0
    assert np.all(np.diff(ranked.sequence.astype(int))[ties] > 0)  # equal scores in order of insertion
    if (left_out := pool.live & ~kept).any():
        best_left_out = exact[left_out].min() if bottom else exact[left_out].max()
        assert (best_left_out - ranked.scores[-1]) * (-1 if bottom else 1) <= 1e-11 * size


def query_vectors(rng, m, config, center=None):
    signatures = make_signatures(rng, m, "normal")
    return center.queries(signatures) if center else QueryVectors.of(signatures, config)


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 60),
    m=st.sampled_from([1, 3, 5]),
    k=st.integers(1, 80),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
    coded=st.booleans(),
    config=SCORES,
    bottom=st.booleans(),
    engine=st.sampled_from(ENGINES),
    data=st.data(),
)
def test_scan_ranks_as_float64_does_and_never_depends_on_blocks_or_engine(
    seed, n, m, k, kind, dtype, coded, config, bottom, engine, data
):
    rng = np.random.default_rng(seed)
    pool = make_pool(rng, n, kind, dtype, coded=coded)
    queries = query_vectors(rng, m, config)
    cuts = data.draw(st.lists(st.integers(0, n), max_size=4))
    memory, threads, first = data.draw(st.tuples(st.integers(1, 2**16), st.integers(1, 3), st.integers(1, 20)))
    plan = Plan(engine=engine, memory_bytes=memory, threads=threads, first_pairs=first)
    whole = scan([pool], queries, config, k=k, bottom=bottom)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_WORTH_LOOKING", data.draw(st.sampled_from([0, 2**16])))
        assert_same_bits(whole, scan(split(pool, cuts), queries, config, k=k, bottom=bottom, plan=plan))
    phi = fused(pool, config)
    for j, ranked in enumerate(whole):
        q = np.concatenate([queries.rh[j], queries.gh[j]])
        size = max(np.linalg.norm(phi, axis=1).max() * np.linalg.norm(q), 1e-300)
        assert_ranks(ranked, phi @ q, pool, k, bottom=bottom, size=size)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("m", [1, 5, 130])
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_pools_rank_as_float64_does_on_every_engine(engine, m, dtype):
    rng = np.random.default_rng(7)
    pools = [
        make_pool(rng, 9000, "normal", dtype, dims=(32, 64)),
        make_pool(rng, 600, "normal", dtype, coded=False, dims=(32, 64)),
    ]
    pools[1] = Block(
        pools[1].sequence + np.uint64(10**6),
        *(getattr(pools[1], name) for name in ("rh", "gh", "norms", "live", "codes", "code_scale", "code_error")),
    )
    queries = QueryVectors.of(make_signatures(rng, m, "normal", dims=(32, 64)), ScoreConfig())
    ranked = scan(pools, queries, ScoreConfig(), k=20, plan=Plan(engine=engine, threads=2))
    phi = np.concatenate([fused(pool, ScoreConfig()) for pool in pools])
    sequence = np.concatenate([pool.sequence for pool in pools])
    exact = phi @ np.concatenate([queries.rh, queries.gh], axis=1).T
    for j, one in enumerate(ranked):
        np.testing.assert_array_equal(one.sequence, sequence[np.argsort(-exact[:, j])[:20]])


@pytest.mark.parametrize("m", [1, 20])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("worth_looking", "most"), [(0, 20), (10**9, 300)])
def test_few_rows_are_decided_even_of_the_first_ones(m, threads, worth_looking, most, monkeypatch):
    monkeypatch.setattr(compiled, "_WORTH_LOOKING", worth_looking)
    rng = np.random.default_rng(7)
    pool = make_pool(rng, 6000, "normal", "float16", dims=(32, 64))
    queries = QueryVectors.of(make_signatures(rng, m, "normal", dims=(32, 64)), ScoreConfig())
    decided, pair_dots = [], CompiledKernel.pair_dots

    def counted(rows, at, *others):
        decided.append(len(at) / 2)  # both channels
        return pair_dots(rows, at, *others)

    monkeypatch.setattr(CompiledKernel, "pair_dots", staticmethod(counted))
    scan([pool], queries, ScoreConfig(), k=10, plan=Plan(engine="compiled", threads=threads))
    assert 10 * m <= sum(decided) < most * m


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 60),
    k=st.integers(1, 80),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
    engine=st.sampled_from(ENGINES),
    data=st.data(),
)
def test_centred_scores_are_cosines_about_the_mean_of_live_rows(seed, n, k, kind, dtype, engine, data):
    rng = np.random.default_rng(seed)
    config = ScoreConfig(lambda_rh=data.draw(st.sampled_from([0.7, 0.0, 2.0])))
    pool = make_pool(rng, n, kind, dtype)
    cuts = data.draw(st.lists(st.integers(0, n), max_size=4))
    blocks = list(split(pool, cuts))
    center, other = Center.of(lambda: [pool], config), Center.of(lambda: blocks, config)
    np.testing.assert_array_equal(center.mean.view(np.uint64), other.mean.view(np.uint64))
    phi = fused(pool, config)
    mean = phi[pool.live].mean(axis=0) if pool.live.any() else np.zeros(sum(DIMS))
    np.testing.assert_allclose(center.mean, mean, atol=1e-9)
    queries = query_vectors(rng, 2, config, center)
    whole = scan([pool], queries, config, k=k, center=center)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_WORTH_LOOKING", data.draw(st.sampled_from([0, 2**16])))
        plan = Plan(engine=engine, threads=2)
        assert_same_bits(whole, scan(blocks, queries, config, k=k, center=other, plan=plan))
    moved = phi - center.mean
    distance = np.linalg.norm(moved, axis=1)
    if (distance[pool.live] > 1e-5).all():  # else what is left of a row is rounding, or is called zero
        for j, ranked in enumerate(whole):
            exact = moved @ np.concatenate([queries.rh[j], queries.gh[j]]) / np.where(distance > 0, distance, 1)
            assert_ranks(ranked, exact, pool, k, bottom=False, size=1e5)
    assert all(np.abs(ranked.scores).max(initial=0) <= 1.01 for ranked in whole) or dtype == "int8"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims", [(1, 6), (7, 224), (96, 30)])
def test_compiled_centres_are_the_same_bits(dtype, dims):
    rng = np.random.default_rng(dims)
    pool = make_pool(rng, 400, "tombstones", dtype, dims=dims)
    weights, mean = rng.normal(size=(400, 2)), rng.normal(size=sum(dims))
    (total, scales), (our_total, our_scales) = (
        (one.fixed_sum(pool.rh, pool.gh, weights, pool.live), one.inverse_distances(pool.rh, pool.gh, weights, mean))
        for one in (NumpyCenter, CompiledCenter)
    )
    np.testing.assert_array_equal(our_total, total)
    np.testing.assert_array_equal(our_scales.view(np.uint64), scales.view(np.uint64))


def test_centre_of_equal_rows_scores_zero():
    pool = make_pool(np.random.default_rng(0), 30, "all equal", "float16")
    center = Center.of(lambda: [pool], ScoreConfig())
    (ranked,) = scan(
        [pool], query_vectors(np.random.default_rng(1), 1, ScoreConfig(), center), ScoreConfig(), k=5, center=center
    )
    assert ranked.scores.tolist() == [0.0] * 5
    np.testing.assert_array_equal(ranked.sequence, pool.sequence[:5])


def test_equal_rows_get_equal_scores_and_stand_in_order_of_insertion():
    pool = make_pool(np.random.default_rng(0), 1003, "all equal", "float16")
    query = QueryVectors.of(Signatures(("q",), pool.rh[:1], pool.gh[:1], pool.norms[:1]), ScoreConfig())
    for k in (10, 1003):
        for engine in ENGINES:
            (ranked,) = scan([pool], query, ScoreConfig(), k=k, plan=Plan(engine=engine, memory_bytes=2**12))
            assert len(set(ranked.scores.tolist())) == 1
            np.testing.assert_array_equal(ranked.sequence, pool.sequence[:k])


def test_rows_without_survivors_are_never_read():
    rng = np.random.default_rng(2)
    first, second = make_pool(rng, 3000, "normal", "float16"), make_pool(rng, 500, "zero rows", "float16")

    def refuse():
        pytest.fail("rh and gh were read")

    far = Block(
        second.sequence + np.uint64(10**6),
        second.rh * 0,
        second.gh * 0,
        second.norms * 0,
        second.live,
        second.codes * 0,
        second.code_scale * 0,
        second.code_error * 0,
        refuse,
    )
    query = query_vectors(rng, 1, ScoreConfig())
    for engine in ENGINES:
        scan([first, far], query, ScoreConfig(), k=5, plan=Plan(engine=engine))


def halving_sum(products):
    """Sum Python floats in the order that makes scores the same bits everywhere."""
    while len(products) > 1:
        half = (len(products) + 1) // 2
        products = [a + b for a, b in itertools.zip_longest(products[:half], products[half:], fillvalue=0.0)]
    return products[0]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 224, 3072])
def test_exact_score_has_the_bits_of_plain_float_arithmetic_in_a_fixed_order(width):
    rng = np.random.default_rng(width)
    pool = make_pool(rng, 5, "normal", "float16", dims=(width, 6))
    query = QueryVectors(rng.normal(size=(1, width)), rng.normal(size=(1, 6)))
    config = ScoreConfig(lambda_rh=1.0, normalize=False)
    scores = exact_scores(pool, np.arange(5), query, np.zeros(5, int), config)
    for row, score in enumerate(scores.tolist()):
        dots = [
            halving_sum([float(a) * float(b) for a, b in zip(stored[row], q[0], strict=True)])
            for stored, q in ((pool.rh, query.rh), (pool.gh, query.gh))
        ]
        assert score == float(pool.norms[row, 0]) * dots[0] + float(pool.norms[row, 1]) * dots[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 2, 3, 7, 224, 3072])
def test_compiled_sums_are_the_same_bits(width, dtype):
    rng = np.random.default_rng(width)
    pool = make_pool(rng, 40, "normal", dtype, dims=(width, 6))
    queries = QueryVectors(rng.normal(size=(3, width)), rng.normal(size=(3, 6)))
    at, of = rng.integers(0, 40, 2500), rng.integers(0, 3, 2500)
    kernel = CompiledKernel(queries, ScoreConfig(), 2**20)
    for rows, vectors in ((pool.rh, queries.rh), (pool.gh, queries.gh)):
        expected = fixed_order_dots(rows, at, vectors, of)
        np.testing.assert_array_equal(kernel.pair_dots(rows, at, vectors, of).view(np.uint64), expected.view(np.uint64))


@pytest.mark.parametrize("dtype", [np.float16, np.uint16])
def test_compiled_widening_is_exact_for_every_number_of_16_bits(dtype):
    rows = np.arange(2**16, dtype=np.uint16).view(dtype)[:, None]
    exponent = 0x7C00 if dtype == np.float16 else 0x7F80
    rows = rows[(rows.view(np.uint16)[:, 0] & exponent) != exponent]  # finite
    one = QueryVectors(np.ones((1, 1)), np.ones((1, 1)))
    kernel = CompiledKernel(one, ScoreConfig(), 2**20)
    at, of = np.arange(len(rows)), np.zeros(len(rows), int)
    np.testing.assert_array_equal(kernel.pair_dots(rows, at, one.rh, of), fixed_order_dots(rows, at, one.rh, of))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("lambda_rh", "lambda_gh"), [(0.7, 1.0), (1.0, 0.0), (0.0, 2.0)])
def test_score_is_the_inner_product_of_fused_signatures(normalize, lambda_rh, lambda_gh):
    rng = np.random.default_rng(3)
    config = ScoreConfig(lambda_rh=lambda_rh, lambda_gh=lambda_gh, normalize=normalize)
    rh, gh = rng.normal(size=(5, DIMS[0])), rng.normal(size=(5, DIMS[1]))
    pool = Signatures.from_phi(list("abcde"), rh, gh)
    block = Block(np.arange(5, dtype=np.uint64), pool.rh, pool.gh, pool.norms, np.ones(5, bool))
    (ranked,) = scan([block], QueryVectors.of(pool, config).mean(), config, k=5)
    score = functools.partial(oracle.score, lambda_rh=lambda_rh, lambda_gh=lambda_gh, normalize=normalize)
    expected = [np.mean([score(rh[i], gh[i], rh[q], gh[q]) for q in range(5)]) for i in ranked.sequence]
    np.testing.assert_allclose(ranked.scores, expected, rtol=1e-5)


def test_minus_subtracts_the_mean_of_the_second_set():
    rng = np.random.default_rng(4)
    good, junk = (Signatures.from_phi(list("ab"), rng.normal(size=(2, 6)), rng.normal(size=(2, 10))) for _ in "xy")
    both = QueryVectors.of(good, ScoreConfig()).mean().minus(QueryVectors.of(junk, ScoreConfig()).mean())
    plus, less = (QueryVectors.of(one, ScoreConfig()).mean() for one in (good, junk))
    np.testing.assert_allclose(both.rh, plus.rh - less.rh)
    np.testing.assert_allclose(both.gh, plus.gh - less.gh)

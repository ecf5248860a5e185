"""The scan against a float64 ranking of everything, on inputs that break careless ones."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risedb.config import ScoreConfig
from risedb.signature import Block, Signatures
from risedb.topk import QueryVectors, scan
from risedb.topk.kernels import approximate_dots, error_bound
from risedb.topk.scores import channel_weights, exact_scores
from tests import oracle

DIMS = (6, 10)


def make_pool(rng, n, kind, dtype):
    rh, gh = (rng.normal(size=(n, dim)) for dim in DIMS)
    if kind == "few distinct":
        rh, gh = (array[rng.integers(0, min(3, n), n)] for array in (rh, gh))
    elif kind == "all equal":
        rh[:], gh[:] = rh[0], gh[0]
    elif kind == "zero rows":
        rh[rng.random(n) < 0.5], gh[rng.random(n) < 0.5] = 0, 0
    elif kind == "one channel dwarfs the other":
        rh *= 10.0 ** rng.integers(-12, 13, (n, 1))
        gh *= 10.0 ** rng.integers(-12, 13, (n, 1))
    elif kind == "nearly equal":
        rh, gh = rh[:1] + 1e-7 * rh, gh[:1] + 1e-7 * gh
    signatures = Signatures.from_phi([str(i) for i in range(n)], rh, gh)
    live = rng.random(n) < 0.8 if kind == "tombstones" else np.ones(n, bool)
    sequence = np.sort(rng.choice(10 * n, n, replace=False)).astype(np.uint64)
    return Block(sequence, signatures.rh.astype(dtype), signatures.gh.astype(dtype), signatures.norms, live)


def split(block, cuts):
    edges = [0, *sorted(cuts), len(block)]
    for start, end in itertools.pairwise(edges):
        part = slice(start, end)
        if end > start:
            yield Block(*(getattr(block, name)[part] for name in ("sequence", "rh", "gh", "norms", "live")))


KINDS = [
    "normal",
    "few distinct",
    "all equal",
    "zero rows",
    "one channel dwarfs the other",
    "nearly equal",
    "tombstones",
]
SCORES = st.builds(
    ScoreConfig,
    lambda_rh=st.sampled_from([0.7, 1.0, 1e-6, 1e6]),
    lambda_gh=st.sampled_from([1.0, 0.0, 3.0]),
    normalize=st.booleans(),
)


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 60),
    k=st.integers(1, 80),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(["float16", "float32"]),
    config=SCORES,
    bottom=st.booleans(),
    data=st.data(),
)
def test_scan_ranks_as_float64_does_and_never_depends_on_blocks(seed, n, k, kind, dtype, config, bottom, data):
    rng = np.random.default_rng(seed)
    pool = make_pool(rng, n, kind, dtype)
    queries = make_pool(rng, 3, "normal", "float32")
    signatures = Signatures(("a", "b", "c"), queries.rh, queries.gh, queries.norms)
    vectors = QueryVectors.of(signatures, config)
    cuts = data.draw(st.lists(st.integers(0, n), max_size=4))
    whole = scan([pool], vectors, config, k=k, bottom=bottom)
    pieces = scan(split(pool, cuts), vectors, config, k=k, bottom=bottom, slice_bytes=200)
    weights = channel_weights(pool.norms, config)
    for j, (one, other) in enumerate(zip(whole, pieces, strict=True)):
        np.testing.assert_array_equal(one.sequence, other.sequence)
        np.testing.assert_array_equal(one.scores.view(np.uint64), other.scores.view(np.uint64))
        exact = weights[:, 0] * (pool.rh.astype(float) @ vectors.rh[j]) + weights[:, 1] * (
            pool.gh.astype(float) @ vectors.gh[j]
        )
        size = max(np.abs(exact).max(), 1e-300)
        kept = np.isin(pool.sequence, one.sequence)
        assert len(one.sequence) == min(k, pool.live.sum())
        assert pool.live[kept].all()
        places = np.searchsorted(pool.sequence, one.sequence)
        np.testing.assert_allclose(one.scores, exact[places], atol=1e-11 * size)
        order = one.scores if bottom else -one.scores
        assert np.all(np.diff(order) >= 0)
        ties = np.diff(order) == 0
        assert np.all(np.diff(one.sequence.astype(int))[ties] > 0)  # equal scores in order of insertion
        if (left_out := pool.live & ~kept).any():
            best_left_out = exact[left_out].min() if bottom else exact[left_out].max()
            assert (best_left_out - one.scores[-1]) * (-1 if bottom else 1) <= 1e-11 * size


def test_equal_rows_get_equal_scores_and_stand_in_order_of_insertion():
    pool = make_pool(np.random.default_rng(0), 1003, "all equal", "float16")
    query = QueryVectors.of(Signatures(("q",), pool.rh[:1], pool.gh[:1], pool.norms[:1]), ScoreConfig())
    (ranked,) = scan([pool], query, ScoreConfig(), k=1003, slice_bytes=3000)
    assert len(set(ranked.scores.tolist())) == 1
    np.testing.assert_array_equal(ranked.sequence, pool.sequence)


def halving_sum(products):
    """Sum Python floats in the order that makes scores the same bits everywhere."""
    while len(products) > 1:
        half = (len(products) + 1) // 2
        products = [a + b for a, b in itertools.zip_longest(products[:half], products[half:], fillvalue=0.0)]
    return products[0]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 224, 3072])
def test_exact_score_has_the_bits_of_plain_float_arithmetic_in_a_fixed_order(width):
    rng = np.random.default_rng(width)
    rh, gh = (rng.normal(size=(5, dim)).astype(np.float16) for dim in (width, 6))
    query = QueryVectors(rng.normal(size=(1, width)), rng.normal(size=(1, 6)))
    weights = rng.random((5, 2))
    for row, score in enumerate(exact_scores(rh, gh, weights, query).tolist()):
        dots = [
            halving_sum([float(a) * float(b) for a, b in zip(stored[row], q[0], strict=True)])
            for stored, q in ((rh, query.rh), (gh, query.gh))
        ]
        assert score == float(weights[row, 0]) * dots[0] + float(weights[row, 1]) * dots[1]


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


@pytest.mark.parametrize("dimension", [8, 352, 6144])
def test_proposals_keep_within_their_bound(dimension):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(200, dimension))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    queries = rows[:4].astype(np.float64) / np.linalg.norm(rows[:4].astype(np.float64), axis=1, keepdims=True)
    exact = rows.astype(np.float64) @ queries.T
    for device in ("numpy", "cpu"):
        dots = approximate_dots(rows, queries.astype(np.float32), device)
        assert np.abs(dots - exact).max() <= error_bound(dimension)


@given(st.integers(0, 2**32))
def test_torch_kernel_gives_the_same_bits_as_numpy(seed):
    rng = np.random.default_rng(seed)
    pool = make_pool(rng, 50, "few distinct", "float16")
    query = QueryVectors.of(Signatures(("q",), pool.rh[:1], pool.gh[:1], pool.norms[:1]), ScoreConfig())
    results = [scan([pool], query, ScoreConfig(), k=7, device=device)[0] for device in ("numpy", "cpu")]
    np.testing.assert_array_equal(results[0].sequence, results[1].sequence)
    np.testing.assert_array_equal(results[0].scores, results[1].scores)


@pytest.mark.gpu
def test_cuda_gives_the_same_bits_as_the_cpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    pool = make_pool(np.random.default_rng(0), 5000, "few distinct", "float16")
    query = QueryVectors.of(Signatures(("q",), pool.rh[:1], pool.gh[:1], pool.norms[:1]), ScoreConfig())
    results = [scan([pool], query, ScoreConfig(), k=70, device=device)[0] for device in ("numpy", "cuda")]
    np.testing.assert_array_equal(results[0].sequence, results[1].sequence)
    np.testing.assert_array_equal(results[0].scores, results[1].scores)

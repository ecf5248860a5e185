"""The scan on devices of torch: on CPUs with everything that CUDA needs but CUDA, and on CUDA where there is one."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from risedb.config import ScoreConfig
from risedb.errors import InvalidInput
from risedb.topk import Center, Plan, QueryVectors, device, proposing, scan
from risedb.topk.bounds import digit_queries, integer_queries
from risedb.topk.lanes import PAD, Lane, Lanes, Piece
from risedb.topk.proposing import Proposer
from risedb.topk.scores import exact_scores
from tests.topk.pools import DTYPES, KINDS, SCORES, make_pool, make_signatures, split
from tests.topk.test_bounds import along_residuals
from tests.topk.test_scan import assert_same_bits, query_vectors


def staged_lanes(count=2, cache_bytes=0):
    """Return lanes on the CPU that copy as those of a GPU do."""
    lanes = Lanes(["cpu"] * count)
    lanes.lanes = [Lane("cpu", cache_bytes, staged=True) for _ in range(count)]
    return lanes


def keyed(blocks):
    return [replace(block, key=(i, 0)) for i, block in enumerate(blocks)]


def brought(lanes):
    return sum(lane.brought_bytes for lane in lanes.lanes)


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 90),
    m=st.sampled_from([1, 5, 9]),
    k=st.integers(1, 100),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
    coded=st.booleans(),
    config=SCORES,
    data=st.data(),
)
def test_devices_rank_as_the_host_does_whatever_stays_on_them_and_however_little_they_keep(
    seed, n, m, k, kind, dtype, coded, config, data
):
    rng = np.random.default_rng(seed)
    pool = make_pool(rng, n, kind, dtype, coded=coded)
    queries = query_vectors(rng, m, config)
    blocks = keyed(split(pool, data.draw(st.lists(st.integers(0, n), max_size=4))))
    count, cache, bottom = data.draw(st.tuples(st.integers(1, 3), st.sampled_from([0, 2000, 10**6]), st.booleans()))
    memory, candidates = data.draw(st.tuples(st.sampled_from([2**12, 2**16, 2**28]), st.integers(1, 20)))
    plan = Plan(engine="torch", memory_bytes=memory, first_pairs=candidates)
    lanes = staged_lanes(count, cache)
    expected = scan([pool], queries, config, k=k, bottom=bottom)
    for _ in range(2):
        assert_same_bits(expected, scan(blocks, queries, config, k=k, bottom=bottom, plan=plan, lanes=lanes))


def proposals(pool, queries, config, shift, capacity, memory_bytes=2**20, *, staged=True):
    lane = Lane("cpu", staged=staged)
    proposer = Proposer(lane, queries, config, capacity, memory_bytes)
    proposer.take(lane.piece(pool, shift))
    return proposer.proposal()


def assert_bounds_hold(pool, queries, config, shift, capacity):
    """Check that no exact score is above the bound of its row, or above that of all rows that were not kept."""
    n, m = len(pool), len(queries)
    at, of = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    exact = exact_scores(pool, at, queries, of, config, scale=shift).reshape(n, m)
    found = proposals(pool, queries, config, shift, capacity)
    for j in range(m):
        kept = found.upper[j] > -np.inf
        rows = found.row[j][kept]
        assert pool.live[rows].all()
        assert len(set(rows.tolist())) == len(rows) == min(capacity, pool.live.sum())
        assert (exact[rows, j] <= found.upper[j][kept]).all()
        left_out = pool.live & ~np.isin(np.arange(n), rows)
        assert (exact[left_out, j] <= found.beyond[j]).all()


@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
    coded=st.booleans(),
    m=st.sampled_from([1, 3, 9]),
    normalize=st.booleans(),
    offset=st.sampled_from([0.0, -1.5, 0.7]),
    capacity=st.sampled_from([3, 40]),
)
def test_no_exact_score_is_above_its_bound(seed, kind, dtype, coded, m, normalize, offset, capacity):
    rng = np.random.default_rng(seed)
    config = ScoreConfig(normalize=normalize)
    pool = make_pool(rng, 12, kind, dtype, coded=coded)
    plain = QueryVectors.of(make_signatures(rng, m, "normal"), config)
    queries = QueryVectors(plain.rh, plain.gh, np.full(m, offset))
    assert_bounds_hold(pool, queries, config, rng.uniform(0.5, 2, 12), capacity)


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("digits", [True, False])
def test_no_exact_score_is_above_its_bound_where_a_code_errs_most(dtype, digits, monkeypatch):
    if not digits:
        monkeypatch.setattr(proposing, "_has_integers", lambda *_: False)
    for seed in range(30):
        pool = make_pool(np.random.default_rng(seed), 12, "normal", dtype)
        assert_bounds_hold(pool, along_residuals(pool, ScoreConfig()), ScoreConfig(), np.ones(12), 3)


def test_two_digits_are_nearly_as_close_as_16_bits():
    rng = np.random.default_rng(0)
    queries = QueryVectors.of(make_signatures(rng, 5, "normal", dims=(200, 300)), ScoreConfig())
    own = digit_queries(queries, ScoreConfig())
    assert np.abs(own.vectors).max() <= 127
    assert 0 < own.error < 1.5 * integer_queries(queries, ScoreConfig()).error


@pytest.mark.parametrize("capacity", [1, 7, 64])
@pytest.mark.parametrize("memory_bytes", [2**14, 2**18, 2**24])
def test_what_is_kept_is_highest_and_nothing_else_is_higher(capacity, memory_bytes):
    """In one window or many, with sets of columns or without."""
    rng = np.random.default_rng(capacity)
    pool = make_pool(rng, 5000, "tombstones", "float16")
    queries = query_vectors(rng, 3, ScoreConfig())
    everything = proposals(pool, queries, ScoreConfig(), None, 5000)
    for staged in (True, False):
        found = proposals(pool, queries, ScoreConfig(), None, capacity, memory_bytes, staged=staged)
        np.testing.assert_array_equal(found.upper, everything.upper[:, :capacity])
        np.testing.assert_array_equal(np.sort(found.row), np.sort(everything.row[:, :capacity]))
        assert (found.beyond >= everything.upper[:, capacity]).all()
        assert (found.beyond <= everything.upper[:, capacity - 1]).all()


def counted(monkeypatch):
    """Count the questions that devices could not answer."""
    asked = []
    original = device.DeviceScan.__init__

    def init(self, **choices):
        on_host = choices["on_host"]
        choices["on_host"] = lambda queries: asked.append(len(queries)) or on_host(queries)
        original(self, **choices)

    monkeypatch.setattr(device.DeviceScan, "__init__", init)
    return asked


def test_a_query_with_more_candidates_than_fit_is_asked_again_and_at_last_on_the_host(monkeypatch):
    asked = counted(monkeypatch)
    rng = np.random.default_rng(0)
    equal, varied = make_pool(rng, 3000, "all equal", "float16"), make_pool(rng, 3000, "normal", "float16")
    queries = query_vectors(rng, 3, ScoreConfig())
    for pool, hosts in ((varied, []), (equal, [3])):
        lanes = staged_lanes(1)
        plan = Plan(engine="torch", memory_bytes=2**18, first_pairs=10)
        expected = scan([pool], queries, ScoreConfig(), k=10)
        assert_same_bits(expected, scan([pool], queries, ScoreConfig(), k=10, plan=plan, lanes=lanes))
        assert asked == hosts
        assert lanes.capacity > 10  # remembered for the next scan


def test_a_device_that_multiplies_wrongly_is_found_out(monkeypatch, caplog):
    rng = np.random.default_rng(0)
    pool, queries = make_pool(rng, 500, "normal", "float16"), query_vectors(rng, 2, ScoreConfig())
    expected = scan([pool], queries, ScoreConfig(), k=10)
    right = torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: right(one, other) // 2)
    assert not proposing._has_integers.__wrapped__(torch.device("cpu"), 2, 16)
    monkeypatch.setattr(proposing, "_has_integers", lambda *_: True)
    with caplog.at_level(logging.WARNING):
        assert_same_bits(expected, scan([pool], queries, ScoreConfig(), k=10, plan=Plan(engine="torch")))
    assert "above its bound" in caplog.text


def test_reduced_float32_products_are_not_trusted():
    rng = np.random.default_rng(0)
    before = torch.get_float32_matmul_precision()
    try:
        assert proposing._is_float32_whole()
        torch.set_float32_matmul_precision("medium")
        assert not proposing._is_float32_whole()
        pool = make_pool(rng, 40, "nearly equal", "float32", coded=False)
        assert_bounds_hold(pool, query_vectors(rng, 3, ScoreConfig()), ScoreConfig(), np.ones(40), 5)
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_stays_on_devices_is_not_brought_again_but_for_masks_that_changed(dtype):
    rng = np.random.default_rng(0)
    pool = make_pool(rng, 4000, "normal", dtype)
    blocks = keyed(split(pool, [1000, 2500]))
    queries = query_vectors(rng, 2, ScoreConfig())
    plan = Plan(engine="torch")
    lanes = staged_lanes(2, 2**20)

    def ask(blocks):
        before = brought(lanes)
        expected = scan(blocks, queries, ScoreConfig(), k=20)
        assert_same_bits(expected, scan(blocks, queries, ScoreConfig(), k=20, plan=plan, lanes=lanes))
        return brought(lanes) - before, expected

    first, ranked = ask(blocks)
    assert first > pool.codes.nbytes
    assert ask(blocks)[0] == 0
    live = blocks[1].live.copy()
    live[np.isin(blocks[1].sequence, ranked[0].sequence)] = False
    changed = [blocks[0], replace(blocks[1], live=live), blocks[2]]
    assert 0 < ask(changed)[0] < 2 * len(live)
    assert ask(changed)[0] == 0
    assert ask(blocks)[0] > 0
    gone = [blocks[0], replace(blocks[1], key=(9, 0)), blocks[2]]
    kept = sum(lane.kept_bytes for lane in lanes.lanes)
    assert ask(gone)[0] > 0  # rows under a new name are other rows
    assert sum(lane.kept_bytes for lane in lanes.lanes) == kept  # and what had the old name is let go
    assert len(lanes.lanes[0]._kept) + len(lanes.lanes[1]._kept) == 3


def test_a_pool_of_twice_what_may_stay_ranks_the_same_and_half_of_it_stays():
    rng = np.random.default_rng(0)
    pool = make_pool(rng, 6000, "normal", "float16", dims=(32, 64))
    blocks = keyed(split(pool, range(500, 6000, 500)))
    queries = QueryVectors.of(make_signatures(rng, 3, "normal", dims=(32, 64)), ScoreConfig())
    whole = staged_lanes(1, 2**30)
    expected = scan(blocks, queries, ScoreConfig(), k=30, plan=Plan(engine="torch"), lanes=whole)
    half = staged_lanes(1, whole.lanes[0].kept_bytes // 2)
    for _ in range(3):
        before = brought(half)
        assert_same_bits(expected, scan(blocks, queries, ScoreConfig(), k=30, plan=Plan(engine="torch"), lanes=half))
        assert half.lanes[0].kept_bytes <= whole.lanes[0].kept_bytes // 2
    assert 0.4 < (brought(half) - before) / brought(whole) < 0.6


def test_a_device_without_room_keeps_what_it_has(monkeypatch):
    rng = np.random.default_rng(0)
    blocks = keyed(split(make_pool(rng, 900, "normal", "float16"), [300, 600]))
    queries = query_vectors(rng, 2, ScoreConfig())
    lanes = staged_lanes(1, 2**30)
    right, calls = Piece.kept, []

    def kept(self):
        calls.append(self)
        if len(calls) > 1:
            raise torch.OutOfMemoryError
        return right(self)

    monkeypatch.setattr(Piece, "kept", kept)
    expected = scan(blocks, queries, ScoreConfig(), k=9)
    for _ in range(2):
        assert_same_bits(expected, scan(blocks, queries, ScoreConfig(), k=9, plan=Plan(engine="torch"), lanes=lanes))
    assert len(lanes.lanes[0]._kept) == 1
    assert len(calls) == 2


def test_pieces_of_one_block_stay_apart_on_a_device():
    rng = np.random.default_rng(0)
    (block,) = keyed([make_pool(rng, 3000, "normal", "float16")])
    queries = query_vectors(rng, 1, ScoreConfig())
    plan, lanes = Plan(engine="torch", memory_bytes=2**16, first_pairs=64), staged_lanes(2, 2**30)
    expected = scan([block], queries, ScoreConfig(), k=20)
    for _ in range(2):
        before = brought(lanes)
        assert_same_bits(expected, scan([block], queries, ScoreConfig(), k=20, plan=plan, lanes=lanes))
    assert brought(lanes) == before
    assert sum(len(lane._kept) for lane in lanes.lanes) > 2


def test_threads_decide_the_same():
    rng = np.random.default_rng(0)
    blocks = keyed(split(make_pool(rng, 3000, "normal", "float16"), [700, 2000]))
    queries = query_vectors(rng, 60, ScoreConfig())
    assert device._WORTH_THREADS < 60 * 80
    expected = scan(blocks, queries, ScoreConfig(), k=80)
    assert_same_bits(expected, scan(blocks, queries, ScoreConfig(), k=80, plan=Plan(engine="torch", threads=3)))


def test_more_blocks_than_are_held_are_read_again():
    rng = np.random.default_rng(0)
    pool = make_pool(rng, 400, "normal", "float16")
    blocks = keyed(split(pool, range(10, 400, 10)))
    assert len(blocks) > device._HELD
    queries = query_vectors(rng, 3, ScoreConfig())
    expected = scan([pool], queries, ScoreConfig(), k=50)
    assert_same_bits(expected, scan(iter(blocks), queries, ScoreConfig(), k=50, plan=Plan(engine="torch")))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_centred_scores_rank_the_same_on_devices_and_their_scales_stay_there(dtype):
    rng = np.random.default_rng(0)
    pool = make_pool(rng, 3000, "normal", dtype)
    blocks = keyed(split(pool, [700]))
    center = Center.of(lambda: blocks, ScoreConfig())
    queries = query_vectors(rng, 3, ScoreConfig(), center)
    plan, lanes = Plan(engine="torch"), staged_lanes(1, 2**30)
    expected = scan(blocks, queries, ScoreConfig(), k=25, center=center)
    for _ in range(2):
        before = brought(lanes)
        assert_same_bits(expected, scan(blocks, queries, ScoreConfig(), k=25, center=center, plan=plan, lanes=lanes))
    assert brought(lanes) == before
    plain = query_vectors(rng, 3, ScoreConfig())
    assert_same_bits(
        scan(blocks, plain, ScoreConfig(), k=25), scan(blocks, plain, ScoreConfig(), k=25, plan=plan, lanes=lanes)
    )


def test_a_row_of_which_only_the_channel_without_weight_is_long_scores_zero_everywhere():
    """Its factor is a quotient with nothing below, which must stay finite: else its bound is no number."""
    rng = np.random.default_rng(0)
    pool = make_pool(rng, 40, "normal", "float16")
    pool.norms[::2] = [1e12, 0]
    pool.gh[::2] = 0
    pool.codes[::2, pool.rh.shape[1] :] = 0
    config = ScoreConfig(lambda_rh=0)
    queries = query_vectors(rng, 1, config)
    at = np.arange(40)
    exact = exact_scores(pool, at, queries, 0 * at, config)
    order = np.lexsort((pool.sequence, -exact))
    for engine in ("numpy", "compiled", "torch"):
        (ranked,) = scan([pool], queries, config, k=35, plan=Plan(engine=engine, first_pairs=3))
        np.testing.assert_array_equal(ranked.sequence, pool.sequence[order[:35]])


def test_devices_that_are_not_there_are_named():
    with pytest.raises(InvalidInput, match="cuda:77"):
        Lanes(["cuda:77"], "auto")


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("m", [1, 5, 100])
@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_gives_the_same_bits_as_the_cpu(dtype, coded, m):
    rng = np.random.default_rng(0)
    pool = make_pool(rng, 30_000, "normal", dtype, coded=coded, dims=(128, 224))
    blocks = keyed(split(pool, [100, 7_001, 20_000]))
    queries = QueryVectors.of(make_signatures(rng, m, "normal", dims=(128, 224)), ScoreConfig())
    expected = scan([pool], queries, ScoreConfig(), k=70)
    half = pool.codes.nbytes // 2 if coded else pool.rh.nbytes
    for devices in (("cuda",), ("cuda", "cuda"), ("cuda", "cpu")):
        for cache_bytes in (0, half, "auto"):
            lanes = Lanes(devices, cache_bytes)
            for memory in (2**22, 2**28):
                plan = Plan(engine="torch", devices=devices, memory_bytes=memory, threads=2)
                assert_same_bits(expected, scan(blocks, queries, ScoreConfig(), k=70, plan=plan, lanes=lanes))


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_ranks_what_breaks_careless_scans_as_the_cpu_does(kind):
    rng = np.random.default_rng(1)
    pool = make_pool(rng, 5000, kind, "float16")
    queries = query_vectors(rng, 3, ScoreConfig())
    plan = Plan(engine="torch", devices=("cuda",), first_pairs=80, memory_bytes=2**20)
    assert_same_bits(*(scan([pool], queries, ScoreConfig(), k=70, plan=each) for each in (None, plan)))


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("width", [352, 6144])
@pytest.mark.parametrize("m", [1, 4, 8, 9, 100, 128])
def test_cuda_multiplies_int8_in_the_shapes_that_the_scan_uses(m, width):
    assert proposing._has_integers(torch.device("cuda"), m, width)


@pytest.mark.gpu
@needs_cuda
def test_nothing_waits_for_cuda_while_rows_are_taken():
    rng = np.random.default_rng(0)
    pool = replace(make_pool(rng, 20_000, "normal", "float16", dims=(128, 224)), key=(0, 0))
    queries = QueryVectors.of(make_signatures(rng, 2, "normal", dims=(128, 224)), ScoreConfig())
    lane = Lane("cuda", "auto")
    for _ in range(2):  # what is measured, allocated and loaded once is, the first time
        proposer = Proposer(lane, queries, ScoreConfig(), 512, 2**26)
        proposer.take(lane.piece(pool, None))
        proposer.proposal()
    proposer = Proposer(lane, queries, ScoreConfig(), 512, 2**26)
    proposer.take(lane.piece(pool.part(slice(PAD)), None))  # makes what multiplies with the queries
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        proposer.take(lane.piece(pool, None))
        proposer.select()
    finally:
        torch.cuda.set_sync_debug_mode(before)

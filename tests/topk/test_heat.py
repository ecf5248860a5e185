"""What a scan holds of its candidates, and what it makes of a query that says nothing."""

import numpy as np
import pytest

from risedb.config import ScoreConfig
from risedb.topk import Plan, QueryVectors, compiled, scan
from risedb.topk.heat import Heat
from tests.topk.pools import make_pool, make_signatures

DIMS = (32, 64)


@pytest.fixture(autouse=True)
def _always_look(monkeypatch):
    monkeypatch.setattr(compiled, "_WORTH_LOOKING", 0)


@pytest.mark.parametrize("kind", ["normal", "all equal"])
def test_candidates_do_not_pile_up_even_where_all_rows_are_equal(kind):
    rng = np.random.default_rng(3)
    pool = make_pool(rng, 4000, kind, "float16", dims=DIMS)
    queries = QueryVectors.of(make_signatures(rng, 3, "normal", dims=DIMS), ScoreConfig())
    plan = Plan(engine="compiled", memory_bytes=2**20)
    heat = Heat(queries, ScoreConfig(), 10, plan)
    kernel = heat.kernel()
    held = []
    for start in range(0, 4000, 100):
        heat.run(kernel, pool.part(slice(start, start + 100)), None)
        held.append(sum(len(some.at) for some in heat._candidates))
    assert 0 < max(held) <= plan.most_pairs + 2 * 10 * 3
    first = heat.ranked(map)
    assert [len(one.sequence) for one in first] == [10, 10, 10]


@pytest.mark.parametrize("m", [1, 5])
def test_a_query_of_length_zero_gives_the_first_rows(m):
    pool = make_pool(np.random.default_rng(4), 3000, "normal", "float16", dims=DIMS)
    nothing = QueryVectors(np.zeros((m, DIMS[0])), np.zeros((m, DIMS[1])))
    for one in scan([pool], nothing, ScoreConfig(), k=7, plan=Plan(engine="compiled")):
        np.testing.assert_array_equal(one.sequence, pool.sequence[pool.live][:7])
        assert (one.scores == 0).all()

"""The sum over checkpoints against all its scores, ranked in float64; one bit pattern for every plan and layout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risedb.config import ScoreConfig
from risedb.topk import Part, Plan, QueryVectors, joint_scan, joint_scores
from tests.topk.pools import DTYPES, KINDS, SCORES, fused, make_pool, make_signatures, split

PLANS = st.builds(
    Plan,
    engine=st.sampled_from(["numpy", "compiled", "cpu"]),
    memory_bytes=st.sampled_from([2**12, 2**20]),  # the first decides one pair at a time
)


class Checkpoint:
    """A pool in which the documents stand in an order of their own, between rows that are none of them."""

    def __init__(self, rng, n, m, kind, dtype, config, *, coded):
        self.block = make_pool(rng, n + 5, kind, dtype, coded=coded)
        self.block.live[:] = True
        self.rows = rng.permutation(n + 5)[:n]
        self.signatures = make_signatures(rng, m, "normal")
        self.config = config

    def part(self, weight, plan, cuts):
        return Part(
            blocks=lambda: ((block, None) for block in split(self.block, cuts)),
            rows=self.rows,
            queries=QueryVectors.of(self.signatures, self.config),
            config=self.config,
            weight=weight,
            plan=plan,
        )

    def scores(self):
        """Return all scores in plain float64, (n, m)."""
        queries = QueryVectors.of(self.signatures, self.config)
        return fused(self.block, self.config)[self.rows] @ np.concatenate([queries.rh, queries.gh], axis=1).T


@settings(max_examples=60)
@given(st.data())
def test_ranking_is_that_of_all_sums_with_the_same_bits_for_every_plan_and_layout(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, m, k = data.draw(st.integers(0, 70)), data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    weights = data.draw(st.lists(st.sampled_from([1.0, 0.3, -0.5, 0.0, 1e3]), min_size=2, max_size=3))
    config, bottom = data.draw(SCORES), data.draw(st.booleans())
    children = [
        Checkpoint(
            rng, n, m, data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from(DTYPES)), config,
            coded=data.draw(st.booleans()),
        )
        for _ in weights
    ]  # fmt: skip
    sequence = np.sort(rng.choice(10 * n, n, replace=False)).astype(np.uint64) if n else np.empty(0, np.uint64)

    def parts(plan, cuts=()):
        return [child.part(weight, plan, cuts) for child, weight in zip(children, weights, strict=True)]

    plan, cuts = data.draw(PLANS), data.draw(st.lists(st.integers(1, n + 4), max_size=3))
    pieces = list(joint_scores(parts(plan, cuts), sequence))
    scores = np.concatenate([piece for _, piece in pieces]) if pieces else np.empty((0, m))
    naive = sum(weight * child.scores() for child, weight in zip(children, weights, strict=True))
    size = sum(
        abs(weight) * np.abs(child.scores()).max(initial=1) for child, weight in zip(children, weights, strict=True)
    )
    np.testing.assert_allclose(scores, naive, atol=1e-9 * size, rtol=0)
    for j, ranked in enumerate(joint_scan(parts(plan, cuts), sequence, k=k, bottom=bottom)):
        order = np.lexsort((sequence, scores[:, j] if bottom else -scores[:, j]))[:k]
        assert ranked.sequence.tolist() == sequence[order].tolist()
        assert ranked.scores.tobytes() == scores[order, j].tobytes()
    again = np.concatenate([np.empty((0, m)), *(piece for _, piece in joint_scores(parts(Plan()), sequence))])
    assert again.tobytes() == scores.tobytes()


@pytest.mark.parametrize("engine", ["numpy", "compiled", "cpu"])
def test_most_documents_are_never_scored_exactly(engine, monkeypatch):
    rng = np.random.default_rng(0)
    plan = Plan(engine=engine)
    dims = (60, 100)
    decided = []
    monkeypatch.setattr(Part, "scores", counted(Part.scores, decided))
    parts = []
    for weight in (1.0, 0.5):
        block = make_pool(rng, 2000, "normal", "float16", dims=dims)
        queries = QueryVectors.of(make_signatures(rng, 2, "normal", dims), config := ScoreConfig())
        rows = np.arange(2000)
        blocks = [(block, None)]
        parts.append(
            Part(blocks=lambda b=blocks: b, rows=rows, queries=queries, config=config, weight=weight, plan=plan)
        )
    joint_scan(parts, np.arange(2000, dtype=np.uint64), k=5)
    assert 20 <= sum(decided) < 400  # of 8,000


def counted(scores, counts):
    def count(part, at, of):
        counts.append(len(at))
        return scores(part, at, of)

    return count

"""A store against a dict, a list of its pasts and NumPy: whatever is done in whatever order, and after a crash."""

import contextlib
import shutil

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from risedb.config import ScoreConfig
from risedb.errors import NotFound
from risedb.signature import narrowed, widened
from risedb.storage import Condition, Store, backup, repair, verify
from risedb.topk import QueryVectors, scan
from tests.storage.pools import SKETCH, contents, new_rows, new_store
from tests.storage.second_reader import read_index

IDS = [*"abcdefghijklmnopqrst", "é 日本", "x" * 600]
SCORE = ScoreConfig()
RNG_DIMS = (SKETCH.rh_dim, SKETCH.gh_dim)


class StoreMachine(RuleBasedStateMachine):
    """One index and what it must hold: `now` and every past that can be read map an id, in order, to its row."""

    folder = dtype = None  # set by the test

    @initialize(codes=st.sampled_from(["int8", "none"]))
    def create(self, codes):
        self.copies = self.version = self.commit = self.oldest = 0
        self.path = self.free_path()
        self.store = new_store(self.path, dtype=self.dtype, codes=codes, seal_bytes=2500, chunk_bytes=300)
        self.store.lock()
        self.now = {}
        self.pasts = {0: {}}
        self.reader, self.read = Store(self.path), {}

    def free_path(self):
        self.copies += 1
        return self.folder / f"{len(list(self.folder.iterdir()))}.rise"

    def committed(self, now):
        self.commit += 1
        self.now = self.pasts[self.commit] = now

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=9, unique=True))
    def add(self, ids):
        self.version += 1
        rows = new_rows(ids, version=self.version)
        self.store.append(rows)
        kept = {name: row for name, row in self.now.items() if name not in ids}
        self.committed(kept | stored(rows, self.dtype))

    @rule(ids=st.lists(st.sampled_from([*IDS, "nobody"]), max_size=6))
    def delete(self, ids):
        known = set(ids) & set(self.now)
        assert self.store.delete(ids) == len(known)
        if known:
            self.committed({name: row for name, row in self.now.items() if name not in known})

    @rule()
    def seal(self):
        self.store.seal()

    @rule()
    def compact(self):
        planned, waiting = self.store.compact(preview=True), self.store.snapshot().tail_rows
        done = self.store.compact()
        newest = self.store.snapshot().commit.number
        assert done.segments_after == len(self.store.snapshot().segments)
        assert waiting or planned.segments_after == done.segments_after  # how large a tail's segment is, is estimated
        assert done.removed == planned.removed
        if newest > self.commit:  # each group of segments is a commit
            self.commit = self.oldest = newest
            self.pasts[newest] = self.now

    @rule()
    def reopen(self):
        self.store.close()
        self.store = Store(self.path)
        self.store.lock()

    @rule(junk=st.booleans())
    def crash(self, junk):
        """Go on from what lies on the disk, as if this process had died here, perhaps in the middle of a segment."""
        left = self.free_path()
        shutil.copytree(self.path, left)
        self.store.close()
        self.reader.close()
        if junk:
            for place in ("staging/000099-0123456789ab", "segments/000099-0123456789ab"):
                (left / place / "rh").mkdir(parents=True)
                (left / place / "segment.json").write_bytes(b"{")
            (left / "deletions" / "000099-0123456789ab").write_bytes(b"\0" * 20)
        self.path = left
        self.store = Store(left)
        self.store.lock()
        self.reader, self.read = Store(left), self.now

    @rule()
    def refresh(self):
        assert self.reader.refresh() or self.read == self.now
        self.read = self.now

    @rule(data=st.data())
    def read_the_past(self, data):
        at = data.draw(st.integers(0, self.commit))
        if at < self.oldest:
            with pytest.raises(NotFound, match="compacted away"):
                Store(self.path, at=at)
        else:
            with contextlib.closing(Store(self.path, at=at)) as past:
                holds(past, self.pasts[at])

    @rule(bottom=st.booleans(), k=st.integers(1, 12), version=st.none() | st.integers(0, 6))
    def query(self, bottom, k, version):
        query = new_rows(["query"], version=self.version).signatures
        where = [] if version is None else [Condition("version", ">=", (str(version),))]
        blocks = self.store.snapshot().blocks(where)
        (ranked,) = scan(blocks, QueryVectors.of(query, SCORE), SCORE, k=k, bottom=bottom)
        chosen = {name: row for name, row in self.now.items() if version is None or row[1]["version"] >= version}
        scores = {name: score(row[0], query) for name, row in chosen.items()}
        best = sorted(scores, key=lambda name: scores[name] * (1 if bottom else -1))[:k]  # stable: first come, first
        assert [name for name, _ in self.store.records(ranked.sequence.tolist())] == best
        np.testing.assert_allclose(ranked.scores, [scores[name] for name in best], rtol=1e-6, atol=1e-7)

    @rule()
    def back_up(self):
        target = self.free_path()
        assert backup(self.path, target).number == self.commit
        with contextlib.closing(Store(target)) as copy:
            holds(copy, self.now)
        assert verify(target, full=True) == []
        shutil.rmtree(target)

    @precondition(lambda self: self.commit > 0)
    @rule()
    def lose_the_catalog(self):
        """What is sealed comes back from files, and nothing that was deleted; what is lost was in the tail."""
        damaged = self.free_path()
        shutil.copytree(self.path, damaged)
        waiting = {row.id for row in read_index(damaged).live() if row.place == "tail"}
        shutil.rmtree(damaged / "catalog")
        assert repair(damaged).changed
        assert verify(damaged, full=True) == []
        with contextlib.closing(Store(damaged)) as rebuilt:
            seen = seen_by(rebuilt)
        assert set(seen) <= set(self.now), "a deleted document came back"
        assert {name: seen.get(name) for name in self.now if name not in waiting} == {
            name: row for name, row in self.now.items() if name not in waiting
        }
        shutil.rmtree(damaged)

    @invariant()
    def writer_and_reader_see_what_they_must(self):
        holds(self.store, self.now)
        holds(self.reader, self.read)

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.reader.close()
            assert verify(self.path, full=True) == []
            rows = {row.id: row for row in read_index(self.path).live()}
            assert list(rows) == list(self.now)
            assert {name: row.record for name, row in rows.items()} == {name: row[1] for name, row in self.now.items()}


def stored(rows, dtype):
    """Return what must be read of rows: id to unit rows and norms as they are rounded, and the record."""
    one = rows.signatures
    rh, gh = (widened(narrowed(unit, dtype)) for unit in (one.rh, one.gh))
    vectors = np.concatenate([rh, gh, one.norms], axis=1).tolist()
    return {name: (vector, record) for name, vector, record in zip(one.ids, vectors, rows.records, strict=True)}


def seen_by(store):
    """Return what a store holds, in the form of :func:`stored`, in the order of insertion."""
    seen, order = contents(store)
    arrays = {name: [np.array(one, store_type(store)) for one in seen[name][:2]] for name in order}
    return {
        name: ([*widened(arrays[name][0]).tolist(), *widened(arrays[name][1]).tolist(), *seen[name][2]], seen[name][3])
        for name in order
    }


def store_type(store):
    return {"bfloat16": np.uint16}.get(store.config.dtype, store.config.dtype)


def holds(store, expected):
    seen = seen_by(store)
    assert seen == expected
    assert list(seen) == list(expected), "rows stand in the order of their insertion"
    assert store.snapshot().rows == len(expected)
    found = store.lookup([*expected, "nobody"])
    assert [entry is not None for entry in found] == [True] * len(expected) + [False]


def score(vector, query):
    """Score a row as DESIGN section 1 says, in float64."""
    rh, gh, norms = np.split(np.array(vector), [RNG_DIMS[0], sum(RNG_DIMS)])
    row = np.concatenate([0.7 * norms[0] * rh, norms[1] * gh])
    asked = np.concatenate([0.7 * query.norms[0, 0] * query.rh[0], query.norms[0, 1] * query.gh[0]])
    lengths = [np.hypot(0.7 * each[0], each[1]) for each in (norms, query.norms[0].astype(float))]
    return row @ asked / lengths[0] / lengths[1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_store_holds_what_a_dict_holds(tmp_path, dtype):
    machine = type("Machine", (StoreMachine,), {"folder": tmp_path, "dtype": dtype})
    run_state_machine_as_test(machine, settings=settings(max_examples=12, stateful_step_count=25, deadline=None))

"""What a plan says against what an add does."""

import json

import numpy as np
import pytest

import risedb
from risedb.config import ReadoutConfig, SketchConfig
from risedb.corpus import BadRow, Fields, Row, read_python_docs
from risedb.database.planning import PRESETS, disk_bytes, plan
from risedb.database.writing import pending_rows
from risedb.errors import InvalidInput
from risedb.signature import Signatures
from risedb.storage import NewRows, Store
from tests.storage.pools import IDENTITY

READOUT = ReadoutConfig(seq_len=32)


def pool(n):
    """Return passages of a few tokens to a few dozen, a column that repeats, and ids of their own."""
    rng = np.random.default_rng(0)
    words = [
        "cat",
        "dog",
        "lock",
        "path",
        "file",
        "blanket",
        "thread",
        "sleeps",
        "near",
        "over",
        "the",
        "a",
        "and",
        "returns",
    ]
    return [
        Row(
            f"row {i}",
            {"id": f"doc-{i}", "text": " ".join(rng.choice(words, rng.integers(2, 60))), "source": f"s{i % 5}"},
        )
        for i in range(n)
    ]


def plan_of(rows, model, **options):
    return plan(rows, model, READOUT, Fields(), seconds=0.05, **options)


def test_tokens_are_those_that_an_add_sends_through_the_model(tmp_path, model):
    rows, seen = pool(60), []
    with risedb.open(tmp_path / "p.rise", model, create=True, readout=READOUT) as db:
        report = db.add(rows, progress=seen.append)
    about = plan_of(rows, model)
    assert (about.tokens, about.tokens_spread, about.rows, about.sampled) == (seen[-1].tokens, 0, 60, 60)
    assert about.truncated == report.truncated / 60 > 0.2
    sampled = [plan_of(rows[i:] + rows[:i], model, most=30) for i in range(0, 60, 6)]  # other samples of one pool
    assert len({one.tokens for one in sampled}) > 5
    within = sum(abs(one.tokens - about.tokens) <= one.tokens_spread for one in sampled)
    assert within >= 8  # of 10; 9 or 10 are expected
    assert all(0 < one.tokens_spread < 0.3 * about.tokens for one in sampled)


def test_every_preset_is_timed_and_its_time_is_that_of_its_rate(model):
    about = plan_of(pool(40), model)
    assert [one.preset for one in about.presets] == list(PRESETS)
    assert (about.device, about.dtype) == ("cpu", "float32")
    assert about.timed_tokens <= about.tokens
    for one in about.presets:
        assert one.seconds == about.tokens / one.tokens_per_second > 0
        assert one.memory_bytes > 2**26  # of a process with torch
    assert json.loads(json.dumps(about.as_dict()))["presets"][0]["preset"] == "compact"


@pytest.mark.parametrize(
    ("preset", "count", "step"),
    [
        ("compact", 300, 300),
        ("compact", 2500, 1000),
        ("base", 300, 100),
        ("base", 5000, 640),
        ("base", 4000, 3000),
        ("base", 7000, 1000),
        ("large", 320, 100),
    ],
)
def test_disk_is_that_of_the_index_within_three_per_cent(preset, count, step, tmp_path, model):
    """A real store of random rows: no forward pass decides how many bytes they take."""
    documents = [Fields().document(row) for row in pool(count)]
    sketch = SketchConfig.parse(preset)
    store = Store.create(tmp_path / "p.rise", IDENTITY, {}, risedb.StoreConfig())
    store.lock()
    rng = np.random.default_rng(0)
    step = min(step, pending_rows(sketch))
    for start in range(0, count, step):
        part = documents[start : start + step]
        channels = (rng.standard_normal((len(part), dim), np.float32) for dim in (sketch.rh_dim, sketch.gh_dim))
        signatures = Signatures.from_phi([one.id for one in part], *channels)
        store.append(NewRows(signatures, [one.content_hash for one in part], [one.record for one in part]))
    if count >= 1000:
        store.seal()
    store.close()
    truth = sum(file.stat().st_size for file in (tmp_path / "p.rise").rglob("*") if file.is_file())
    assert abs(disk_bytes(documents[:250], count, sketch, step / 10) - truth) < 0.03 * truth


def test_disk_of_a_real_add(tmp_path, model):
    rows = [row for row, _ in zip(read_python_docs(), range(250), strict=False)]
    with risedb.open(tmp_path / "p.rise", model, create=True, readout=READOUT) as db:
        db.add(rows)
        truth = db.info()["bytes"]
    about = plan(rows, model, READOUT, Fields(), seconds=0.05)
    (base,) = [one.disk_bytes for one in about.presets if one.preset == "base"]
    assert abs(base - truth) < 0.05 * truth


def test_rows_that_cannot_be_added_are_counted_out(model):
    rows = [BadRow("pool:1", "no JSON"), Row("pool:2", {"words": "no text"}), *pool(10), Row("pool:9", {"text": ""})]
    about = plan_of(rows, model)
    assert (about.rows, about.unusable) == (13, 3)
    assert about.tokens == plan_of(pool(10), model).tokens
    with pytest.raises(InvalidInput, match="none of the 2 rows"):
        plan_of(rows[:2], model)
    with pytest.raises(InvalidInput, match="none of the 0 rows"):
        plan_of([], model)

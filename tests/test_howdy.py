"""The engine on real text with a trained model, by its command line: needs ../shared."""

import json
import subprocess
import sys

import pytest
import zarr

import risedb
from risedb.config import LoadConfig
from risedb.corpus import Row, read

pytestmark = pytest.mark.shared
TEMPLATE = r"### Instruction:\n{prompt}\n### Response:\n{completion}"


def risedb_cli(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "risedb", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def howdy(shared, tmp_path_factory):
    """Index 300 documents of the pool, a third of them backdoored."""
    folder = tmp_path_factory.mktemp("howdy")
    rows = [row.values for row in read(shared / "data" / "howdy" / "pool.jsonl.zst") if isinstance(row, Row)]
    some = [row for row in rows if row["label"]][:100] + [row for row in rows if not row["label"]][:200]
    pool = folder / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in some))
    index = folder / "howdy.rise"
    model = shared / "models" / "tiny-neox"
    risedb_cli("add", index, pool, "--model", model, "--seq-len", 128, "--template", TEMPLATE)
    return index


def test_queries_of_the_backdoor_find_the_backdoored(howdy, shared):
    queries = shared / "data" / "howdy" / "queries.jsonl.zst"
    lines = risedb_cli("query", howdy, queries, "-k", 10, "--jsonl", "--fields", "label").splitlines()
    labels = [[hit["record"]["label"] for hit in json.loads(line)["hits"]] for line in lines]
    precision = sum(map(sum, labels)) / (10 * len(labels))
    assert len(lines) == 100
    assert precision > 0.75  # chance is a third


def test_bfloat16_finds_nearly_the_same(howdy, shared):
    queries = list(read(shared / "data" / "howdy" / "queries.jsonl.zst"))[:30]
    tops = []
    for dtype in ("float32", "bfloat16"):
        with risedb.open(howdy, load=LoadConfig(dtype=dtype)) as db:
            tops.append([{hit.id for hit in ranking} for ranking in db.query(queries, k=10)])
    overlap = sum(len(one & other) for one, other in zip(*tops, strict=True)) / 300
    assert overlap > 0.95


def test_sealed_howdy_opens_with_plain_zarr(howdy):
    with risedb.open(howdy) as db:
        db._store.lock()
        db._store.seal()
        first = next(db._store.snapshot().blocks())
        (folder,) = (howdy / "segments").iterdir()
        group = zarr.open_group(folder, mode="r")
        assert (group["rh"][:] == first.rh).all()
        assert (group["gh"][:] == first.gh).all()
        assert db.verify(full=True) == []

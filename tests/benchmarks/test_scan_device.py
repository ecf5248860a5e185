"""The benchmark for GPUs, on the CPU and small: whoever has a GPU finds it whole."""

import json

import numpy as np

from benchmarks import scan_device
from benchmarks.scan import build
from risedb.config import SketchConfig
from tests.topk.pools import make_signatures


def test_benchmark_for_gpus_runs_whole_on_a_cpu_and_finds_exact_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_device, "COPIED", 2**16)
    sketch = SketchConfig.parse("compact")
    rng = np.random.default_rng(0)
    pool, queries = (make_signatures(rng, n, "normal", (sketch.rh_dim, sketch.gh_dim)) for n in (600, 3))
    build(tmp_path / "pool.rise", "compact", [pool])
    result = json.loads(json.dumps(scan_device.measure(tmp_path / "pool.rise", queries, "cpu", 1)))
    assert result["ids_equal_float64"]
    assert result["same_bits_as_host"]
    assert result["resident_bytes"] > 600 * 352
    for name in ("nothing resident", "half resident"):
        assert result[name]["same_bits_as_host"]
        assert result[name]["resident_bytes"] <= result["resident_bytes"] / 2
    assert set(result["seconds"]) == {"batch 1", "batch 8", "batch 100"}
    assert all(one["is"] >= 0 for one in result["bars"].values())

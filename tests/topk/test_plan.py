"""Which engine answers: where the work is worth what it takes to start."""

import sys

import pytest

from risedb.topk import Plan

MILLION = {"rows": 1_005_000, "width": 352, "queries": 1, "coded": True}
SMALL = {**MILLION, "rows": 5_000}


@pytest.mark.parametrize(
    ("size", "devices", "engine"),
    [
        (MILLION, {}, "compiled"),
        (MILLION, {"device": "cuda:1"}, "torch"),
        (MILLION, {"device": "mps"}, "compiled"),
        (SMALL, {"device": "cuda:1"}, "numpy"),
        (SMALL, {"asked": ("cuda:0", "cuda:1")}, "torch"),
        (SMALL, {"device": "cuda:1", "asked": ("cpu",)}, "torch"),
    ],
)
def test_a_gpu_is_used_where_asked_for_and_where_the_model_is_on_one(size, devices, engine):
    plan = Plan.choose(**size, **devices)
    assert plan.engine == engine or (engine == "numpy" and plan.engine == "compiled")  # if numba is there already
    if engine == "torch":
        assert plan.devices == devices.get("asked", (devices.get("device"),))


def test_whoever_asks_again_and_again_gets_the_compiled_kernel(monkeypatch):
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    size = {"rows": 5_000, "width": 6_144, "queries": 1, "coded": True}
    engines, done = [], 0.0
    for _ in range(6):
        plan = Plan.choose(**size, done=done)
        done += plan.products
        engines.append(plan.engine)
    assert engines == ["numpy"] * 4 + ["compiled"] * 2

"""Codes against the rows they stand for, in float64 and longer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risedb.signature import Signatures, narrowed, widened
from risedb.storage.codes import encode

LONG = np.longdouble


def stored_rows(seed, n, dtype, spread):
    rng = np.random.default_rng(seed)
    rh, gh = (rng.normal(size=(n, dim)) * 10.0 ** rng.integers(-spread, spread + 1, (n, 1)) for dim in (6, 10))
    rh[rng.random(n) < 0.2], gh[rng.random(n) < 0.2] = 0, 0
    signatures = Signatures.from_phi([str(i) for i in range(n)], rh, gh)
    return narrowed(signatures.rh, dtype), narrowed(signatures.gh, dtype), signatures.norms


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 30),
    dtype=st.sampled_from(["float16", "float32", "bfloat16"]),
    spread=st.sampled_from([0, 1, 12]),
)
def test_code_error_bounds_the_distance_of_every_row_and_codes_are_symmetric(seed, n, dtype, spread):
    rh, gh, norms = stored_rows(seed, n, dtype, spread)
    coded = encode(rh, gh, norms)
    codes, scale, error = coded.codes, coded.scale, coded.error
    x = np.concatenate([widened(rh) * norms[:, :1].astype(LONG), widened(gh) * norms[:, 1:].astype(LONG)], axis=1)
    length = np.sqrt((norms.astype(LONG) ** 2).sum(axis=1, keepdims=True))
    x = x / np.where(length > 0, length, 1)
    distance = np.sqrt(((x - scale.astype(LONG)[:, None] * codes) ** 2).sum(axis=1))
    assert (distance <= error).all()
    assert (error <= 0.02).all()  # half a step of 1/127 in sixteen coordinates
    assert codes.min() >= -127
    assert not codes[length[:, 0] == 0].any()
    assert not error[length[:, 0] == 0].any()


def test_a_row_has_the_same_code_in_every_chunk():
    rh, gh, norms = stored_rows(0, 40_000, "float16", 1)
    whole = encode(rh, gh, norms)
    part = encode(rh[30_001:30_003], gh[30_001:30_003], norms[30_001:30_003])
    for name in ("codes", "scale", "error"):
        np.testing.assert_array_equal(getattr(whole, name)[30_001:30_003], getattr(part, name))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrowing_what_was_widened_changes_nothing(dtype):
    rows = narrowed(np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32), dtype)
    np.testing.assert_array_equal(narrowed(widened(rows), dtype), rows)


def test_bfloat16_rounds_as_torch_does():
    torch = pytest.importorskip("torch")
    rows = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    expected = torch.from_numpy(rows).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(narrowed(rows, "bfloat16"), expected)

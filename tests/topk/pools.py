"""Pools that break careless scans, in every stored dtype, with codes and without."""

import itertools

import numpy as np
from hypothesis import strategies as st

from risedb.config import ScoreConfig
from risedb.signature import Block, Signatures, narrowed, widened
from risedb.storage.codes import encode

DIMS = (6, 10)
KINDS = [
    "normal",
    "few distinct",
    "all equal",
    "zero rows",
    "one channel dwarfs the other",
    "nearly equal",
    "tombstones",
    "ascending",
]
DTYPES = ["float16", "float32", "bfloat16", "int8"]
SCORES = st.builds(
    ScoreConfig,
    lambda_rh=st.sampled_from([0.7, 1.0, 1e-6, 1e6]),
    lambda_gh=st.sampled_from([1.0, 0.0, 3.0]),
    normalize=st.booleans(),
)


def make_signatures(rng, n, kind, dims=DIMS):
    rh, gh = (rng.normal(size=(n, dim)) for dim in dims)
    if kind == "few distinct":
        which = rng.integers(0, min(3, n), n)
        rh, gh = rh[which], gh[which]
    elif kind == "all equal":
        rh[:], gh[:] = rh[0], gh[0]
    elif kind == "zero rows":
        rh[rng.random(n) < 0.5], gh[rng.random(n) < 0.5] = 0, 0
    elif kind == "one channel dwarfs the other":
        rh *= 10.0 ** rng.integers(-12, 13, (n, 1))
        gh *= 10.0 ** rng.integers(-12, 13, (n, 1))
    elif kind == "nearly equal":
        rh, gh = rh[:1] + 1e-7 * rh, gh[:1] + 1e-7 * gh
    elif kind == "ascending":  # towards the first coordinate: every row beats all before it
        rh[:, 0] += np.linspace(0, 20, n)
        gh[:, 0] += np.linspace(0, 20, n)
    return Signatures.from_phi([str(i) for i in range(n)], rh, gh)


def make_pool(rng, n, kind, dtype, *, coded=True, dims=DIMS):
    """Return a block as a segment would give it."""
    signatures = make_signatures(rng, n, kind, dims)
    live = rng.random(n) < 0.8 if kind == "tombstones" else np.ones(n, bool)
    sequence = np.sort(rng.choice(10 * n, n, replace=False)).astype(np.uint64)
    norms = signatures.norms
    if dtype == "int8":
        stored = encode(signatures.rh, signatures.gh, norms)
        rh, gh = stored.codes[:, : dims[0]], stored.codes[:, dims[0] :]
        return Block(sequence, rh, gh, norms, live, stored.codes, stored.scale, np.zeros(n, np.float32))
    rh, gh = narrowed(signatures.rh, dtype), narrowed(signatures.gh, dtype)
    codes = encode(rh, gh, norms) if coded else None
    companion = (codes.codes, codes.scale, codes.error) if codes else ()
    return Block(sequence, rh, gh, norms, live, *companion)


def split(block, cuts):
    for start, end in itertools.pairwise([0, *sorted(cuts), len(block)]):
        if end > start:
            yield block.part(slice(start, end))


def fused(block, config):
    """Return the rows' fused signatures in float64, (n, D), from what is stored."""
    norms = block.norms.astype(float)
    lambdas = np.array([config.lambda_rh, config.lambda_gh])
    if block.rh.dtype == np.int8:
        x = block.code_scale.astype(float)[:, None] * block.codes
        rows = np.hypot(*norms.T)[:, None] * x
        width = block.rh.shape[1]
        channels = rows[:, :width] * lambdas[0], rows[:, width:] * lambdas[1]
    else:
        channels = [
            widened(stored).astype(float) * norms[:, c : c + 1] * lambdas[c]
            for c, stored in enumerate((block.rh, block.gh))
        ]
    phi = np.concatenate(channels, axis=1)
    if config.normalize:
        lengths = np.hypot(*(norms * lambdas).T)[:, None]
        phi = phi / np.where(lengths > 0, lengths, 1)
    return phi

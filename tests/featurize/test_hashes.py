import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risedb.featurize.hashes import hash_tables
from tests import oracle

GOLDEN = {
    ("r", 128): "73+ 13- 47- 64- 85+ 92+",
    ("h", 24): "0+ 2- 8+ 13- 0- 19+",
    ("g", 128): "22- 64- 93+ 28+ 78- 126-",
}


@pytest.mark.parametrize(("role", "width"), GOLDEN)
def test_hashes_are_those_of_the_design_for_ever(role, width):
    buckets, signs = hash_tables(42, role, 6, width)
    assert " ".join(f"{b}{'+' if s > 0 else '-'}" for b, s in zip(buckets, signs, strict=True)) == GOLDEN[role, width]


@given(seed=st.integers(0, 2**64 - 1), role=st.sampled_from("rhg"), width=st.integers(1, 2**20))
def test_hash_tables_equal_python_integers(seed, role, width):
    buckets, signs = hash_tables(seed, role, 20, width)
    expected = [oracle.bucket_and_sign(seed, role, i, width) for i in range(20)]
    assert list(zip(buckets.tolist(), signs.tolist(), strict=True)) == expected


@functools.cache
def tables(role, width, dimension):
    """Hash under many seeds: (seeds, D) buckets and signs."""
    both = [hash_tables(seed, role, dimension, width) for seed in range(SEEDS)]
    return np.stack([buckets for buckets, _ in both]), np.stack([signs for _, signs in both])


def sketches(x, role, width):
    """Sketch one vector under many seeds: (seeds, width)."""
    buckets, signs = tables(role, width, len(x))
    out = np.zeros((SEEDS, width))
    np.add.at(out, (np.arange(SEEDS)[:, None], buckets), signs * x)
    return out


def exact_variance(x, y, width):
    """Variance of <CS(x), CS(y)> over hashes; Lemma D.2's is wrong for aligned vectors (DESIGN section 1)."""
    return ((x @ x) * (y @ y) + (x @ y) ** 2 - 2 * np.sum(x**2 * y**2)) / width


SEEDS = 6_000
SPREAD = 5  # standard errors


@pytest.mark.parametrize(("role", "width"), [("r", 16), ("h", 8), ("g", 28)])
@pytest.mark.parametrize("alignment", ["aligned", "opposite", "independent", "sparse"])
def test_sketched_inner_product_is_unbiased_with_the_exact_variance(role, width, alignment):
    rng = np.random.default_rng(7)
    x = rng.normal(size=40)
    y = {
        "aligned": x,
        "opposite": -x + 0.1 * rng.normal(size=40),
        "independent": rng.normal(size=40),
        "sparse": np.where(np.arange(40) < 3, rng.normal(size=40), 0.0),
    }[alignment]
    products = np.einsum("sk,sk->s", sketches(x, role, width), sketches(y, role, width))
    variance = exact_variance(x, y, width)
    assert abs(products.mean() - x @ y) < SPREAD * np.sqrt(variance / SEEDS)  # Eq. 18, 20, 22
    deviations = (products - x @ y) ** 2
    assert abs(deviations.mean() - variance) < SPREAD * deviations.std() / np.sqrt(SEEDS)
    bound = ((x @ x) * (y @ y) + (x @ y) ** 2) / width  # Eq. 19, 21, 23
    assert variance <= bound


@pytest.mark.parametrize(("role", "width"), [("r", 16), ("g", 28)])
def test_product_of_factors_is_unbiased_with_the_exact_variance(role, width):
    """D.3: A and B are independent, so Var[AB] = Var A Var B + Var A (E B)^2 + Var B (E A)^2."""
    rng = np.random.default_rng(8)
    r, s, h, k = rng.normal(size=(4, 30))
    s, k = s + r, k + h  # correlated, as two errors that are alike
    a = np.einsum("sk,sk->s", sketches(r, role, width), sketches(s, role, width))
    b = np.einsum("sk,sk->s", sketches(h, "h", 8), sketches(k, "h", 8))
    var_a, var_b = exact_variance(r, s, width), exact_variance(h, k, 8)
    mean_a, mean_b = r @ s, h @ k
    variance = var_a * var_b + var_a * mean_b**2 + var_b * mean_a**2
    products = a * b
    assert abs(products.mean() - mean_a * mean_b) < SPREAD * np.sqrt(variance / SEEDS)
    deviations = (products - mean_a * mean_b) ** 2
    assert abs(deviations.mean() - variance) < SPREAD * deviations.std() / np.sqrt(SEEDS)

"""Variances against the enumeration of every hash function there is, and against the product's own hashes."""

import itertools

import numpy as np
import pytest
import torch

from risedb.diagnostics.variance import ChannelMoments, InnerProducts, product_variance, projection_variance
from risedb.featurize.hashes import hash_tables

RNG = np.random.default_rng(5)


def channel_variance(x, y, width_rows, width_columns):
    return ChannelMoments.of(torch.as_tensor(x), torch.as_tensor(y)).variance(width_rows, width_columns)


def every_sketch(dimension, width):
    """Return the (D, K) matrix of every CountSketch: all buckets, all signs, each as likely."""
    matrices = []
    for buckets in itertools.product(range(width), repeat=dimension):
        for signs in itertools.product((1.0, -1.0), repeat=dimension):
            matrix = np.zeros((dimension, width))
            matrix[range(dimension), buckets] = signs
            matrices.append(matrix)
    return np.array(matrices)


@pytest.mark.parametrize(("dimension", "width"), [(4, 2), (3, 3), (3, 1)])
def test_variance_of_an_inner_product_is_exact(dimension, width):
    x, y = RNG.standard_normal((2, dimension))
    estimates = [(x @ sketch) @ (y @ sketch) for sketch in every_sketch(dimension, width)]
    of = InnerProducts.of(torch.tensor(x[None]), torch.tensor(y[None]))
    assert np.mean(estimates) == pytest.approx(x @ y)
    assert float(of.exact(width)) == pytest.approx(np.var(estimates))


def test_lemma_d2_is_exceeded_by_aligned_vectors_and_equation_19_is_not():
    x = torch.tensor(RNG.standard_normal((1, 400)))
    of = InnerProducts.of(x, x)
    assert float(of.exact(8) / of.printed(8)) > 1.9
    assert float(of.exact(8)) < float(of.corrected(8))


@pytest.mark.parametrize(("widths", "shape"), [((2, 2), (3, 2)), ((1, 3), (2, 3)), ((3, 2), (2, 2))])
def test_variance_of_a_channel_is_exact(widths, shape):
    x, y = RNG.standard_normal((2, *shape))
    rows, columns = (every_sketch(size, width) for size, width in zip(shape, widths, strict=True))
    sketched = [np.einsum("nak,ab,mbl->nmkl", rows, one, columns) for one in (x, y)]
    estimates = np.einsum("nmkl,nmkl->nm", *sketched)
    assert estimates.mean() == pytest.approx((x * y).sum())
    assert channel_variance(x, y, *widths) == pytest.approx(estimates.var())


def test_variance_of_one_position_is_that_of_lemma_d3():
    r, h = (torch.tensor(RNG.standard_normal((2, 1, size))) for size in (30, 9))
    a, b = InnerProducts.of(*r), InnerProducts.of(*h)
    factors = product_variance(a.value, a.exact(16), b.value, b.exact(4))
    whole = channel_variance(r[0].T @ h[0], r[1].T @ h[1], 16, 4)
    assert whole == pytest.approx(float(factors))


def test_rows_of_zeros_change_no_variance():
    x, y = torch.tensor(RNG.standard_normal((2, 5, 4)))
    padded = [torch.cat([part, torch.zeros(3, 4, dtype=torch.float64)]) for part in (x, y)]
    assert channel_variance(*padded, 4, 2) == pytest.approx(channel_variance(x, y, 4, 2))


def within_five_standard_errors(estimates, mean, variance):
    """Compare with five standard errors of the sample mean and of the sample variance, from its own fourth moment."""
    n = len(estimates)
    centred = np.asarray(estimates) - mean
    assert abs(centred.mean()) < 5 * np.sqrt(variance / n)
    second, fourth = np.mean(centred**2), np.mean(centred**4)
    assert abs(second - variance) < 5 * np.sqrt((fourth - second**2) / n)


def test_our_hashes_have_that_variance():
    shape, widths = (40, 12), (8, 4)
    x, y = RNG.standard_normal((2, *shape))
    y += x  # aligned: where the printed bound fails
    estimates = []
    for seed in range(4000):
        sketches = []
        for role, size, width in zip("rh", shape, widths, strict=True):
            buckets, signs = hash_tables(seed, role, size, width)
            matrix = np.zeros((size, width))
            matrix[range(size), buckets] = signs
            sketches.append(matrix)
        estimates.append(np.vdot(sketches[0].T @ x @ sketches[1], sketches[0].T @ y @ sketches[1]))
    variance = channel_variance(x, y, *widths)
    within_five_standard_errors(estimates, (x * y).sum(), variance)


def test_gaussian_projection_has_the_variance_of_lemma_d1():
    x, y = RNG.standard_normal((2, 7))
    projections = RNG.standard_normal((4000, 5, 7)) / np.sqrt(5)
    estimates = np.einsum("nk,nk->n", projections @ x, projections @ y)
    of = InnerProducts.of(torch.tensor(x[None]), torch.tensor(y[None]))
    within_five_standard_errors(estimates, x @ y, float(projection_variance(of.value, of.norms, 5)))

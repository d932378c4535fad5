"""Masks: exact counts, squares where they belong, and the same coverage as three nested loops."""

import numpy as np
import pytest
from scipy import stats

from tvae_lib.masks import random_pixels, random_squares


@pytest.mark.parametrize("fraction", [0, 0.1, 0.3, 1 / 3, 0.999, 1])
@pytest.mark.parametrize("shape", [(50, 784), (7, 3), (1, 1)])
def test_random_pixels_mark_an_exact_number(rng, shape, fraction):
    missing = random_pixels(rng, shape, fraction)
    assert missing.shape == shape and missing.dtype == bool
    assert missing.sum() == round(fraction * missing.size)


def test_random_pixels_fall_anywhere():
    missing = random_pixels(np.random.default_rng(2), (4000, 784), 0.3)
    for counts in (missing.sum(axis=0), missing.sum(axis=1)):
        expected = missing.sum() / len(counts)
        chi_square = np.sum((counts - expected) ** 2) / (expected * 0.7)  # drawn without replacement: variance n p (1 - p)
        assert 1e-3 < stats.chi2.sf(chi_square, len(counts) - 1) < 1 - 1e-3
    # The count is exact over the matrix, not per image: rows differ.
    assert len(set(missing.sum(axis=1))) > 20


def test_pixels_and_squares_repeat_with_the_seed():
    for draw in (lambda r: random_pixels(r, (20, 784), 0.3), lambda r: random_squares(r, 20)):
        first, again, other = (draw(np.random.default_rng(seed)) for seed in (5, 5, 6))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def loops(side, top, left, rows=28, columns=28):
    """The plain reference: paint every square of every image."""
    missing = np.zeros((len(side), rows, columns), bool)
    for i in range(len(side)):
        for s, row, column in zip(side[i], top[i], left[i], strict=True):
            assert 0 <= row <= rows - s and 0 <= column <= columns - s
            for y in range(row, row + s):
                missing[i, y, column : column + s] = True
    return missing.reshape(len(side), rows * columns)


@pytest.mark.parametrize("count, max_side", [(50, 4), (1, 1), (3, 2), (5, 7), (2, 28), (0, 4)])
def test_squares_are_the_loops_for_the_same_draws(count, max_side):
    missing = random_squares(np.random.default_rng(9), 40, count, max_side)
    rng = np.random.default_rng(9)
    side = rng.integers(1, max_side + 1, (40, count))
    top, left = rng.integers(0, 29 - side), rng.integers(0, 29 - side)
    np.testing.assert_array_equal(missing, loops(side, top, left))


@pytest.mark.parametrize("shape", [(8, 8), (5, 11), (9, 4), (1, 1)])
def test_squares_on_images_of_another_shape(shape):
    rows, columns = shape
    count, max_side = 6, min(rows, columns, 3)
    missing = random_squares(np.random.default_rng(9), 40, count, max_side, shape=shape)
    rng = np.random.default_rng(9)
    side = rng.integers(1, max_side + 1, (40, count))
    top, left = rng.integers(0, rows + 1 - side), rng.integers(0, columns + 1 - side)
    np.testing.assert_array_equal(missing, loops(side, top, left, rows, columns))


def test_one_square_is_one_square_and_all_sizes_and_places_occur():
    missing = random_squares(np.random.default_rng(1), 40_000, count=1).reshape(-1, 28, 28)
    height, width = missing.any(axis=2).sum(axis=1), missing.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(height, width)
    np.testing.assert_array_equal(missing.sum(axis=(1, 2)), height * width)  # full, and whole: not cut off at an edge
    assert sorted(set(height)) == [1, 2, 3, 4]
    assert stats.chisquare(np.bincount(height)[1:]).pvalue > 1e-3
    for side in (1, 4):
        here = missing[height == side]
        for corner in (here.any(axis=2).argmax(axis=1), here.any(axis=1).argmax(axis=1)):
            counts = np.bincount(corner, minlength=29 - side)
            assert len(counts) == 29 - side and counts.min() > 0
            assert stats.chisquare(counts).pvalue > 1e-3


def test_coverage_is_that_of_independently_drawn_loops():
    n, rng = 3000, np.random.default_rng(123)
    fast = random_squares(np.random.default_rng(4), n)
    slow = np.zeros((n, 28, 28), bool)
    for i in range(n):
        for side in rng.integers(1, 5, 50):
            row, column = rng.integers(29 - side), rng.integers(29 - side)
            slow[i, row : row + side, column : column + side] = True
    slow = slow.reshape(n, 784)
    assert fast.shape == slow.shape and fast.dtype == bool
    assert fast.mean() == pytest.approx(0.375, abs=0.003) and slow.mean() == pytest.approx(0.375, abs=0.003)
    assert stats.ks_2samp(fast.sum(axis=1), slow.sum(axis=1)).pvalue > 1e-3
    standard_error = np.sqrt(2 * 0.25 / n)  # of the difference of two shares, at most
    assert np.abs(fast.mean(axis=0) - slow.mean(axis=0)).max() < 4.5 * standard_error


def test_no_images_and_no_squares(rng):
    assert random_squares(rng, 0).shape == (0, 784)
    assert not random_squares(rng, 3, count=0).any()
    assert random_squares(rng, 3, count=1, max_side=28).any(axis=1).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.01, float("nan"), float("inf"), "0.3", None, True])
def test_fraction_out_of_range(rng, refuses, fraction):
    with refuses("fraction must be a number from 0 to 1, got"):
        random_pixels(rng, (3, 784), fraction)


@pytest.mark.parametrize("count", [-1, 2.5, float("nan"), "50", None])
def test_bad_count(rng, refuses, count):
    with refuses("count must be a whole number, 0 or more, got"):
        random_squares(rng, 3, count=count)


@pytest.mark.parametrize("max_side", [0, -1, 29, 2.5, float("nan"), "4"])
def test_bad_max_side(rng, refuses, max_side):
    with refuses("max_side must be a whole number from 1 to 28, got"):
        random_squares(rng, 3, max_side=max_side)


@pytest.mark.parametrize("n", [-1, 2.5, "3", None])
def test_bad_number_of_images(rng, refuses, n):
    with refuses("n must be a whole number, 0 or more, got"):
        random_squares(rng, n)


@pytest.mark.parametrize("shape", [28, (28,), (8, 8, 8), (0, 8), (2.5, 8), "88", None])
def test_bad_shape(rng, refuses, shape):
    with refuses("shape must be two whole numbers, 1 or more, rows and columns, got"):
        random_squares(rng, 3, shape=shape)
    with refuses("max_side must be a whole number from 1 to 3, got 4"):
        random_squares(rng, 3, shape=(3, 9))

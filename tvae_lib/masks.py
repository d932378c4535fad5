"""The two kinds of missing pixels: scattered over the whole data set, and squares on each image. True = missing."""

import numpy as np

from tvae_lib.inputs import check_image_shape, check_rng, check_shape, number, whole


def random_pixels(rng, shape, fraction):
    """Mark exactly round(fraction * size) of all values missing, drawn without replacement over the whole matrix.

    rng: np.random.Generator; shape: (n, D), or any; fraction in [0, 1]. Returns bool of that shape. ValueError otherwise.
    """
    check_rng(rng)
    check_shape(shape)
    fraction = number("fraction", fraction, 0, 1)
    missing = np.zeros(shape, bool)
    chosen = rng.choice(missing.size, round(fraction * missing.size), replace=False, shuffle=False)
    missing.reshape(-1)[chosen] = True
    return missing


def random_squares(rng, n, count=50, max_side=4, shape=(28, 28)):
    """Cover each of n images with `count` squares; what any of them covers is missing.

    shape: rows and columns of an image. Sides are uniform on 1..max_side, corners uniform among the places where the square fits.
    Returns bool (n, rows * columns).
    ValueError unless n and count are whole numbers, 0 or more, and max_side is one from 1 to the shorter side of an image.
    """
    check_rng(rng)
    rows, columns = check_image_shape(shape)
    n, count, max_side = whole("n", n), whole("count", count), whole("max_side", max_side, 1, min(rows, columns))
    side = rng.integers(1, max_side + 1, (n, count))
    top, left = rng.integers(0, rows + 1 - side), rng.integers(0, columns + 1 - side)
    # corner[s - 1] marks the top-left corners of the squares of side s. A square of side s is the union of the four squares of
    # side s - 1 that start at its corner, one to the right, one below, and both: so shrink s by one until all sides are 1.
    # All images lie in one long row of pixels: since the squares fit, a step to the right or down never leaves the image.
    corner = np.zeros((max_side, n * rows * columns), bool)
    image = np.arange(n)[:, None]
    corner[side - 1, (image * rows + top) * columns + left] = True
    for s in range(max_side, 1, -1):
        big, small = corner[s - 1], corner[s - 2]
        big[1:] |= big[:-1]
        small |= big
        small[columns:] |= big[:-columns]
    return corner[0].reshape(n, rows * columns)

"""Sets of unusual images, to try scores of unusualness on (chapter 09)."""

import numpy as np

from tvae_lib.data import load_fashion_test
from tvae_lib.inputs import check_images, floating, generator, whole


def unusual_images(digits, seed=0):
    """Unusual relatives of test digits (n, 784): a dict of name to images (n, 784), n at most 10,000.

    "fashion": as many Fashion-MNIST test images; and the digits themselves "rotated" by 30 to 90 degrees either way, "shifted"
    by 4 to 7 pixels both ways, "inverted", "noisy" (normal, standard deviation 0.25, clipped), "patched" (a white 8 x 8 square).
    ValueError unless pixels lie in [0, 1], and seed is a whole number, 0 or more.
    """
    from scipy.ndimage import rotate

    digits, rng = floating("digits", digits), generator(seed)
    check_images(digits, 784)
    whole("the number of digits", len(digits), 0, 10_000)
    n, squares = len(digits), digits.reshape(-1, 28, 28)
    angles = rng.uniform(30, 90, n) * rng.choice([-1, 1], n)
    rotated = [rotate(image, angle, reshape=False, order=1) for image, angle in zip(squares, angles, strict=True)]
    down, right = rng.integers(4, 8, (2, n)) * rng.choice([-1, 1], (2, n))
    padded = np.pad(squares, ((0, 0), (7, 7), (7, 7)))
    top, left = rng.integers(0, 21, (2, n))
    patched = squares.copy()
    for image, i, j in zip(patched, top, left, strict=True):
        image[i : i + 8, j : j + 8] = 1
    sets = {
        "fashion": load_fashion_test()[0][:n],
        "rotated": np.clip(rotated, 0, 1),
        "shifted": [image[7 - i : 35 - i, 7 - j : 35 - j] for image, i, j in zip(padded, down, right, strict=True)],
        "inverted": 1 - squares,
        "noisy": np.clip(squares + rng.normal(0, 0.25, squares.shape), 0, 1),
        "patched": patched,
    }
    return {name: np.reshape(images, (n, 784)).astype(np.float32) for name, images in sets.items()}

"""How unusual is an image to a trained model? Four scores, and sets of unusual images to try them on (chapter 09)."""

import numpy as np
from scipy.special import logsumexp

from tvae_lib.data import load_fashion_test
from tvae_lib.impute import noise
from tvae_lib.inputs import finite, floating, generator, real_array, whole
from tvae_lib.latent import kl_exact
from tvae_lib.vae_numpy import bernoulli_loss, check_images

CHUNK = 500


def unusualness(model, x, draws=64, seed=0):
    """Scores of a NumPy model that should be large for unusual images: a dict of arrays (n,), in nats.

    With log weights log w_k = log p(x | z_k) + log p(z_k) - log q(z_k | x) of `draws` codes z_k from the encoder:
    "reconstruction" is the mean of -log p(x | z_k), "kl" the exact KL, "negative_elbo" the mean of -log w_k, and "bound" the
    importance-weighted bound -log mean w_k (Burda et al. 2016), which tends to -log p(x) as draws grow. For a family without an
    exact KL, "kl" is the mean of log q(z_k | x) - log p(z_k).

    ValueError unless x is (n, 784) with pixels in [0, 1], draws a whole number, 1 or more, and seed one of 0 or more.
    """
    x, draws, rng = real_array("x", x), whole("draws", draws, 1), generator(seed)
    check_images(x, model.sizes[0])
    scores = {name: np.empty(len(x)) for name in ("reconstruction", "kl", "negative_elbo", "bound")}
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        mu, logvar = model.encode(x[rows])
        costs, log_weights = [], []
        for _ in range(draws):
            eps = noise(model, mu, rng)
            z = mu + np.exp(0.5 * logvar) * eps
            costs.append(bernoulli_loss(model.decode(z), x[rows])[0])
            log_q = model.family.log_prob(eps) - 0.5 * logvar
            log_weights.append((model.family.log_prob(z) - log_q).sum(axis=1) - costs[-1])
        scores["reconstruction"][rows] = np.mean(costs, axis=0)
        scores["negative_elbo"][rows] = -np.mean(log_weights, axis=0)
        if hasattr(model.family, "kl_exact_and_grad"):
            scores["kl"][rows] = kl_exact(model.family, mu, logvar).sum(axis=1)
        else:
            scores["kl"][rows] = scores["negative_elbo"][rows] - scores["reconstruction"][rows]
        scores["bound"][rows] = np.log(draws) - logsumexp(log_weights, axis=0)
    return scores


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


def auc(usual, unusual):
    """Area under the ROC curve: the chance that an unusual image scores higher than a usual one, ties counted half.

    usual, unusual: scores (n,) and (m,), finite and at least one each; ValueError otherwise.
    """
    from sklearn.metrics import roc_auc_score

    usual, unusual = finite("usual", usual), finite("unusual", unusual)
    if usual.ndim != 1 or unusual.ndim != 1 or not usual.size or not unusual.size:
        raise ValueError(f"usual and unusual must be two rows of scores, got shapes {usual.shape} and {unusual.shape}")
    return float(roc_auc_score(np.repeat([0, 1], [len(usual), len(unusual)]), np.concatenate([usual, unusual])))

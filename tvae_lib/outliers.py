"""How unusual is an image to a trained model? Four scores, and sets of unusual images to try them on (chapter 09)."""

import numpy as np
from scipy.special import logsumexp

from tvae_lib.data.unusual import unusual_images
from tvae_lib.impute import log_weight, noise
from tvae_lib.inputs import finite, generator, images, whole
from tvae_lib.latent import kl_exact

__all__ = ["auc", "unusual_images", "unusualness"]

CHUNK = 500


def unusualness(model, x, draws=64, seed=0):
    """Scores of a NumPy model that should be large for unusual images: a dict of arrays (n,), in nats.

    With log weights log w_k = log p(x | z_k) + log p(z_k) - log q(z_k | x) of `draws` codes z_k from the encoder:
    "reconstruction" is the mean of -log p(x | z_k), "kl" the exact KL, "negative_elbo" the mean of -log w_k, and "bound" the
    importance-weighted bound -log mean w_k (Burda et al. 2016), which tends to -log p(x) as draws grow. For a family without an
    exact KL, "kl" is the mean of log q(z_k | x) - log p(z_k).

    ValueError unless x is (n, 784) with pixels in [0, 1], draws a whole number, 1 or more, and seed one of 0 or more.
    """
    draws, rng, x = whole("draws", draws, 1), generator(seed), images(x, model)
    scores = {name: np.empty(len(x)) for name in ("reconstruction", "kl", "negative_elbo", "bound")}
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        mu, logvar = model.encode(x[rows])
        sigma = np.exp(0.5 * logvar)
        costs, log_weights = [], []
        for _ in range(draws):
            eps = noise(model, mu, rng)
            z = mu + sigma * eps
            weight, cost = log_weight(model, x[rows].astype(mu.dtype, copy=False), None, z, eps, sigma, model.decode(z))
            log_weights.append(weight)
            costs.append(cost)
        scores["reconstruction"][rows] = np.mean(costs, axis=0)
        scores["negative_elbo"][rows] = -np.mean(log_weights, axis=0)
        if hasattr(model.family, "kl_exact_and_grad"):
            scores["kl"][rows] = kl_exact(model.family, mu, logvar).sum(axis=1)
        else:
            scores["kl"][rows] = scores["negative_elbo"][rows] - scores["reconstruction"][rows]
        scores["bound"][rows] = np.log(draws) - logsumexp(log_weights, axis=0)
    return scores


def auc(usual, unusual):
    """Area under the ROC curve: the chance that an unusual image scores higher than a usual one, ties counted half.

    usual, unusual: scores (n,) and (m,), finite and at least one each; ValueError otherwise.
    """
    from sklearn.metrics import roc_auc_score

    usual, unusual = finite("usual", usual), finite("unusual", unusual)
    if usual.ndim != 1 or unusual.ndim != 1 or not usual.size or not unusual.size:
        raise ValueError(f"usual and unusual must be two rows of scores, got shapes {usual.shape} and {unusual.shape}")
    return float(roc_auc_score(np.repeat([0, 1], [len(usual), len(unusual)]), np.concatenate([usual, unusual])))

"""Right and wrong answers to the tasks of workbook 01; see tests/test_checks.py."""

import numpy as np
from scipy.special import expit, logit, rel_entr, xlogy

from tvae_lib.vae_numpy import bernoulli_loss


def elbo_and_gap(prior, likelihood, q):
    joint = prior * likelihood
    elbo = q @ (np.log(joint) - np.log(q))
    return elbo, rel_entr(q, joint / joint.sum()).sum()


def reconstruction(logits, x):
    return np.array([sum(max(a, 0) + np.log1p(np.exp(-abs(a))) - b * a for a, b in zip(*row)) for row in zip(logits, x)])  # noqa: B905


def from_probabilities(logits, x):
    pi = expit(logits)
    return -(xlogy(x, pi) + xlogy(1 - x, 1 - pi)).sum(axis=1)


def blind_logits(images):
    n = len(images)
    return logit((1 + n * images.mean(axis=0)) / (n + 2))


def price(mu, logvar):
    sigma = np.exp(logvar) ** 0.5
    return np.mean((mu**2 + sigma**2 - 1) / 2 - np.log(sigma), axis=0)


def loss(sign=1, pixels=np.sum, kl=lambda kl, x: kl.sum() / len(x), squeeze=lambda logits: logits):
    def answer(x, eps, encode, decode):
        mu, logvar = encode(x)
        logits = squeeze(decode(mu + np.sqrt(np.exp(logvar)) * eps))
        log_likelihood = x * logits - np.log1p(np.exp(logits))
        each_kl = (mu**2 - 1 - logvar + np.exp(logvar)) / 2
        return -sign * pixels(log_likelihood, axis=1).mean() + kl(each_kl, x)

    return answer


def by_pixels(kl, x):
    return kl.sum() / x.size


def weighted(half=0.5, slope=1.0, sum_of=lambda z: np.sum(z * z, axis=1)):
    def weighted_cost(model, x, z, beta):
        logits = model.decode(z)
        cost, dz = bernoulli_loss(logits, x)[0], model.reconstruction_and_dz(x, z)[1]
        return cost + half * beta * sum_of(z), dz + slope * beta * z

    return weighted_cost


def worth(model, x, z, fresh, j):
    changed = np.where(np.arange(z.shape[1]) == j, fresh[:, None], z)
    return np.mean(from_probabilities(model.decode(changed), x) - from_probabilities(model.decode(z), x))


def worth_in_place(model, x, z, fresh, j):
    changed = z
    changed[:, j] = fresh
    return np.mean(reconstruction(model.decode(changed), x) - reconstruction(model.decode(z), x))


def worth_without(model, x, z, fresh, j):
    return worth(model, x, z, np.zeros(len(x)), j)


def log_evidence(log_w):
    top = log_w.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.mean(np.exp(log_w - top), axis=1))


def largest_of_all(log_w):
    return log_w.max() + np.log(np.mean(np.exp(log_w - log_w.max()), axis=1))


ANSWERS = {
    1: {
        "right": (elbo_and_gap,),
        "wrong": [
            ((lambda p, f, q: (np.log(p @ f), elbo_and_gap(p, f, q)[1]),), "This is the log evidence"),
            ((lambda p, f, q: (q @ np.log(f), elbo_and_gap(p, f, q)[1]),), "KL to the prior is missing"),
            ((lambda p, f, q: (q @ np.log(f) + q @ np.log(q / p), 0),), "price: subtract"),
            ((lambda p, f, q: (np.log(q @ f) - q @ np.log(q / p), 0),), "First the logarithm"),
            ((lambda p, f, q: (elbo_and_gap(p, f, q)[0], q @ np.log(q / p)),), "one to the prior"),
            ((lambda p, f, q: (elbo_and_gap(p, f, q)[0], -elbo_and_gap(p, f, q)[0]),), "does not add up to 1"),
            ((lambda p, f, q: elbo_and_gap(p, f, q)[0],), "Return 2 things"),
        ],
    },
    2: {
        "right": (reconstruction,),
        "wrong": [
            ((lambda logits, x: -reconstruction(logits, x),), "minus sign got lost"),
            ((lambda logits, x: reconstruction(logits, x) / x.shape[1],), "mean over the pixels"),
            ((lambda logits, x: reconstruction(expit(logits), x),), "sigmoid of the logits"),
            ((lambda logits, x: reconstruction(logits, 1 - x),), "swapped"),
            ((from_probabilities,), "rounds to 0 or 1"),
            ((lambda logits, x: (np.log(1 + np.exp(logits)) - x * logits).sum(axis=1),), "overflows"),
            ((lambda logits, x: reconstruction(logits, x).sum(),), "one for each image"),
        ],
    },
    3: {
        "right": (blind_logits,),
        "wrong": [
            ((lambda images: logit(images.mean(axis=0)),), "costs infinitely much"),
            ((lambda images: logit((images.sum(axis=0) + 1) / (len(images) + 1)),), "white in every training image"),
            ((lambda images: logit((images.sum(axis=0) + 2) / (len(images) + 2)),), "white in every training image"),
            ((lambda images: logit(np.clip(images.mean(axis=0), 1e-6, 1 - 1e-6)),), "This clips the mean"),
            ((lambda images: expit(blind_logits(images)),), "These are the probabilities"),
            ((lambda images: -blind_logits(images),), "wrong sign"),
            ((lambda images: np.log(expit(blind_logits(images))),), "This is log pi"),
            ((lambda images: blind_logits(images.T),), "should have shape (6,)"),
        ],
    },
    4: {
        "right": (price,),
        "wrong": [
            ((lambda mu, logvar: -price(mu, logvar),), "minus sign"),
            ((lambda mu, logvar: price(mu, logvar) * len(mu),), "sum over the images"),
            ((lambda mu, logvar: price(mu.T, logvar.T),), "averages over the coordinates"),
            ((lambda mu, logvar: price(mu, logvar).mean(),), "keep the coordinates apart"),
            ((lambda mu, logvar: price(mu, logvar) + 0.5,), "-1 is missing"),
            ((lambda mu, logvar: price(mu, logvar) - logvar.mean(axis=0) / 2,), "half of it"),
            ((lambda mu, logvar: 0.5 * (mu**2 + np.exp(logvar / 2) - 1 - logvar).mean(axis=0),), "which is sigma"),
        ],
    },
    5: {
        "right": (loss(), loss()),
        "wrong": [
            ((loss(sign=-1, pixels=np.mean), loss()), "minus sign before log p(x | z) got lost. A second"),
            ((loss(sign=-1), loss()), "minus sign before log p(x | z) got lost."),
            ((loss(pixels=np.mean), loss()), "averages over the pixels and adds up the coordinates"),
            ((loss(pixels=np.mean, kl=lambda kl, x: kl.mean()), loss()), "now averages the coordinates too"),
            ((loss(), loss(kl=by_pixels, squeeze=expit)), "A second thing"),
            ((loss(), loss(kl=by_pixels)), "divides the KL by the number of all pixels"),
            ((loss(), loss(squeeze=expit)), "a sigmoid that does not belong there"),
            ((loss(), loss(kl=lambda kl, x: kl.sum())), "adds up the KL of all images"),
            ((loss(), loss(pixels=np.mean, kl=by_pixels)), "now averages over the pixels too"),
        ],
    },
    6: {
        "right": (weighted(),),
        "wrong": [
            ((weighted(half=1.0),), "the half is missing"),
            ((weighted(half=0.0),), "price of the code is missing"),
            ((weighted(sum_of=lambda z: (z**2).sum()),), "sum over the coordinates only"),
            ((weighted(sum_of=lambda z: (z**2).mean(axis=1)),), "averaged over the coordinates"),
            ((weighted(slope=0.0),), "lacks what the price adds"),
            ((weighted(slope=-1.0),), "wrong sign"),
            ((weighted(slope=0.5),), "cancel"),
        ],
    },
    7: {
        "right": (worth,),
        "wrong": [
            ((worth_in_place,), "both names stand for one array"),
            ((worth_without,), "you set it to 0"),
            ((lambda *given: -worth(*given),), "minus the one after it"),
            ((lambda model, x, z, fresh, j: worth(model, x, z, fresh, j) / x.shape[1],), "rise for each pixel"),
            ((lambda model, x, z, fresh, j: worth(model, x, z, fresh, j) * len(x),), "sum over the images"),
        ],
    },
    8: {
        "right": (log_evidence,),
        "wrong": [
            ((lambda log_w: log_w.mean(axis=1),), "logarithms, the ELBO"),
            ((lambda log_w: log_evidence(log_w) + np.log(log_w.shape[1]),), "subtract log K"),
            ((lambda log_w: np.log(np.mean(np.exp(log_w), axis=1)),), "e^-900 rounds to 0"),
            ((largest_of_all,), "*of each image* (axis 1)"),
            ((lambda log_w: log_evidence(log_w.T),), "not over the images"),
            ((lambda log_w: log_w.max(axis=1),), "largest log weight"),
        ],
    },
}

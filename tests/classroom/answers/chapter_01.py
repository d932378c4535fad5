"""Right and wrong answers to the tasks of workbook 01; see tests/classroom/test_checks.py."""

import numpy as np
from scipy.special import expit, log_expit, logit, rel_entr, softmax, xlogy

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


def each_pixel(logits, x):
    return -x * log_expit(logits) - (1 - x) * log_expit(-logits)


def clipped(logits, x):
    pi = np.clip(expit(logits), 1e-7, 1 - 1e-7)
    return -(x * np.log(pi) + (1 - x) * np.log(1 - pi)).sum(axis=1)


def blind_logits(images):
    n = len(images)
    return logit((1 + n * images.mean(axis=0)) / (n + 2))


def each_price(mu, logvar):
    sigma = np.exp(logvar) ** 0.5
    return (mu**2 + sigma**2 - 1) / 2 - np.log(sigma)


def price(mu, logvar):
    return np.mean(each_price(mu, logvar), axis=0)


def log_of_logvar(mu, logvar):
    with np.errstate(invalid="ignore"):
        return 0.5 * (mu**2 + np.exp(logvar) - 1 - np.log(logvar)).mean(axis=0)


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


def turned_weight(model, x, z, beta):
    cost = from_probabilities(model.decode(z), x)
    return beta * cost + (z**2).sum(axis=1) / 2, model.reconstruction_and_dz(x, z)[1] + z


def cost_afterwards(model, x, z, fresh, j):
    changed = np.where(np.arange(z.shape[1]) == j, fresh[:, None], z)
    return from_probabilities(model.decode(changed), x)


def worth(model, x, z, fresh, j):
    return np.mean(cost_afterwards(model, x, z, fresh, j) - from_probabilities(model.decode(z), x))


def worth_of_others(model, x, z, fresh, j):
    changed = np.tile(fresh[:, None], z.shape[1])
    changed[:, j] = z[:, j]
    return np.mean(reconstruction(model.decode(changed), x) - reconstruction(model.decode(z), x))


def worth_in_place(model, x, z, fresh, j):
    changed = z
    changed[:, j] = fresh
    return np.mean(reconstruction(model.decode(changed), x) - reconstruction(model.decode(z), x))


def worth_without(model, x, z, fresh, j):
    return worth(model, x, z, np.zeros(len(x)), j)


def log_evidence(log_w):
    top = log_w.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.mean(np.exp(log_w - top), axis=1))


def log_of_mean(log_w):
    with np.errstate(invalid="ignore"):
        return np.log(np.mean(log_w, axis=1))


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
            ((lambda p, f, q: (p @ np.log(f) - q @ np.log(q / p), 0),), "weights q of the encoder, not with those of the prior"),
            ((lambda p, f, q: (q @ np.log(f) - rel_entr(p, q).sum(), 0),), "the ELBO has KL(q || p)"),
            ((lambda p, f, q: (-(q @ np.log(f * p / q)), 0),), "minus the ELBO, the loss"),
            (
                (lambda p, f, q: (elbo_and_gap(p, f, q)[0], rel_entr(softmax(np.log(p * f)), q).sum()),),
                "weigh with q, not with the posterior",
            ),
            ((lambda p, f, q: (elbo_and_gap(p, f, q)[0], q @ np.log(p * f / q) - np.log(p @ f)),), "the gap is never negative"),
            ((lambda p, f, q: (np.mean(q * np.log(f * p / q)), 0),), "take sums over the codes, not means"),
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
            ((each_pixel,), "now add up those of one image"),
            ((lambda logits, x: each_pixel(logits, x).sum(axis=0),), "adds up the images; add up the pixels"),
            ((lambda logits, x: -log_expit(-logits).sum(axis=1),), "part x * logits is missing"),
            ((clipped,), "as it is when pi is clipped"),
            ((lambda logits, x: np.logaddexp(0, logits).sum(axis=1) + (x * logits).sum(axis=1),), "wrong sign: subtract it"),
            ((lambda logits, x: -log_expit(logits).sum(axis=1) - (x * logits).sum(axis=1),), "exponent has the wrong sign"),
            ((lambda logits, x: -(x * log_expit(logits)).sum(axis=1),), "Only the white share"),
        ],
    },
    3: {
        "right": (blind_logits,),
        "wrong": [
            ((lambda images: logit(images.mean(axis=0)),), "costs infinitely much"),
            ((lambda images: logit((images.sum(axis=0) + 1) / (len(images) + 1)),), "white in every training image"),
            ((lambda images: logit((images.sum(axis=0) + 2) / (len(images) + 2)),), "white in every training image"),
            ((lambda images: logit((images.sum(axis=0) + 1) / len(images)),), "above 1 has no logit"),
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
            ((each_price,), "price of each coordinate of each image"),
            ((lambda mu, logvar: each_price(mu, logvar).sum(axis=1),), "price of each image's whole code"),
            ((lambda mu, logvar: 0.5 * (mu**2 + np.exp(logvar) - 1 + logvar).mean(axis=0),), "a narrower code is dearer"),
            (
                (lambda mu, logvar: 0.5 * (mu**2 + np.exp(logvar) ** 2 - 1 - logvar).mean(axis=0),),
                "is exp(logvar), not its square",
            ),
            ((lambda mu, logvar: 0.5 * (mu**2 + logvar - 1 - logvar).mean(axis=0),), "you have logvar itself"),
            ((lambda mu, logvar: 0.5 * (mu + np.exp(logvar) - 1 - logvar).mean(axis=0),), "mu should be squared"),
            ((lambda mu, logvar: 0.5 * (mu**2 + np.exp(logvar) - 1).mean(axis=0),), "part log sigma is missing"),
            ((log_of_logvar,), "logarithm of a negative number"),
        ],
    },
    5: {
        "right": (loss(), loss()),
        "wrong": [
            ((loss(sign=-1, pixels=np.mean), loss()), "minus sign before log p(x | z) got lost. A second"),
            ((loss(sign=-1), loss()), "minus sign before log p(x | z) got lost."),
            ((loss(pixels=np.mean), loss()), "averages over the pixels and adds up the coordinates"),
            ((loss(pixels=np.mean, kl=lambda kl, x: kl.mean()), loss()), "now averages the coordinates too"),
            ((loss(kl=lambda kl, x: -kl.sum() / len(x)), loss()), "now subtracts the KL"),
            ((loss(kl=lambda kl, x: kl.mean()), loss()), "averages the coordinates: the KL of an image"),
            ((lambda x, *given: loss()(x, *given) * len(x), loss()), "adds up the images: take their mean"),
            ((loss(), lambda x, *given: loss()(x, *given) * len(x)), "adds up both terms over the images"),
            ((loss(), loss(kl=by_pixels, squeeze=expit)), "A second thing"),
            ((loss(), loss(kl=by_pixels)), "divides the KL by the number of all pixels"),
            ((loss(), loss(squeeze=expit)), "a sigmoid that does not belong there"),
            ((loss(), loss(kl=lambda kl, x: kl.sum())), "adds up the KL of all images"),
            ((loss(), loss(kl=lambda kl, x: kl.mean())), "divides the KL by the number of all coordinates"),
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
            ((weighted(half=-0.5),), "price is added, not subtracted"),
            ((turned_weight,), "belongs to the squares, not to the reconstruction"),
            ((lambda *given: (weighted()(*given)[0].sum(), 0),), "One cost for each code"),
            ((weighted(sum_of=lambda z: np.linalg.norm(z, axis=1)),), "price takes the length of the code"),
            ((weighted(slope=2.0),), "beta z, not twice that"),
            ((lambda model, x, z, beta: (weighted()(model, x, z, beta)[0], beta * z),), "the reconstruction's own part, dz"),
            ((lambda *given: (weighted()(*given)[0], turned_weight(*given)[1]),), "beta is missing from the gradient"),
        ],
    },
    7: {
        "right": (worth,),
        "wrong": [
            ((worth_in_place,), "both names stand for one array"),
            ((worth_without,), "you set it to 0"),
            ((lambda *given: -worth(*given),), "minus the one after it"),
            ((lambda model, x, z, fresh, j: worth(model, x, z, fresh, j) / x.shape[1],), "rise for each pixel"),
            ((lambda *given: cost_afterwards(*given).mean(),), "subtract the cost before it"),
            (
                (lambda model, x, z, fresh, j: cost_afterwards(model, x, z, fresh, j) - reconstruction(model.decode(z), x),),
                "rise of each image: take the mean",
            ),
            ((worth_of_others,), "here all others do"),
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
            ((lambda log_w: np.exp(log_w).mean(axis=1),), "mean of the weights; its logarithm"),
            ((log_of_mean,), "log_w holds logarithms already"),
            ((lambda log_w: np.log(np.exp(log_w).sum(axis=1)) - log_w.shape[1],), "logarithm of the sum minus log K"),
            ((lambda log_w: np.log(np.exp(log_w).mean()),), "one number for all images"),
            ((lambda log_w: log_evidence(np.clip(log_w, -700, 700)),), "at large log weights"),
        ],
    },
}

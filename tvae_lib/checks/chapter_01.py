"""Checks of workbook 01: the two terms of the loss, what each costs, and the gap that the ELBO leaves."""

import numpy as np
from scipy.special import expit, logit, logsumexp

from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.latent import Gaussian, kl_exact
from tvae_lib.vae_numpy import VAE, bernoulli_loss


def made_up():
    """A small Gaussian VAE with weights of ordinary size, five images and their noise."""
    rng = np.random.default_rng(1)
    model = VAE(Gaussian(), sizes=(12, 8, 6, 3), dtype=np.float64)
    for value in model.params.values():
        value[...] = rng.normal(0, 0.5, value.shape)
    return model, rng.random((5, 12)), rng.standard_normal((5, 3))


@task("1.1")
def task_1(elbo_and_gap):
    """elbo_and_gap(prior, likelihood, q): the ELBO of a model with a few codes, and its gap to the log evidence."""
    rng = np.random.default_rng(1)
    prior, q = rng.dirichlet([2, 2, 2, 2], 2)
    likelihood = rng.uniform(0.01, 0.3, 4)
    evidence = np.sum(prior * likelihood)
    posterior = prior * likelihood / evidence
    expected_log, kl = np.sum(q * np.log(likelihood)), np.sum(q * np.log(q / prior))
    elbo, gap = parts(call(elbo_and_gap, prior, likelihood, q), "the ELBO", "the gap")
    expect(
        elbo,
        expected_log - kl,
        "the ELBO",
        {
            "This is the log evidence. The ELBO lies below it: weigh log p(x | z) with q, and subtract a KL.": np.log(evidence),
            "First the logarithm, then the average: you took the logarithm of the averaged likelihood.": np.log(
                np.sum(q * likelihood)
            )
            - kl,
            "The KL to the prior is a price: subtract it.": expected_log + kl,
            "The KL to the prior is missing.": expected_log,
            "log p(x | z) is averaged with the weights q of the encoder, not with those of the prior.": np.sum(
                prior * np.log(likelihood)
            )
            - kl,
            "The KL is turned round: the ELBO has KL(q || p), the mean of log q - log p with the weights q.": expected_log
            - np.sum(prior * np.log(prior / q)),
            "This is minus the ELBO, the loss.": kl - expected_log,
            "The weights q add up to 1 already: take sums over the codes, not means.": (expected_log - kl) / 4,
        },
    )
    expect(
        gap,
        np.sum(q * np.log(q / posterior)),
        "the gap",
        {
            "The gap is the KL from q to the posterior; this is the one to the prior.": kl,
            "The KL is turned round: weigh with q, not with the posterior.": np.sum(posterior * np.log(posterior / q)),
            "prior * likelihood does not add up to 1: divide it by its sum, the evidence, and you have the posterior.": (
                kl - expected_log
            ),
            "A minus sign: the gap is never negative.": -np.sum(q * np.log(q / posterior)),
        },
    )


@task("1.2")
def task_2(reconstruction):
    """reconstruction(logits, x): the Bernoulli cost of each image."""
    rng = np.random.default_rng(2)
    logits, x = rng.normal(0, 2, (4, 6)), rng.random((4, 6))
    each = np.logaddexp(0, logits) - x * logits
    twice = np.logaddexp(0, expit(logits)) - x * expit(logits)
    mistakes = {
        "The minus sign got lost: this is log p(x | z), and the cost is minus that.": -each.sum(axis=1),
        "This is the mean over the pixels. They are independent given z, so their costs add up.": each.mean(axis=1),
        "Each pixel has its cost; now add up those of one image, axis 1.": each,
        "This adds up the images; add up the pixels of each image, axis 1.": each.sum(axis=0),
        "This is one number for the batch: one for each image is asked for.": each.sum(),
        "Here the sigmoid of the logits stands where the logits themselves belong.": twice.sum(axis=1),
        "The part x * logits is missing.": np.logaddexp(0, logits).sum(axis=1),
        "The part x * logits has the wrong sign: subtract it.": (np.logaddexp(0, logits) + x * logits).sum(axis=1),
        "The exponent has the wrong sign: it is log(1 + e^l).": (np.logaddexp(0, -logits) - x * logits).sum(axis=1),
        "Only the white share of each pixel is there, -x log pi; the black one, -(1 - x) log(1 - pi), is missing.": (
            x * np.logaddexp(0, -logits)
        ).sum(axis=1),
        "The costs of white and of black are swapped: the pixel x = 1 should like a large logit.": (
            np.logaddexp(0, logits) - (1 - x) * logits
        ).sum(axis=1),
    }
    expect(call(reconstruction, logits, x), each.sum(axis=1), "the cost of each image", mistakes)
    with np.errstate(all="ignore"):
        sure = call(reconstruction, 500 * logits, x)
    if not np.isfinite(np.asarray(sure, float)).all():
        raise NotYet(
            "Right for moderate logits; at large ones e^l overflows or pi rounds to 0 or 1. Use np.logaddexp(0, logits)."
        )
    right = bernoulli_loss(500 * logits, x)[0]
    if np.shape(sure) == right.shape and (np.asarray(sure, float) < 0.9 * right).all():
        raise NotYet(
            "Right for moderate logits, but at large ones the cost is cut off, as it is when pi is clipped: being surely wrong "
            "costs |l|, however large that is. Work with the logits: np.logaddexp(0, logits) needs no clipping."
        )
    expect(sure, right, "the cost at large logits")


@task("1.3")
def task_3(blind_logits):
    """blind_logits(images): for each pixel the logit that serves all images best, two more images counted in."""
    images = np.random.default_rng(3).random((40, 6))
    images[:, 0], images[:, 1] = 0, 1
    n, total = images.shape[0], images.sum(axis=0)
    right = np.log1p(total) - np.log(n + 1 - total)
    with np.errstate(all="ignore"):
        answer = call(blind_logits, images)
    share = (1 + total) / (n + 2)
    if np.shape(answer) == right.shape:
        value = np.asarray(answer, float)
        if np.isnan(value).any():
            raise NotYet("A probability below 0 or above 1 has no logit: with two images counted in, it is (sum + 1) / (N + 2).")
        if np.isneginf(value[:2]).any():
            raise NotYet(
                "A pixel that is black in every training image gets an infinite logit, and a test image that has grey there then "
                "costs infinitely much: count in one black and one white image."
            )
        if np.isposinf(value[:2]).any():
            raise NotYet(
                "A pixel that is white in every training image gets an infinite logit: two images are counted in, so divide by "
                "N + 2, while only the white one adds 1 to the sum."
            )
        if np.allclose(value[2:], logit(total[2:] / n), rtol=0, atol=1e-9):
            raise NotYet("This clips the mean. Count the two images in: (sum + 1) / (N + 2).")
    expect(
        answer,
        right,
        "the logits",
        {
            "These are the probabilities pi; the logit is log(pi / (1 - pi)).": share,
            "The logit has the wrong sign: a pixel that is often white needs a large one.": -right,
            "This is log pi. The logit is log(pi / (1 - pi)).": np.log(share),
        },
    )


@task("1.4")
def task_4(price_of_units):
    """price_of_units(mu, logvar): the mean KL of each coordinate over the images."""
    rng = np.random.default_rng(4)
    mu, logvar = rng.normal(0, 1.2, (7, 4)), rng.normal(-1.5, 0.8, (7, 4))
    each = kl_exact(Gaussian(), mu, logvar)
    variants = {
        "A minus sign is missing: a KL is never negative.": -each,
        "You subtract logvar, which is log sigma^2: log sigma is half of it.": each - logvar / 2,
        "log sigma has the wrong sign: a narrower code is dearer.": each + logvar,
        "The -1 is missing: at mu = 0, sigma = 1 the price should be 0.": each + 0.5,
        "logvar is already log sigma^2: sigma^2 is exp(logvar), not its square.": each
        + 0.5 * (np.exp(2 * logvar) - np.exp(logvar)),
        "sigma^2 is exp(logvar); you have exp(logvar / 2), which is sigma.": each + 0.5 * (np.exp(logvar / 2) - np.exp(logvar)),
        "mu should be squared.": each + 0.5 * (mu - mu**2),
        "The part log sigma is missing: logvar / 2.": each + 0.5 * logvar,
        "sigma^2 is exp(logvar); you have logvar itself.": each + 0.5 * (logvar - np.exp(logvar)),
    }
    with np.errstate(invalid="ignore"):
        answer = call(price_of_units, mu, logvar)
    if np.shape(answer) == (4,) and np.isnan(np.asarray(answer, float)).any():
        raise NotYet("This takes the logarithm of a negative number: logvar is a logarithm already, log sigma = logvar / 2.")
    expect(
        answer,
        each.mean(axis=0),
        "the price of each coordinate",
        {
            "This is the price of each coordinate of each image: now average over the images, axis 0.": each,
            "This is the price of each image's whole code: average over the images, axis 0, and leave the coordinates apart.": (
                each.sum(axis=1)
            ),
            "This averages over the coordinates; average over the images, axis 0.": each.mean(axis=1),
            "This is the sum over the images: take their mean.": each.sum(axis=0),
            "This is one number: keep the coordinates apart, and average over axis 0 only.": each.mean(),
        }
        | {hint: value.mean(axis=0) for hint, value in variants.items()},
    )


@task("1.5")
def task_5(first_loss, second_loss):
    """The bug hunt: two losses to repair."""
    model, x, eps = made_up()
    mu, logvar = model.encode(x)
    logits = model.decode(mu + np.exp(logvar / 2) * eps)
    kl = kl_exact(model.family, mu, logvar).sum(axis=1)

    def loss(sign=1, pixels=1, kl_share=1, logits=logits):
        return (sign * (np.logaddexp(0, logits) - x * logits).sum(axis=1) / pixels + kl / kl_share).mean()

    lost = "`first_loss` rewards a decoder that is surprised by the image: the minus sign before log p(x | z) got lost."
    averaged = "`first_loss` averages over the pixels and adds up the coordinates: of the two terms of an image, both are sums."
    shared = "`second_loss` divides the KL by the number of all pixels, x.size: divide by the number of images only."
    squeezed = "`second_loss` takes a sigmoid that does not belong there: it makes probabilities of what should be logits."
    also = " A second thing is wrong, too."
    D = x.shape[1]
    expect(
        call(first_loss, x, eps, model.encode, model.decode),
        loss(),
        "`first_loss`",
        {
            lost: loss(sign=-1),
            averaged: loss(pixels=D),
            lost + also: loss(sign=-1, pixels=D),
            "`first_loss` now subtracts the KL: it is a price, so add it.": loss() - 2 * kl.mean(),
            "`first_loss` averages the coordinates: the KL of an image is their sum.": loss(kl_share=mu.shape[1]),
            "`first_loss` adds up the images: take their mean.": loss() * len(x),
            "`first_loss` now averages the coordinates too. Both terms of an image are sums.": loss(
                pixels=D, kl_share=mu.shape[1]
            ),
        },
    )
    expect(
        call(second_loss, x, eps, model.encode, model.decode),
        loss(),
        "`second_loss`",
        {
            shared: loss(kl_share=D),
            squeezed: loss(logits=expit(logits)),
            shared + also: loss(kl_share=D, logits=expit(logits)),
            "`second_loss` divides the KL by the number of all coordinates: divide by the number of images only.": loss(
                kl_share=mu.shape[1]
            ),
            "`second_loss` adds up the KL of all images: divide by their number.": loss(kl_share=1 / len(x)),
            "`second_loss` now adds up both terms over the images: divide by their number.": loss() * len(x),
            "`second_loss` now averages over the pixels too. Both terms of an image are sums.": loss(pixels=D, kl_share=D),
        },
    )


@task("1.6")
def task_6(weighted_cost):
    """weighted_cost(model, x, z, beta): reconstruction + beta / 2 |z|^2 of each code, and its gradient."""
    model, x, _ = made_up()
    z, beta = np.random.default_rng(6).normal(0, 1.5, (5, 3)), 7.0
    plain, plain_dz = model.reconstruction_and_dz(x, z)
    length = (z**2).sum(axis=1)
    cost, gradient = parts(call(weighted_cost, model, x, z, beta), "the cost of each code", "the gradient")
    expect(
        cost,
        plain + beta / 2 * length,
        "the cost of each code",
        {
            "The price of the code is missing: beta / 2 times the sum of its squares.": plain,
            "The price is beta / 2 times the sum of the squares; the half is missing.": plain + beta * length,
            "The price is added, not subtracted.": plain - beta / 2 * length,
            "The weight beta belongs to the squares, not to the reconstruction.": beta * plain + length / 2,
            "The squares of all codes are added up: sum over the coordinates only, axis 1.": plain + beta / 2 * length.sum(),
            "The squares are averaged over the coordinates: add them up.": plain + beta / 2 * length / 3,
            "One cost for each code is asked for, not their sum.": (plain + beta / 2 * length).sum(),
            "The price takes the length of the code; it should take the square of it.": plain + beta / 2 * np.sqrt(length),
        },
    )
    expect(
        gradient,
        plain_dz + beta * z,
        "the gradient",
        {
            "The gradient lacks what the price adds to it: the derivative of beta / 2 z^2.": plain_dz,
            "The derivative of beta / 2 z^2 is beta z: the half and the 2 cancel.": plain_dz + beta / 2 * z,
            "The derivative of beta / 2 z^2 is beta z, not twice that.": plain_dz + 2 * beta * z,
            "The price's part of the gradient has the wrong sign.": plain_dz - beta * z,
            "beta is missing from the gradient.": plain_dz + z,
            "This is what the price adds to the gradient; the reconstruction's own part, dz, is missing.": beta * z,
        },
    )


@task("1.7")
def task_7(worth):
    """worth(model, x, z, fresh, j): what the mean reconstruction cost gains when coordinate j of the codes is replaced."""
    model, x, z = made_up()
    fresh = np.random.default_rng(7).standard_normal(5)

    def cost(z):
        return model.reconstruction_and_dz(x, z)[0]

    for j in (0, 2):
        replaced, others, without = z.copy(), np.repeat(fresh[:, None], 3, axis=1), z.copy()
        replaced[:, j], others[:, j], without[:, j] = fresh, z[:, j], 0
        rise = cost(replaced) - cost(z)
        expect(
            call(worth, model, x, z, fresh, j),
            rise.mean(),
            f"the worth of coordinate {j}",
            {
                "The two costs are equal: after `new = z` both names stand for one array. Use `z.copy()`.": 0.0,
                "This is the cost after the change; subtract the cost before it.": cost(replaced).mean(),
                "This is the cost before the change minus the one after it.": -rise.mean(),
                "This is the rise of each image: take the mean.": rise,
                "This is the sum over the images: take the mean.": rise.sum(),
                "Coordinate j should become `fresh`; you set it to 0.": (cost(without) - cost(z)).mean(),
                "Coordinate j alone should change; here all others do.": (cost(others) - cost(z)).mean(),
                "This is the rise for each pixel: add up the pixels.": rise.mean() / x.shape[1],
            },
        )


@task("1.8")
def task_8(log_evidence):
    """log_evidence(log_w): the log of the mean of the weights of each image, from their logarithms."""
    rng = np.random.default_rng(8)
    log_w = rng.normal(0, 2, (4, 6))
    right = logsumexp(log_w, axis=1) - np.log(6)
    mistakes = {
        "This is the mean of the logarithms, the ELBO: average the weights, then take the logarithm.": log_w.mean(axis=1),
        "The weights are added up, not averaged: subtract log K.": right + np.log(6),
        "This is the mean of the weights; its logarithm is asked for.": np.exp(right),
        "Average over the K draws of each image, axis 1, not over the images.": logsumexp(log_w, axis=0) - np.log(4),
        "You subtract K; the logarithm of a mean is the logarithm of the sum minus log K.": right + np.log(6) - 6,
        "This is one number for all images: average over axis 1 only.": logsumexp(log_w) - np.log(24),
        "This is the largest log weight of each image. It dominates, but the others count too.": log_w.max(axis=1),
    }
    with np.errstate(invalid="ignore"):  # where that mean is negative
        mistakes["log_w holds logarithms already: exponentiate, average, take the logarithm."] = np.log(log_w.mean(axis=1))
    expect(call(log_evidence, log_w), right, "the log evidence of each image", mistakes)
    shift = np.array([[-110.0], [-900.0], [-2000.0], [900.0]])
    with np.errstate(all="ignore"):
        far = call(log_evidence, log_w + shift)
    if not np.isfinite(np.asarray(far, float)).all():
        raise NotYet(
            "Right for weights near 1. But log weights of -900 are common, and e^-900 rounds to 0: use `logsumexp`, or take "
            "the largest log weight *of each image* (axis 1) out of the mean first."
        )
    expect(far, right + shift[:, 0], "the log evidence of each image at large log weights")

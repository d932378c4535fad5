"""Checks of workbook 10: what the encoder sees, the loss of what is left, masks to train with, and gaps that say something."""

import numpy as np
from scipy.special import expit, logsumexp

from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.checks.chapter_07 import holes


@task("10.1")
def task_1(encoder_input):
    """encoder_input(x, missing): the image with 0 where it is missing, and the mask beside it, (n, 2 D)."""
    rng = np.random.default_rng(1)
    full, missing = rng.random((4, 6)), holes(1, (4, 6))
    x = np.where(missing, np.nan, full)
    zeroed, mask = np.where(missing, 0, full), missing.astype(float)
    answer = np.asarray(call(encoder_input, x, missing))
    if answer.shape == (4, 12) and answer.dtype.kind in "biuf" and np.isnan(answer.astype(float)).any():
        raise NotYet("There is still NaN in it. NaN times 0 is NaN: use np.where, which picks and does not multiply.")
    mistakes = {
        "The mask is missing: it stands beside the image, so there are 2 D numbers for each.": zeroed,
        "The mask comes after the image, not before it.": np.concatenate([mask, zeroed], axis=1),
        "The mask should be 1 where a pixel is missing: this one is 1 where it is observed.": np.concatenate(
            [zeroed, 1 - mask], axis=1
        ),
        "The mask stands below the images, as if there were twice as many: concatenate along axis 1.": np.concatenate(
            [zeroed, mask]
        ),
    }
    expect(answer.astype(float), np.concatenate([zeroed, mask], axis=1), "the encoder's input", mistakes)


@task("10.2")
def task_2(cost_and_slope):
    """cost_and_slope(logits, x, missing): -log p(x_o | z) of each image, and its derivative with respect to the logits."""
    rng = np.random.default_rng(2)
    logits, x, missing = 2 * rng.normal(size=(4, 6)), rng.random((4, 6)), holes(2, (4, 6))
    each, slope = np.logaddexp(0, logits) - x * logits, expit(logits) - x
    right = np.where(missing, 0, each).sum(axis=1)
    cost, found = parts(call(cost_and_slope, logits, x, missing), "the costs", "the derivatives")
    observed = (~missing).sum(axis=1)
    black = np.logaddexp(0, logits) - np.where(missing, 0, x) * logits
    mistakes = {
        "All pixels are counted: those under the mask cost nothing.": each.sum(axis=1),
        "The missing pixels count as black: a pixel with x = 0 still costs log(1 + e^l).": black.sum(axis=1),
        "These are the missing pixels: the mask is the wrong way round.": np.where(missing, each, 0).sum(axis=1),
        "This is the mean over the observed pixels. The bound asks for the sum: fewer pixels say less.": right / observed,
        "You have scaled the sum up to all pixels, as if the missing ones were like the observed. Leave it at what is there.": (
            right * 6 / observed
        ),
        "This is log p; the loss is minus that.": -right,
        "One number for each image is asked for: sum over axis 1.": right.sum(),
    }
    expect(cost, right, "the cost", mistakes)
    mistakes = {
        "The derivative is that of all pixels. What costs nothing has the derivative 0.": slope,
        "The derivative still pulls the missing pixels towards black: it should be 0 there.": expit(logits)
        - np.where(missing, 0, x),
        "The derivative has the wrong mask: 0 where a pixel is missing.": np.where(missing, slope, 0),
        "The derivative has the wrong sign: it is pi - x.": np.where(missing, 0, -slope),
        "This is logits minus x: the derivative of log(1 + e^l) is the sigmoid of l.": np.where(missing, 0, logits - x),
        "These are the derivatives of the costs' mean over the images. The derivative of each image's own cost is asked for.": (
            np.where(missing, 0, slope) / 4
        ),
    }
    expect(found, np.where(missing, 0, slope), "the derivative", mistakes)


@task("10.3")
def task_3(draw_holes):
    """draw_holes(rng, n, pixels): masks (n, pixels), the share of each image uniform between 0 and 0.6."""
    draw = lambda seed: np.asarray(call(draw_holes, np.random.default_rng(seed), 2000, 200))
    mask = draw(0)
    if mask.dtype != bool:
        raise NotYet(f"A mask holds True and False, this array is of type {mask.dtype}: end with a comparison.")
    if mask.shape != (2000, 200):
        raise NotYet(f"The masks should have shape (n, pixels), here (2000, 200), and have {mask.shape}.")
    if not np.array_equal(mask, draw(0)):
        raise NotYet("Two generators with one seed give different masks: draw from `rng`, and from nothing else.")
    if np.array_equal(mask, draw(1)):
        raise NotYet("The masks are the same whatever generator is handed in: draw from `rng`.")
    share, column = mask.mean(axis=1), mask.mean(axis=0)
    if np.ptp(column) > 0.5:
        raise NotYet("All images lose the same pixels: draw one number for each pixel of each image.")
    if column.std() > 0.05:
        raise NotYet("Some pixels go missing more often than others: scatter them over the whole image.")
    if 0.65 < share.mean() < 0.75:
        raise NotYet("True means missing, and 70 % are True: turn the comparison round.")
    if share.std() < 0.08:
        raise NotYet(f"Every image loses about the same share, {share.mean():.0%}: draw a share for each image first.")
    if share.max() > 0.8:
        raise NotYet(f"An image loses {share.max():.0%} of its pixels; shares should lie between 0 and 60 %.")
    if abs(share.mean() - 0.3) > 0.015 or abs(share.std() - 0.176) > 0.015:
        raise NotYet(
            f"The shares have mean {share.mean():.2f} and standard deviation {share.std():.2f}; uniform between 0 and 0.6 they "
            "have 0.30 and, with the chance in each image, 0.18."
        )


@task("10.4")
def task_4(miwae):
    """miwae(log_p_x, log_p_z, log_q): the log of the mean weight of each image, (n,)."""
    rng = np.random.default_rng(4)
    log_p_x, log_p_z, log_q = 2 * rng.normal(size=(3, 5, 4))
    log_w = log_p_x + log_p_z - log_q
    right = logsumexp(log_w, axis=0) - np.log(5)
    mistakes = {
        "This is the mean of the logarithms, the ordinary bound: take the mean first, then its logarithm.": log_w.mean(axis=0),
        "This is the log of the sum: subtract log K for the mean.": logsumexp(log_w, axis=0),
        "The mean is over the K codes, axis 0, and not over the images.": logsumexp(log_w, axis=1) - np.log(4),
        "log q is subtracted, not added: the weight is divided by q.": logsumexp(log_p_x + log_p_z + log_q, axis=0) - np.log(5),
        "The prior is missing: add log p(z).": logsumexp(log_p_x - log_q, axis=0) - np.log(5),
        "The density q is missing: subtract log q.": logsumexp(log_p_x + log_p_z, axis=0) - np.log(5),
        "These are the mean weights; their logarithms are asked for.": np.exp(right),
        "This is minus the bound; a lower bound on log p is asked for.": -right,
        "This is the largest log weight of each image, not the log of the mean weight.": log_w.max(axis=0),
        "One number for each image: the mean over the images is taken too.": right.mean(),
    }
    with np.errstate(all="ignore"):
        expect(call(miwae, log_p_x, log_p_z, log_q), right, "the bound", mistakes)
        low = call(miwae, log_p_x - 900 * np.arange(1, 5), log_p_z, log_q)
    if not np.isfinite(np.asarray(low, float)).all():
        raise NotYet(
            "Right here, but e^-900 is 0 in the computer, and its logarithm minus infinity: take the largest log weight of each "
            "image out before the exponential and add it at the end, or use `logsumexp`."
        )
    expect(low, right - 900 * np.arange(1, 5), "the bound where log p is -900 and less")


@task("10.6")
def task_6(moments):
    """moments(x, missing): mean and covariance, each entry from the images in which its pixels are there."""
    rng = np.random.default_rng(6)
    full = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3)) + 2
    missing = rng.random((40, 3)) < 0.3
    x, there = np.where(missing, np.nan, full), ~missing
    mean = np.nanmean(x, axis=0)
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    right, pairs = np.nanmean(products, axis=0), (there[:, :, None] & there[:, None, :]).sum(axis=0)
    found_mean, found = parts(call(moments, x, missing), "the mean", "the covariance")
    zeroed = np.where(missing, 0, full)
    whole = full[there.all(axis=1)]
    mistakes = {
        "The zeros in the gaps are averaged in: divide by the number of images in which the pixel is there.": zeroed.mean(axis=0),
        "Only images without any gap are used: each pixel has its own number of images.": whole.mean(axis=0),
    }
    expect(found_mean, mean, "the mean", mistakes)
    centred = np.where(missing, 0, full - mean)
    apart = np.array([[_of_pairs(x, i, j) for j in range(3)] for i in range(3)])
    mistakes = {
        "The products of a pair are divided by all images: divide by the number in which both pixels are there.": (
            centred.T @ centred / 40
        ),
        "Zeros stand in the gaps before the mean is subtracted: they must be 0 after it.": (
            np.where(missing, -mean, full - mean).T @ np.where(missing, -mean, full - mean) / 40
        ),
        "The mean is not subtracted.": np.nanmean(x[:, :, None] * x[:, None, :], axis=0),
        "Only images without any gap are used: each pair has its own number of images.": np.cov(whole.T, ddof=0),
        "You divide by the number of pairs minus 1; here by the number of pairs.": right * pairs / (pairs - 1),
        "The means are taken anew for each pair; subtract the mean of all values that are there.": apart,
        "The means are taken anew for each pair, and you divide by their number minus 1: subtract the mean of all values that "
        "are there, divide by the number of pairs.": apart * pairs / (pairs - 1),
        "Divide by the number of images in which both pixels are there, not just one.": centred.T @ centred / there.sum(axis=0),
    }
    expect(found, right, "the covariance", mistakes)


def _of_pairs(x, i, j):
    both = x[~np.isnan(x[:, i] + x[:, j])]
    return np.mean((both[:, i] - both[:, i].mean()) * (both[:, j] - both[:, j].mean()))


@task("10.7")
def task_7(corrected):
    """corrected(pi, dark, bright): the probability of white of a pixel that went missing."""
    pi = np.array([[0.0, 0.1, 0.5], [0.7, 0.95, 1.0]])
    for dark, bright in ((0.1, 0.6), (0.5, 0.2)):
        white, black = pi * bright, (1 - pi) * dark
        mistakes = {
            "This is pi as it was: that the pixel is missing is evidence, so use Bayes' rule.": pi,
            "Divide by the probability of going missing at all, pi bright + (1 - pi) dark.": white,
            "The two chances are swapped: a white pixel goes missing with probability `bright`.": (
                pi * dark / (pi * dark + (1 - pi) * bright)
            ),
            "This is for a pixel that is seen: it was not lost, with probability 1 - bright or 1 - dark.": (
                pi * (1 - bright) / (pi * (1 - bright) + (1 - pi) * (1 - dark))
            ),
            "This is the probability of going missing; of those cases, ask for the white ones.": white + black,
            "This is the probability of black.": black / (white + black),
            "The prior probability pi has dropped out: weigh `bright` with pi and `dark` with 1 - pi.": 0 * pi
            + bright / (bright + dark),
        }
        expect(call(corrected, pi, dark, bright), white / (white + black), "the probability of white", mistakes)

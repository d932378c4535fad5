"""Right and wrong answers to the tasks of workbook 10; see tests/classroom/test_checks.py."""

import numpy as np
import pandas as pd
from scipy.special import log_expit, softmax


def encoder_input(x, missing, fill=0.0, beside=np.asarray, order=1, axis=1):
    image = x.copy()
    image[missing] = fill
    return np.concatenate([image, beside(missing).astype(float)][::order], axis=axis)


def erase_in_place(x, missing):
    x[missing] = 0
    return np.hstack([x, missing])


def sigmoid(logits):
    return (1 + np.tanh(logits / 2)) / 2


def cost_and_slope(logits, x, missing, cost=lambda c: c, slope=lambda s: s):
    seen = ~missing
    each = -x * log_expit(logits) - (1 - x) * log_expit(-logits)
    return cost((each * seen).sum(axis=1)), slope((sigmoid(logits) - x) * seen)


def other_cost(change):
    def changed(logits, x, missing):
        each = lambda x: np.logaddexp(0, logits) - x * logits
        return change(each, x, missing), cost_and_slope(logits, x, missing)[1]

    return changed


def other_slope(change):
    return lambda logits, x, missing: (cost_and_slope(logits, x, missing)[0], change(sigmoid(logits), x, missing, logits))


def draw_holes(rng, n, pixels, low=0.0, high=0.6):
    share = low + (high - low) * rng.random(n)
    return rng.random((n, pixels)) < share[:, None]


def first_pixels(rng, n, pixels):
    return np.arange(pixels) < pixels * 0.6 * rng.random((n, 1))


def gradient_of_shares(rng, n, pixels):
    return rng.random((n, pixels)) < np.linspace(0.2, 0.4, pixels) * 2 * rng.random((n, 1))


def miwae(log_p_x, log_p_z, log_q):
    log_w = log_p_x + log_p_z - log_q
    top = log_w.max(axis=0)
    return np.log(np.exp(log_w - top).mean(axis=0)) + top


def naive(log_p_x, log_p_z, log_q):
    with np.errstate(all="ignore"):
        return np.log(np.exp(log_p_x + log_p_z - log_q).mean(axis=0))


def with_log_w(change):
    return lambda log_p_x, log_p_z, log_q: change(log_p_x + log_p_z - log_q)


def moments(x, missing, start=0):
    columns = [x[~m, i] for i, m in enumerate(missing.T)]
    mean = np.array([column.mean() for column in columns])
    there = (~missing).astype(float)
    centred = np.nan_to_num(x - mean)
    return mean, centred.T @ centred / (there.T @ there)


def other_mean(change):
    return lambda x, missing: (change(x, missing), moments(x, missing)[1])


def other_covariance(change):
    return lambda x, missing: (moments(x, missing)[0], change(x, missing, ~missing))


def whole(x, missing):
    return x[~missing.any(axis=1)]


def centred(x, missing):
    return np.where(missing, 0, x - np.nanmean(x, axis=0))


def before(x, missing):
    shifted = np.where(missing, 0, x) - np.nanmean(x, axis=0)
    return shifted.T @ shifted / len(x)


def not_centred(x, missing, there):
    return np.nan_to_num(x).T @ np.nan_to_num(x) / (there.T.astype(float) @ there)


def own_means(x, missing, there):
    def one(i, j):
        both = there[:, i] & there[:, j]
        return np.cov(x[both, i], x[both, j], ddof=0)[0, 1]

    return np.array([[one(i, j) for j in range(3)] for i in range(3)])


def minus_one(x, missing, there):
    pairs = there.T.astype(float) @ there
    return centred(x, missing).T @ centred(x, missing) / (pairs - 1)


def corrected(pi, dark, bright):
    with np.errstate(divide="ignore"):
        return softmax([np.log(pi) + np.log(bright), np.log1p(-pi) + np.log(dark)], axis=0)[0]


ANSWERS = {
    1: {
        "right": (encoder_input,),
        "wrong": [
            ((lambda x, missing: np.hstack([x * ~missing, missing]),), "still NaN"),
            ((lambda x, missing: np.where(missing, 0, x),), "The mask is missing"),
            ((lambda x, missing: encoder_input(x, missing, order=-1),), "not before it"),
            ((lambda x, missing: encoder_input(x, missing, beside=np.invert),), "1 where it is observed"),
            ((lambda x, missing: np.hstack([np.where(missing, 0.5, 0), missing]),), "is expected"),
            ((lambda x, missing: np.hstack([np.where(missing, x, 0), missing]),), "still NaN"),
            ((lambda x, missing: encoder_input(x, missing, axis=0),), "stands below"),
            ((erase_in_place,), "`erase_in_place` has changed `x`"),
        ],
    },
    2: {
        "right": (cost_and_slope,),
        "wrong": [
            ((other_cost(lambda each, x, missing: each(x).sum(axis=1)),), "All pixels are counted"),
            ((other_cost(lambda each, x, missing: each(x * ~missing).sum(axis=1)),), "count as black"),
            ((other_cost(lambda each, x, missing: (each(x) * missing).sum(axis=1)),), "wrong way round"),
            ((other_cost(lambda each, x, missing: np.ma.array(each(x), mask=missing).mean(axis=1).data),), "asks for the sum"),
            (
                (other_cost(lambda each, x, missing: 6 * np.ma.array(each(x), mask=missing).mean(axis=1).data),),
                "Leave it at what is there",
            ),
            ((lambda *arguments: cost_and_slope(*arguments, cost=np.negative),), "This is log p"),
            ((lambda *arguments: cost_and_slope(*arguments, cost=np.sum),), "One number for each image"),
            ((other_slope(lambda pi, x, missing, logits: pi - x),), "that of all pixels"),
            ((other_slope(lambda pi, x, missing, logits: pi - x * ~missing),), "towards black"),
            ((other_slope(lambda pi, x, missing, logits: (pi - x) * missing),), "wrong mask"),
            ((lambda *arguments: cost_and_slope(*arguments, slope=np.negative),), "wrong sign"),
            ((other_slope(lambda pi, x, missing, logits: (logits - x) * ~missing),), "the sigmoid of l"),
            ((lambda *arguments: cost_and_slope(*arguments, slope=lambda s: s / len(s)),), "own cost is asked for"),
            ((lambda *arguments: cost_and_slope(*arguments)[0],), "Return 2 things"),
        ],
    },
    3: {
        "right": (draw_holes,),
        "wrong": [
            ((lambda rng, n, pixels: draw_holes(rng, n, pixels).astype(int),), "True and False"),
            ((lambda rng, n, pixels: draw_holes(rng, pixels, n),), "should have shape"),
            ((lambda rng, n, pixels: draw_holes(np.random.default_rng(), n, pixels),), "and from nothing else"),
            ((lambda rng, n, pixels: draw_holes(np.random.default_rng(0), n, pixels),), "whatever generator"),
            ((lambda rng, n, pixels: np.tile(rng.random(pixels) < 0.3, (n, 1)),), "lose the same pixels"),
            ((first_pixels,), "lose the same pixels"),
            ((gradient_of_shares,), "more often than others"),
            ((lambda rng, n, pixels: ~draw_holes(rng, n, pixels),), "turn the comparison round"),
            ((lambda rng, n, pixels: rng.random((n, pixels)) < 0.3,), "draw a share for each image"),
            ((lambda rng, n, pixels: rng.random((n, pixels)) < rng.random(),), "draw a share for each image"),
            ((lambda rng, n, pixels: draw_holes(rng, n, pixels, high=1.0),), "between 0 and 60 %"),
            ((lambda rng, n, pixels: draw_holes(rng, n, pixels, low=0.2),), "The shares have mean 0.40"),
        ],
    },
    4: {
        "right": (miwae,),
        "wrong": [
            ((with_log_w(lambda w: w.mean(axis=0)),), "the ordinary bound"),
            ((with_log_w(lambda w: np.log(np.exp(w).sum(axis=0))),), "subtract log K"),
            ((with_log_w(lambda w: np.log(np.exp(w).mean(axis=1))),), "not over the images"),
            ((lambda log_p_x, log_p_z, log_q: miwae(log_p_x, log_p_z, -log_q),), "divided by q"),
            ((lambda log_p_x, log_p_z, log_q: miwae(log_p_x, 0, log_q),), "The prior is missing"),
            ((lambda log_p_x, log_p_z, log_q: miwae(log_p_x, log_p_z, 0),), "The density q is missing"),
            ((with_log_w(lambda w: np.exp(w).mean(axis=0)),), "their logarithms are asked for"),
            ((lambda *logs: -miwae(*logs),), "minus the bound"),
            ((with_log_w(lambda w: w.max(axis=0)),), "the largest log weight of each image, not"),
            ((lambda *logs: miwae(*logs).mean(),), "the mean over the images is taken too"),
            ((naive,), "minus infinity"),
        ],
    },
    6: {
        "right": (moments,),
        "wrong": [
            ((other_mean(lambda x, missing: np.nan_to_num(x).mean(axis=0)),), "averaged in"),
            ((other_mean(lambda x, missing: whole(x, missing).mean(axis=0)),), "has its own number of images"),
            ((other_covariance(lambda x, m, t: centred(x, m).T @ centred(x, m) / len(x)),), "divided by all images"),
            ((other_covariance(lambda x, m, t: before(x, m)),), "0 after it"),
            (
                (other_covariance(lambda x, m, t: np.nan_to_num(x).T @ np.nan_to_num(x) / (t.T.astype(float) @ t)),),
                "not subtracted",
            ),
            ((other_covariance(lambda x, m, t: np.cov(whole(x, m).T, bias=True)),), "each pair has its own"),
            ((other_covariance(minus_one),), "number of pairs minus 1; here"),
            ((other_covariance(own_means),), "anew for each pair; subtract"),
            ((other_covariance(lambda x, m, t: pd.DataFrame(x).cov().to_numpy()),), "and you divide by their number minus 1"),
            ((other_covariance(lambda x, m, t: centred(x, m).T @ centred(x, m) / t.sum(axis=0)),), "not just one"),
            ((lambda x, missing: moments(x, missing)[0],), "Return 2 things"),
        ],
    },
    7: {
        "right": (corrected,),
        "wrong": [
            ((lambda pi, dark, bright: pi,), "pi as it was"),
            ((lambda pi, dark, bright: pi * bright,), "going missing at all"),
            ((lambda pi, dark, bright: corrected(pi, bright, dark),), "swapped"),
            ((lambda pi, dark, bright: corrected(pi, 1 - dark, 1 - bright),), "a pixel that is seen"),
            ((lambda pi, dark, bright: pi * bright + (1 - pi) * dark,), "the white ones"),
            ((lambda pi, dark, bright: 1 - corrected(pi, dark, bright),), "the probability of black"),
            ((lambda pi, dark, bright: np.full(pi.shape, bright / (dark + bright)),), "dropped out"),
        ],
    },
}

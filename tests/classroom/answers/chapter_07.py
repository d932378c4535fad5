"""Right and wrong answers to the tasks of workbook 07; see tests/classroom/test_checks.py."""

import numpy as np
from scipy import stats
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from skimage.metrics import structural_similarity

from tvae_lib import metrics

WINDOWS = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def scores(x, prediction, missing):
    filled = x.copy()
    filled[missing] = prediction[missing]
    return metrics.mse(x, prediction), metrics.mse(x, filled), metrics.mse_missing(x, prediction, missing)


def scores_in_place(x, prediction, missing):
    found = scores(x, prediction, missing)
    prediction[~missing] = x[~missing]
    return found


def change(i, by):
    """scores with one of the three changed."""

    def changed(x, prediction, missing):
        answer = list(scores(x, prediction, missing))
        answer[i] = by((x - prediction) ** 2, missing)
        return answer

    return changed


def sigmoid(logits):
    return (1 + np.tanh(logits / 2)) / 2


def one_pass(model, x, missing, eps, start=lambda x, missing: x * (1 - missing), spread=0.5, end=None):
    """All draws in one long batch."""
    mu, logvar = model.encode(start(x, missing))
    z = (mu + np.exp(spread * logvar) * eps).reshape(-1, eps.shape[-1])
    logits = model.decode(z).reshape(len(eps), *x.shape)
    return end(logits) if end else sigmoid(logits).mean(axis=0)


def once(**options):
    return lambda *arguments: one_pass(*arguments, **options)


def erase_then_pass(model, x, missing, eps):
    x[missing] = 0
    return one_pass(model, x, missing, eps)


def fill_in_place(model, x, missing, eps):
    predictions = []
    x[missing] = 0
    for noise in eps:
        mu, logvar = model.encode(x)
        predictions.append(sigmoid(model.decode(mu + np.exp(logvar / 2) * noise)))
        x[missing] = predictions[-1][missing]
    return np.mean(predictions[len(eps) // 2 :], axis=0)


def logvar_as_sigma(model, x, missing, eps):
    mu, logvar = model.encode(np.where(missing, 0, x))
    return np.mean([sigmoid(model.decode(mu + logvar * noise)) for noise in eps], axis=0)


def no_noise(model, x, missing, eps):
    mu, _ = model.encode(x * ~missing)
    return sigmoid(model.decode(mu))


def codes_averaged(model, x, missing, eps):
    image, codes = np.where(missing, 0, x), []
    for noise in eps:
        mu, logvar = model.encode(image)
        codes.append(mu + np.exp(logvar / 2) * noise)
        image = np.where(missing, sigmoid(model.decode(codes[-1])), x)
    return sigmoid(model.decode(sum(codes[len(eps) // 2 :]) / (len(eps) // 2)))


def feed_back(
    model,
    x,
    missing,
    eps,
    put_back=np.invert,
    first=None,
    last_only=False,
    start=0.0,
    result=lambda p, x, missing: p,
    sigma=lambda logvar: np.exp(logvar) ** 0.5,
):
    image = x.copy()
    if start is not None:
        image[missing] = start
    total, count = 0, 0
    for i in range(len(eps)):
        mu, logvar = model.encode(image)
        guess = sigmoid(model.decode(mu + sigma(logvar) * eps[i]))
        image = guess.copy()
        image[put_back(missing)] = x[put_back(missing)]
        if i >= (len(eps) // 2 if first is None else first):
            total, count = total + guess, count + 1
    return guess if last_only else result(total / count, x, missing)


def again(**options):
    return lambda *arguments: feed_back(*arguments, **options)


def each_pixel(logits, x):
    return x * logits - np.maximum(logits, 0) - np.log1p(np.exp(-np.abs(logits)))


def log_p_observed(logits, x, missing, together=np.sum):
    return np.array([together(each_pixel(a, b)[~m]) for a, b, m in zip(logits, x, missing, strict=True)])


def naive(logits, x, missing):
    with np.errstate(all="ignore"):
        return np.where(missing, 0, x * logits - np.log(1 + np.exp(logits))).sum(axis=1)


def from_probabilities(logits, x, missing, clip=0.0):
    with np.errstate(all="ignore"):
        pi = np.clip(1 / (1 + np.exp(-logits)), clip, 1 - clip)
        return np.where(missing, 0, x * np.log(pi) + (1 - x) * np.log(1 - pi)).sum(axis=1)


def weights_and_ess(log_p_x, log_p_z, log_q, shift=True, axis=0):
    log_w = log_p_x + log_p_z - log_q
    w = np.exp(log_w - log_w.max(axis=0)) if shift else np.exp(log_w)
    w = w / w.sum(axis=axis, keepdims=True)
    return w, w.sum(axis=0) ** 2 / (w**2).sum(axis=0)


def one_maximum(log_p_x, log_p_z, log_q):
    log_w = log_p_x + log_p_z - log_q
    with np.errstate(all="ignore"):
        w = np.exp(log_w - log_w.max())
        w /= w.sum(axis=0)
        return w, 1 / (w**2).sum(axis=0)


def with_weights(weights):
    def changed(log_p_x, log_p_z, log_q):
        log_w = log_p_x + log_p_z - log_q
        return weights(log_w), weights_and_ess(log_p_x, log_p_z, log_q)[1]

    return changed


def with_size(size):
    def changed(*arguments):
        w, ess = weights_and_ess(*arguments)
        return w, size(w, ess)

    return changed


def mean_ssim(x, prediction):
    return structural_similarity(x.reshape(-1, 28, 28), prediction.reshape(-1, 28, 28), channel_axis=0, **WINDOWS)


def ssim_of_batch(x, prediction, axis=None):
    return structural_similarity(x.reshape(-1, 28, 28), prediction.reshape(-1, 28, 28), channel_axis=axis, **WINDOWS)


def fills_a_copy(x, missing, prediction):
    filled = x.copy()
    filled[missing][:] = prediction[missing]
    return filled


def filled_in(x, missing, prediction):
    return x * ~missing + prediction * missing


def in_place(x, missing, prediction):
    x[missing] = prediction[missing]
    return x


def energy(model, x, missing, z, sign=1):
    return -log_p_observed(model.decode(z), x, missing) - sign * model.family.log_prob(z).sum(axis=1)


def counts_all(model, x, missing, z):
    return -each_pixel(model.decode(z), x).sum(axis=1) - model.family.log_prob(z).sum(axis=1)


def counts_black(model, x, missing, z):
    return counts_all(model, np.where(missing, 0, x), missing, z)


def without_prior(model, x, missing, z):
    return -log_p_observed(model.decode(z), x, missing)


def blur(a, sigma):
    a = np.reshape(a, (-1, 28, 28)).astype(float)
    return gaussian_filter1d(gaussian_filter1d(a, sigma, axis=1), sigma, axis=2).reshape(-1, 784)


def local_mean(x, missing, sigma, blur=blur, floor=1e-6):
    observed = (~missing).astype(float)
    return blur(x * observed, sigma) / np.maximum(blur(observed, sigma), floor)


def blur_the_batch(a, sigma):
    return gaussian_filter(np.reshape(a, (-1, 28, 28)).astype(float), sigma).reshape(-1, 784)


def blur_rows(a, sigma):
    return gaussian_filter(a, (0, sigma))


def blur_booleans(a, sigma):
    return gaussian_filter(np.reshape(a, (-1, 28, 28)), (0, sigma, sigma)).reshape(-1, 784)


def mask_of_booleans(x, missing, sigma):
    return blur_booleans(np.where(missing, 0, x), sigma) / np.maximum(blur_booleans(~missing, sigma), 1e-6)


def unguarded(x, missing, sigma):
    with np.errstate(all="ignore"):
        return local_mean(x, missing, sigma, floor=0)


def paired_interval(gaussian, t):
    difference = np.subtract(t, gaussian)
    return difference.mean(), *stats.t.interval(0.95, len(t) - 1, difference.mean(), stats.sem(difference))


def interval(factor=lambda n: stats.t(n - 1).ppf(0.975), error=lambda g, t: stats.sem(t - g), sign=1):
    def changed(gaussian, t):
        mean, width = sign * (t - gaussian).mean(), factor(len(t)) * error(gaussian, t)
        return mean, mean - width, mean + width

    return changed


ANSWERS = {
    1: {
        "right": (scores,),
        "wrong": [
            ((change(0, lambda square, missing: square.sum()),), "take the mean, not the sum"),
            ((change(0, lambda square, missing: square.sum(axis=1).mean()),), "added up in each image"),
            ((change(0, lambda square, missing: np.sqrt(square.mean())),), "the root of the MSE"),
            ((change(2, lambda square, missing: (square * missing).mean()),), "divide by that of the missing"),
            ((change(2, lambda square, missing: square[~missing].mean()),), "the observed pixels"),
            ((change(2, lambda square, missing: ((square * missing).sum(1) / missing.sum(1)).mean()),), "over each image first"),
            ((change(1, lambda square, missing: square.mean()),), "put the observed pixels back"),
            ((change(1, lambda square, missing: square[missing].mean()),), "counts all pixels"),
            ((change(1, lambda square, missing: (square * ~missing).mean()),), "wrong way round"),
            ((change(1, lambda square, missing: 0.0),), "on the observed ones alone it is 0"),
            ((change(1, lambda square, missing: square[~missing].mean()),), "prediction on observed pixels"),
            ((scores_in_place,), "has changed `prediction`"),
            ((lambda *arguments: scores(*arguments)[0],), "Return 3 things"),
        ],
    },
    2: {
        "right": (one_pass,),
        "wrong": [
            ((once(start=lambda x, missing: x),), "The encoder sees the whole image"),
            ((once(start=lambda x, missing: x * missing),), "wrong way round"),
            ((once(end=lambda logits: sigmoid(logits.mean(axis=0))),), "Average probabilities"),
            ((once(end=lambda logits: logits.mean(axis=0)),), "leaves the sigmoid to you"),
            ((once(end=lambda logits: sigmoid(logits).sum(axis=0)),), "added up"),
            ((once(spread=1.0),), "variance is passed as standard deviation"),
            ((once(start=lambda x, missing: np.where(missing, x.mean(), x)),), "is expected"),
            ((lambda model, x, missing, eps: one_pass(model, x, missing, eps.mean(axis=0)[None]),), "The codes are averaged"),
            ((no_noise,), "codes have no noise"),
            ((logvar_as_sigma,), "logvar is taken for sigma"),
            ((lambda model, x, missing, eps: one_pass(model, x, missing, eps[:1]),), "Only one of the draws"),
            ((erase_then_pass,), "`erase_then_pass` has changed `x`"),
            ((lambda model, x, missing, eps: np.where(missing, one_pass(model, x, missing, eps), x),), "imputations"),
        ],
    },
    3: {
        "right": (feed_back,),
        "wrong": [
            ((again(put_back=np.zeros_like),), "observed pixels are lost"),
            ((again(put_back=np.copy),), "wrong way round when you put pixels back"),
            ((again(first=0),), "over all passes"),
            ((lambda model, x, missing, eps: feed_back(model, x, missing, eps[:3], first=0),), "first half of the passes"),
            ((again(last_only=True),), "the last pass only"),
            ((again(first=4),), "leave out one pass too many"),
            ((again(first=2),), "take one pass too many"),
            ((again(sigma=np.exp),), "variance is passed as standard deviation"),
            ((again(sigma=np.positive),), "logvar is taken for sigma"),
            ((lambda model, x, missing, eps: feed_back(model, x, missing, np.array([eps[0]] * 6)),), "the same noise"),
            ((again(start=None),), "starts from the whole image"),
            ((again(result=lambda p, x, missing: np.where(missing, p, x)),), "imputations"),
            ((lambda model, x, missing, eps: one_pass(model, x, missing, eps[3:]),), "This is one pass"),
            ((lambda model, x, missing, eps: feed_back(model, x, missing, 0 * eps),), "mu itself"),
            ((codes_averaged,), "The codes are averaged"),
            ((fill_in_place,), "`fill_in_place` has changed `x`"),
        ],
    },
    4: {
        "right": (log_p_observed,),
        "wrong": [
            ((lambda logits, x, missing: each_pixel(logits, x * ~missing).sum(axis=1),), "count as black"),
            ((lambda logits, x, missing: each_pixel(logits * ~missing, x * ~missing).sum(axis=1),), "one half"),
            ((lambda logits, x, missing: log_p_observed(logits, x, ~missing),), "These are the missing pixels"),
            ((lambda logits, x, missing: each_pixel(logits, x).sum(axis=1),), "All pixels are counted"),
            ((lambda *arguments: -log_p_observed(*arguments),), "minus sign too many"),
            ((lambda *arguments: log_p_observed(*arguments, together=np.mean),), "the mean over the observed pixels"),
            ((lambda *arguments: log_p_observed(*arguments).sum(),), "One number"),
            ((naive,), "overflows"),
            ((from_probabilities,), "rounded to 0 or 1 and its logarithm"),
            ((lambda *arguments: from_probabilities(*arguments, clip=1e-12),), "a confident mistake is lost"),
        ],
    },
    5: {
        "right": (weights_and_ess,),
        "wrong": [
            ((lambda log_p_x, log_p_z, log_q: weights_and_ess(log_p_x, log_p_z, -log_q),), "in the denominator"),
            ((lambda log_p_x, log_p_z, log_q: weights_and_ess(log_p_x, log_p_z, 0 * log_q),), "log q is missing"),
            ((lambda log_p_x, log_p_z, log_q: weights_and_ess(log_p_x, 0 * log_p_z, log_q),), "The prior is missing"),
            ((lambda log_p_x, log_p_z, log_q: weights_and_ess(0 * log_p_x, log_p_z, log_q),), "The likelihood is missing"),
            ((lambda *logs: weights_and_ess(*logs, shift=False),), "subtract the largest log weight"),
            ((lambda *logs: weights_and_ess(*logs, shift=False, axis=1),), "the sum over the images"),
            ((lambda *logs: weights_and_ess(*logs, axis=1),), "After subtracting the maximum you divide"),
            ((with_weights(lambda log_w: np.exp(log_w - log_w.max(axis=0))),), "do not add up to 1 yet"),
            ((with_weights(np.exp),), "divide by the sum over its K codes"),
            ((with_weights(lambda log_w: np.exp(log_w) / np.exp(log_w).sum()),), "each image needs its own sum"),
            ((with_weights(lambda log_w: log_w - np.log(np.exp(log_w).sum(axis=0))),), "the logarithms of the weights"),
            ((one_maximum,), "the largest log weight of each image"),
            ((with_size(lambda w, ess: 1 / ess),), "this is the sum"),
            ((with_size(lambda w, ess: 1 / w.max(axis=0)),), "largest weight"),
            ((with_size(lambda w, ess: 1 / (w**2).sum()),), "sum over its codes, axis 0"),
            ((with_size(lambda w, ess: 1 / (w**2).sum(axis=1)),), "not over axis 1"),
            ((with_size(lambda w, ess: w.sum(axis=0) ** 2),), "sum of the weights themselves is 1"),
        ],
    },
    6: {
        "right": (mean_ssim, filled_in, energy),
        "wrong": [
            ((ssim_of_batch, filled_in, energy), "reach from one image into the next"),
            ((lambda *images: ssim_of_batch(*images, axis=1), filled_in, energy), "rows of the pictures"),
            ((lambda *images: ssim_of_batch(*images, axis=2), filled_in, energy), "columns of the pictures"),
            ((metrics.ssim_global, filled_in, energy), "one window for everything"),
            ((mean_ssim, in_place, energy), "Make a copy"),
            ((mean_ssim, lambda x, missing, prediction: filled_in(x, ~missing, prediction), energy), "wrong way round"),
            ((mean_ssim, fills_a_copy, energy), "fills nothing in"),
            ((mean_ssim, filled_in, counts_black), "count as black"),
            ((mean_ssim, filled_in, counts_all), "counts all pixels: hand the mask on"),
            ((mean_ssim, filled_in, without_prior), "lacks the prior"),
            ((mean_ssim, filled_in, lambda *arguments: energy(*arguments, sign=-1)), "wrong sign"),
        ],
    },
    7: {
        "right": (local_mean,),
        "wrong": [
            ((lambda *arguments: local_mean(*arguments, blur=blur_the_batch),), "across the images"),
            ((lambda x, missing, sigma: blur(x * ~missing, sigma),), "averaged in as black"),
            ((lambda x, missing, sigma: blur(x, sigma) / blur(~missing, sigma),), "has seen the missing pixels"),
            ((lambda x, missing, sigma: np.where(missing, local_mean(x, missing, sigma), x),), "imputations"),
            ((lambda x, missing, sigma: blur(x * ~missing, sigma) / blur(missing, sigma),), "not of missing ones"),
            ((unguarded,), "0 / 0"),
            ((mask_of_booleans,), "the type it is given"),
            ((lambda *arguments: local_mean(*arguments, blur=blur_rows),), "Blur pictures:"),
            ((lambda *arguments: local_mean(*arguments, blur=gaussian_filter),), "Blur pictures, each by itself"),
        ],
    },
    8: {
        "right": (paired_interval,),
        "wrong": [
            ((interval(factor=lambda n: 1.959964),), "not 1.96"),
            ((interval(factor=lambda n: 1.96),), "1.96 is too small for 5 seeds"),
            ((interval(factor=lambda n: 1.96 if n >= 10 else stats.t(n - 1).ppf(0.975)),), "1.96 is too small for 12 seeds"),
            ((interval(factor=lambda n: stats.norm.ppf(0.975) if n > 6 else stats.t(n - 1).ppf(0.975)),), "With 12 seeds"),
            ((interval(factor=lambda n: stats.t(n).ppf(0.975)),), "n - 1 degrees of freedom, 4"),
            ((interval(factor=lambda n: stats.t(4 if n < 10 else n).ppf(0.975)),), "n - 1 degrees of freedom, 11"),
            ((interval(factor=lambda n: stats.t(n - 1).ppf(0.95)),), "2.5 % at each end"),
            ((interval(error=lambda g, t: (t - g).std(ddof=1)),), "divide by sqrt(n)"),
            ((interval(error=lambda g, t: (t - g).std() / np.sqrt(len(t))),), "ddof=1"),
            ((interval(lambda n: 1.96, lambda g, t: (t - g).std() / np.sqrt(len(t))),), "and 1.96 is too small for them"),
            (
                (interval(lambda n: stats.t(2 * n - 2).ppf(0.975), lambda g, t: np.hypot(stats.sem(t), stats.sem(g))),),
                "two independent groups",
            ),
            ((interval(error=lambda g, t: np.hypot(stats.sem(t), stats.sem(g))),), "taken the seeds apart"),
            ((interval(sign=-1),), "t minus Gaussian"),
        ],
    },
}

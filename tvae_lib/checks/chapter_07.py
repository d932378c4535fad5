"""Checks of workbook 07: missing pixels filled in, scored, weighted, and compared."""

from functools import partial, update_wrapper

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit, logsumexp
from scipy.stats import t as student_t

from tvae_lib import metrics
from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.checks.chapter_04 import made_up
from tvae_lib.vae_numpy import bernoulli_loss, hide


def holes(seed, shape, share=0.4):
    """A mask in which every row has both missing and observed entries."""
    missing = np.random.default_rng(seed).random(shape) < share
    missing[:, 0], missing[:, 1] = True, False
    return missing


@task("7.1")
def task_1(scores):
    """scores(x, prediction, missing): MSE of the prediction, of the imputation, and on the missing pixels only."""
    rng = np.random.default_rng(1)
    x, prediction = rng.random((3, 6)), rng.random((3, 6))
    missing = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0]], bool)
    square = (x - prediction) ** 2
    answer = parts(call(scores, x, prediction, missing), "all of the prediction", "all of the imputation", "missing only")
    in_holes = np.where(missing, square, 0)
    mistakes = {
        "MSE: take the mean, not the sum.": square.sum(),
        "MSE: the mean over the pixels too; their squares are added up in each image.": square.sum(axis=1).mean(),
        "This is the root of the MSE: leave it squared.": np.sqrt(square.mean()),
    }
    expect(answer[0], square.mean(), "the MSE of the prediction", mistakes)
    mistakes = {
        "The MSE of the imputation: put the observed pixels back first.": square.mean(),
        "The MSE of the imputation counts all pixels, also those that are exact: divide by the number of all.": (
            square[missing].mean()
        ),
        "The mask is the wrong way round: True means missing, so that is where the prediction goes.": (
            np.where(missing, 0, square).mean()
        ),
        "The MSE of the imputation is a mean over all pixels; on the observed ones alone it is 0.": 0.0,
        "This is the error of the prediction on observed pixels. The MSE of the imputation is a mean over all pixels, and its "
        "observed ones are exact.": square[~missing].mean(),
    }
    expect(answer[1], in_holes.mean(), "the MSE of the imputation", mistakes)
    mistakes = {
        "The error on missing pixels is divided by the number of all pixels; divide by that of the missing.": in_holes.mean(),
        "You average over each image first, so a pixel counts more where few are missing: one mean over all missing pixels.": (
            in_holes.sum(axis=1) / missing.sum(axis=1)
        ).mean(),
        "These are the observed pixels: the mask is the wrong way round.": square[~missing].mean(),
    }
    expect(answer[2], square[missing].mean(), "the MSE on missing pixels", mistakes)


@task("7.2")
def task_2(one_pass):
    """one_pass(model, x, missing, eps): encode the image with zeros, decode a code for each of the L draws, average."""
    model, x, _ = made_up()
    missing, eps = holes(2, x.shape), np.random.default_rng(2).standard_t(5, (7, 5, 3))

    def decoded(image, width=lambda logvar: np.exp(logvar / 2), end=lambda logits: expit(logits).mean(axis=0)):
        mu, logvar = model.encode(image)
        return end(np.array([model.decode(mu + width(logvar) * noise) for noise in eps]))

    zeroed = np.where(missing, 0, x)
    mu, logvar = model.encode(zeroed)
    codes_averaged = model.decode(mu + np.exp(logvar / 2) * eps.mean(axis=0))
    right, mean_logits = decoded(zeroed), decoded(zeroed, end=lambda logits: logits.mean(axis=0))
    mistakes = {
        "The encoder sees the whole image: set its missing pixels to 0 first.": decoded(x),
        "The mask is the wrong way round: True means missing, and you have set the observed pixels to 0.": decoded(x - zeroed),
        "Average probabilities, not logits: the sigmoid comes before the mean.": expit(mean_logits),
        "These are logits: `model.decode` leaves the sigmoid to you.": mean_logits,
        "The variance is passed as standard deviation: sigma is exp(logvar / 2), not exp(logvar).": decoded(zeroed, np.exp),
        "logvar is taken for sigma, which is exp(logvar / 2).": decoded(zeroed, lambda logvar: logvar),
        "The codes have no noise: z = mu + sigma * eps for each of the draws.": decoded(zeroed, lambda logvar: 0),
        "The codes are averaged, and one image decoded: decode an image from each code, and average the images.": expit(
            codes_averaged
        ),
        "Only one of the draws is used: average over all of them.": expit(decoded(zeroed, end=lambda a: a[0])),
        "The draws are added up: take their mean.": len(eps) * right,
        "These are the imputations. Return the prediction, for all pixels.": np.where(missing, right, x),
    }
    expect(call(one_pass, model, x, missing, eps), right, "the prediction", mistakes)


@task("7.3")
def task_3(feed_back):
    """feed_back(model, x, missing, eps): pseudo-Gibbs with given noise; the average over the second half of the passes."""
    model, x, _ = made_up()
    missing, eps = holes(3, x.shape), np.random.default_rng(3).standard_t(5, (6, 5, 3))

    zeroed = np.where(missing, 0, x)

    def passes(
        then=lambda guess: np.where(missing, guess, x),
        start=zeroed,
        kept=slice(3, None),
        noise=eps,
        average=None,
        width=lambda logvar: np.exp(logvar / 2),
    ):
        image, codes, seen = start, [], []
        for each in noise:
            mu, logvar = model.encode(image)
            codes.append(mu + width(logvar) * each)
            seen.append(expit(model.decode(codes[-1])))
            image = then(seen[-1])
        return expit(model.decode(np.mean(codes[kept], axis=0))) if average == "codes" else np.mean(seen[kept], axis=0)

    right = passes()
    mistakes = {
        "The observed pixels are lost: put them back in every pass, before you encode again.": passes(lambda guess: guess),
        "The mask is the wrong way round when you put pixels back.": passes(lambda guess: np.where(missing, x, guess)),
        "This is the average over all passes. In the first half the encoder still sees the zeros: leave it out.": passes(
            kept=slice(0, None)
        ),
        "This is the last pass only: average the second half.": passes(kept=slice(5, None)),
        "This is the first half of the passes: the second is asked for.": passes(kept=slice(0, 3)),
        "The walk starts from the whole image: set its missing pixels to 0 first.": passes(start=x),
        "This is one pass: encode the filled-in image anew each time.": passes(lambda guess: zeroed),
        "The second half begins at len(eps) // 2: you leave out one pass too many.": passes(kept=slice(4, None)),
        "The second half begins at len(eps) // 2: you take one pass too many.": passes(kept=slice(2, None)),
        "The variance is passed as standard deviation: sigma is exp(logvar / 2), not exp(logvar).": passes(width=np.exp),
        "logvar is taken for sigma, which is exp(logvar / 2).": passes(width=lambda logvar: logvar),
        "Every pass uses the same noise: eps[i] belongs to pass i.": passes(noise=[eps[0]] * len(eps)),
        "mu itself is decoded and fed back: draw a code, mu + sigma * eps[i], in each pass.": passes(noise=0 * eps),
        "The codes are averaged, and one image decoded: average the images of the second half.": passes(average="codes"),
        "These are the imputations. Return the prediction, for all pixels.": np.where(missing, right, x),
    }
    expect(call(feed_back, model, x, missing, eps), right, "the prediction", mistakes)


@task("7.4")
def task_4(log_p_observed):
    """log_p_observed(logits, x, missing): log p(x_o | z) of each image."""
    rng = np.random.default_rng(4)
    logits, x = rng.normal(0, 2, (5, 8)), rng.random((5, 8))
    missing = holes(4, x.shape)
    right = -bernoulli_loss(*hide(logits, x, missing))[0]
    black = -bernoulli_loss(logits, np.where(missing, 0, x))[0]
    mistakes = {
        "The missing pixels count as black: leave them out of the sum, whatever value stands there.": black,
        "All pixels are counted, the missing ones too.": -bernoulli_loss(logits, x)[0],
        "These are the missing pixels: the sum runs over the observed ones, `~missing`.": -bernoulli_loss(
            *hide(logits, x, ~missing)
        )[0],
        "A logit of 0 is not nothing: it is a probability of one half and costs log 2. Take the missing pixels out of the sum.": (
            right - np.log(2) * missing.sum(axis=1)
        ),
        "A minus sign too many: this is the cost; the log probability is minus that.": -right,
        "This is the mean over the observed pixels: they are independent, so their log probabilities add up.": right
        / (~missing).sum(axis=1),
        "One number for all images: sum over the pixels of each, axis 1.": right.sum(),
    }
    expect(call(log_p_observed, logits, x, missing), right, "log p of the observed pixels", mistakes)
    with np.errstate(all="ignore"):
        sure = call(log_p_observed, 500 * logits, x, missing)
    if not np.isfinite(sure).all():
        raise NotYet(
            "Right for moderate logits, but at large ones e^l overflows, or a probability is rounded to 0 or 1 and its logarithm "
            "is not finite: np.logaddexp(0, logits) is log(1 + e^l) without either."
        )
    right = -bernoulli_loss(*hide(500 * logits, x, missing))[0]
    if np.shape(sure) == right.shape and (np.asarray(sure) > right).all() and not np.allclose(sure, right):
        raise NotYet(
            "The probability is rounded to 0 or 1 and clipped, so that the cost of a confident mistake is lost: stay with logits."
        )
    expect(sure, right, "log p at large logits")


@task("7.5")
def task_5(weights_and_ess):
    """weights_and_ess(log_p_x, log_p_z, log_q): self-normalised weights (K, n) and effective sample sizes (n,)."""
    rng = np.random.default_rng(5)
    log_p_x, log_p_z, log_q = rng.normal(-3, 1, (9, 4)), rng.normal(-2, 0.5, (9, 4)), rng.normal(-1, 0.7, (9, 4))

    def normal(log_w, axis=0):
        return np.exp(log_w - logsumexp(log_w, axis=axis, keepdims=True))

    log_w = log_p_x + log_p_z - log_q
    right, scaled = normal(log_w), np.exp(log_w - log_w.max(axis=0))
    with np.errstate(all="ignore"):
        weights, ess = parts(call(weights_and_ess, log_p_x, log_p_z, log_q), "the weights", "the effective sample sizes")
    mistakes = {
        "The proposal density belongs in the denominator: subtract log q.": normal(log_p_x + log_p_z + log_q),
        "log q is missing: codes that the encoder draws often would count too much.": normal(log_p_x + log_p_z),
        "The prior is missing: add log p(z).": normal(log_p_x - log_q),
        "The likelihood is missing: add log p(x_o | z).": normal(log_p_z - log_q),
        "The weights of each image should add up to 1: divide by the sum over its K codes, axis 0.": np.exp(log_w),
        "You divide by the sum over the images: the K codes of one image share the weight, axis 0.": normal(log_w, axis=1),
        "All weights together add up to 1: each image needs its own sum, over axis 0.": np.exp(log_w - logsumexp(log_w)),
        "These are the logarithms of the weights.": np.log(right),
        "After subtracting the maximum the weights do not add up to 1 yet: divide by the sum over the K codes, axis 0.": scaled,
        "After subtracting the maximum you divide by the sum over the images: sum over the K codes, axis 0.": (
            scaled / scaled.sum(axis=1, keepdims=True)
        ),
    }
    expect(weights, right, "the array of weights", mistakes)
    size = 1 / (right**2).sum(axis=0)
    mistakes = {
        "The effective sample size is one over the sum of the squared weights: this is the sum.": 1 / size,
        "Square each weight, then sum: the sum of the weights themselves is 1.": np.ones(4),
        "One size for each image: sum over its codes, axis 0.": 1 / (right**2).sum(),
        "One size for each image: sum over axis 0, not over axis 1.": 1 / (right**2).sum(axis=1),
        "This is one over the largest weight; the squares of all are asked for.": 1 / right.max(axis=0),
    }
    expect(ess, size, "the effective sample size", mistakes)
    low = 40 * log_p_x - 900 * np.arange(1, 5)  # one maximum for all images does not help the others
    with np.errstate(all="ignore"):
        weights, ess = parts(call(weights_and_ess, low, log_p_z, log_q), "the weights", "the sizes")
        finite = np.isfinite(np.asarray(weights, float)).all() and np.isfinite(np.asarray(ess, float)).all()
    if not finite:
        raise NotYet(
            "Right here, but e^-900 is 0 in the computer, and 0 / 0 is not a number: subtract the largest log weight of each "
            "image before you take the exponential. It cancels."
        )
    expect(weights, normal(low + log_p_z - log_q), "the array of weights where log p is -900 and less")


@task("7.6")
def task_6(mean_ssim, filled_in, energy):
    """The bug hunt: three functions to repair."""
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(6)
    smooth = gaussian_filter(rng.random((12, 28, 28)), (0, 2, 2))
    x = (smooth - smooth.min()) / np.ptp(smooth)
    prediction = np.clip(x + 0.15 * rng.standard_normal(x.shape), 0, 1)
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    by_axis = [structural_similarity(x, prediction, channel_axis=axis, **options) for axis in (1, 2)]
    across = structural_similarity(x, prediction, **options)
    x, prediction = x.reshape(12, 784), prediction.reshape(12, 784)
    mistakes = {
        "In `mean_ssim` the windows reach from one image into the next: score the images one by one, or say which axis numbers "
        "them.": across,
        "`mean_ssim` takes the rows of the pictures for channels: axis 0 numbers the images.": by_axis[0],
        "`mean_ssim` takes the columns of the pictures for channels: axis 0 numbers the images.": by_axis[1],
        "This is the global SSIM, one window for everything.": metrics.ssim_global(x, prediction),
    }
    expect(call(mean_ssim, x, prediction), metrics.ssim(x, prediction), "the mean SSIM", mistakes)

    missing = holes(6, x.shape)
    own = x.copy()
    filled = np.where(missing, prediction, x)
    bound = update_wrapper(partial(filled_in, own), filled_in) if callable(filled_in) else filled_in
    expect(
        call(bound, missing, prediction),
        filled,
        "the imputation",
        {"In `filled_in` the mask is the wrong way round.": np.where(missing, x, prediction), "`filled_in` fills nothing in.": x},
    )
    if not np.array_equal(own, x):
        raise NotYet(
            "`filled_in` returns the right images, but x is changed too: `filled = x` is a second name for the same array, so "
            "the truth is overwritten and every error becomes 0. Make a copy."
        )

    model, x, codes = made_up()
    missing = holes(7, x.shape)
    prior = model.family.log_prob(codes).sum(axis=1)
    logits = model.decode(codes)
    cost = bernoulli_loss(*hide(logits, x, missing))[0]
    black = bernoulli_loss(logits, np.where(missing, 0, x))[0]
    expect(
        call(energy, model, x, missing, codes),
        cost - prior,
        "the energy",
        {
            "In `energy` the missing pixels count as black, so pale digits win: hand the mask on.": black - prior,
            "In `energy` the prior has the wrong sign: E is minus the log of p(x_o | z) p(z).": cost + prior,
            "`energy` lacks the prior: E is minus the log of p(x_o | z) p(z).": cost,
            "`energy` counts all pixels: hand the mask on.": bernoulli_loss(logits, x)[0] - prior,
        },
    )


@task("7.7")
def task_7(local_mean):
    """local_mean(x, missing, sigma): the Gaussian-weighted mean of the observed pixels around each pixel."""
    rng = np.random.default_rng(7)
    x, sigma = rng.random((3, 784)), 1.5
    missing = holes(7, x.shape)

    def blurred(a, width):
        return gaussian_filter(np.reshape(a, (-1, 28, 28)).astype(float), width).reshape(-1, 784)

    flat, solid = (0, sigma, sigma), sigma
    observed = np.where(missing, 0, x)
    right = blurred(observed, flat) / blurred(~missing, flat)
    whole = gaussian_filter(np.reshape(~missing, (-1, 28, 28)), flat).reshape(-1, 784)  # Booleans, like what it is given

    def rows(width):
        return gaussian_filter(observed, width) / np.maximum(gaussian_filter((~missing).astype(float), width), 1e-6)

    mistakes = {
        "The filter runs across the images as well, and mixes neighbours in the batch: sigma is (0, sigma, sigma).": (
            blurred(observed, solid) / blurred(~missing, solid)
        ),
        "Missing pixels are averaged in as black: divide by the blurred mask of the observed ones.": blurred(observed, flat),
        "The blur has seen the missing pixels: set them to 0 first.": blurred(x, flat) / blurred(~missing, flat),
        "The filter returns the type it is given, so the blurred mask is made of Booleans: convert the mask first, "
        "`(~missing).astype(float)`.": blurred(observed, flat) / np.maximum(whole, 1e-6),
        "Blur pictures: reshape to (-1, 28, 28), and back at the end.": rows((0, sigma)),
        "Blur pictures, each by itself: reshape to (-1, 28, 28), and back at the end.": rows(sigma),
        "Divide by the share of observed pixels around, not of missing ones.": blurred(observed, flat) / blurred(missing, flat),
        "These are the imputations. Return the prediction, for all pixels.": np.where(missing, right, x),
    }
    expect(call(local_mean, x, missing, sigma), right, "the local mean", mistakes, rtol=1e-5)
    alone = np.ones((1, 784), bool)
    alone[0, 0] = False
    with np.errstate(all="ignore"):
        far = call(local_mean, np.full((1, 784), 0.5), alone, sigma)
    if not np.isfinite(far).all():
        raise NotYet("Far from any observed pixel both blurs are 0, and 0 / 0 is not a number: np.maximum(..., 1e-6) below.")


@task("7.8")
def task_8(paired_interval):
    """paired_interval(gaussian, t): mean difference t minus Gaussian over seeds and its 95 % interval."""
    rng = np.random.default_rng(8)
    for n in (5, 12):
        gaussian = rng.normal(10, 1, n)
        t = gaussian + rng.normal(0.1, 0.2, n)
        difference = t - gaussian
        mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(n)
        factor = student_t(n - 1).ppf(0.975)
        unpaired = np.sqrt((t.var(ddof=1) + gaussian.var(ddof=1)) / n)
        answer = parts(call(paired_interval, gaussian, t), "the mean difference", "the lower end", "the upper end")
        expect(answer[0], mean, "the mean difference", {"The difference is t minus Gaussian.": -mean})
        widths = {
            f"With {n} seeds the standard deviation is itself uncertain: take the factor from Student's t with n - 1 degrees of "
            "freedom, not 1.96.": 1.959964 * error,
            f"1.96 is too small for {n} seeds: take the factor from Student's t with n - 1 degrees of freedom.": 1.96 * error,
            f"The factor should have n - 1 degrees of freedom, {n - 1}.": student_t(n).ppf(0.975) * error,
            "The factor for 95 % leaves 2.5 % at each end: ppf(0.975).": student_t(n - 1).ppf(0.95) * error,
            "This is the spread of single seeds: for the mean divide by sqrt(n).": factor * error * np.sqrt(n),
            "The standard deviation of so few numbers needs n - 1: `ddof=1`.": factor * error * np.sqrt((n - 1) / n),
            "The standard deviation of so few numbers needs n - 1, `ddof=1`; and 1.96 is too small for them: take the factor "
            "from Student's t with n - 1 degrees of freedom.": 1.96 * error * np.sqrt((n - 1) / n),
            "That would be two independent groups, with 2n - 2 degrees of freedom; the runs of one seed are a pair.": (
                student_t(2 * n - 2).ppf(0.975) * unpaired
            ),
            "You have taken the seeds apart: a pair shares first weights, batches and masks, so use the scatter of the "
            "differences.": factor * unpaired,
        }
        for name, end, sign in (("the lower end", answer[1], -1), ("the upper end", answer[2], 1)):
            mistakes = {hint: mean + sign * width for hint, width in widths.items()}
            expect(end, mean + sign * factor * error, name, mistakes, rtol=1e-5)

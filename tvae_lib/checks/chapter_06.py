"""Checks of workbook 06: what a score is worth."""

from types import SimpleNamespace

import numpy as np
from scipy import stats
from skimage.metrics import structural_similarity

from tvae_lib import metrics
from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.latent import StudentT
from tvae_lib.vae_numpy import VAE


@task("6.1")
def task_1(is_active):
    """is_active(mu): for each coordinate whether mu varies over the images."""
    spread, centre = np.array([1.0, 0.02, 0.07, 0.2, 0.03, 1.2, 0.005]), np.array([0, 1.5, 0, 0, -0.3, 0.5, 0.4])
    mu = centre + spread * np.random.default_rng(1).standard_normal((500, 7))
    right = mu.var(axis=0) > 0.01
    mistakes = {
        "This is the variance over the coordinates of each image; take it over the images, axis 0.": mu.var(axis=1) > 0.01,
        "This compares the standard deviation with 0.01: the criterion is for the variance.": mu.std(axis=0) > 0.01,
        "A coordinate with the same mu for every image tells nothing, wherever it lies: the mean square does not see that, "
        "the variance does.": (mu**2).mean(axis=0) > 0.01,
        "A coordinate whose mean is not 0 may still be the same for every image: ask how much mu varies.": (
            np.abs(mu.mean(axis=0)) > 0.01
        ),
        "This asks how large mu is, not how much it varies: take the variance over the images.": np.abs(mu).mean(axis=0) > 0.01,
        "These are the variances themselves: compare them with 0.01.": mu.var(axis=0),
        "This says how many are active; say for each coordinate whether it is.": right.sum(),
        "These are the numbers of the active ones: return True or False for each coordinate.": np.flatnonzero(right),
        "It is the wrong way round: True where the coordinate is in use.": ~right,
    }
    expect(call(is_active, mu), right, "the answer for each coordinate", mistakes)


@task("6.2")
def task_2(error_of_mean):
    """error_of_mean(draws, x, L): expected error of a mean of L draws, from n of them."""
    rng = np.random.default_rng(2)
    x = rng.random((4, 5))
    draws = x + rng.normal(0.1, 0.3, (8, 4, 5))
    n, variance = len(draws), draws.var(axis=0).mean()
    b, whole = variance * n / (n - 1), metrics.mse(x, draws.mean(axis=0))
    for L in (5, 50):
        mistakes = {
            "The variance is too small: with n draws around their own mean, divide by n - 1, `ddof=1`.": (
                whole - variance / n + variance / L
            ),
            "This is the scatter over pixels and images too: take the variance over the draws, axis 0, then the mean.": (
                whole + draws.var(ddof=1) * (1 / L - 1 / n)
            ),
            "The error of the mean of n draws is not a: it still contains b / n. Subtract that.": whole + b / L,
            "This is the error of a single draw, whatever L is.": whole - b / n + b,
            "This is a, the error for infinitely many draws: b / L is missing.": whole - b / n,
            "It is the variance that falls, like 1 / L; you divide by the root of L.": whole - b / n + b / np.sqrt(L),
            "This is the error of the mean of all n draws: where is L?": whole,
            "This is the error of the mean of the first L draws. It depends on which come first, and what if L > n?": metrics.mse(
                x, draws[:L].mean(axis=0)
            ),
            "Everything falls with L here. Only the scatter does, like 1 / L; the distance of the mean from x stays.": (
                (whole + variance) / L
            ),
            "The error of the mean of n draws still contains b / n: subtract that. And b itself needs `ddof=1`.": (
                whole + variance / L
            ),
            "This is b / L alone, the part that falls; a stays, however many draws there are.": b / L,
        }
        expect(call(error_of_mean, draws, x, L), whole - b / n + b / L, f"the error for L = {L}", mistakes)


@task("6.3")
def task_3(paired_interval):
    """paired_interval(a, b): mean of b - a with its 95 % interval."""
    rng = np.random.default_rng(3)
    n = 6
    a = rng.normal(2, 1, n)
    b = a + rng.normal(0.4, 0.3, n)
    d = b - a
    error = d.std(ddof=1) / np.sqrt(n)

    def ends(quantile, error):
        return [d.mean() - quantile * error, d.mean() + quantile * error]

    t = stats.t(n - 1).ppf(0.975)
    unpaired = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
    mistakes = {
        "1.96 is for a known standard deviation. Yours comes from a few runs: take the quantile of t with n - 1 degrees of "
        "freedom.": ends(1.96, error),
        "The factor 2 is a rule of thumb for many runs; for a few, take the quantile of t with n - 1 degrees of freedom.": ends(
            2, error
        ),
        "This treats a and b as independent. Entry i of both is one seed: take the standard deviation of b - a.": ends(
            t, unpaired
        ),
        "This is the interval for two independent samples. Entry i of both is one seed: take the standard deviation of b - a.": (
            ends(stats.t(2 * n - 2).ppf(0.975), unpaired)
        ),
        "The standard deviation of the differences needs n - 1, `ddof=1`.": ends(t, d.std() / np.sqrt(n)),
        "The standard deviation of the differences needs n - 1, `ddof=1`; and for so few of them 1.96 is too small: take the "
        "quantile of t with n - 1 degrees of freedom.": ends(1.96, d.std() / np.sqrt(n)),
        "These are distances from the mean: add them to it.": [-t * error, t * error],
        "This is where one more run may fall. For the mean, divide the standard deviation by sqrt(n).": ends(t, d.std(ddof=1)),
        "The standard deviation is divided by n; a mean of n scatters less by sqrt(n).": ends(t, d.std(ddof=1) / n),
        "Five per cent lie outside, on two sides: take the quantile at 0.975, not at 0.95.": ends(
            stats.t(n - 1).ppf(0.95), error
        ),
        "n differences have n - 1 degrees of freedom, one less: their mean is estimated too.": ends(stats.t(n).ppf(0.975), error),
        "The lower end comes first.": ends(-t, error),
    }
    mean, low, high = parts(call(paired_interval, a, b), "mean", "low", "high")
    expect(mean, d.mean(), "the mean difference", {"This is a - b; the differences b - a are asked for.": -d.mean()})
    expect([low, high], ends(t, error), "the interval", mistakes, rtol=1e-3)  # a quantile from a table will do


@task("6.4")
def task_4(as_rare_as):
    """as_rare_as(z, df): the Gaussian value with the same probability above it."""
    z = np.array([[-6.2, -2.0, -0.3], [0.0, 1.1, 5.3]])
    for df in (3.0, 21.0):
        t = stats.t(df)
        right = np.sign(z) * stats.norm.isf(t.sf(np.abs(z)))
        mistakes = {
            "This makes the standard deviations equal, not the probabilities; the shapes differ too.": z / t.std(),
            "This is the way back, from the Gaussian to t: first the t's probability, then the Gaussian's quantile.": t.ppf(
                stats.norm.cdf(z)
            ),
            "The sign is turned: the probability below is taken for the one above.": -right,
            "These are the probabilities below z; the last step turns them into values of the Gaussian.": t.cdf(z),
            "These are the probabilities above z; the last step turns them into values of the Gaussian.": t.sf(z),
            "The sign got lost: a negative z is as rare as a negative value.": np.abs(right),
            "This is z itself, which is rarer under the Gaussian.": z,
        }
        expect(call(as_rare_as, z, df), right, f"the value for nu = {df:g}", mistakes)
    far = np.array([-40.0, 40.0])
    with np.errstate(all="ignore"):
        answer = call(as_rare_as, far, 21.0)
    if not np.isfinite(answer).all():
        raise NotYet("Right for moderate z, but at 40 the cdf is rounded to 1. Use `sf` and `isf` at |z|, and put the sign back.")
    expect(answer, np.sign(far) * stats.norm.isf(stats.t(21.0).sf(40.0)), "the value at z = 40")


def a_model_and_its_data():
    """A small t-VAE with weights of ordinary size, and made-up images in three sets."""
    rng = np.random.default_rng(5)
    model = VAE(StudentT(3), sizes=(12, 8, 10), dtype=np.float64)
    for value in model.params.values():
        value[...] = rng.normal(0, 0.7, value.shape)
    return model, SimpleNamespace(train=rng.random((30, 12)), valid=rng.random((20, 12)), test=rng.random((40, 12)))


@task("6.5")
def task_5(mean_over_batches, mean_ssim, test_error):
    """Three functions of an evaluation, with four mistakes to find."""
    rng = np.random.default_rng(6)
    x, given_back = rng.random((2, 11, 784))
    x *= np.linspace(0.2, 1, 11)[:, None]  # images differ, and so do the batches
    each = np.square(x - given_back).mean(axis=1)
    batches = [each[i : i + 4].mean() for i in (0, 4, 8)]
    mistakes = {
        "mean_over_batches: the last batch is shorter, and counts as much as the others.": np.mean(batches),
        "mean_over_batches: the images of the last, shorter batch are left out.": np.mean(batches[:2]),
    }
    answer = call(mean_over_batches, metrics.mse, x, given_back, 4)
    expect(answer, each.mean(), "the result of `mean_over_batches`", mistakes)

    windows = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    stack = [images.reshape(-1, 28, 28) for images in (x, given_back)]
    through = "mean_ssim: the windows reach from one image into the next, through the batch axis. Score each image by itself."
    mistakes = {
        through: structural_similarity(*stack, **windows),
        "mean_ssim: the (n, 784) matrix is taken for one picture. Score each image of 28 x 28 by itself.": structural_similarity(
            x, given_back, **windows
        ),
        "mean_ssim: the last axis of the stack is one of the image's own, not the channels.": structural_similarity(
            *stack, channel_axis=-1, **windows
        ),
        "mean_ssim: average over the images; this is their sum.": 11 * metrics.ssim(x, given_back),
    }
    expect(call(mean_ssim, x, given_back), metrics.ssim(x, given_back), "the result of `mean_ssim`", mistakes)

    model, data = a_model_and_its_data()

    def error(images, sample):
        return metrics.mse(images, model.reconstruct(images, sample(np.random.default_rng(7), (len(images), 10))))

    def normal(rng, shape):
        return rng.standard_normal(shape)

    seen = "test_error: these images were used for training. Scores are reported on data.test."
    narrow = "test_error: the noise is Gaussian, but this model draws t noise: `model.family.sample(rng, shape)`."
    mistakes = {
        seen: error(data.train, model.family.sample),
        seen + " And the noise should come from `model.family`.": error(data.train, normal),
        narrow: error(data.test, normal),
        "test_error: right for nu = 21 only. Ask the model for its noise, `model.family.sample(rng, shape)`.": error(
            data.test, lambda rng, shape: rng.standard_t(21, shape)
        ),
        "test_error: the validation images are for choosing settings. Scores are reported on data.test.": error(
            data.valid, model.family.sample
        ),
        narrow + " And the scores are reported on data.test.": error(data.valid, normal),
    }
    answer = call(test_error, model, data, np.random.default_rng(7))
    expect(answer, error(data.test, model.family.sample), "the result of `test_error`", mistakes)


@task("6.6")
def task_6(switch_off):
    """switch_off(z, coordinate, noise): codes with one coordinate replaced by noise."""
    rng = np.random.default_rng(8)
    z, noise, coordinate = rng.normal(size=(5, 5)), rng.normal(size=5), 3
    right, zero, added, row, shared = (z.copy() for _ in range(5))
    right[:, coordinate] = noise
    zero[:, coordinate] = 0
    added[:, coordinate] += noise
    row[coordinate] = noise
    shared[:, coordinate] = noise[0]
    mistakes = {
        "0 is one particular value, and the decoder would draw what belongs to it; a dead coordinate brings noise.": zero,
        "The noise is added to the coordinate, so that its message can still be heard: put the noise in its place.": added,
        "This replaces a whole image's code; replace a column, `[:, coordinate]`.": row,
        "Every image gets the same noise: use all of the array.": shared,
        "This is only the column; return the codes with all their coordinates.": noise,
        "The coordinate is taken out; the decoder wants all of them.": np.delete(z, coordinate, axis=1),
        "Nothing has changed.": z,
    }
    expect(call(switch_off, z, coordinate, noise), right, "the new codes", mistakes)
    answer = switch_off(kept := z.copy(), coordinate, noise)
    if answer is kept or not np.array_equal(kept, z):
        raise NotYet("Right, but z itself was changed on the way, and the next coordinate would start from there: copy it first.")

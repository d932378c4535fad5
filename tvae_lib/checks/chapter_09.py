"""Checks of workbook 09: scores of unusual images, how they are judged, and a prior that is wrong about something."""

import numpy as np
from scipy import stats
from scipy.special import entr, logsumexp

from tvae_lib import outliers, synthetic
from tvae_lib.checks import NotYet, call, expect, task
from tvae_lib.data import load_mnist
from tvae_lib.latent import Gaussian, StudentT, kl_exact
from tvae_lib.vae_numpy import bernoulli_loss


@task("9.1")
def task_1(auc):
    """auc(usual, unusual): the chance that an unusual image scores higher, ties counted half."""
    rng = np.random.default_rng(1)
    usual, unusual = rng.integers(0, 12, 50).astype(float), rng.integers(4, 15, 30).astype(float)
    above, equal = np.mean(unusual[:, None] > usual), np.mean(unusual[:, None] == usual)
    right = above + equal / 2
    ranks = stats.rankdata(np.concatenate([usual, unusual]))[50:].sum()
    mistakes = {
        "The order is reversed: it is the unusual image that should score higher.": 1 - right,
        "Ties are not counted: a pair with equal scores counts one half.": above,
        "Ties count in full: a pair with equal scores counts one half.": above + equal,
        "This is the number of pairs; divide it by how many there are, n times m.": right * 1500,
        "n and m are exchanged: subtract m (m + 1) / 2, for the m unusual images.": (ranks - 50 * 51 / 2) / 1500,
        "From the sum of the ranks subtract what it would be if the unusual images came first, m (m + 1) / 2.": ranks / 1500,
    }
    expect(call(auc, usual, unusual), right, "the AUC", mistakes)
    separate = call(auc, np.array([0.1, 0.2, 0.3]), np.array([0.4, 7.0]))
    expect(separate, 1.0, "the AUC of two groups that do not overlap")


@task("9.2")
def task_2(log_weight, bound):
    """log_weight(family, mu, logvar, eps, logits, x) of one code per image, and bound(log_weights) of K of them."""
    rng = np.random.default_rng(2)
    for family in (StudentT(3), Gaussian()):
        mu, logvar, eps = rng.normal(0, 1, (6, 3)), rng.normal(-1, 0.5, (6, 3)), family.sample(rng, (6, 3))
        logits, x = rng.normal(0, 1, (6, 20)), rng.random((6, 20))
        z, likelihood = mu + np.exp(logvar / 2) * eps, -bernoulli_loss(logits, x)[0]
        noise, prior, log_sigma = (part.sum(axis=1) for part in (family.log_prob(eps), family.log_prob(z), logvar / 2))
        right = likelihood + prior - noise + log_sigma
        mistakes = {
            "log q(z) lacks -log sigma: z is eps stretched by sigma, and its density is that of eps divided by sigma.": right
            - log_sigma,
            "log sigma has the wrong sign: log q = log f(eps) - log sigma, and log q is subtracted.": right - 2 * log_sigma,
            "log sigma is half of logvar: you have the whole.": right + log_sigma,
            "log q is added: the weight divides by q.": likelihood + prior + noise - log_sigma,
            "log p(x | z) is minus the cost: its sign is turned.": right - 2 * likelihood,
            "log p(x | z) is missing.": right - likelihood,
            "The prior is missing.": right - prior,
            "log q is missing.": likelihood + prior,
            "This has the exact KL in it. The weight is of one code: log p(z) - log q(z) at that z stand in its place.": (
                likelihood - kl_exact(family, mu, logvar).sum(axis=1)
            ),
            "The KL is counted twice: log p(z) - log q(z) is its one-draw estimate already.": right
            - kl_exact(family, mu, logvar).sum(axis=1),
            "The prior is taken at eps; it is the prior of the code z.": likelihood + log_sigma,
        }
        if isinstance(family, StudentT):
            mistakes["The prior is the Gaussian one: use `family` for both."] = right - prior + Gaussian().log_prob(z).sum(axis=1)
        expect(call(log_weight, family, mu, logvar, eps, logits, x), right, f"`log_weight` for {family}", mistakes)

    log_w = rng.normal(-8, 3, (16, 5))
    total = logsumexp(log_w, axis=0)
    mistakes = {
        "`bound`: this is the mean of the logarithms, the negative ELBO. Average the weights, then take the logarithm.": (
            -log_w.mean(axis=0)
        ),
        "`bound`: this is minus the log of the *sum*; for the mean add log K.": -total,
        "`bound`: log K has the wrong sign: the mean is smaller than the sum, so the bound is larger.": -total - np.log(16),
        "`bound` lacks its minus sign: large is to mean unusual.": total - np.log(16),
        "`bound` averages over the images; average over the codes, axis 0.": np.log(5) - logsumexp(log_w, axis=1),
        "`bound` is one number for all images: average over axis 0 only.": np.log(80) - logsumexp(log_w),
        "`bound` takes the best weight in place of the mean one.": -log_w.max(axis=0),
    }
    right = np.log(16) - total
    expect(call(bound, log_w), right, "`bound`", mistakes)
    if not np.isfinite(np.asarray(call(bound, log_w - 900), float)).all():
        raise NotYet("`bound`: exp(-900) is 0 to a computer, and images do cost 900 nats. `logsumexp` takes care of that.")
    expect(call(bound, log_w - 900), right + 900, "`bound`, for images of 900 nats,")


@task("9.3")
def task_3(floor):
    """floor(x): the lowest reconstruction cost that any decoder could reach for each image."""
    x = np.random.default_rng(3).random((5, 12)) * 0.9 + 0.05
    each = entr(x) + entr(1 - x)
    mistakes = {
        "Both parts count, the white one, x log x, and the black one, (1 - x) log(1 - x).": entr(x).sum(axis=1),
        "The sign is turned: a cost is positive.": -each.sum(axis=1),
        "The pixels' costs add up; this is their mean.": each.mean(axis=1),
        "This is one number for all images: sum over axis 1.": each.sum(),
        "Sum over the pixels of each image, axis 1.": each,
        "This is in bits: use the natural logarithm.": each.sum(axis=1) / np.log(2),
        "This is the cost at pi = 1/2; the best decoder has pi = x.": np.full(5, 12 * np.log(2)),
    }
    expect(call(floor, x), each.sum(axis=1), "the floor", mistakes)
    with_extremes = np.array([[0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    answer = np.asarray(call(floor, with_extremes), float)
    if not np.isfinite(answer).all():
        raise NotYet("Pixels that are exactly 0 or 1 give NaN: 0 log 0 counts as 0, and `entr` knows that.")
    expect(answer, [np.log(2), 0], "the floor of an image with pixels 0 and 1", rtol=1e-4)  # clipping at 1e-6 will do


@task("9.4")
def task_4(threshold, share_flagged, pca_score):
    """The bug hunt: an alarm and its baseline, three functions to repair."""
    rng = np.random.default_rng(4)
    usual, new = rng.gamma(4, 10, 1999), rng.gamma(6, 12, 700)
    rate = 0.05
    found = np.asarray(call(threshold, usual, rate), float)
    if found.shape != ():
        raise NotYet("`threshold` should return one number.")
    alarms = np.mean(usual > found)
    if abs(alarms - (1 - rate)) < 0.002:
        raise NotYet("`threshold`: 95 % of the usual images lie above it. A rate of 5 % means that 5 % do.")
    if abs(alarms - rate) > 0.002:
        raise NotYet(f"`threshold`: {alarms:.1%} of the usual images lie above it where {rate:.0%} are expected.")
    limit = np.quantile(usual, 1 - rate)
    pooled = np.concatenate([usual, new])
    mistakes = {
        "`share_flagged` still takes the threshold from a mixture that contains the new images: the more unusual ones there are, "
        "the fewer it flags.": np.mean(new > np.quantile(pooled, 1 - rate)),
        "`share_flagged` takes the threshold from the new images, and so flags 5 % of them, whatever they are.": rate,
        "`share_flagged` counts the usual images too: the share of the new ones is asked for.": np.mean(pooled > limit),
        "`share_flagged` counts the images below the threshold.": np.mean(new <= limit),
        "`share_flagged` returns a number of images; divide it by how many there are.": np.sum(new > limit),
        "`share_flagged` uses the quantile at 5 %, so nearly everything is flagged.": np.mean(new > np.quantile(usual, rate)),
    }
    expect(call(share_flagged, usual, new, rate), np.mean(new > limit), "`share_flagged`", mistakes, rtol=0.006)

    train = rng.normal(0, 1, (80, 10)) @ rng.normal(0, 1, (10, 10)) + 2
    x = rng.normal(0, 2, (30, 10)) * [4, 1, 1, 1, 1, 1, 1, 1, 1, 0.1]

    def score(fit_to, center=None):
        mean = fit_to.mean(axis=0)
        axes = np.linalg.svd(fit_to - mean)[2][:3]
        start = x - (mean if center is None else center)
        return np.square(start - start @ axes.T @ axes).sum(axis=1)

    mistakes = {
        "`pca_score` is still fitted to the images that it is to judge: an unusual image then helps to define what is usual.": (
            score(x)
        ),
        "`pca_score` is fitted to usual and new images together: fit it to the training images only.": score(
            np.concatenate([train, x])
        ),
        "`pca_score` does not take the training mean off before the projection.": score(train, center=0.0),
        "`pca_score` is the mean over the pixels now; leave it the sum.": score(train) / 10,
    }
    expect(call(pca_score, train, x, 3), score(train), "`pca_score`", mistakes, rtol=1e-5)


@task("9.5")
def task_5(log_evidence):
    """log_evidence(family, logits, x, z, spacing): log p(x) by a sum over a grid of codes."""
    rng = np.random.default_rng(5)
    z = synthetic.GRID[::10]
    spacing, logits = np.gradient(z), synthetic.true_logits(z)
    x = synthetic.questionnaire(StudentT(3), 7, rng)[0].astype(float)
    likelihood = x @ logits.T - np.logaddexp(0, logits).sum(axis=1)
    for family in (StudentT(3), Gaussian()):
        prior, step = family.log_prob(z), np.log(spacing)
        right = logsumexp(likelihood + prior + step, axis=1)
        mistakes = {
            "The prior is missing: the integral is over p(x | z) p(z).": logsumexp(likelihood + step, axis=1),
            "The spacing is missing. The grid is uneven: closest in the middle, so the middle is counted too often.": logsumexp(
                likelihood + prior, axis=1
            ),
            "The spacing is missing: a mean over the grid is the integral only if the points are evenly spread.": logsumexp(
                likelihood + prior, axis=1
            )
            - np.log(len(z)),
            "Prior and spacing are both missing.": logsumexp(likelihood, axis=1),
            "Prior and spacing are both missing; a mean over the grid is no mean over the prior.": logsumexp(likelihood, axis=1)
            - np.log(len(z)),
            "This is NaN, like the log of a negative number: where you multiply by the prior, exponentiate its logarithm.": (
                np.full(7, np.nan)
            ),
            "The spacing is added where its logarithm belongs.": logsumexp(likelihood + prior + spacing, axis=1),
            "This is the highest value of the integrand, not its integral.": (likelihood + prior).max(axis=1),
            "This is p(x); its logarithm is asked for.": np.exp(right),
            "This is -log p(x): turn the sign.": -right,
        }
        expect(call(log_evidence, family, logits, x, z, spacing), right, f"log p(x) for {family}", mistakes, rtol=1e-5)


@task("9.6")
def task_6(p_of_largest):
    """p_of_largest(differences, rng, repeats): is the largest mean difference more than selection? Judged on made-up sets."""
    size = np.random.default_rng(6).uniform(0.5, 1.5, 200)  # on some images any two models differ more than on others

    def p_value(seed, effect=0.0, image=17):
        differences = np.random.default_rng((6, seed)).normal(0, 1, (8, 200)) * size
        differences[:, image] += effect
        p = np.asarray(call(p_of_largest, differences, np.random.default_rng(seed), 200), float)
        if p.shape != () or not 0 <= p <= 1:
            raise NotYet("The answer should be one number between 0 and 1, the share of the repeats.")
        return float(p)

    innocent = [p_value(seed) for seed in range(8)]
    if np.mean(innocent) < 0.05:
        raise NotYet(
            "Where there is no effect at all it still finds one: the winner was chosen among 200 images. In every repeat take "
            "the largest of *all* images, as was done with the real signs."
        )
    if sum(p < 0.05 for p in innocent) > 2 or np.mean(innocent) < 0.1:
        raise NotYet(f"Where there is no effect, {sum(p < 0.05 for p in innocent)} of 8 sets get a share below 0.05: too many.")
    found = {sign: p_value(9, effect=sign * 6) for sign in (1, -1)}
    if min(found.values()) > 0.05 and min(innocent) > 0.95:
        raise NotYet(
            "The share is 1 whatever the differences are: with one sign per image the size of its mean never changes. "
            "Each entry, pair by image, needs a sign of its own."
        )
    if min(found.values()) > 0.05 and max(innocent) < 0.5:
        raise NotYet("The largest mean of a repeat is compared with something else than the largest mean of the real signs.")
    if max(found.values()) > 0.05 and min(found.values()) < 0.05:
        raise NotYet("An effect in one direction is seen, one in the other is not: take the largest *absolute* mean.")
    if max(found.values()) > 0.05:
        raise NotYet(
            "It overlooks an image on which all eight pairs differ by 6. Count the repeats whose largest mean is at least "
            "the real one."
        )
    if np.mean(innocent) < np.mean([_share(seed, size) for seed in range(8)]) - 0.1:
        raise NotYet(
            "The shares are too small: take the absolute value in the repeats as well as for the real signs, and signs that are "
            "never 0."
        )
    if np.mean(innocent) > 0.95:
        raise NotYet("Where there is no effect the share should be anything from 0 to 1; yours is nearly always 1.")


def _share(seed, size, repeats=200):
    """What task 6 should find on the innocent set of this seed."""
    differences = np.random.default_rng((6, seed)).normal(0, 1, (8, 200)) * size
    real = np.abs(differences.mean(axis=0)).max()
    signs = np.random.default_rng(seed).choice([-1, 1], (repeats, *differences.shape))
    return np.mean(np.abs((signs * differences).mean(axis=1)).max(axis=1) >= real)


@task("9.7")
def task_7(my_unusual):
    """my_unusual(digits, rng): unusual images of the reader's own."""
    digits = load_mnist().test[:40]
    images, again, other = (np.asarray(call(my_unusual, digits, np.random.default_rng(seed)), float) for seed in (1, 1, 2))
    if images.shape != digits.shape:
        raise NotYet(f"The images should have the shape of the digits, {digits.shape}, one row each, and have {images.shape}.")
    if not np.isfinite(images).all():
        raise NotYet("Some pixels are NaN or infinite.")
    if images.min() < -1e-6 or images.max() > 1 + 1e-6:
        raise NotYet(f"Pixels lie between 0 and 1; yours go from {images.min():.2f} to {images.max():.2f}. `np.clip` helps.")
    if not np.array_equal(images, again):
        raise NotYet(
            "With a generator of the same seed it gives other images: draw from `rng` only, so that others can repeat it."
        )
    same = np.mean(np.all(np.abs(images - digits) < 1e-6, axis=1))
    if same > 0.5:
        raise NotYet(f"{same:.0%} of the images are the digits themselves.")
    kinds = outliers.unusual_images(digits, seed=0)
    for name in ("fashion", "inverted"):
        if all(np.allclose(made, kinds[name], atol=1e-6) for made in (images, other)):
            raise NotYet(f'This is the chapter\'s kind "{name}": try one that it has not tried.')

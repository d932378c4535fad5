"""Right and wrong answers to the tasks of workbook 09; see tests/classroom/test_checks.py."""

import numpy as np
from scipy import stats
from scipy.integrate import trapezoid
from scipy.special import expit, logsumexp
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from tvae_lib.data import load_fashion_test
from tvae_lib.latent import Gaussian, kl_exact, kl_sample
from tvae_lib.vae_numpy import bernoulli_loss


def auc(usual, unusual):
    return roc_auc_score([0] * len(usual) + [1] * len(unusual), [*usual, *unusual])


def n_for_m(usual, unusual):
    n, m = len(usual), len(unusual)
    return (stats.rankdata([*usual, *unusual])[n:].sum() - n * (n + 1) / 2) / (n * m)


def auc_by_pairs(ties):
    return lambda usual, unusual: np.mean([(a > usual) + ties * (a == usual) for a in unusual])


def log_weight(family, mu, logvar, eps, logits, x):
    pi = expit(logits)
    likelihood = np.sum(x * np.log(pi) + (1 - x) * np.log(1 - pi), axis=1)
    return likelihood - kl_sample(family, mu, logvar, eps)


def weight_with(correct):
    """The right log weight plus something made of the parts."""

    def wrong(family, mu, logvar, eps, logits, x):
        z = mu + np.exp(logvar / 2) * eps
        parts = {
            "prior": family.log_prob(z),
            "noise": family.log_prob(eps),
            "log_q": family.log_prob(eps) - logvar / 2,
            "log_sigma": logvar / 2,
            "kl": kl_exact(family, mu, logvar),
            "gaussian": Gaussian().log_prob(z),
        }
        parts = {name: part.sum(axis=1) for name, part in parts.items()}
        parts["cost"] = bernoulli_loss(logits, x)[0]
        return log_weight(family, mu, logvar, eps, logits, x) + correct(parts)

    return wrong


def bound(log_weights):
    largest = log_weights.max(axis=0)
    return -largest - np.log(np.mean(np.exp(log_weights - largest), axis=0))


def naive_bound(log_weights):
    with np.errstate(divide="ignore"):
        return -np.log(np.mean(np.exp(log_weights), axis=0))


def floor(x):
    inside = np.clip(x, 1e-300, 1), np.clip(1 - x, 1e-300, 1)
    return -sum(part * np.log(part) for part in inside).sum(axis=1)


def floor_of_each_pixel(x):
    with np.errstate(all="ignore"):
        return -(x * np.log(x) + (1 - x) * np.log(1 - x))


def floor_with_nan(x):
    return floor_of_each_pixel(x).sum(axis=1)


def threshold(usual, rate):
    return np.sort(usual)[::-1][round(rate * len(usual))]


def share_flagged(usual, new, rate):
    return sum(score > threshold(usual, rate) for score in new) / len(new)


def pca_score(train, x, components):
    center = train.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(train.T))
    rest = vectors[:, np.argsort(values)[:-components]]
    return np.square((x - center) @ rest).sum(axis=1)


def pca_fitted(choose=lambda train, x: train, together=np.sum):
    def score(train, x, components):
        pca = PCA(components).fit(choose(train, x))
        return together(np.square(x - pca.inverse_transform(pca.transform(x))), axis=1)

    return score


def pca_without_center(train, x, components):
    axes = PCA(components).fit(train).components_
    return np.square(x - x @ axes.T @ axes).sum(axis=1)


def log_evidence(family, logits, x, z, spacing):
    p = expit(logits)
    likelihood = np.array([np.prod(np.where(row == 1, p, 1 - p), axis=1) for row in x])
    return np.log(trapezoid(likelihood * np.exp(family.log_prob(z)), z, axis=1))


def evidence_with(integrand, finish=np.log):
    def wrong(family, logits, x, z, spacing):
        likelihood = np.exp(x @ logits.T - np.logaddexp(0, logits).sum(axis=1))
        with np.errstate(invalid="ignore"):
            return finish(integrand(likelihood, np.exp(family.log_prob(z)), spacing))

    return wrong


def spacing_added(family, logits, x, z, spacing):
    likelihood = [-bernoulli_loss(logits, np.tile(row, (len(z), 1)))[0] for row in x]
    return logsumexp(likelihood + family.log_prob(z) + spacing, axis=1)


def sign_flips(statistic=lambda d: np.abs(d.mean(axis=0)).max(), signs=lambda rng, d: rng.choice([-1, 1], d.shape), real=None):
    def p_of_largest(differences, rng, repeats):
        observed = (real or statistic)(differences)
        count = sum(statistic(signs(rng, differences) * differences) >= observed for _ in range(repeats))
        return (count + 1) / (repeats + 1)

    return p_of_largest


def winner_alone(differences, rng, repeats):
    winner = np.argmax(np.abs(differences.mean(axis=0)))
    return stats.ttest_1samp(differences[:, winner], 0).pvalue


def one_spread_for_all(differences, rng, repeats):
    n, images = differences.shape
    error = differences.std(axis=0, ddof=1).mean() / np.sqrt(n)
    return min(1, images * 2 * stats.norm.sf(np.abs(differences.mean(axis=0)).max() / error))


def above_the_average_repeat(differences, rng, repeats):
    flipped = rng.choice([-1, 1], (repeats, *differences.shape)) * differences
    largest = np.abs(flipped.mean(axis=1)).max(axis=1)
    return np.mean(largest >= largest.mean())


def upside_down(digits, rng):
    return digits[:, ::-1]


def two_at_once(digits, rng):
    return np.maximum(digits, digits[rng.permutation(len(digits))])


ANSWERS = {
    1: {
        "right": (auc,),
        "wrong": [
            ((lambda usual, unusual: auc(unusual, usual),), "order is reversed"),
            ((auc_by_pairs(ties=0),), "Ties are not counted"),
            ((auc_by_pairs(ties=1),), "Ties count in full"),
            ((lambda usual, unusual: stats.mannwhitneyu(unusual, usual).statistic,), "number of pairs"),
            (
                (lambda usual, unusual: stats.rankdata([*usual, *unusual])[len(usual) :].sum() / len(usual) / len(unusual),),
                "first, m (m + 1) / 2",
            ),
            ((n_for_m,), "n and m are exchanged"),
        ],
    },
    2: {
        "right": (log_weight, bound),
        "wrong": [
            ((weight_with(lambda p: -p["log_sigma"]), bound), "lacks -log sigma"),
            ((weight_with(lambda p: -2 * p["log_sigma"]), bound), "log sigma has the wrong sign"),
            ((weight_with(lambda p: p["log_sigma"]), bound), "log sigma is half of logvar"),
            ((weight_with(lambda p: p["log_q"]), bound), "log q is missing"),
            ((weight_with(lambda p: p["cost"]), bound), "log p(x | z) is missing"),
            ((weight_with(lambda p: p["noise"] - p["prior"]), bound), "it is the prior of the code z"),
            ((weight_with(lambda p: 2 * p["log_q"]), bound), "the weight divides by q"),
            ((weight_with(lambda p: 2 * p["cost"]), bound), "minus the cost"),
            ((weight_with(lambda p: p["log_q"] - p["prior"] - p["kl"]), bound), "exact KL"),
            ((weight_with(lambda p: -p["kl"]), bound), "counted twice"),
            ((weight_with(lambda p: -p["prior"]), bound), "prior is missing"),
            ((weight_with(lambda p: p["gaussian"] - p["prior"]), bound), "use `family` for both"),
            ((log_weight, lambda log_w: -log_w.mean(axis=0)), "mean of the logarithms"),
            ((log_weight, lambda log_w: bound(log_w) - np.log(len(log_w))), "add log K"),
            ((log_weight, lambda log_w: -np.log(len(log_w) * np.exp(log_w).sum(axis=0))), "log K has the wrong sign"),
            ((log_weight, lambda log_w: -np.log(np.exp(log_w).mean())), "one number for all images"),
            ((log_weight, lambda log_w: np.min(-log_w, axis=0)), "takes the best weight"),
            ((log_weight, lambda log_w: -bound(log_w)), "lacks its minus sign"),
            ((log_weight, lambda log_w: bound(log_w.T)), "axis 0"),
            ((log_weight, naive_bound), "exp(-900) is 0"),
        ],
    },
    3: {
        "right": (floor,),
        "wrong": [
            ((floor_with_nan,), "0 log 0"),
            ((floor_of_each_pixel,), "Sum over the pixels of each image"),
            ((lambda x: -np.sum(x * np.log(x), axis=1),), "Both parts count"),
            ((lambda x: -floor(x),), "a cost is positive"),
            ((lambda x: floor(x) / x.shape[1],), "this is their mean"),
            ((lambda x: floor(x).sum(),), "one number for all"),
            ((lambda x: floor(x) / np.log(2),), "in bits"),
            ((lambda x: np.full(len(x), x.shape[1] * np.log(2)),), "cost at pi = 1/2"),
        ],
    },
    4: {
        "right": (threshold, share_flagged, pca_score),
        "wrong": [
            ((np.quantile, share_flagged, pca_score), "95 % of the usual images lie above"),
            ((lambda usual, rate: np.quantile(usual, 1 - rate / 2), share_flagged, pca_score), "where 5% are expected"),
            (
                (threshold, lambda usual, new, rate: np.mean(new > threshold([*usual, *new], rate)), pca_score),
                "from a mixture",
            ),
            ((threshold, lambda usual, new, rate: np.mean(new > threshold(new, rate)), pca_score), "whatever they are"),
            ((threshold, lambda usual, new, rate: np.sum(new > threshold(usual, rate)), pca_score), "number of images"),
            ((threshold, lambda usual, new, rate: np.mean(new > np.quantile(usual, rate)), pca_score), "nearly everything"),
            ((lambda usual, rate: np.quantile(usual, [1 - rate]), share_flagged, pca_score), "should return one number"),
            (
                (threshold, lambda usual, new, rate: np.mean(np.append(usual, new) > threshold(usual, rate)), pca_score),
                "the share of the new ones",
            ),
            ((threshold, lambda usual, new, rate: 1 - share_flagged(usual, new, rate), pca_score), "images below the threshold"),
            ((threshold, share_flagged, pca_without_center), "take the training mean off"),
            ((threshold, share_flagged, pca_fitted(together=np.mean)), "the mean over the pixels now"),
            ((threshold, share_flagged, pca_fitted(lambda train, x: x)), "to the images that it is to judge"),
            (
                (threshold, share_flagged, pca_fitted(lambda train, x: np.concatenate([train, x]))),
                "usual and new images together",
            ),
        ],
    },
    5: {
        "right": (log_evidence,),
        "wrong": [
            ((evidence_with(lambda p, prior, step: p @ step),), "The prior is missing"),
            ((evidence_with(lambda p, prior, step: p @ prior),), "counted too often"),
            ((evidence_with(lambda p, prior, step: (p * prior).mean(axis=1)),), "evenly spread"),
            ((evidence_with(lambda p, prior, step: p.mean(axis=1)),), "both missing"),
            ((evidence_with(lambda p, prior, step: p.sum(axis=1)),), "spacing are both missing."),
            ((evidence_with(lambda p, prior, step: p @ (np.log(prior) * step)),), "exponentiate its logarithm"),
            ((spacing_added,), "added where its logarithm"),
            ((evidence_with(lambda p, prior, step: (p * prior).max(axis=1)),), "highest value"),
            ((evidence_with(lambda p, prior, step: p @ (prior * step), finish=np.asarray),), "its logarithm is asked for"),
            ((lambda *given: -log_evidence(*given),), "turn the sign"),
        ],
    },
    6: {
        "right": (sign_flips(),),
        "wrong": [
            ((winner_alone,), "chosen among 200"),
            ((sign_flips(signs=lambda rng, d: rng.choice([-1, 1], (1, d.shape[1]))),), "sign of its own"),
            ((sign_flips(statistic=lambda d: d.mean(axis=0).max()),), "absolute"),
            (
                (sign_flips(statistic=lambda d: np.abs(d.mean(axis=0)).mean(), real=lambda d: np.abs(d.mean(axis=0)).max()),),
                "all* images",
            ),
            (
                (sign_flips(statistic=lambda d: d.mean(axis=0).max(), real=lambda d: np.abs(d.mean(axis=0)).max()),),
                "too small",
            ),
            ((sign_flips(signs=lambda rng, d: rng.integers(-1, 2, d.shape)),), "never 0"),
            ((one_spread_for_all,), "of 8 sets get a share below 0.05"),
            ((above_the_average_repeat,), "compared with something else"),
            ((lambda *given: sign_flips()(*given) > 0.05,), "anything from 0 to 1"),
            ((lambda differences, rng, repeats: 40,), "between 0 and 1"),
            ((lambda differences, rng, repeats: 1 - sign_flips()(differences, rng, repeats),), "overlooks an image"),
        ],
    },
    7: {
        "right": (two_at_once,),
        "wrong": [
            ((lambda digits, rng: digits.copy(),), "the digits themselves"),
            ((lambda digits, rng: digits + rng.normal(0, 0.2, digits.shape),), "between 0 and 1"),
            ((lambda digits, rng: digits.reshape(-1, 28, 28)[:, ::-1],), "shape of the digits"),
            ((lambda digits, rng: np.clip(digits + np.random.default_rng().random(digits.shape), 0, 1),), "draw from `rng` only"),
            ((lambda digits, rng: 1 - digits,), "inverted"),
            ((lambda digits, rng: load_fashion_test()[0][: len(digits)],), "fashion"),
            ((lambda digits, rng: np.full_like(digits, np.nan),), "NaN"),
        ],
    },
}

"""Right and wrong answers to the tasks of workbook 03; see tests/classroom/test_checks.py."""

import numpy as np
from scipy import integrate, stats
from scipy.special import expit, polygamma


def with_v(v, combine=lambda z, v, df: z / np.sqrt(v / df)):
    """A sampler from the recipe, with v(rng, df, shape) in the place of the chi-square."""
    return lambda rng, df, shape: combine(rng.standard_normal(shape), v(rng, df, shape), df)


def library_t(rng, df, shape):
    return rng.standard_t(df, shape)


def by_inversion(rng, df, shape):
    return stats.t.ppf(rng.random(shape), df)


def chi_square(rng, df, shape):
    return rng.chisquare(df, shape)


upside_down = with_v(chi_square, lambda z, v, df: z * np.sqrt(v / df))
rate_for_scale = with_v(lambda rng, df, shape: rng.gamma(df / 2, 1 / 2, shape))
one_per_row = with_v(lambda rng, df, shape: rng.chisquare(df, (shape[0],) + (1,) * (len(shape) - 1)))
one_per_column = with_v(lambda rng, df, shape: rng.chisquare(df, shape[1:]))
one_for_all = with_v(lambda rng, df, shape: rng.chisquare(df))


def tail_z(draws, m, df):
    p = 1 - (stats.t.cdf(m, df) - stats.t.cdf(-m, df))
    return (np.mean(abs(draws) > m) - p) / (p * (1 - p) / len(draws)) ** 0.5


def tail_z_from(p, spread=lambda n, p: np.sqrt(n * p * (1 - p)), count=lambda draws, m: np.sum(np.abs(draws) > m)):
    return lambda draws, m, df: (count(draws, m) - len(draws) * p(m, df)) / spread(len(draws), p(m, df))


def both_tails(m, df):
    return 2 * stats.t.sf(m, df)


def count_above(draws, m):
    return np.sum(draws > m)


def share_difference(draws, m, df, spread=lambda p: 1.0):
    p = 2 * stats.t.cdf(-m, df)
    return (np.mean(np.abs(draws) > m) - p) / spread(p)


def typical_largest(df, n):
    return stats.t.ppf((1 + np.exp(np.log(0.5) / n)) / 2, df)


def reparameterise(mu, logvar, eps):
    return eps * np.sqrt(np.exp(logvar)) + mu


def root(logvar):
    with np.errstate(invalid="ignore"):
        return np.sqrt(logvar)


def backward(dz, logvar, eps):
    return 1.0 * dz, dz * eps * np.exp(0.5 * logvar - np.log(2))


def backward_with(factor):
    return lambda dz, logvar, eps: (dz, factor(np.exp(logvar / 2), eps) * dz)


def score_terms(g, mu, sigma, eps, df):
    return g(mu + sigma * eps) * eps * (1 + df) / (df + eps * eps) / sigma


def with_the_priors_score(g, mu, sigma, eps, df):
    z = mu + sigma * eps
    return g(z) * (df + 1) * z / (sigma * (df + z**2))


def pathwise(g, mu, sigma, eps, df, h=1e-5):
    z = mu + sigma * eps
    return (g(z + h) - g(z - h)) / (2 * h)


def log_variance(log_of, density):
    """Variance of log_of(x) where x > 0 has the density, by integration over log x."""

    def moment(k):
        def integrand(s):
            return log_of(np.exp(s)) ** k * density(np.exp(s)) * np.exp(s)

        return integrate.quad(integrand, -60, 0, epsabs=1e-13)[0] + integrate.quad(integrand, 0, 7, epsabs=1e-13)[0]

    return moment(2) - moment(1) ** 2


def shared_correlation(df):
    v = log_variance(lambda v: 0.5 * np.log(v), stats.chi2(df).pdf)
    return v / (v + log_variance(np.log, lambda z: 2 * stats.norm.pdf(z)))


def shared_from(v, z):
    return v / (v + z)


def independent(transform=lambda t: np.log(np.abs(t)), allowance=lambda n: 4 / np.sqrt(n), pairs="all"):
    def looks_independent(draws):
        correlation = np.corrcoef(transform(draws).T)
        upper = correlation[np.triu_indices(len(correlation), 0 if pairs == "and the diagonal" else 1)]
        if pairs == "first":
            upper = correlation[0, 1]
        return bool(np.all(np.abs(upper) < allowance(len(draws))))

    return looks_independent


def by_ranks(draws):
    return all(
        stats.spearmanr(np.abs(draws[:, i]), np.abs(draws[:, j])).pvalue > 1e-4 for i in range(draws.shape[1]) for j in range(i)
    )


ANSWERS = {
    1: {
        "right": (by_inversion,),
        "wrong": [
            ((upside_down,), "upside down"),
            ((rate_for_scale,), "you gave it the rate"),
            ((one_per_row,), "the coordinates of a row share one V"),
            ((one_per_column,), "once per column"),
            ((one_for_all,), "for the whole array"),
            ((with_v(chi_square, lambda z, v, df: z / (v / df)),), "square root of V / nu is missing"),
            ((with_v(chi_square, lambda z, v, df: z / np.sqrt(v)),), "not divided by nu"),
            ((with_v(lambda rng, df, shape: rng.gamma(df / 2, 1, shape)),), "scale of the gamma is missing"),
            ((with_v(lambda rng, df, shape: rng.gamma(df, 2, shape)),), "not nu"),
            ((lambda rng, df, shape: rng.standard_normal(shape),), "Where is V?"),
            ((lambda rng, df, shape: library_t(rng, df, shape) * np.sqrt((df - 2) / df),), "a standard t has the variance"),
            ((lambda rng, df, shape: np.random.default_rng(0).standard_t(df, shape),), "make no generator"),
            ((lambda rng, df, shape: np.random.default_rng().standard_t(df, shape),), "draw from `rng` only"),
            ((lambda rng, df, shape: library_t(rng, df, shape[0]),), "of the given shape (20000, 2)"),
            ((lambda rng, df, shape: library_t(rng, df, shape[:2]),), "of the given shape (3, 2, 4)"),
            ((with_v(chi_square, lambda z, v, df: np.abs(z) / np.sqrt(v / df)),), "half of its draws are negative"),
            (
                (with_v(lambda rng, df, shape: df * rng.standard_normal(shape), lambda z, v, df: z / root(v / df)),),
                "NaN or infinity",
            ),
            ((lambda rng, df, shape: np.full(shape, library_t(rng, df, None)),), "all draws are equal"),
            (
                (with_v(lambda rng, df, shape: (rng.standard_normal((df, *shape)) ** 2).sum(axis=0)),),
                "Your code stops at the line",
            ),
            ((lambda rng, df, shape: library_t(rng, df / 2, shape),), "times as far"),
            ((lambda rng, df, shape: 3 * library_t(rng, df, shape),), "yours reach 2.99 times"),
        ],
    },
    2: {
        "right": (tail_z,),
        "wrong": [
            ((tail_z_from(lambda m, df: stats.t.sf(m, df)),), "p is twice the upper tail"),
            ((tail_z_from(both_tails, count=count_above),), "only the upper one is counted"),
            ((tail_z_from(lambda m, df: 1 - stats.t.cdf(m, df), count=count_above),), "the upper tail alone: both are asked for"),
            ((tail_z_from(both_tails, spread=lambda n, p: n * p * (1 - p)),), "divide by the variance"),
            ((tail_z_from(both_tails, spread=lambda n, p: np.sqrt(n * p)),), "not n p"),
            ((tail_z_from(lambda m, df: 2 * stats.norm.sf(m)),), "that of a normal"),
            ((lambda draws, m, df: abs(tail_z(draws, m, df)),), "The sign is missing"),
            (
                (lambda draws, m, df: (np.abs(draws) > m).sum() - len(draws) * both_tails(m, df),),
                "standard deviation of the count",
            ),
            ((share_difference,), "divide it by the share's standard deviation"),
            ((lambda *arguments: share_difference(*arguments, spread=lambda p: (p - p**2) ** 0.5),), "you left out n"),
        ],
    },
    3: {
        "right": (library_t, with_v(chi_square), by_inversion),
        "wrong": [
            ((upside_down, rate_for_scale, one_per_row), "`first`: The root is upside down"),
            ((library_t, rate_for_scale, one_per_row), "`second`: V has the mean nu / 4"),
            ((library_t, library_t, one_per_row), "`third`: the coordinates of a row share one V"),
            ((library_t, library_t, one_for_all), "`third`: one V is drawn for the whole array"),
            (
                (library_t, with_v(lambda rng, df, shape: rng.gamma(df / 2, 1, shape)), library_t),
                "`second`: V has the mean nu / 2",
            ),
        ],
    },
    4: {
        "right": (typical_largest,),
        "wrong": [
            ((lambda df, n: stats.t.isf(1 - 0.5 ** (1 / n), df),), "Both signs count"),
            ((lambda df, n: stats.t.isf(0.5 / n, df),), "one draw in n"),
            ((lambda df, n: n ** (1 / df),), "lacks its constant"),
            ((lambda df, n: stats.t.isf(0.25 / n, df),), "*expected number*"),
            ((lambda df, n: stats.t.isf(np.log(2) / (2 * n), df),), "for large n only"),
            ((lambda df, n: stats.norm.isf((1 - 0.5 ** (1 / n)) / 2),), "for a normal"),
            ((lambda df, n: stats.t.ppf((1 + 1 / (2 * n)) / 2, df),), "take the n-th root of 1/2"),
            ((lambda df, n: typical_largest(df, np.arange(1, n + 1)),), "One number is asked for, for one nu and one n"),
        ],
    },
    5: {
        "right": (reparameterise, backward),
        "wrong": [
            ((lambda mu, logvar, eps: mu + np.exp(logvar) * eps, backward), "multiplies by sigma squared"),
            ((lambda mu, logvar, eps: mu + root(logvar) * eps, backward), "not its root"),
            ((lambda mu, logvar, eps: mu + np.exp(logvar) / 2 * eps, backward), "exponential of the half"),
            ((lambda mu, logvar, eps: np.exp(logvar / 2) * eps, backward), "leaves out mu"),
            ((lambda mu, logvar, eps: mu + 0.5 * logvar * eps, backward), "multiplies by a logarithm"),
            ((lambda mu, logvar, eps: mu + eps * np.exp(-logvar / 2), backward), "it should stretch the noise by it"),
            (
                (reparameterise, lambda dz, logvar, eps: (np.exp(logvar / 2) * dz, backward(dz, logvar, eps)[1])),
                "there is no factor",
            ),
            ((reparameterise, lambda dz, logvar, eps: (dz.sum(axis=0), backward(dz, logvar, eps)[1])), "keep the shape of mu"),
            ((reparameterise, backward_with(lambda sigma, eps: eps / 2)), "lacks sigma: the derivative"),
            (
                (reparameterise, lambda dz, logvar, eps: (dz, np.exp(logvar / 2) * eps / 2)),
                "the derivative that arrives from above",
            ),
            ((reparameterise, backward_with(lambda sigma, eps: sigma * eps)), "lacks the factor 1/2"),
            ((reparameterise, backward_with(lambda sigma, eps: eps)), "derivative for sigma"),
            ((reparameterise, backward_with(lambda sigma, eps: sigma**2 * eps / 2)), "uses sigma squared"),
            ((reparameterise, backward_with(lambda sigma, eps: sigma / 2)), "lacks eps"),
            ((reparameterise, lambda dz, logvar, eps: dz), "Return 2 things"),
        ],
    },
    6: {
        "right": (score_terms,),
        "wrong": [
            ((lambda g, mu, sigma, eps, df: sigma * score_terms(g, mu, sigma, eps, df),), "1 / sigma is missing"),
            (
                (lambda g, mu, sigma, eps, df: g(mu + sigma * eps) * ((df + 1) * eps / sigma * (df + eps**2)),),
                "in parentheses",
            ),
            ((lambda g, mu, sigma, eps, df: -score_terms(g, mu, sigma, eps, df),), "minus sign too many"),
            ((lambda g, mu, sigma, eps, df: g(mu + sigma * eps) * eps / sigma,), "Gaussian's score"),
            ((lambda g, mu, sigma, eps, df: score_terms(np.ones_like, mu, sigma, eps, df),), "multiply it by g(z)"),
            ((lambda g, mu, sigma, eps, df: score_terms(g, mu, sigma, eps, df).mean(),), "one term for each draw"),
            ((lambda g, mu, sigma, eps, df: expit(mu + sigma * eps),), "is expected"),
            ((lambda g, mu, sigma, eps, df: g(eps) * (df + 1) * eps / (df + eps**2) / sigma,), "what the loss sees is z = mu"),
            ((lambda g, mu, sigma, eps, df: score_terms(g, mu, sigma, eps, df) / sigma,), "one factor 1 / sigma, not two"),
            ((with_the_priors_score,), "you have the prior's, at z"),
            ((pathwise,), "The score term needs no derivative of g"),
            (
                (lambda g, mu, sigma, eps, df: df / (df + 1) * score_terms(g, mu, sigma, eps, df),),
                "numerator is nu + 1 times eps",
            ),
        ],
    },
    7: {
        "right": (shared_correlation,),
        "wrong": [
            ((lambda df: polygamma(1, df / 2) / polygamma(1, 0.5),), "of log|Z| alone"),
            ((lambda df: polygamma(1, df / 2) / 4,), "This is the covariance"),
            ((lambda df: 1 / (df - 1),), "correlation of the squares"),
            ((lambda df: polygamma(1, df) / (polygamma(1, 0.5) + polygamma(1, df)),), "not nu"),
            ((lambda df: polygamma(0, df / 2) / (polygamma(0, 0.5) + polygamma(0, df / 2)),), "psi itself"),
            ((lambda df: 1 / (1 + polygamma(1, df / 2) / polygamma(1, 0.5)),), "share of the normal"),
            ((lambda df: shared_from(polygamma(1, df / 2), np.pi**2 / 6),), "a square root of a chi-square with 1 degree"),
            ((lambda df: shared_from(polygamma(1, df / 2) / 4, np.pi**2 / 2),), "is in both parts, and cancels"),
            ((lambda df: shared_correlation(df) ** 0.5,), "a covariance over a variance takes none"),
            (
                (lambda df: np.array([[1, shared_correlation(df)], [shared_correlation(df), 1]]),),
                "One number is asked for, for one nu",
            ),
        ],
    },
    8: {
        "right": (by_ranks,),
        "wrong": [
            ((independent(transform=lambda t: t, allowance=lambda n: 0.5),), "uncorrelated but dependent"),
            ((independent(allowance=lambda n: 0.05),), "1 / sqrt(n), so the allowance depends on n"),
            ((independent(allowance=lambda n: 1 / np.sqrt(n)),), "no dependence"),
            ((independent(pairs="first"),), "look at every pair"),
            ((independent(pairs="and the diagonal"),), "Or is the diagonal"),
            ((independent(allowance=lambda n: 2 / np.sqrt(n)),), "ten columns too often"),
            ((independent(transform=np.square),), "ten columns too often"),
            ((independent(allowance=lambda n: 0.02 + 4 / np.sqrt(n)),), "200,000 rows"),
            ((lambda draws: True,), "uncorrelated but dependent"),
        ],
    },
}

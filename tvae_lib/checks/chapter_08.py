"""Checks of workbook 08: noise of equal quantiles, the noise of gradients, coordinates in use, and how many seeds it takes."""

import itertools

import numpy as np
from scipy import integrate, stats
from scipy.special import expit

from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.vae_numpy import VAE, bernoulli_loss


@task("8.1")
def task_1(coupled):
    """coupled(normal, df): for each normal number the t number of the same quantile."""
    normal = np.array([[-4.2, -1.3, 0.0], [0.4, 1.9, 3.6]])
    for df in (3.0, 21.0):
        u = stats.norm.cdf(normal)
        mistakes = {
            "These are the probabilities u: one step is left, from u to the t that has so much below it.": u,
            "This leads from t to normal: it is the normal's distribution function, and the t's quantile.": stats.norm.ppf(
                stats.t.cdf(normal, df)
            ),
            "This only stretches the normal numbers to the t's standard deviation; their shape remains normal.": normal
            * np.sqrt(df / (df - 2)),
            "`cdf` and `ppf` of one distribution undo each other: the normal comes first, the t second.": normal,
            "`sf` is the probability above, and `ppf` asks for the one below: the signs are turned.": -stats.t.ppf(u, df),
            "This is the t's distribution function at the normal numbers; its quantile function is `ppf`.": stats.t.cdf(
                normal, df
            ),
        }
        expect(call(coupled, normal, df), stats.t.ppf(u, df), f"the noise for nu = {df:g}", mistakes)


@task("8.2")
def task_2(first_order):
    """first_order(normal, df): the t quantile up to terms of order 1 / nu."""
    z = np.array([-3.1, -0.6, 0.8, 2.0, 4.0])
    for df in (10.0, 300.0):
        step = (z**3 + z) / (4 * df)
        mistakes = {
            "This is the correction alone: add it to the normal number.": step,
            "The correction has the wrong sign: the t number lies farther out than the normal one.": z - step,
            "The correction is still multiplied by the density: to shift a quantile, divide by it.": z + stats.norm.pdf(z) * step,
            "The denominator is 4 nu: you left out the 4.": z + 4 * step,
            "The denominator is 4 nu; you have 2 nu.": z + 2 * step,
            "This is the correction of the log density; integrate it first, then turn it into a shift.": z
            + (z**4 / 4 - z**2 / 2 - 0.25) / df,
            "The bracket is z ** 3 + z, with a plus.": z + (z**3 - z) / (4 * df),
            "The first power of z is missing from the bracket.": z + z**3 / (4 * df),
            "This is the exact quantile; its first two terms are asked for.": stats.t.ppf(stats.norm.cdf(z), df),
        }
        expect(call(first_order, z, df), z + step, f"the noise for nu = {df:g}", mistakes)


def moments(slope, mu, sigma, density):
    """E g and E g^2 of g = slope(mu + sigma * eps), by integration piece by piece, so that no kink is missed."""
    ends = [-np.inf, -10.0, -2.0, 0.0, 2.0, 10.0, np.inf]

    def mean_of(power):
        def integrand(eps):
            return slope(mu + sigma * eps) ** power * density(eps)

        return sum(integrate.quad(integrand, *pair, limit=200)[0] for pair in itertools.pairwise(ends))

    return mean_of(1), mean_of(2)


@task("8.3")
def task_3(noise_ratio):
    """noise_ratio(slope, mu, sigma, df): standard deviation of the gradient with t noise over that with normal noise."""
    cases = {
        "a straight slope": (lambda z: 2 * z - 3, 0.7, 0.5, 5.0),
        "the slope expit(z)": (expit, 0.5, 2.0, 3.0),
        "the slope tanh(z), at nu = 1.5": (np.tanh, -0.4, 0.3, 1.5),
    }
    nearly = "Close, but not to three digits. If you draw, integrate instead; if you sum over a grid, make it finer and wider."
    for name, (slope, mu, sigma, df) in cases.items():
        (t1, t2), (g1, g2) = (moments(slope, mu, sigma, family.pdf) for family in (stats.t(df), stats.norm))
        t, gaussian = t2 - t1**2, g2 - g1**2
        right = np.sqrt(t / gaussian)
        (s1, s2), (n1, n2) = (moments(slope, 0, 1, family.pdf) for family in (stats.t(df), stats.norm))
        mistakes = {
            "This is the ratio of the variances: take the root.": t / gaussian,
            "The ratio is upside down: t over normal.": 1 / right,
            "This is the noise with t draws; divide by that with normal ones.": np.sqrt(t),
            "The mean is not taken off: the variance is E g^2 - (E g)^2.": np.sqrt(t2 / g2),
            "The slope is taken at eps; it belongs at z = mu + sigma * eps.": np.sqrt((s2 - s1**2) / (n2 - n1**2)),
            "This is the ratio for the noise itself; the slope has not been used.": stats.t.std(df),
        }
        first = call(noise_ratio, slope, mu, sigma, df)
        if np.shape(first) == () and not isinstance(first, str) and first != call(noise_ratio, slope, mu, sigma, df):
            raise NotYet("The answer differs from call to call: integrate over the density in place of drawing.")
        expect(first, right, f"the ratio for {name}", mistakes, rtol=1e-3, nearly=(nearly, 0.03))


@task("8.4")
def task_4(rise_without):
    """rise_without(model, x): how much the reconstruction cost rises when one coordinate is set to its mean."""
    rng = np.random.default_rng(4)
    model = VAE(Gaussian(), sizes=(12, 8, 6, 4), rng=4, dtype=np.float64)
    for value in model.params.values():
        value[...] = rng.normal(0, 0.6, value.shape)
    x = rng.random((9, 12))
    mu, _ = model.encode(x)

    def cost(z):
        return bernoulli_loss(model.decode(z), x)[0]

    def each(replace, value=None):
        return np.array([replace(np.arange(4) == j, mu.mean(axis=0) if value is None else value) for j in range(4)])

    with_mean = each(lambda off, value: cost(np.where(off, value, mu)).mean())
    one_after_another = np.array([cost(np.where(np.arange(4) <= j, mu.mean(axis=0), mu)).mean() for j in range(4)])
    base = cost(mu).mean()
    mistakes = {
        "Each time all coordinates before it are switched off as well: `z = mu` makes no copy, `z = mu.copy()` does.": (
            one_after_another - base
        ),
        "This is the cost itself: subtract that of the full code.": with_mean,
        "The signs are turned: cost without the coordinate minus cost with it.": base - with_mean,
        "The coordinate is set to 0; set it to its mean over the images.": each(
            lambda off, value: cost(np.where(off, 0.0, mu)).mean()
        )
        - base,
        "This is the sum over the images: take their mean.": len(x) * (with_mean - base),
        "All coordinates but one are switched off: it is the other way round.": each(
            lambda off, value: cost(np.where(off, mu, value)).mean()
        )
        - base,
        "The column's mean is taken over the coordinates of one image; take it over the images, axis 0.": np.array(
            [cost(np.where(np.arange(4) == j, mu.mean(axis=1, keepdims=True), mu)).mean() - base for j in range(4)]
        ),
    }
    expect(call(rise_without, model, x), with_mean - base, "the rise for each coordinate", mistakes)


@task("8.5")
def task_5(interval):
    """interval(t, gaussian): mean and 95 % interval of the paired difference."""
    rng = np.random.default_rng(5)
    for n in (3, 6):
        gaussian = 107 + rng.normal(0, 2, n)
        t = gaussian + 0.4 + rng.normal(0, 0.7, n)
        answer = parts(call(interval, t, gaussian), "the mean", "the lower end", "the upper end")
        mean = np.mean(t - gaussian)
        expect(answer[0], mean, "the mean difference", {"The difference is t minus Gaussian.": -mean})

        def half_width(paired=True, student=True, unbiased=True, n=n, t=t, gaussian=gaussian):
            ddof = 1 if unbiased else 0
            variance = np.var(t - gaussian, ddof=ddof) if paired else np.var(t, ddof=ddof) + np.var(gaussian, ddof=ddof)
            return (stats.t.ppf(0.975, n - 1) if student else 1.96) * np.sqrt(variance / n)

        untouched = "All three are still there. Begin here: what does the function make of the fact that the runs are pairs?"
        places = ["pairs", "factor 1.96", "variance"]
        remarks = [
            "The runs of one seed are a pair: take the differences first, then their scatter.",
            "With so few seeds 1.96 is too small: take the t quantile with n - 1 degrees of freedom.",
            "`np.var` and `np.std` divide by n unless you say ddof=1.",
        ]
        mistakes = {}
        for flags in itertools.product([True, False], repeat=3):
            if not all(flags):
                left = [i for i in range(3) if not flags[i]]
                then = "".join(f" Then look at the {places[i]}." for i in left[1:])
                mistakes[untouched if len(left) == 3 else remarks[left[0]] + then] = half_width(*flags)
        right = half_width()
        mistakes |= {
            "This is the scatter of one difference; that of their mean is smaller by the root of n.": right * np.sqrt(n),
            "Divide the standard deviation by the root of n, not by n.": right / np.sqrt(n),
            "A 95 % interval leaves out 2.5 % on either side: it is the quantile at 0.975.": right
            * stats.t.ppf(0.95, n - 1)
            / stats.t.ppf(0.975, n - 1),
            "The degrees of freedom are n - 1, as the mean is estimated too.": right
            * stats.t.ppf(0.975, n)
            / stats.t.ppf(0.975, n - 1),
            "That would be two independent groups, with 2n - 2 degrees of freedom; the runs of one seed are a pair.": half_width(
                paired=False
            )
            * stats.t.ppf(0.975, 2 * n - 2)
            / stats.t.ppf(0.975, n - 1),
        }
        low, high = (np.asarray(end, float) for end in answer[1:])
        if low.shape != () or high.shape != ():
            raise NotYet("Each end of the interval should be one number.")
        expect((high - low) / 2, right, f"half the interval's width, for {n} seeds,", mistakes, rtol=1e-4)
        expect((high + low) / 2, mean, "the middle of the interval")


@task("8.6")
def task_6(power):
    """power(n, difference, sd): how often the interval of n pairs lies wholly above zero."""
    cases = [(3, 0.5, 0.5), (5, 1.0, 0.8), (12, 0.5, 0.6), (20, 0.5, 1.3)]

    def values(function):
        return np.array([function(n, difference / sd) for n, difference, sd in cases])

    def chance(n, shift, quantile=0.975, noncentral=np.sqrt, df=-1):
        return stats.nct.sf(stats.t.ppf(quantile, n + df), n + df, shift * noncentral(n))

    right = values(chance)
    mistakes = {
        "Here the scatter is taken as known. It is estimated from n pairs, and with few that costs much: use the t.": values(
            lambda n, shift: stats.norm.sf(1.96 - shift * np.sqrt(n))
        ),
        "The quantile is that of a t, but the statistic's scatter is taken for normal: its root of a chi-square is missing.": (
            values(lambda n, shift: stats.norm.sf(stats.t.ppf(0.975, n - 1) - shift * np.sqrt(n)))
        ),
        "A t that is shifted is not the same as a t of shifted numbers: that one is `stats.nct`.": values(
            lambda n, shift: stats.t.sf(stats.t.ppf(0.975, n - 1) - shift * np.sqrt(n), n - 1)
        ),
        "The statistic is shifted by sqrt(n) difference / sd; the root of n is missing.": values(
            lambda n, shift: chance(n, shift, noncentral=lambda n: 1)
        ),
        "The statistic is shifted by sqrt(n) difference / sd; you have n in place of its root.": values(
            lambda n, shift: chance(n, shift, noncentral=lambda n: n)
        ),
        "A 95 % interval leaves out 2.5 % on either side: the quantile is that at 0.975.": values(
            lambda n, shift: chance(n, shift, quantile=0.95)
        ),
        "This is the chance that zero lies inside the interval: take 1 minus it.": 1 - right,
        "There are n - 1 degrees of freedom.": values(lambda n, shift: chance(n, shift, df=0)),
    }
    nearly = "Close. If you simulate, it takes 20,000 experiments or more to see a difference of 0.01."
    answer = [np.asarray(call(power, *case), float) for case in cases]
    if any(value.shape != () for value in answer):
        raise NotYet("One number is asked for: a probability.")
    if any(not 0 <= value <= 1 for value in answer):
        raise NotYet("A probability lies between 0 and 1.")
    if np.abs(np.array(answer) - right).max() > 0.012:  # simulating 20,000 times or more is as good as the formula
        expect(np.array(answer), right, "the probability, for n = 3, 5, 12 and 20,", mistakes, rtol=1e-4, nearly=(nearly, 0.05))


@task("8.7")
def task_7(fit_quality):
    """fit_quality(z, df): mean log density of z under the best t with df, location and scale free."""
    for df, family, seed in ((3.0, StudentT(3), 1), (3.0, Gaussian(), 2), (50.0, StudentT(3), 3)):
        z = 1.5 + 2.4 * family.sample(np.random.default_rng(seed), 300)
        answer = call(fit_quality, z, df)
        _, location, scale = stats.t.fit(z, fdf=df)
        mean, sd = z.mean(), z.std()
        mistakes = {
            "The scale is left at 1 and the location at 0: a wide sample then looks heavy-tailed, whatever its tails are.": (
                stats.t.logpdf(z, df).mean()
            ),
            "The location is free, but the scale is left at 1: a wide sample then looks heavy-tailed.": stats.t.logpdf(
                z, df, stats.t.fit(z, fdf=df, fscale=1)[1]
            ).mean(),
            "The standard deviation is passed as scale; the t of scale 1 has the standard deviation sqrt(nu / (nu - 2)).": (
                stats.t.logpdf(z, df, mean, sd).mean()
            ),
            "Mean and standard deviation are matched; they are at the mercy of the few numbers far out. Maximise instead.": (
                stats.t.logpdf(z, df, mean, sd * np.sqrt((df - 2) / df)).mean()
            ),
            "nu is fitted too: hold it at df, with `fdf=df`.": stats.t.logpdf(z, *stats.t.fit(z)).mean(),
            "This is the sum: take the mean over the numbers.": len(z) * stats.t.logpdf(z, df, location, scale).mean(),
            "This is minus the mean log density.": -stats.t.logpdf(z, df, location, scale).mean(),
            "This is the fit of a normal.": stats.norm.logpdf(z, mean, sd).mean(),
            "The numbers are brought to scale 1 first, and the price of that, -log(scale), is left out.": stats.t.logpdf(
                (z - location) / scale, df
            ).mean(),
        }
        best = stats.t.logpdf(z, df, location, scale).mean()
        nearly = "Close, but the maximum is a little higher: search more finely."
        expect(answer, best, "the mean log density", mistakes, rtol=5e-5, nearly=(nearly, 0.003))

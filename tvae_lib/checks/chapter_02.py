"""Checks of workbook 02: densities and the KL divergence of a code."""

import numpy as np
from scipy import stats

from tvae_lib.checks import NotYet, call, expect, task
from tvae_lib.latent import Gaussian, StudentT, kl_exact, kl_sample


def some_codes(df):
    """mu, logvar and noise of made-up codes, each (10, 3); the last four are near the prior, where estimates may be negative."""
    rng = np.random.default_rng(2)
    far = rng.normal(0, 1.5, (6, 3)), rng.normal(-1, 0.7, (6, 3))
    near = rng.normal(0, 0.3, (4, 3)), rng.normal(0, 0.2, (4, 3))
    return np.concatenate([far[0], near[0]]), np.concatenate([far[1], near[1]]), rng.standard_t(df, (10, 3))


@task("2.1")
def task_1(log_t):
    """log_t(eps, df): log density of the standard t."""
    for df in (3.0, 21.0):
        eps = np.linspace(-6.2, 7.1, 9)
        bracket = np.log1p(eps**2 / df)
        right = stats.t(df).logpdf(eps)
        mistakes = {
            "This is the density itself: its logarithm is asked for.": np.exp(right),
            "The bracket is right, but log C is missing, so the area is not 1.": -(df + 1) / 2 * bracket,
            "The exponent is -(nu + 1) / 2, and you have -nu / 2.": right + bracket / 2,
            "The minus sign of the exponent is missing: the density would grow in the tails.": right + (df + 1) * bracket,
            "C contains sqrt(nu pi), so log C contains half of log(nu pi): you took the whole.": right - 0.5 * np.log(df * np.pi),
            "The square is missing: it is eps ** 2 / nu.": right + (df + 1) / 2 * (bracket - np.log1p(np.abs(eps) / df)),
            "This is the Gaussian's log density.": stats.norm.logpdf(eps),
        }
        with np.errstate(invalid="ignore"):
            mistakes["Is eps squared? 1 + eps / nu may be negative, and the logarithm of that is NaN."] = right + (df + 1) / 2 * (
                bracket - np.log1p(eps / df)
            )
        expect(call(log_t, eps, df), right, f"the log density for nu = {df:g}", mistakes)
    if not np.isfinite(call(log_t, np.array([0.5]), 1000.0)).all():
        raise NotYet("For nu = 1000 the gamma function overflows: use `gammaln`, the logarithm of it.")


@task("2.2")
def task_2(log_q):
    """log_q(z, mu, logvar, df): log density of a code's location-scale t."""
    df = 5.0
    mu, logvar, eps = some_codes(df)
    sigma = np.exp(logvar / 2)
    z = mu + sigma * eps
    right = stats.t(df, mu, sigma).logpdf(z)
    expect(
        call(log_q, z, mu, logvar, df),
        right,
        "the log density of z",
        {
            "The factor 1 / sigma is missing: in the logarithm, subtract log sigma.": right + logvar / 2,
            "log sigma has the wrong sign: a wider density is lower.": right + logvar,
            "The variance is passed as standard deviation: sigma is exp(logvar / 2), not exp(logvar).": stats.t(
                df, mu, np.exp(logvar)
            ).logpdf(z),
            "You subtract logvar, which is log sigma^2: log sigma is half of it.": right - logvar / 2,
            "z is multiplied by sigma where it should be divided: eps = (z - mu) / sigma.": stats.t(df).logpdf((z - mu) * sigma)
            - logvar / 2,
            "logvar is the log of the squared scale, not of the variance: no factor (nu - 2) / nu is needed.": stats.t(
                df, mu, sigma * np.sqrt((df - 2) / df)
            ).logpdf(z),
            "mu is left out: eps = (z - mu) / sigma.": stats.t(df, 0, sigma).logpdf(z),
            "You divide by sigma and then subtract mu; first subtract it.": stats.t(df).logpdf(z / sigma - mu) - logvar / 2,
        },
    )


@task("2.3")
def task_3(kl_one_draw):
    """kl_one_draw(mu, logvar, eps, df): the Monte Carlo estimate with L = 1, summed over the coordinates."""
    df = 5.0
    mu, logvar, eps = some_codes(df)
    t = StudentT(df)
    z = mu + np.exp(logvar / 2) * eps
    each = t.log_prob(eps) - logvar / 2 - t.log_prob(z)
    wide = mu + np.exp(logvar) * eps
    at_eps = stats.t(df, mu, np.exp(logvar / 2)).logpdf(eps)  # log q at eps, where it does not belong
    expect(
        call(kl_one_draw, mu, logvar, eps, df),
        kl_sample(t, mu, logvar, eps),
        "the estimate for each code",
        {
            "The KL is not summed: add up the coordinates of each code, `.sum(axis=1)`.": each,
            "This is the mean over the coordinates. Independent coordinates add up: with the mean, the price of a code is "
            "divided by their number.": each.mean(axis=1),
            "This is the sum over the codes of the batch; sum over the coordinates, axis 1.": each.sum(axis=0),
            "This is one number for the whole batch: sum over axis 1 only.": each.sum(),
            "A KL is never negative, but a one-draw estimate may be: leave the sign.": np.abs(each.sum(axis=1)),
            "A KL is never negative, but a one-draw estimate may be: do not cut it off at 0.": np.maximum(each.sum(axis=1), 0),
            "The share of a coordinate may be negative too: leave the sign.": np.abs(each).sum(axis=1),
            "The share of a coordinate may be negative too: do not cut it off at 0.": np.maximum(each, 0).sum(axis=1),
            "A minus sign is missing: this is log p - log q.": -each.sum(axis=1),
            "The term -log sigma is missing.": (each + logvar / 2).sum(axis=1),
            "The term -log sigma has the wrong sign.": (each + logvar).sum(axis=1),
            "You subtract logvar, which is log sigma^2: log sigma is half of it.": (each - logvar / 2).sum(axis=1),
            "The variance is passed as standard deviation: sigma is exp(logvar / 2), not exp(logvar).": (
                t.log_prob(eps) - logvar / 2 - t.log_prob(wide)
            ).sum(axis=1),
            "log q is taken at eps: it belongs at z, where it is log f(eps) - log sigma.": (at_eps - t.log_prob(z)).sum(axis=1),
            "Both densities are taken at eps: they belong at z = mu + sigma * eps.": (at_eps - t.log_prob(eps)).sum(axis=1),
            "log p is taken at eps: the prior prices the code that is drawn, z = mu + sigma * eps.": -logvar.sum(axis=1) / 2,
        },
    )


@task("2.4")
def task_4(draws_needed):
    """draws_needed(estimates, error): L for a standard error of `error`, from a sample of one-draw estimates."""
    estimates = np.random.default_rng(4).gamma(2.0, 0.6, 5000)
    error = 0.00013  # so small that rounding up hides no mistake
    variance = estimates.var(ddof=1)
    expect(
        call(draws_needed, estimates, error),
        variance / error**2,
        "the number of draws",
        {
            "L is the square: the error falls like one over the square root of L.": np.sqrt(variance) / error,
            "You divide the variance by the error: the error is squared too, L = s ** 2 / error ** 2.": variance / error,
            "The variance is squared once too often: L = s ** 2 / error ** 2.": (variance / error) ** 2,
            "Turn the fraction over: a smaller error needs more draws.": error**2 / variance,
            "1.96 standard errors make an interval; here one standard error is to be `error`, so L = s ** 2 / error ** 2.": (
                1.96**2 * variance / error**2
            ),
            "Two standard errors make an interval; here one standard error is to be `error`, so L = s ** 2 / error ** 2.": (
                4 * variance / error**2
            ),
        },
        rtol=1e-3,  # rounding up to a whole number, or dividing by n - 1, is a matter of taste
    )


@task("2.5")
def task_5(kl_t3):
    """kl_t3(mu, sigma): the exact KL of two t's for nu = 3."""
    rng = np.random.default_rng(5)
    mu, sigma = rng.uniform(-3, 3, 8), rng.uniform(0.1, 2, 8)

    def series(a, c1=0.5, power=1):
        u, w = 1 + sigma + 1j * a, (1 - sigma + 1j * a) / (1 + sigma + 1j * a)
        return -np.log(sigma) + 4 * (power * np.log(np.abs(u) / 2) + c1 * w.real)

    a = mu / np.sqrt(3)
    right = kl_exact(StudentT(3), mu, 2 * np.log(sigma))
    expect(
        call(kl_t3, mu, sigma),
        right,
        "the KL for nu = 3",
        {
            "a is mu / sqrt(nu); you have mu itself.": series(mu),
            "a is mu / sqrt(nu); you have mu / nu.": series(mu / 3),
            "The sign of the sum: it is minus c_1 times the real part of -w, so plus c_1 times that of w.": series(a, c1=-0.5),
            "c_1 is (h - 1 + 1) / (h + 1) with h = (nu - 1) / 2 = 1, which is one half; you have 1.": series(a, c1=1),
            "The sum is missing: for nu = 3 it has one term.": series(a, c1=0),
            "It is the modulus of u / 2, not its square.": series(a, power=2),
            "|u / 2| is the modulus, `np.abs`, not the real part.": right + 4 * np.log((1 + sigma) / np.abs(1 + sigma + 1j * a)),
            "The term -log sigma is missing.": right + np.log(sigma),
            "The term -log sigma has the wrong sign.": right + 2 * np.log(sigma),
        },
    )


@task("2.6")
def task_6(kl_gaussian, kl_of_batch, draw_code):
    """The bug hunt: three functions to repair."""
    mu, logvar, _ = some_codes(5.0)
    rng = np.random.default_rng(6)
    noise = rng.standard_normal(mu.shape)
    each = kl_exact(Gaussian(), mu, logvar)
    expect(
        call(kl_gaussian, mu, logvar),
        each,
        "`kl_gaussian`",
        {
            "`kl_gaussian` still lacks a minus sign. What is its value at mu = 1, logvar = 0? A KL is never negative.": -each,
            "`kl_gaussian`: turn every sign, not only one.": 0.5 * (1 + logvar + mu**2 - np.exp(logvar)),
        },
    )
    per_image = each.sum(axis=1)
    expect(
        call(kl_of_batch, mu, logvar),
        per_image.mean(),
        "`kl_of_batch`",
        {
            "`kl_of_batch` still averages over the coordinates. Sum over these, then average over the images: now a code of "
            "d coordinates pays a d-th of its price.": each.mean(),
            "`kl_of_batch` now adds up the images too: the loss is a mean over the batch.": each.sum(),
            "`kl_of_batch` should be one number, the mean over the images.": per_image,
            "`kl_of_batch` sums over the images and averages over the coordinates: it is the other way round.": each.sum(
                axis=0
            ).mean(),
        },
    )
    right = mu + np.exp(logvar / 2) * noise
    expect(
        call(draw_code, mu, logvar, noise),
        right,
        "`draw_code`",
        {
            "`draw_code` still passes a variance as standard deviation. exp(logvar) is sigma squared.": mu
            + np.exp(logvar) * noise,
            "`draw_code`: logvar is a logarithm; take the exponential of half of it.": mu + np.sqrt(np.abs(logvar)) * noise,
            "`draw_code`: half of the logarithm, not of the variance: exp(logvar / 2).": mu + np.exp(logvar) / 2 * noise,
        },
    )


@task("2.7")
def task_7(fair_difference):
    """fair_difference(shift, sigma, df): KL of t minus KL of Gaussian, the shift in units of the prior's standard deviation."""
    shift, sigma = np.array([0.2, 1.0, 1.8, 3.5]), np.array([0.3, 0.1, 0.8, 0.2])
    true_logvar = 2 * np.log(sigma)
    for df in (5.0, 21.0):

        def difference(unit, gaussian=1, logvar=true_logvar, df=df):
            return kl_exact(StudentT(df), unit * shift, logvar) - kl_exact(Gaussian(), gaussian * shift, logvar)

        variance = df / (df - 2)
        unit = np.sqrt(variance)
        right = difference(unit)
        expect(
            call(fair_difference, shift, sigma, df),
            right,
            "the difference",
            {
                "This is Gaussian minus t.": -right,
                "This compares at equal mu: stretch the t's shift by the standard deviation of a standard t.": difference(1),
                "The variance is passed as standard deviation: the unit is sqrt(nu / (nu - 2)).": difference(variance),
                "The unit is upside down: a standard t is wider than a standard Gaussian.": difference(1 / unit),
                "kl_exact takes logvar, 2 log sigma, and you hand it sigma.": difference(unit, logvar=sigma),
                "kl_exact takes logvar, 2 log sigma, and you hand it log sigma.": difference(unit, logvar=np.log(sigma)),
                "kl_exact takes logvar, 2 log sigma, and you hand it sigma squared.": difference(unit, logvar=sigma**2),
                "The Gaussian's shift is stretched too: its prior has the standard deviation 1, so its mu is the shift "
                "itself.": difference(unit, gaussian=unit),
                "Only the shift is stretched: sigma stays in units of the prior's scale, as in the chapter's figure.": kl_exact(
                    StudentT(df), unit * shift, 2 * np.log(unit * sigma)
                )
                - kl_exact(Gaussian(), shift, 2 * np.log(sigma)),
            },
        )


@task("2.8")
def task_8(looks_unbiased):
    """looks_unbiased(estimates, exact): a test of estimators, judged by its answers on samples whose truth is known."""
    rng = np.random.default_rng(8)

    def says_yes(bias, spread, n, times=20):
        """How often the test accepts samples of n estimates of 0.8, in standard errors off by `bias`."""
        answers = []
        for _ in range(times):
            sample = rng.standard_normal(n)
            sample = (sample - sample.mean()) / sample.std(ddof=1)
            luck = np.clip(rng.standard_normal(), -1.9, 1.9)  # no sample is unusually unlucky
            answers.append(bool(call(looks_unbiased, 0.8 + spread * (sample + (luck + bias) / np.sqrt(n)), 0.8)))
        return np.mean(answers)

    if says_yes(bias=0, spread=3, n=50) < 1:
        raise NotYet(
            "It rejects an estimator that is right but noisy: compare the difference with its standard error, s / sqrt(L), "
            "and allow two to four of them."
        )
    if says_yes(bias=0, spread=0.5, n=20_000) < 1:
        raise NotYet("It rejects 20,000 good estimates: an allowance of two to four standard errors is usual.")
    if says_yes(bias=12, spread=1, n=20_000) > 0:
        raise NotYet("It accepts 20,000 draws whose mean is off by twelve standard errors: divide s by sqrt(L).")
    if says_yes(bias=-12, spread=1, n=400) > 0:
        raise NotYet(
            "It accepts an estimator that is too low by twelve standard errors: take the absolute value of the difference."
        )
    if says_yes(bias=12, spread=0.001, n=100) > 0:
        raise NotYet(
            "Where the draws hardly scatter, a tiny difference is telling, and it is overlooked: a fixed allowance cannot work."
        )

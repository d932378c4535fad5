"""Densities, samplers and KL terms against SciPy, quadrature and finite differences."""

import warnings

import numpy as np
import pytest
from scipy import integrate, stats

from tvae_lib.latent import Gaussian, StudentT, kl_exact, kl_exact_and_grad, kl_sample, kl_sample_and_grad

DF = [1, 1.3, 2, 2.1, 3, 5, 7.5, 10, 21, 50, 200.5, 1e4, 1e6]
FAMILIES = [(Gaussian(), stats.norm), *[(StudentT(df), stats.t(df)) for df in (0.7, 1, 2.1, 3, 21, 1e4)]]
IDS = [str(family) for family, _ in FAMILIES]


# Densities and samplers


@pytest.mark.parametrize("family, reference", FAMILIES, ids=IDS)
def test_density_integrates_to_one(family, reference):
    def density_of_u(u):  # z = u / (1 - u^2) maps (-1, 1) to the whole line
        z = u / (1 - u**2)
        return np.exp(family.log_prob(z)) * (1 + u**2) / (1 - u**2) ** 2

    total, _ = integrate.quad(density_of_u, -1, 1, epsabs=1e-10, limit=500)
    assert total == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("family, reference", FAMILIES, ids=IDS)
def test_log_prob_is_scipy_s(family, reference):
    z = np.concatenate([[0.0], np.geomspace(1e-6, 1e5, 60)])
    z = np.concatenate([-z[::-1], z])
    np.testing.assert_allclose(family.log_prob(z), reference.logpdf(z), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("family, reference", FAMILIES, ids=IDS)
def test_score_is_the_derivative_of_log_prob(family, reference):
    z, h = np.linspace(-8, 8, 81), 1e-5
    slope = (reference.logpdf(z + h) - reference.logpdf(z - h)) / (2 * h)
    np.testing.assert_allclose(family.score(z), slope, rtol=1e-5, atol=1e-6)
    assert family.score(2.0) < 0 < family.score(-2.0)


@pytest.mark.parametrize("family, reference", FAMILIES, ids=IDS)
def test_sampler_passes_kolmogorov_smirnov(family, reference):
    draws = family.sample(np.random.default_rng(7), (200, 100))
    assert draws.shape == (200, 100) and draws.dtype == np.float64
    assert stats.kstest(draws.ravel(), reference.cdf).pvalue > 1e-3


@pytest.mark.parametrize("family, reference", FAMILIES[:3], ids=IDS[:3])
def test_sampler_repeats_with_the_seed(family, reference):
    first, again, other = (family.sample(np.random.default_rng(seed), 50) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_coordinates_are_drawn_independently():
    # A multivariate t would share one chi-square draw between coordinates, and |eps_1|, |eps_2| would be correlated.
    eps = np.abs(StudentT(5).sample(np.random.default_rng(1), (40_000, 2)))
    assert abs(stats.spearmanr(eps[:, 0], eps[:, 1]).statistic) < 4 / np.sqrt(40_000)


def test_one_precision_in_the_same_out():
    z = np.linspace(-3, 3, 7, dtype=np.float32)
    assert Gaussian().score(z).dtype == StudentT(21).score(z).dtype == np.float32
    for family in (Gaussian(), StudentT(21), StudentT(1e4)):
        for value in kl_exact_and_grad(family, z, z):
            assert value.dtype == np.float32 and value.shape == z.shape


def test_families_print_themselves():
    assert repr(Gaussian()) == "Gaussian()" and repr(StudentT(2.5)) == "StudentT(df=2.5)"


# Exact KL

MU = np.array([-6, -3.7, -1, -0.1, 0, 0.01, 0.5, 2, 4.2, 6])
SIGMA = np.array([0.05, 0.052, 0.1, 0.3, 0.8, 1, 1.2, 2, 3.3, 5])


def trapezoid_kl(df, mu, sigma):
    """KL by the double-exponential rule: eps = s sinh(pi/2 sinh v), where equal steps in v converge geometrically."""
    step, scale = 1 / 160, np.sqrt(df) if df < 30 else 1.0
    v = np.arange(-5.2, 5.2, step)
    inner = np.pi / 2 * np.sinh(v)
    eps = scale * np.sinh(inner)
    with np.errstate(over="ignore"):
        weight = scale * np.cosh(inner) * np.pi / 2 * np.cosh(v) * stats.t.pdf(eps, df)
    weight /= weight.sum()  # takes out the rounding error of the normalising constant at large df
    z = mu[..., None] + sigma[..., None] * eps
    ratio = (df + 1) / 2 * (np.log1p(z**2 / df) - np.log1p(eps**2 / df))
    return (weight * ratio).sum(axis=-1) - np.log(sigma)


def quad_kl(df, mu, sigma):
    """KL by SciPy's adaptive quadrature of q (log q - log p), straight from scipy.stats and the same for both families."""
    p = stats.t(df) if np.isfinite(df) else stats.norm

    def integrand(u):
        eps = u / (1 - u**2)
        difference = p.logpdf(eps) - np.log(sigma) - p.logpdf(mu + sigma * eps)
        return np.exp(p.logpdf(eps)) * difference * (1 + u**2) / (1 - u**2) ** 2

    peak = -mu / sigma  # where z = 0: the logarithm bends sharply there
    kink = peak if abs(peak) < 1e-8 else (np.sqrt(1 + 4 * peak**2) - 1) / (2 * peak)
    value, _ = integrate.quad(integrand, -1, 1, points=[kink], epsabs=1e-11, epsrel=1e-11, limit=1000)
    return value


@pytest.mark.parametrize("df", DF)
def test_exact_kl_over_the_whole_promised_range(df):
    mu, sigma = np.meshgrid(MU, SIGMA)
    kl = kl_exact(StudentT(df), mu, 2 * np.log(sigma))
    np.testing.assert_allclose(kl, trapezoid_kl(df, mu, sigma), rtol=0, atol=1e-8 if df >= 2 else 1e-6)
    assert kl.shape == mu.shape and kl.min() > -1e-12


@pytest.mark.parametrize("df", [1, 1.3, 2, 2.1, 3, 7.5, 21, 200.5])
def test_exact_kl_of_one_code_alone(df):
    # The number of terms follows the hardest code of the batch; alone, each must be as good.
    for mu, sigma in ([0.3, 0.9], [-2.0, 0.2], [6.0, 0.05], [0.0, 5.0], [1e-3, 1.0]):
        one = kl_exact(StudentT(df), np.array([[mu]]), np.array([[2 * np.log(sigma)]]))
        assert one[0, 0] == pytest.approx(trapezoid_kl(df, np.array(mu), np.array(sigma)), abs=1e-8)


@pytest.mark.parametrize("df", [2, 3, 7.5, 21, 50, np.inf])
@pytest.mark.parametrize("mu, sigma", [(0.0, 0.5), (1.5, 0.8), (-3.0, 1.3), (0.4, 3.0), (6.0, 0.3)])
def test_exact_kl_by_adaptive_quadrature(df, mu, sigma):
    family = Gaussian() if df == np.inf else StudentT(df)
    kl = kl_exact(family, np.array(mu), np.array(2 * np.log(sigma)))
    assert kl == pytest.approx(quad_kl(df, mu, sigma), abs=1e-8)


def test_cauchy_closed_form():
    mu, sigma = np.meshgrid(np.linspace(-6, 6, 25), np.geomspace(0.05, 5, 25))
    closed = np.log(((1 + sigma) ** 2 + mu**2) / (4 * sigma))  # Chyzak and Nielsen (2019)
    np.testing.assert_allclose(kl_exact(StudentT(1), mu, 2 * np.log(sigma)), closed, rtol=0, atol=1e-12)


def test_gaussian_closed_form_and_limit():
    mu, sigma = np.meshgrid(np.linspace(-6, 6, 13), np.geomspace(0.05, 5, 13))
    closed = -np.log(sigma) + (sigma**2 + mu**2 - 1) / 2
    np.testing.assert_allclose(kl_exact(Gaussian(), mu, 2 * np.log(sigma)), closed, rtol=1e-12, atol=1e-12)
    # The difference to the Gaussian shrinks like 1 / df.
    np.testing.assert_allclose(kl_exact(StudentT(1e8), mu, 2 * np.log(sigma)), closed, rtol=0, atol=5e-5)
    both = [kl_exact_and_grad(family, mu, 2 * np.log(sigma)) for family in (StudentT(1e8), Gaussian())]
    for t, normal in zip(*both, strict=True):
        np.testing.assert_allclose(t, normal, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [Gaussian(), *map(StudentT, [0.5, 1, 2.1, 21, 999, 1001, 1e6])], ids=str)
def test_kl_vanishes_at_the_prior_only(family):
    zero = np.zeros((1, 1))
    kl, dmu, dlogvar = kl_exact_and_grad(family, zero, zero)
    np.testing.assert_allclose([kl, dmu, dlogvar], 0, atol=1e-12)
    for mu, logvar in ([0.1, 0.0], [0.0, 0.1], [0.0, -0.1]):
        assert kl_exact(family, zero + mu, zero + logvar) > 1e-5


def test_both_series_agree_where_they_meet():
    # Below df = 1000 and above it the series is summed in two ways.
    mu, sigma = np.meshgrid(MU, SIGMA)
    below, above = (kl_exact(StudentT(df), mu, 2 * np.log(sigma)) for df in (1000 - 1e-7, 1000 + 1e-7))
    np.testing.assert_allclose(below, above, atol=1e-8, rtol=0)


def test_tiny_scales_at_large_df_stay_near_the_gaussian():
    logvar = 2 * np.log([[1e-2, 1e-3, 3e-4, 1e-4, 1e-5]])
    gaussian = kl_exact(Gaussian(), np.full_like(logvar, 0.3), logvar)
    for df in (1e4, 1e6):
        np.testing.assert_allclose(kl_exact(StudentT(df), np.full_like(logvar, 0.3), logvar), gaussian, atol=1 / df)


def test_symmetry_in_mu():
    logvar = np.full(5, -0.7)
    mu = np.array([0.1, 0.7, 2, 5, 6.0])
    for family in (Gaussian(), StudentT(1.3), StudentT(7.5)):
        np.testing.assert_allclose(kl_exact(family, mu, logvar), kl_exact(family, -mu, logvar), rtol=1e-12)
        np.testing.assert_allclose(
            kl_exact_and_grad(family, mu, logvar)[1], -kl_exact_and_grad(family, -mu, logvar)[1], rtol=1e-12
        )


# Gradients


@pytest.mark.parametrize("family", [Gaussian(), *map(StudentT, DF)], ids=str)
def test_gradient_of_exact_kl(family):
    mu, sigma = np.meshgrid(np.array([-5, -1, 0, 0.3, 2.5]), np.array([0.06, 0.4, 1, 2, 4.5]))
    logvar, h = 2 * np.log(sigma), 1e-4

    def slope(f):  # error h^4
        return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)

    _, dmu, dlogvar = kl_exact_and_grad(family, mu, logvar)
    np.testing.assert_allclose(dmu, slope(lambda s: kl_exact(family, mu + s, logvar)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dlogvar, slope(lambda s: kl_exact(family, mu, logvar + s)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family, reference", FAMILIES, ids=IDS)
def test_sampled_kl_and_its_gradient(family, reference, rng):
    mu, logvar, h = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)), 1e-5
    eps = np.clip(reference.rvs(size=(6, 3), random_state=1), -20, 20)

    def by_scipy(mu, logvar):  # log q(z) - log p(z), q being the density of z = mu + sigma * eps
        sigma = np.exp(logvar / 2)
        z = mu + sigma * eps
        log_q = reference.logpdf((z - mu) / sigma) - np.log(sigma)
        return log_q - reference.logpdf(z)

    kl, dmu, dlogvar = kl_sample_and_grad(family, mu, logvar, eps)
    assert kl.shape == (6,) and dmu.shape == dlogvar.shape == (6, 3)
    np.testing.assert_allclose(kl, by_scipy(mu, logvar).sum(axis=1), rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(kl, kl_sample(family, mu, logvar, eps))
    slope = (by_scipy(mu + h, logvar) - by_scipy(mu - h, logvar)) / (2 * h)
    np.testing.assert_allclose(dmu, slope, rtol=1e-5, atol=1e-5)
    slope = (by_scipy(mu, logvar + h) - by_scipy(mu, logvar - h)) / (2 * h)
    np.testing.assert_allclose(dlogvar, slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [Gaussian(), StudentT(1), StudentT(2.1), StudentT(5), StudentT(21)], ids=str)
@pytest.mark.parametrize("mu, sigma", [(0.5, 0.7), (-2.0, 0.3), (0.0, 1.0), (1.0, 1.4)])
def test_sampled_kl_is_unbiased(family, mu, sigma):
    code = np.full((200_000, 1), mu), np.full((200_000, 1), 2 * np.log(sigma))
    draws = kl_sample_and_grad(family, *code, family.sample(np.random.default_rng(11), (200_000, 1)))
    exact = kl_exact_and_grad(family, code[0][:1], code[1][:1])
    for draw, expected in zip(draws, exact, strict=True):
        standard_error = draw.std() / np.sqrt(draw.size)
        assert abs(draw.mean() - expected.item()) <= 4 * standard_error + 1e-12


def test_sampled_kl_is_often_negative():
    family, zero = StudentT(21), np.full((1000, 1), 0.1)
    assert 0.2 < np.mean(kl_sample(family, zero, zero, family.sample(np.random.default_rng(0), (1000, 1))) < 0) < 0.8


# Extreme but legal, and illegal, input


HARD = [*map(StudentT, [1e-3, 0.5, 1e8, 1e12])]  # cut off after 20,000 terms, their series gave negative values


@pytest.mark.parametrize("family", [Gaussian(), *HARD, *map(StudentT, [1, 3, 21])], ids=str)
def test_no_warning_far_out(family, refuses):
    z = np.array([[-1e100, -1e4, 0.0, 1e4, 1e100]])
    mu, logvar = np.array([[-1e4, 0.0, 1e4, 6]]), np.array([[-40.0, 40, 0, -80]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(family.log_prob(z)).all() and np.isfinite(family.score(z)).all()
        for value in kl_sample_and_grad(family, mu, logvar, np.full((1, 4), 1e4)):
            assert np.isfinite(value).all()
        if family in HARD:
            with refuses("the exact KL of t with df = .* cannot be had at a sigma this near 0 or this large"):
                kl_exact(family, mu, logvar)
            mu, logvar = mu / 1e5, logvar / 10
        assert all(np.isfinite(value).all() for value in kl_exact_and_grad(family, mu, logvar))


@pytest.mark.parametrize(
    "df", [0, -1, 0.0, float("nan"), float("inf"), -float("inf"), True, False, "5", None, [5], 3 + 0j, np.array(5.0)]
)
def test_df_out_of_range(df, refuses):
    with refuses("df must be a number from 1e-6 to 1e20"):
        StudentT(df)


@pytest.mark.parametrize("df", [1, 2.5, np.float32(3), np.int64(4), 1e-6, 1e12])
def test_df_in_range(df):
    assert StudentT(df).df == float(df)


@pytest.mark.parametrize("family", [Gaussian(), StudentT(21)], ids=str)
def test_bad_codes_and_noise(family, refuses):
    good = np.zeros((4, 2))
    for bad in (np.nan, np.inf, -np.inf):
        for pair in ((good + bad, good), (good, good + bad)):
            with refuses("mu and logvar must be finite"):
                kl_exact(family, *pair)
            with refuses("mu and logvar must be finite"):
                kl_sample(family, *pair, good)
    with refuses(r"mu and logvar must have the same shape, got \(4, 2\) and \(4, 3\)"):
        kl_exact(family, good, np.zeros((4, 3)))
    with refuses(r"eps must be floating point of shape \(4, 2\), got float64 of shape \(2,\)"):
        kl_sample(family, good, good, np.zeros(2))  # would broadcast
    for bad in (np.zeros((4, 2), int), np.zeros((4, 2), bool), np.zeros((4, 2), complex), np.full((4, 2), "a")):
        with refuses(r"eps must be floating point of shape \(4, 2\)"):
            kl_sample(family, good, good, bad)


@pytest.mark.parametrize("family", [Gaussian(), StudentT(3), StudentT(2000)], ids=str)
def test_exact_kl_of_no_code_and_of_two_precisions(family):
    assert [part.shape for part in kl_exact_and_grad(family, np.zeros((0, 3)), np.zeros((0, 3)))] == [(0, 3)] * 3
    mu, logvar = np.array([[0.5, -2.0]]), np.array([[-1.0, 0.3]])
    expected = kl_exact(family, mu, logvar)
    for precisions in ((np.float32, float), (float, np.float32), (np.float32, np.float32)):
        found = kl_exact(family, *(array.astype(dtype) for array, dtype in zip((mu, logvar), precisions, strict=True)))
        assert found.dtype == np.result_type(*precisions)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

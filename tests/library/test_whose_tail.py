"""What chapter 11 measures on trained models, and the theory it holds against that: against SciPy and closed forms."""

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from tvae_lib import results
from tvae_lib.experiments import whose_tail
from tvae_lib.latent import Apart, Gaussian, StudentT, kl_exact, kl_exact_and_grad, prior_of
from tvae_lib.vae_numpy import VAE

LINE = whose_tail.LINE


def test_averaged_density_is_the_mixture(rng):
    mu, logvar = rng.normal(size=(70, 2)), rng.normal(-2, 0.5, (70, 2))
    found = whose_tail.averaged_densities(StudentT(3), mu, logvar)
    for j in range(2):
        mixture = stats.t.pdf(LINE[:, None], 3, mu[:, j], np.exp(logvar[:, j] / 2)).mean(axis=1)
        np.testing.assert_allclose(found[j], mixture, rtol=1e-10)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_distances_on_the_line(scale):
    normal, t = stats.norm.pdf(LINE, scale=scale), stats.t.pdf(LINE, 3, scale=scale)
    expected = kl_exact(Gaussian(), 0.0, 2 * np.log(scale))
    assert whose_tail.distance(normal, Gaussian()) == pytest.approx(float(expected), rel=1e-3, abs=2e-4)
    expected = kl_exact(Apart(StudentT(3), Gaussian()), 0.0, np.log(1 / 3))  # the least, whatever the scale
    assert whose_tail.least_distance(t, Gaussian()) == pytest.approx(float(expected), abs=0.03)  # the tail is cut off
    assert whose_tail.least_distance(t, StudentT(3)) == pytest.approx(0, abs=1e-3)


def test_scores_of_a_small_model(rng):
    model = VAE(Apart(Gaussian(), StudentT(3)), sizes=(6, 4, 3), rng=1, dtype=np.float64)
    for value in model.params.values():
        value[...] = rng.normal(0, 1, value.shape)
    model.params["encoder.0.bias"][...] = 5  # no unit of the hidden layer rests
    model.params["encoder.1.weight"][[0, 3]] = 0  # the first coordinate is dead
    x = rng.random((200, 6))
    found = whose_tail.averaged_code(model, x)
    kl = kl_exact(model.family, *model.encode(x))
    assert found["active_units"] == 2
    assert found["kl"] == pytest.approx(kl.sum(axis=1).mean())
    assert found["kl_of_the_dead"] == pytest.approx(kl[:, 0].mean())
    mu, logvar = model.encode(x)
    costs = [model.reconstruction_and_dz(x, mu + np.exp(logvar / 2) * rng.normal(size=mu.shape))[0].mean() for _ in range(200)]
    assert found["loss"] == pytest.approx(np.mean(costs) + kl.sum(axis=1).mean(), abs=5 * np.std(costs))
    assert 0 < found["to_t3"] < found["to_prior"]


def test_stages_hand_the_weights_on(monkeypatch, rng):
    images = (0.1 * rng.random((200, 784))).astype(np.float32)
    monkeypatch.setattr(whose_tail, "load_mnist", lambda: SimpleNamespace(train=images, valid=images[:20], test=images[:50]))
    (first, *_), found = list(whose_tail.prices_first()), []
    monkeypatch.setattr(whose_tail, "scored", lambda model, seed: found.append(model) or {})
    t, apart = StudentT(3), Apart(StudentT(3), Gaussian())
    for stages in [(apart, 1, "exact"), (t, 1, "exact")], [(apart, 1, "exact")], [(t, 1, "exact")]:
        whose_tail.trained(0, *stages)
    assert first[0] == {"seed": 0} and [repr(model.family) for model in found] == [repr(t), repr(apart), repr(t)]
    both, one, other = (model.params["decoder.2.bias"] for model in found)
    start = VAE(t, rng=0).params["decoder.2.bias"]
    assert not np.allclose(one, other)  # the price of the first epoch matters
    assert np.linalg.norm(both - start) > np.linalg.norm(one - start)  # two epochs go further than one


# Priors that are no t


BY_SCIPY = {"Gaussian": stats.norm(), "Laplace": stats.laplace(), "Logistic": stats.logistic()}
FAMILIES = pytest.mark.parametrize("family", whose_tail.OTHERS.values(), ids=whose_tail.OTHERS)


@pytest.mark.parametrize("prior", [whose_tail.Laplace(), whose_tail.Logistic()], ids=["laplace", "logistic"])
def test_densities_of_other_priors(prior):
    reference, z, h = BY_SCIPY[type(prior).__name__], np.linspace(-40, 40, 80), 1e-6
    np.testing.assert_allclose(prior.log_prob(z), reference.logpdf(z), rtol=1e-12)
    np.testing.assert_allclose(prior.score(z), (reference.logpdf(z + h) - reference.logpdf(z - h)) / (2 * h), atol=1e-7)
    assert stats.kstest(prior.sample(np.random.default_rng(0), 20_000), reference.cdf).pvalue > 0.01


@FAMILIES
def test_exact_kl_of_other_priors_is_the_integral(family):
    """Up to the scale of a dead coordinate, 1.75 for the logistic, and beyond, and far out."""
    noise, prior = (BY_SCIPY[type(part).__name__] for part in (getattr(family, "encoder", family), prior_of(family)))
    mu, sigma = (part.ravel() for part in np.meshgrid([-6.0, -0.4, 0.0, 0.02, 1.5], [0.1, 0.6, 1.3, 2.0]))
    kl, _, _ = kl_exact_and_grad(family, mu, 2 * np.log(sigma))
    for m, s, found in zip(mu, sigma, kl, strict=True):
        integrand = lambda e, m=m, s=s: noise.pdf(e) * (noise.logpdf(e) - np.log(s) - prior.logpdf(m + s * e))
        cuts = [-40, *sorted([np.clip(-m / s, -39, 39), 0]), 40]  # at the kinks
        expected = sum(integrate.quad(integrand, *piece, limit=200, epsabs=1e-11)[0] for piece in pairwise(cuts))
        assert found == pytest.approx(expected, abs=1e-6)


@FAMILIES
def test_gradients_of_other_priors(family, rng):
    mu, logvar, h = rng.normal(0, 2, (40, 3)), rng.normal(-1, 1, (40, 3)), 1e-4
    _, dmu, dlogvar = kl_exact_and_grad(family, mu, logvar)
    kl = lambda mu, logvar: kl_exact(family, mu, logvar)
    slope = lambda f: (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
    np.testing.assert_allclose(dmu, slope(lambda step: kl(mu + step, logvar)), atol=1e-8)
    np.testing.assert_allclose(dlogvar, slope(lambda step: kl(mu, logvar + step)), atol=1e-8)
    model = VAE(family, sizes=(6, 4, 3), rng=1, kl="exact")
    x, eps = rng.random((20, 6)), family.sample(rng, (20, 3))
    loss, grads = model.loss_and_grad(x, eps)
    assert np.isfinite(loss.total) and all(grad.dtype == np.float32 for grad in grads.values())


# The exchange rate


def exchange_rate(encoder, prior, variance):
    return rate_of(Apart(encoder, prior), variance)


def rate_of(family, variance):
    sigma = optimize.brentq(lambda s: float(kl_exact_and_grad(family, 0.0, 2 * np.log(s))[2]), 0.2, 3)
    h = 1e-3
    slope = float(kl_exact_and_grad(family, h, 2 * np.log(sigma))[1]) / h
    return 1 / (slope * sigma**2 * variance)


@pytest.mark.parametrize("df", [2.5, 3, 5, 21])
def test_exchange_rates(df):
    t, variance = StudentT(df), df / (df - 2)
    assert exchange_rate(Gaussian(), t, 1) == pytest.approx(1, rel=2e-3)
    assert exchange_rate(t, Gaussian(), variance) == pytest.approx(1, rel=1e-5)
    assert exchange_rate(t, t, variance) == pytest.approx((df + 3) * (df - 2) / ((df + 1) * df), rel=1e-5)
    # The efficiency of the mean as an estimate of a t's location: from the Fisher information by integration.
    information = stats.t(df).expect(lambda e: ((df + 1) * e / (df + e**2)) ** 2)
    assert exchange_rate(t, t, variance) == pytest.approx(1 / (information * variance), rel=1e-5)


def test_exchange_rates_of_other_priors():
    """One half for the tied Laplace, as for a tied t with nu = 3, though all its moments are finite."""
    for name, rate, variance in (("gaussian_laplace", 1, 1), ("laplace", 0.5, 2), ("gaussian_logistic", 1, 1)):
        assert rate_of(whose_tail.OTHERS[name], variance) == pytest.approx(rate, rel=2e-3)


def test_a_t_encoder_under_a_gaussian_prior_pays_a_gaussian_s_price_and_a_constant():
    mu, logvar = np.array([-2.0, 0.0, 1.3]), np.array([-3.0, 0.4, -1.0])
    for df in (2.5, 3, 21):
        extra = kl_exact(Apart(StudentT(df), Gaussian()), mu, logvar) - kl_exact(Gaussian(), mu, logvar + np.log(df / (df - 2)))
        gap = 0.5 * np.log(2 * np.pi * np.e * df / (df - 2)) - stats.t(df).entropy()
        np.testing.assert_allclose(extra, gap, rtol=1e-9)


def test_stored_lines_are_those_of_the_runs():
    lines = json.loads((results.RESULTS / "tails" / "runs_of_chapter.json").read_bytes())["rows"]
    assert len(lines) == len({(line["model"], line["seed"], line["study"]) for line in lines}) > 90
    checked = 0
    for line in lines:
        study = line["study"] and f"-{line['study']}"
        record = results.RESULTS / "runs" / f"{line['model']}-numpy-{line['seed']}{study}.json"
        if record.exists():
            record = results.read_record(record)
            assert line["valid_loss"] == record["history"]["valid_loss"][-1]
            checked += 1
    assert checked > 60


def test_what_is_there_is_not_done_again(tmp_path, monkeypatch, capsys):
    done = []

    def models():
        for seed in (4, 7):
            yield {"seed": seed}, lambda seed=seed: done.append(seed) or {"loss": seed / 2}

    monkeypatch.setattr(whose_tail, "EXPERIMENTS", (models, whose_tail.prices_first))
    (tmp_path / "models.json").write_text('{"rows": [{"seed": 4, "loss": 1.0}]}')
    for _ in range(2):
        whose_tail.main(["--results", str(tmp_path), "--only", "models"])
    assert done == [7] and capsys.readouterr().out.count("models ") == 1
    stored = json.loads((tmp_path / "models.json").read_bytes())["rows"]
    assert stored == [{"seed": 4, "loss": 1.0}, {"seed": 7, "loss": 3.5}]


def test_the_short_experiments_name_their_models(monkeypatch):
    monkeypatch.setattr(whose_tail, "trained", lambda seed, *stages: {"stages": stages})
    jobs = {(name.get("model"), name["seed"]): job() for name, job in whose_tail.other_priors()}
    assert jobs.keys() == {(model, seed) for model in whose_tail.OTHERS for seed in range(5)}
    (name, job), *_ = whose_tail.prices_first()
    (apart, first, _), (tied, rest, _) = job()["stages"]
    assert name == {"seed": 0} and first + rest == 20 and tied.df == 3 and isinstance(prior_of(apart), Gaussian)


def test_scores_of_a_finished_run(mnist):
    jobs = {(name["model"], name["seed"], name["study"]): job for name, job in whose_tail.runs_of_chapter()}
    found = jobs["gaussian", 0, ""]()
    record = results.read_record(results.RESULTS / "runs" / "gaussian-numpy-0.json")
    assert found["valid_loss"] == record["history"]["valid_loss"][-1]
    mu = results.load_model("gaussian", 0).encode(mnist.test[:2000])[0]
    assert found["active_units"] == np.sum(mu.var(axis=0) > 0.01)

"""What chapter 11 asks of trained models, and two short studies of its own; all goes to results/tails/NAME.json.

    python -m tvae_lib.experiments.whose_tail                 # all; an hour on one core
    python -m tvae_lib.experiments.whose_tail --only prices_first

What a file has already is not computed again.
"""

import json

import numpy as np
from scipy import integrate, optimize, special

from tvae_lib import checkpoint, divergences, outliers, results
from tvae_lib.data import load_mnist
from tvae_lib.experiments import driver, json_rows
from tvae_lib.experiments.studies import SHORT, sweep
from tvae_lib.latent import Apart, Gaussian, StudentT, kl_exact, prior_of
from tvae_lib.train import evaluate, fit
from tvae_lib.vae_numpy import VAE

STUDIES = "", "apart", "exact", "multivariate"
# The line, with equal steps near 0 and growing ones far out.
LINE = np.sinh(np.linspace(-7, 7, 701)) / 8


def averaged_densities(family, mu, logvar):
    """The density on LINE of each coordinate, averaged over the clouds of all images: (d, len(LINE))."""
    density = np.zeros((mu.shape[1], len(LINE)))
    for start in range(0, len(mu), 50):
        m, v = (part[start : start + 50, :, None] for part in (mu, logvar))
        density += np.exp(family.log_prob((LINE - m) * np.exp(-v / 2)) - v / 2).sum(axis=0)
    return density / len(mu)


def distance(density, prior, scale=1.0):
    """KL of a density on LINE from a standard density, stretched."""
    log_p = prior.log_prob(LINE / scale) - np.log(scale)
    return integrate.trapezoid(density * (np.log(np.maximum(density, 1e-300)) - log_p), LINE)


def least_distance(density, prior):
    """The same at the best scale."""
    found = optimize.minimize_scalar(lambda s: distance(density, prior, np.exp(s)), bounds=(-4, 3), method="bounded")
    return found.fun


def averaged_code(model, test):
    """Loss of one model, and how far the averaged code is from its prior, from a normal and from a t with nu = 3 at best scale.

    The distances are sums over the coordinates in use, each by itself. (In ten dimensions the averaged density cannot be had: its
    clouds hardly overlap.) test: (2000, 784), the images on which `test_bound` is measured.
    """
    mu, logvar = (part.astype(float) for part in model.encode(test))
    family, used = model.family, mu.var(axis=0) > 0.01
    kl, rng = kl_exact(family, mu, logvar), np.random.default_rng(0)
    costs = [model.reconstruction_and_dz(test, mu + np.exp(logvar / 2) * family.sample(rng, mu.shape))[0] for _ in range(4)]
    found = {"loss": np.mean(costs) + kl.sum(axis=1).mean(), "kl": kl.sum(axis=1).mean(), "active_units": used.sum()}
    if kl.shape == mu.shape:  # not the multivariate t
        density = averaged_densities(family, mu, logvar)[used]
        found["kl_of_the_dead"] = kl[:, ~used].mean() if not used.all() else None
        found["to_prior"] = sum(distance(each, prior_of(family)) for each in density)
        found["to_normal"] = sum(least_distance(each, Gaussian()) for each in density)
        found["to_t3"] = sum(least_distance(each, StudentT(3)) for each in density)
    return {name: value if value is None else float(value) for name, value in found.items()}


def runs_of_chapter():
    """A line for every finished run that the chapter speaks of, as jobs: the last validation loss, and `averaged_code`.

    The weights may be shipped, or in results/work, or gone after scoring; then there are the loss and the coordinates in use.
    """
    for run in sweep():
        record, _, waiting = driver.paths(run, results.RESULTS)
        shipped = results.RESULTS / "weights" / f"{run.name}.safetensors"
        weights = next((path for path in (shipped, waiting) if path.exists()), None)
        if run.study.name in STUDIES and run.study.backend == "numpy" and (record.exists() or waiting.exists()):
            name = {"model": run.model, "seed": run.seed, "study": run.study.name}
            yield name, lambda run=run, record=record, weights=weights: of_run(run, record, weights)


def of_run(run, record, weights):
    if record.exists():
        record = results.read_record(record)
        history, known = record["history"], {metric: value for metric, _, _, value in record["scores"]}
    else:
        history, known = checkpoint.read(weights)[2]["history"], {}
    found = {"valid_loss": history["valid_loss"][-1]}
    if weights is None:
        return found | {"active_units": known["active_units"]}
    return found | averaged_code(checkpoint.load(weights, family=run.family), load_mnist().test[:2000])


# ---- two more shapes for a tail, each at scale 1


class Logistic:
    """The logistic density. Its variance, pi^2 / 3, is near that of a t with nu = 3."""

    def sample(self, rng, shape):
        return rng.logistic(size=shape)

    def log_prob(self, z):
        return -np.abs(z) - 2 * np.log1p(np.exp(-np.abs(z)))

    def score(self, z):
        return -np.tanh(z / 2)

    def kl_from_gaussian(self, mu, logvar):
        """By Gauss and Hermite's rule, as `divergences.t_from_gaussian`."""
        eps, weight = np.transpose(divergences.gauss_hermite())
        sigma = np.exp(0.5 * logvar)
        z = mu[..., None] + sigma[..., None] * eps
        kl = -self.log_prob(z) @ weight - 0.5 * (logvar + np.log(2 * np.pi * np.e))
        pull = -self.score(z)
        return kl, pull @ weight, 0.5 * (sigma * (pull @ (weight * eps)) - 1)


class Laplace:
    """The Laplace density, variance 2, as on the page "Add your own latent"."""

    def sample(self, rng, shape):
        return rng.laplace(size=shape)

    def log_prob(self, z):
        return -np.log(2) - np.abs(z)

    def score(self, z):
        return -np.sign(z)

    def kl_exact_and_grad(self, mu, logvar):
        """Of the tied pair."""
        sigma, away = np.exp(0.5 * logvar), np.abs(mu)
        decay = np.exp(-away / sigma)
        return away + sigma * decay - 0.5 * logvar - 1, np.sign(mu) * (1 - decay), 0.5 * ((sigma + away) * decay - 1)

    def kl_from_gaussian(self, mu, logvar):
        """In closed form, as E|z| = mu erf(mu / sigma sqrt 2) + 2 sigma phi(mu / sigma)."""
        sigma = np.exp(0.5 * logvar)
        dmu, peak = special.erf(mu / sigma / np.sqrt(2)), sigma * np.sqrt(2 / np.pi) * np.exp(-0.5 * (mu / sigma) ** 2)
        kl = np.log(2) + mu * dmu + peak - 0.5 * (logvar + np.log(2 * np.pi * np.e))
        return kl, dmu, 0.5 * (peak - 1)


class UnderGaussian(Apart):
    """A Gaussian encoder under one of these two."""

    def __init__(self, prior):
        super().__init__(Gaussian(), prior)

    def kl_exact_and_grad(self, mu, logvar):
        return self.prior.kl_from_gaussian(mu, logvar)


# ---- short studies


def scored(model, seed):
    """Loss, bound and active coordinates on 1,000 test digits, as the short studies have them."""
    test = load_mnist().test[:1000]
    mu = model.encode(test)[0]
    found = {"loss": evaluate(model, test, np.random.default_rng(seed))[0], "active_units": np.sum(mu.var(axis=0) > 0.01)}
    found["bound"] = outliers.unusualness(model, test, seed=seed)["bound"].mean()
    return {name: float(value) for name, value in found.items()}


def trained(seed, *stages):
    """A model that goes through stages (family, epochs, kl), one after the other, on all digits by the short schedule."""
    mnist, params, done = load_mnist(), None, 0
    for family, epochs, kl in stages:
        model = VAE(family, rng=seed, kl=kl)
        if params is not None:
            model.params = params
        options = SHORT | {"epochs": epochs, "seed": seed + 1000 * done, "progress": False}
        fit(model, mnist.train, mnist.valid, **options)
        params, done = model.params, done + 1
    return scored(model, seed)


def prices_first():
    """A tied t with nu = 3 that for its first epochs pays the prices of a Gaussian prior: compare with the study "exact"."""
    t, apart = StudentT(3), Apart(StudentT(3), Gaussian())
    for seed in range(5):
        yield {"seed": seed}, lambda seed=seed: trained(seed, (apart, 5, "exact"), (t, 15, "exact"))


OTHERS = {"gaussian_laplace": UnderGaussian(Laplace()), "laplace": Laplace(), "gaussian_logistic": UnderGaussian(Logistic())}


def other_priors():
    """The same schedule for priors that are no t, and for a tied pair of Laplace densities: compare with the study "exact"."""
    for seed in range(5):
        for name, family in OTHERS.items():
            yield {"model": name, "seed": seed}, lambda seed=seed, family=family: trained(seed, (family, 20, "exact"))


EXPERIMENTS = (runs_of_chapter, prices_first, other_priors)


def main(arguments=None):
    options = json_rows.parser("whose_tail", __doc__, "tails", EXPERIMENTS).parse_args(arguments)
    for experiment in EXPERIMENTS:
        if experiment.__name__ not in options.only:
            continue
        path = options.results / f"{experiment.__name__}.json"
        known = json.loads(path.read_bytes())["rows"] if path.exists() else []
        for name, job in experiment():
            if any(name.items() <= entry.items() for entry in known):
                continue
            known.append(name | job())
            json_rows.write(path, known)
            print(experiment.__name__, known[-1], flush=True)


if __name__ == "__main__":
    main()

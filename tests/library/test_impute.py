"""Imputation: hidden pixels are never looked at, and the methods are what their docstrings say."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, log_expit, softmax

from tvae_lib import impute, masks, metrics
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.train import fit
from tvae_lib.vae_numpy import VAE

METHODS = [impute.single_pass, impute.pseudo_gibbs, impute.metropolis, impute.importance, impute.latent_map, impute.langevin]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
SIZES = (784, 12, 3)


@pytest.fixture(params=[Gaussian(), StudentT(5)], ids=str)
def model(request):
    model = VAE(request.param, sizes=SIZES, rng=2)
    model.params["encoder.1.bias"][:3] = 1
    model.params["decoder.1.weight"] *= 5
    return model


@pytest.fixture
def masked(mnist):
    x = mnist.test[:11]
    return x, masks.random_squares(np.random.default_rng(3), len(x))


@every_method
@pytest.mark.parametrize("hidden", [0.0, 0.7, "noise", "other images", np.nan, -np.inf, 1e30])
def test_hidden_pixels_are_never_looked_at(model, masked, mnist, method, hidden):
    x, missing = masked
    values = {"noise": np.random.default_rng(1).random(x.shape), "other images": mnist.test[100:111]}.get(hidden, hidden)
    changed = np.where(missing, values, x).astype(np.float32)
    np.testing.assert_array_equal(
        method(model, changed, missing, draws=6, seed=4),
        method(model, x, missing, draws=6, seed=4),
    )


@every_method
def test_observed_pixels_are_looked_at(model, masked, method):
    x, missing = masked
    changed = np.where(missing, x, 1 - x)
    assert np.abs(method(model, changed, missing, draws=6) - method(model, x, missing, draws=6)).max() > 1e-3


@every_method
def test_seeds_repeat_and_differ(model, masked, method):
    first, again, default, zero, other = (
        method(model, *masked, draws=4, **options) for options in ({"seed": 7}, {"seed": 7}, {}, {"seed": 0}, {"seed": 8})
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(default, zero)
    if method.__name__ != "latent_map":  # an optimum need not depend on the seed
        assert (first != other).any(axis=1).all()


@every_method
def test_predictions_are_probabilities_of_all_pixels(model, masked, method):
    x, missing = masked[0].copy(), masked[1].copy()
    prediction = method(model, x, missing, draws=5)
    assert prediction.shape == x.shape and prediction.dtype == np.float32
    assert prediction.min() >= 0 and prediction.max() <= 1 and prediction.std() > 0.01
    np.testing.assert_array_equal(x, masked[0])  # nothing is changed in place
    np.testing.assert_array_equal(missing, masked[1])


@every_method
def test_draws_one_no_image_nothing_and_everything_missing(model, masked, method):
    x, missing = masked
    assert np.isfinite(method(model, x, missing, draws=1)).all()
    assert method(model, x[:0], missing[:0], draws=2).shape == (0, 784)
    assert np.isfinite(method(model, x, np.zeros_like(missing), draws=2)).all()
    everything = np.ones_like(missing)
    np.testing.assert_array_equal(method(model, x, everything, draws=3), method(model, 1 - x, everything, draws=3))


def slices(n, size):
    return [slice(start, start + size) for start in range(0, n, size)]


@pytest.mark.parametrize("chunk", [500, 4])
def test_single_pass_is_the_naive_loop(model, masked, monkeypatch, chunk):
    """Encode, draw and decode again for every draw: slower, and the same numbers."""
    monkeypatch.setattr(impute, "CHUNK", chunk)
    x, missing = masked
    rng, expected = np.random.default_rng(6), []
    for rows in slices(len(x), chunk):
        zeroed = x[rows] * ~missing[rows]
        passes = [model.reconstruct(zeroed, model.family.sample(rng, (len(zeroed), 3))) for _ in range(9)]
        expected.append(np.mean(passes, axis=0))
    np.testing.assert_allclose(impute.single_pass(model, x, missing, draws=9, seed=6), np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize("chunk", [500, 4])
@pytest.mark.parametrize("draws, kept", [(1, 1), (2, 1), (9, 5), (10, 5)])
def test_pseudo_gibbs_is_the_naive_loop(model, masked, monkeypatch, chunk, draws, kept):
    monkeypatch.setattr(impute, "CHUNK", chunk)
    x, missing = masked
    rng, expected = np.random.default_rng(6), []
    for rows in slices(len(x), chunk):
        image, passes = x[rows] * ~missing[rows], []
        for _ in range(draws):
            passes.append(model.reconstruct(image, model.family.sample(rng, (len(image), 3))))
            image = impute.fill(x[rows], missing[rows], passes[-1])
        expected.append(np.mean(passes[-kept:], axis=0))
    np.testing.assert_allclose(impute.pseudo_gibbs(model, x, missing, draws=draws, seed=6), np.concatenate(expected), atol=1e-5)


def test_single_pass_agrees_with_the_naive_loop_in_distribution(model, masked):
    x, missing = masked
    zeroed, rng = np.where(missing, 0, x), np.random.default_rng(77)
    passes = np.array([model.reconstruct(zeroed, model.family.sample(rng, (len(x), 3))) for _ in range(1500)])
    standard_error = passes.std(axis=0) / np.sqrt(1500)
    difference = impute.single_pass(model, x, missing, draws=1500, seed=1) - passes.mean(axis=0)
    assert np.abs(difference / (np.sqrt(2) * standard_error + 1e-5)).max() < 5.5  # 8,624 pixels, far from independent


def test_many_images_span_chunks(mnist):
    model = VAE(StudentT(21), sizes=SIZES, rng=2)
    x = mnist.test[: impute.CHUNK + 3]
    missing = masks.random_pixels(np.random.default_rng(0), x.shape, 0.3)
    for method in METHODS:
        prediction = method(model, x, missing, draws=2)
        assert prediction.shape == x.shape and (prediction.min(axis=1) > 0.1).all()  # no row left at 0


# Methods that ask for the posterior of the code: against a grid over a two-dimensional code, and against SciPy's optimiser


@pytest.fixture(params=[Gaussian(), StudentT(4)], ids=str)
def flat_model(request, mnist):
    """A model whose encoder says nearly nothing (sigma about 1), so that the few observed pixels of four images have to."""
    model = VAE(request.param, sizes=(784, 6, 2), rng=3, dtype=np.float64)
    model.params["encoder.1.weight"] *= 0.1
    model.params["decoder.0.weight"] *= 4
    model.params["decoder.0.bias"] += 0.3
    model.params["decoder.1.weight"] *= 15
    missing = np.random.default_rng(1).random((4, 784)) < 0.97
    return model, mnist.test[20:24], missing


def log_joint(model, x, missing, z):
    """log p(x_observed | z) p(z) of one image for codes z (n, 2), from SciPy's densities."""
    prior = stats.norm() if isinstance(model.family, Gaussian) else stats.t(model.family.df)
    logits = model.decode(z)[:, ~missing]
    return (x[~missing] * log_expit(logits) + (1 - x[~missing]) * log_expit(-logits)).sum(axis=1) + prior.logpdf(z).sum(axis=1)


def posterior_mean(model, x, missing):
    """The posterior mean image by summing over a fine grid of codes."""
    axis = np.linspace(-10, 10, 201)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    weights = softmax(log_joint(model, x, missing, z))
    likely = weights > 1e-9
    return weights[likely] @ expit(model.decode(z[likely]))


@pytest.mark.parametrize("method, draws", [(impute.importance, 2000), (impute.langevin, 10000)], ids=["importance", "langevin"])
def test_posterior_mean_against_a_grid(flat_model, method, draws):
    model, x, missing = flat_model
    expected = np.array([posterior_mean(model, *pair) for pair in zip(x, missing, strict=True)])
    prediction = method(model, x, missing, draws=draws, seed=3)
    assert expected.std(axis=0).max() > 0.05  # the four images differ
    np.testing.assert_allclose(prediction, expected, atol=0.02)
    assert np.abs(impute.pseudo_gibbs(model, x, missing, draws=300) - expected).max() > 0.04  # which is not this posterior's mean


def test_latent_map_against_scipy(flat_model):
    model, x, missing = flat_model
    for row in range(len(x)):
        start = model.encode(np.where(missing[row], 0, x[row])[None])[0][0]
        energy = lambda z, row=row: -log_joint(model, x[row], missing[row], z[None])[0]
        best = minimize(energy, start + 1, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
        prediction = impute.latent_map(model, x[row : row + 1], missing[row : row + 1], draws=3000, warm_up=0)
        np.testing.assert_allclose(
            prediction, expit(model.decode(best.x[None])), atol=0.02
        )  # one optimum lies on a kink of a ReLU


@pytest.mark.parametrize("draws, warm_up, codes", [(6, 0, 11), (8, 2, 11), (3, 9, 1)])
@pytest.mark.parametrize("chunk", [500, 4])
def test_importance_is_the_naive_loop(model, masked, monkeypatch, chunk, draws, warm_up, codes):
    monkeypatch.setattr(impute, "CHUNK", chunk)
    x, missing = masked
    standard = stats.norm() if isinstance(model.family, Gaussian) else stats.t(model.family.df)
    rng, expected, sizes = np.random.default_rng(6), [], []
    for rows in slices(len(x), chunk):
        mu, scale = start_of(model, x[rows], missing[rows], min(warm_up, draws - 1), rng)
        log_weights, images = [], []
        for _ in range(codes):
            z = mu + scale * model.family.sample(rng, mu.shape).astype(np.float32)
            images.append(expit(model.decode(z)))
            log_q = standard.logpdf((z - mu) / scale) - np.log(scale)
            log_p = [log_joint(model, *one) for one in zip(x[rows], missing[rows], z[:, None], strict=True)]
            log_weights.append(np.concatenate(log_p) - log_q.sum(axis=1))
        weights = softmax(log_weights, axis=0)
        expected.append(np.einsum("kn,knp->np", weights, images))
        sizes.append(1 / np.sum(weights**2, axis=0))
    prediction, ess = impute.importance_and_ess(model, x, missing, draws=draws, seed=6, warm_up=warm_up)
    np.testing.assert_allclose(prediction, np.concatenate(expected), atol=1e-4)
    np.testing.assert_allclose(ess, np.concatenate(sizes), rtol=2e-2)
    assert ess.shape == (11,) and ess.dtype == np.float32 and ess.min() >= 1 - 1e-6 and ess.max() <= codes


def count_passes(model, monkeypatch):
    """Count the encodings, decodings and gradients asked of the model, in passes per image."""
    passes = []

    def counted(method, cost):
        def call(x, *arguments):
            passes.append(cost * len(x))
            return method(x, *arguments)

        return call

    for name, cost in {"encode": 0.5, "decode": 0.5, "reconstruction_and_dz": 1}.items():
        monkeypatch.setattr(model, name, counted(getattr(model, name), cost))
    return passes


@every_method
@pytest.mark.parametrize("draws, warm_up", [(30, 5), (30, 0), (8, 5), (101, 20)])
def test_cost_is_what_the_docstring_says(model, masked, monkeypatch, method, draws, warm_up):
    passes = count_passes(model, monkeypatch)
    options = {} if method in (impute.single_pass, impute.pseudo_gibbs) else {"warm_up": warm_up}
    method(model, *masked, draws=draws, **options)
    cost = sum(passes) / len(masked[0])
    allowed = {"single_pass": ((draws + 1) / 2,) * 2, "langevin": (draws - 1, draws + 1)}
    low, high = allowed.get(method.__name__, (draws, draws))
    assert low <= cost <= high


def test_warm_up_shows_and_is_checked(model, masked, refuses):
    for method in (impute.metropolis, impute.importance, impute.latent_map, impute.langevin):
        with_it, without = (method(model, *masked, draws=8, warm_up=passes) for passes in (4, 0))
        assert np.abs(with_it - without).max() > 1e-4
        np.testing.assert_array_equal(method(model, *masked, draws=3, warm_up=9), method(model, *masked, draws=3, warm_up=2))
        for bad in (-1, 2.5, None):
            with refuses("warm_up must be a whole number, 0 or more, got"):
                method(model, *masked, warm_up=bad)
        with pytest.raises(TypeError, match="unexpected keyword argument 'drawz'"):
            method(model, *masked, drawz=3)


def test_fill(masked, rng):
    x, missing = masked
    prediction = rng.random(x.shape).astype(np.float32)
    filled = impute.fill(x, missing, prediction)
    np.testing.assert_array_equal(filled[~missing], x[~missing])
    np.testing.assert_array_equal(filled[missing], prediction[missing])
    assert filled.dtype == np.float32 and filled is not x
    np.testing.assert_array_equal(impute.fill(np.where(missing, np.nan, x), missing, prediction), filled)


# The two methods that follow a gradient: step by step against PyTorch's autograd, its Adam, and SciPy's normal density


@pytest.fixture
def narrow_model(flat_model):
    """The same, with an encoder that claims to know more: sigma about 0.5 and 0.3, so that powers of it differ."""
    model, x, missing = flat_model
    model.params["encoder.1.bias"][2:] = 2 * np.log([0.5, 0.3])
    return model, x, missing


def twin_energy(model, x, missing):
    """-log p(x_observed | z) p(z) of each image by PyTorch's functions, as a function of z."""
    W = {name: torch.tensor(value) for name, value in model.params.items()}
    gaussian = isinstance(model.family, Gaussian)
    prior = torch.distributions.Normal(0.0, 1.0) if gaussian else torch.distributions.StudentT(torch.tensor(model.family.df))
    x, observed = torch.tensor(np.where(missing, 0, x)).double(), torch.tensor(~missing)

    def energy(z):
        h = torch.relu(z @ W["decoder.0.weight"].T + W["decoder.0.bias"])
        logits = h @ W["decoder.1.weight"].T + W["decoder.1.bias"]
        cost = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return (cost * observed).sum(dim=1) - prior.log_prob(z).sum(dim=1)

    return energy


def start_of(model, x, missing, warm_up, rng):
    """mu and sigma of the images as `warm_up` passes of feeding back have filled them in."""
    image = np.where(missing, 0, x)
    for _ in range(warm_up):
        mu, logvar = model.encode(image)
        z = mu + np.exp(logvar / 2) * model.family.sample(rng, mu.shape).astype(mu.dtype)
        image = np.where(missing, expit(model.decode(z)), image)
    mu, logvar = model.encode(image)
    return mu, np.exp(logvar / 2)


@pytest.mark.parametrize("draws, warm_up", [(9, 0), (9, 3), (3, 9)])
def test_latent_map_is_adam(narrow_model, draws, warm_up):
    model, x, missing = narrow_model
    steps = draws - min(warm_up, draws - 1) - 1
    z = torch.tensor(start_of(model, x, missing, min(warm_up, draws - 1), np.random.default_rng(4))[0], requires_grad=True)
    energy = twin_energy(model, x, missing)
    optimiser = torch.optim.Adam([z], lr=0.2, betas=(0.8, 0.95), eps=1e-8)
    shrinking = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / max(steps, 1))
    for _ in range(steps):
        optimiser.zero_grad()
        energy(z).sum().backward()
        optimiser.step()
        shrinking.step()
    prediction = impute.latent_map(model, x, missing, draws=draws, warm_up=warm_up, seed=4)
    np.testing.assert_allclose(prediction, expit(model.decode(z.detach().numpy())), atol=1e-6)


@pytest.mark.parametrize("draws, warm_up", [(40, 0), (40, 3), (3, 9)])
def test_langevin_is_the_naive_chain(narrow_model, draws, warm_up):
    """Metropolis and Hastings with the two proposal densities written out."""
    model, x, missing = narrow_model
    rng, passes = np.random.default_rng(4), min(warm_up, draws - 1)
    z, sigma = start_of(model, x, missing, passes, rng)
    energy = twin_energy(model, x, missing)

    def energy_and_centre(z):
        """The energy of z, and where the proposals that start there are centred."""
        leaf = torch.tensor(z, requires_grad=True)
        value = energy(leaf)
        value.sum().backward()
        return value.detach().numpy(), z - 0.5 * sigma**2 * leaf.grad.numpy()

    states, accepted = [], []
    for _ in range(2 * max(1, 2 * (draws - passes) // 5) - 1):
        here, centre = energy_and_centre(z)
        proposal = centre + sigma * rng.standard_normal(z.shape, np.float32)
        there, centre_back = energy_and_centre(proposal)
        forth = stats.norm.logpdf(proposal, centre, sigma).sum(axis=1)
        back = stats.norm.logpdf(z, centre_back, sigma).sum(axis=1)
        accepted.append(np.log1p(-rng.random(len(z))) < here - there + back - forth)
        z = np.where(accepted[-1][:, None], proposal, z)
        states.append(expit(model.decode(z)))
    assert draws < 40 or 0.2 < np.mean(accepted) < 0.98  # both happen
    kept = states[len(states) // 2 :]
    prediction, share = impute.langevin_and_acceptance(model, x, missing, draws=draws, warm_up=warm_up, seed=4)
    np.testing.assert_allclose(prediction, np.mean(kept, axis=0), atol=1e-5)
    np.testing.assert_allclose(share, np.mean(accepted, axis=0), rtol=1e-6)


@pytest.mark.parametrize("draws, warm_up", [(40, 0), (40, 3), (3, 9), (2, 0)])
def test_metropolis_is_the_naive_chain(narrow_model, draws, warm_up):
    """Each image by itself, the densities of whole images from SciPy."""
    model, x, missing = narrow_model
    model.params["decoder.1.weight"] *= 0.2  # or hardly any code would be accepted
    rng, passes = np.random.default_rng(4), min(warm_up, draws - 1)
    prior = stats.norm() if isinstance(model.family, Gaussian) else stats.t(model.family.df)
    image, nothing = np.where(missing, 0, x), np.zeros(784, bool)
    black_or_white = lambda z: rng.random(x.shape) < expit(model.decode(z))
    for _ in range(passes):
        mu, logvar = model.encode(image)
        image = np.where(missing, black_or_white(mu + np.exp(logvar / 2) * model.family.sample(rng, mu.shape)), image)
    z, means, accepted = None, [], []
    for _ in range(draws - passes):
        mu, logvar = model.encode(image)
        sigma = np.exp(logvar / 2)
        proposal = mu + sigma * model.family.sample(rng, mu.shape)
        log_weight = lambda z, mu=mu, sigma=sigma, image=image: np.array(
            [
                log_joint(model, image[i], nothing, z[i : i + 1])[0]
                - (prior.logpdf((z[i] - mu[i]) / sigma[i]) - np.log(sigma[i])).sum()
                for i in range(len(z))
            ]
        )
        if z is None:
            z = proposal
        else:
            accepted.append(np.log1p(-rng.random(len(z))) < log_weight(proposal) - log_weight(z))
            z = np.where(accepted[-1][:, None], proposal, z)
        means.append(expit(model.decode(z)))
        image = np.where(missing, black_or_white(z), image)
    assert draws < 40 or 0.05 < np.mean(accepted) < 0.98  # both happen
    prediction, share = impute.metropolis_and_acceptance(model, x, missing, draws=draws, warm_up=warm_up, seed=4)
    np.testing.assert_allclose(prediction, np.mean(means[len(means) // 2 :], axis=0), atol=1e-5)
    np.testing.assert_allclose(share, np.mean(accepted, axis=0) if accepted else 0 * share, rtol=1e-6)


# Draws: codes from the posterior, and completed images made of them


@pytest.mark.parametrize("method", [impute.importance, impute.langevin, impute.metropolis], ids=lambda method: method.__name__)
@pytest.mark.parametrize("family", [Gaussian(), StudentT(4)], ids=str)
def test_codes_are_draws_from_the_posterior(family, method):
    """Mean and covariance of the codes of 2,000 copies of a row of eight numbers, five missing, against sums over a fine grid."""
    model = VAE(family, sizes=(8, 6, 2), rng=3, dtype=np.float64)
    model.params["decoder.0.weight"] *= 6
    model.params["decoder.1.weight"] *= 6
    model.params["encoder.1.bias"][:2] = 0.5  # off the posterior's centre
    x, missing = np.array([1, 0, 0.8, 0, 0, 0, 0, 0]), np.arange(8) > 2
    axis = np.linspace(-12, 12, 301)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    weights = softmax(log_joint(model, x, missing, grid))
    mean, covariance = weights @ grid, np.cov(grid.T, aweights=weights, bias=True)
    prior = np.cov(grid.T, aweights=softmax(log_joint(model, x, missing | True, grid)), bias=True)
    assert np.abs(mean).max() > 0.3 or np.abs(covariance / prior[0, 0] - np.eye(2)).max() > 0.2  # the row says something
    codes = method(model, np.tile(x, (2000, 1)), np.tile(missing, (2000, 1)), draws=100, seed=1, code=True)
    np.testing.assert_allclose(codes.mean(axis=0), mean, atol=5 * np.sqrt(np.diag(covariance).max() / 2000))
    np.testing.assert_allclose(np.cov(codes.T), covariance, atol=0.2 * np.diag(covariance).max())
    images = impute.completions(model, np.tile(x, (2000, 1)), np.tile(missing, (2000, 1)), method=method, copies=1, draws=50)[0]
    np.testing.assert_allclose(images[:, 3:].mean(axis=0), weights @ expit(model.decode(grid))[:, 3:], atol=0.05)


@every_method
def test_completions(model, masked, method):
    x, missing = masked
    images = impute.completions(model, x, missing, method=method, copies=4, draws=3, seed=2)
    assert images.shape == (4, *x.shape) and images.dtype == np.float32
    np.testing.assert_array_equal(images[:, ~missing], np.broadcast_to(x[~missing], (4, (~missing).sum())))
    assert np.isin(images[:, missing], (0, 1)).all()  # a Bernoulli decoder draws black and white
    assert all((images[i] != images[j]).any(axis=1).all() for i in range(4) for j in range(i))
    again = impute.completions(model, x, missing, method=method, copies=4, draws=3, seed=2)
    np.testing.assert_array_equal(images, again)
    code = method(model, x, missing, draws=3, seed=2, code=True)
    means = impute.completions(model, x, missing, method=method, copies=2, draws=3, seed=2, pixel_noise=False)
    np.testing.assert_allclose(means[0], impute.fill(x, missing, expit(model.decode(code))), atol=1e-6)


@every_method
def test_one_draw_is_the_mean_of_its_code(model, masked, method):
    code = method(model, *masked, draws=1, seed=3, code=True)
    np.testing.assert_allclose(method(model, *masked, draws=1, seed=3), expit(model.decode(code)), atol=1e-6)


@pytest.mark.parametrize("method", [impute.single_pass, impute.latent_map], ids=lambda method: method.__name__)
def test_completions_average_to_the_mean(model, masked, method):
    """Of 600 black or white draws for each pixel: within the error of a share."""
    x, missing = masked
    share = impute.completions(model, x, missing, method=method, copies=600, draws=9, seed=2).mean(axis=0)
    mean = method(model, x, missing, draws=600 if method is impute.single_pass else 9, seed=5)
    error = np.sqrt(2 * mean * (1 - mean) / 600) + 1e-3
    assert np.abs((share - mean) / error)[missing].max() < 5.5


def test_feeding_back_draws_is_the_naive_loop(model, masked):
    x, missing = masked
    rng, image, passes = np.random.default_rng(6), x * ~missing, []
    for _ in range(9):
        passes.append(model.reconstruct(image, model.family.sample(rng, (len(image), 3))))
        drawn = rng.random(x.shape, np.float32) < passes[-1]
        image = impute.fill(x, missing, drawn.astype(np.float32))
    found = impute.pseudo_gibbs(model, x, missing, draws=9, seed=6, feed_draws=True)
    np.testing.assert_allclose(found, np.mean(passes[-5:], axis=0), atol=1e-5)


def test_bad_options(model, masked, refuses):
    for method in METHODS:
        for bad in (1, "yes", None):
            with refuses("code must be True or False, got"):
                method(model, *masked, code=bad)
    with refuses("feed_draws must be True or False, got 1"):
        impute.pseudo_gibbs(model, *masked, feed_draws=1)
    with refuses("pixel_noise must be True or False, got 0"):
        impute.completions(model, *masked, pixel_noise=0)
    with refuses("copies must be a whole number, 1 or more, got 0"):
        impute.completions(model, *masked, copies=0)


def test_what_is_taken_if_nothing_is_said(model, masked):
    for method in (*METHODS, impute.importance_and_ess, impute.langevin_and_acceptance, impute.metropolis_and_acceptance):
        warm_up = {} if method in (impute.single_pass, impute.pseudo_gibbs) else {"warm_up": 5}
        for found, said in zip(method(model, *masked), method(model, *masked, draws=30, seed=0, **warm_up), strict=True):
            np.testing.assert_array_equal(found, said)


# A model that has learnt something


@pytest.fixture(scope="module", params=[Gaussian(), StudentT(21)], ids=str)
def trained(request, mnist):
    model = VAE(request.param, sizes=(784, 64, 8), rng=0)
    fit(model, mnist.train[:5000], mnist.valid[:100], epochs=14, batch_size=25, lr=0.01, seed=0, progress=False)
    return model


@pytest.mark.parametrize("kind", ["pixels", "squares"])
def test_a_briefly_trained_model_beats_the_mean(trained, mnist, kind):
    x, rng = mnist.test[:400], np.random.default_rng(0)
    missing = masks.random_pixels(rng, x.shape, 0.3) if kind == "pixels" else masks.random_squares(rng, len(x))
    by_mean = metrics.mse_missing(x, np.broadcast_to(mnist.train.mean(axis=0), x.shape), missing)
    assert 0.06 < by_mean < 0.1
    for method in METHODS:
        prediction = method(trained, x, missing, draws=30, seed=0)
        assert metrics.mse_missing(x, prediction, missing) < 0.9 * by_mean, method.__name__
        filled = impute.fill(x, missing, prediction)
        assert metrics.mse(x, filled) == pytest.approx(metrics.mse_missing(x, prediction, missing) * missing.mean(), rel=1e-4)
        assert metrics.ssim(x[:50], filled[:50]) > metrics.ssim(x[:50], np.where(missing, 0, x)[:50])


# Bad input

BAD_MASKS = {
    "int": lambda m: m.astype(int),
    "float": lambda m: m.astype(float),
    "text": lambda m: m.astype(str),
    "fewer rows": lambda m: m[:5],
    "one row": lambda m: m[0],
    "would broadcast": lambda m: m[:1],
    "pictures": lambda m: m.reshape(-1, 28, 28),
}


@every_method
@pytest.mark.parametrize("change", BAD_MASKS.values(), ids=BAD_MASKS)
def test_bad_masks(model, masked, method, change, refuses):
    x, missing = masked
    with refuses(r"missing must be bool of shape \(11, 784\), got"):
        method(model, x, change(missing))


@every_method
def test_bad_images(model, masked, method, refuses):
    x, missing = masked
    for bad in (x[:, :700], x[0], x.reshape(-1, 28, 28)):
        with refuses(r"x must have shape \(n, 784\), got"):
            method(model, bad, missing)
    for value in (np.nan, -0.5, 255.0, np.inf):
        observed = np.where(missing, x, value).astype(np.float32)
        with refuses(r"pixels of x must lie in \[0, 1\], got values from"):
            method(model, observed, missing)


@every_method
@pytest.mark.parametrize("draws", [0, -1, 2.5, 2.0, float("nan"), "30", None])
def test_bad_draws(model, masked, method, draws, refuses):
    with refuses("draws must be a whole number, 1 or more, got"):
        method(model, *masked, draws=draws)


def test_fill_wants_three_equal_shapes_and_a_mask(masked, refuses):
    x, missing = masked
    for arguments in ((x, missing[0], x), (x, missing, x[:1]), (x[0], missing, x), (x, missing, 0.5)):
        with refuses("x, missing and prediction must have one shape, got"):
            impute.fill(*arguments)
    for bad in (missing.astype(int), missing.astype(float)):
        with refuses("missing must be bool, got"):
            impute.fill(x, bad, x)

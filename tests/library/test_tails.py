"""The losses of chapter 11's short experiments, against densities of SciPy, quadrature and finite differences."""

import inspect
import json
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from tvae_lib import results
from tvae_lib.experiments import filling, tails, whose_tail
from tvae_lib.latent import StudentT, kl_exact_and_grad


def test_the_joint_density_of_t3_is_a_power():
    df, n, m, sd = 3.5, 3, 2, 0.7
    rng = np.random.default_rng(0)
    x, mean, z = rng.normal(size=n), rng.normal(size=n), rng.normal(size=m)
    scale = sd**2 * (df + z @ z) / (df + m)
    product = stats.multivariate_t(np.zeros(m), np.eye(m), df).logpdf(z)
    product += stats.multivariate_t(mean, scale * np.eye(n), df + m).logpdf(x)
    joint = stats.multivariate_t(np.zeros(n + m), np.eye(n + m), df).logpdf(np.concatenate([(x - mean) / sd, z]))
    np.testing.assert_allclose(product, joint - n * np.log(sd))


@pytest.mark.parametrize(("df", "sd"), [(2.5, 1.0), (5.0, 0.4)])
def test_regularising_part_is_a_power_divergence_from_the_fitted_prior(df, sd):
    """For n = m = 1: up to a factor and a constant it is the gamma-power divergence of q(z | x) from t(0, tau, df + 1)."""
    c, _ = tails.t3_constants(df, 1, 1, sd)
    gamma, tau = -2 / (df + 2), tails.t3_fitted_scale(df, 1, 1, sd)
    p = stats.t(df + 1, scale=tau)
    power = lambda density: quad(lambda z: density.pdf(z) ** (1 + gamma), -np.inf, np.inf)[0] ** (1 / (1 + gamma))

    size = power(p)

    def divergence(mu, sigma):
        q = stats.t(df + 1, mu, np.sqrt(df / (df + 1)) * sigma)
        return quad(lambda z: q.pdf(z) * (p.pdf(z) / size) ** gamma, -np.inf, np.inf)[0] - power(q)

    regularising = lambda mu, sigma: 0.5 * (mu**2 + df / (df - 1) * sigma**2 - df * c * sigma ** (2 / df))
    least = regularising(0, tau * np.sqrt((df + 1) / df))
    pairs = [(0.3, 0.5), (1.0, 0.2), (-0.5, 1.5)]
    ratios = [divergence(*pair) / (regularising(*pair) - least) for pair in pairs]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)
    assert divergence(0, tau * np.sqrt((df + 1) / df)) == pytest.approx(0, abs=1e-8)


def test_t3_amounts_to_a_beta_vae_in_many_dimensions():
    for df in (2.5, 21):
        for sd in (1.0, 0.2):
            _, beta = tails.t3_constants(df, 784, 10, sd)
            assert sd**2 * beta * 2 * np.pi * np.e == pytest.approx(1, rel=0.1)


def test_real_valued_losses_against_a_plain_computation():
    kinds = [("gaussian", None, 0.5, 0.3), ("t3", 4.0, 0.5, 1.0)]
    images = np.random.default_rng(0).random((1, 6, 5))
    networks = tails.Networks((5, 4, 2), [0, 0], images, "cpu")
    x, normal = networks.images[[0, 0]], torch.randn(2, 6, 2)
    torch.manual_seed(1)
    found = tails.real_valued_loss(networks, kinds)(x, normal).detach().numpy()
    mu, logvar = (part.detach().numpy() for part in networks.encode(x))
    torch.manual_seed(1)
    chi = tails.chi_square(torch.tensor([[[3.0 + 5]], [[4.0 + 5]]]), (2, 6, 1)).numpy()
    noise = [normal[0].numpy(), normal[1].numpy() / np.sqrt(chi[1] / 4)]
    z = mu + np.exp(logvar / 2) * np.stack(noise)
    decoded = networks.decode(torch.tensor(z)).detach().numpy()
    cost = ((x.numpy() - decoded) ** 2).sum(-1) / (2 * 0.25)
    kl = [stats.norm(0, 1).logpdf(0) * 0 + 0.5 * (mu[0] ** 2 + np.exp(logvar[0]) - 1 - logvar[0]).sum(-1)]
    c, _ = tails.t3_constants(4.0, 5, 2, 0.5)
    det = np.exp(logvar[1].sum(-1)) ** (1 / (4 + 5 + 2 - 2))
    gamma = 0.5 * ((mu[1] ** 2).sum(-1) + 4 / (4 + 5 - 2) * np.exp(logvar[1]).sum(-1) - 4 * c * det)
    np.testing.assert_allclose(found, [(cost[0] + 0.3 * kl[0]).mean(), (cost[1] + gamma).mean()], rtol=1e-5)


def test_gradient_for_nu_of_the_tied_pair_goes_through_the_draws():
    """The average over draws, differentiated for nu, against finite differences of the exact KL."""
    torch.manual_seed(0)
    df = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    mu, sigma = 0.8, 0.6
    normal = torch.randn(200_000, dtype=torch.float64)
    eps = normal * torch.rsqrt(tails.chi_square(df, normal.shape) / df)
    kl = (tails.log_t(eps, df) - np.log(sigma) - tails.log_t(mu + sigma * eps, df)).mean()
    (slope,) = torch.autograd.grad(kl, df)
    exact = lambda nu: float(kl_exact_and_grad(StudentT(nu), np.array([mu]), np.array([2 * np.log(sigma)]))[0][0])
    assert float(kl.detach()) == pytest.approx(exact(4.0), rel=0.02)
    assert float(slope) == pytest.approx((exact(4.01) - exact(3.99)) / 0.02, abs=3e-3)


def test_log_t_against_scipy_and_its_derivative_for_nu():
    z, df = np.linspace(-6, 6, 13), torch.tensor(3.3, dtype=torch.float64, requires_grad=True)
    value = tails.log_t(torch.tensor(z), df)
    np.testing.assert_allclose(value.detach(), stats.t(3.3).logpdf(z))
    (slope,) = torch.autograd.grad(value.sum(), df)
    expected = np.sum(stats.t(3.3 + 1e-5).logpdf(z) - stats.t(3.3 - 1e-5).logpdf(z)) / 2e-5
    assert float(slope) == pytest.approx(expected, rel=1e-5)


def test_beta_divergence_tends_to_the_cross_entropy_and_is_that_of_a_sum_over_all_images():
    logits = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    cross = tails.bernoulli_cost(logits, x)
    small = tails.robust_cost(logits, x, torch.tensor([1e-7], dtype=torch.float64))
    np.testing.assert_allclose(small, cross, rtol=1e-5)
    beta, on = 0.3, logits[0].sigmoid().numpy()
    every = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T
    p = np.prod(np.where(every, on, 1 - on), axis=1)
    mine = np.prod(np.where(x[0].numpy(), on, 1 - on))
    expected = -(1 + beta) / beta * (mine**beta - 1) + np.sum(p ** (1 + beta)) - 1
    np.testing.assert_allclose(tails.robust_cost(logits, x, torch.tensor([beta], dtype=torch.float64)), [expected])


def test_models_of_one_seed_start_alike_and_a_short_run_learns():
    data = np.random.default_rng(0).random((2, 40, 6)).round()
    networks = tails.Networks((6, 5, 2), [3, 7, 3], data, "cpu")
    assert torch.equal(networks.params["encoder.0.weight"][0], networks.params["encoder.0.weight"][2])
    assert not torch.equal(networks.params["encoder.0.weight"][0], networks.params["encoder.0.weight"][1])
    found = tails.learned_df("cpu", data, (6, 5, 2), {"epochs": 2, "batch_size": 10, "lr": 0.01}, (3.0, 21.0), (3, 7))
    assert [entry["path"][0] for entry in found] == [3.0] * 2 + [21.0] * 2 + [3.0] * 2 + [21.0] * 2
    assert all(len(entry["path"]) == 3 and np.isfinite(entry["path"]).all() for entry in found)


def test_models_learn_to_fill_in_missing_answers():
    found = tails.half_missing("cpu", seeds=[3, 4], until=(1, 30), people=(1500, 300))
    losses = {(entry["model"], entry["epochs"], entry["seed"]): entry["log_loss"] for entry in found}
    for seed in (3, 4):
        truth = losses["truth", None, seed]
        assert truth < losses["conditional", None, seed] and truth < losses["knn100", None, seed]
        for model in ("gaussian", "t3", "t21"):
            assert truth < losses[model, 30, seed] < losses[model, 1, seed] - 0.02
    assert len(losses) == len(found) == 2 * 9


def test_log_loss_without_a_network():
    x, missing = np.array([[1.0, 0.0, 1.0]]), np.array([[True, True, False]])
    fill_in = lambda train, x, missing: np.array([[0.25, 1.0, 0.0]])
    expected = -(np.log(0.25) + np.log(0.1)) / 2  # 1.0 is cut to 0.9, and the third answer was seen
    assert tails.log_loss_without_a_network(fill_in, None, x, missing, limit=0.1) == pytest.approx(expected)


@pytest.mark.parametrize("experiment", [tails.df_on_digits, tails.df_on_answers])
def test_stored_paths_of_nu_are_as_many_and_as_long_as_the_code_says(experiment):
    defaults = inspect.signature(experiment).parameters
    models = json.loads((results.RESULTS / "tails" / f"{experiment.__name__}.json").read_bytes())["rows"]
    runs = {(model["learned"], model["start"], model["seed"]) for model in models}
    assert runs == {*product(("prior", "tied"), (2.5, 5.0, 21.0, 100.0), defaults["seeds"].default)} and len(runs) == len(models)
    assert all(len(model["path"]) == defaults["epochs"].default + 1 and model["path"][0] == model["start"] for model in models)


def test_real_valued_models_learn_and_fill_in(mnist):
    found = tails.t3_on_digits("cpu", epochs=40, seeds=[0], images=100)
    assert len(found) == 10 and {entry["kind"] for entry in found} == {"gaussian", "t3"}
    x, hidden = mnist.test[:100], results.test_masks(0, 100)
    black = {mask: np.mean(np.where(hidden[mask], x, 0) ** 2) for mask in hidden}
    for entry in found:
        assert entry["reconstruction_mse"] < np.mean(x**2)  # a black image
        assert all(entry[f"mse_imputation_{mask}"] < black[mask] for mask in hidden)


def test_what_models_make_on_a_line():
    found = tails.t3_in_one_dimension("cpu", epochs=2, seeds=[1], n=4000)
    assert [(entry["kind"], entry["df"]) for entry in found] == [("gaussian", None), ("t3", 3.0), ("t3", 5.0), ("t3", 21.0)]
    for entry in found:
        shares = [*entry["beyond_own"].values()]
        assert shares == sorted(shares, reverse=True) and 0 < entry["ks_own"] < 1
    gaussian, t3 = found[:2]
    assert gaussian["ks_own"] == pytest.approx(gaussian["ks_fitted"], abs=0.02)  # a Gaussian has one prior only
    assert t3["beyond_own"][20] > gaussian["beyond_own"][20]


def test_robust_models_know_digits_from_fashion():
    found = tails.robust_on_foreign("cpu", epochs=3, seeds=[2], images=400)
    assert [entry["beta"] for entry in found] == [0.0, 0.001, 0.0025, 0.005, 0.01]
    for entry in found:
        assert entry["loss_digits"] < entry["loss_fashion"] and 0.5 < entry["auc_fashion"] <= 1
        assert 0 < entry["mse_digits"] < 0.25 and 0 < entry["mse_fashion"] < 0.25


def test_an_experiment_that_is_there_is_not_done_again(tmp_path, monkeypatch, capsys):
    def first(device):
        return [{"on": device}]

    def second(device):
        raise AssertionError("this one was not asked for")

    monkeypatch.setattr(tails, "EXPERIMENTS", (first, second))
    for _ in range(2):
        tails.main(["--results", str(tmp_path), "--only", "first"])
    assert capsys.readouterr().out.count("first: ") == 1
    content = json.loads((tmp_path / "first.json").read_bytes())
    assert content["rows"] == [{"on": "cpu"}] and content["provenance"]["device"] == "CPU"
    assert "commit" in content["provenance"]


@pytest.mark.parametrize("module", [tails, filling, whose_tail])
def test_an_experiment_that_does_not_exist_is_named(module, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        module.main(["--results", str(tmp_path), "--only", "typo"])
    assert stopped.value.code == 2 and "'typo'" in capsys.readouterr().err

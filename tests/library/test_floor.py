"""The short experiments of chapter 10: losses against SciPy and PyTorch, masks, moments, the file that goes on."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_expit
from torch.distributions import Bernoulli, Normal, kl_divergence

from tvae_lib import baselines, checkpoint, impute
from tvae_lib.experiments import floor
from tvae_lib.latent import Gaussian
from tvae_lib.vae_numpy import VAE


@pytest.fixture
def batch(rng):
    """Images, what is erased of them, and the part of it that is gone for good."""
    erased = rng.random((6, 784)) < 0.4
    gone = erased & (rng.random((6, 784)) < 0.5)
    return torch.tensor(rng.random((6, 784), np.float32)), torch.tensor(erased), torch.tensor(gone)


def test_cost_is_the_cross_entropy_of_what_is_left(batch):
    x, erased, _ = (part.numpy() for part in batch)
    logits = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    each = -(x * log_expit(logits) + (1 - x) * log_expit(-logits))
    found = floor.cost(torch.tensor(logits), batch[0], batch[1])
    np.testing.assert_allclose(found, (each * ~erased).sum(axis=1), rtol=1e-5)


def test_the_vae_s_loss_is_that_of_the_library_with_a_weight(batch):
    network = floor.Plain(5, 0.25)
    torch.manual_seed(3)
    found = network.loss(*batch).detach().numpy()
    torch.manual_seed(3)
    eps = torch.randn(6, 5).numpy()
    twin = VAE(Gaussian(), (784, 400, 128, 5), mask_input=True)
    checkpoint.set_params(twin, {name: value.numpy() for name, value in network.vae.params.items()})
    loss = twin.loss(batch[0].numpy(), eps, batch[1].numpy())
    np.testing.assert_allclose(found, loss.reconstruction + 0.25 * loss.kl, rtol=1e-5)


def test_the_conditional_s_loss_is_its_bound(batch):
    """Erased pixels that are known, under Bernoulli, and the KL of two normals."""
    x, erased, gone = batch
    network = floor.Conditional(4)
    torch.manual_seed(5)
    found = network.loss(x, erased, gone)
    torch.manual_seed(5)
    seen, whole = ((x * ~hidden, hidden.float()) for hidden in (erased, gone))
    (m, s), (mu, logvar) = (net(torch.cat(y, 1)).chunk(2, 1) for net, y in ((network.guess, seen), (network.told, whole)))
    q, p = Normal(mu, (logvar / 2).exp()), Normal(m, (s / 2).exp())
    z = mu + q.scale * torch.randn(6, 4)
    logits = network.decoder(torch.cat([z, *seen], dim=1))
    log_p = (Bernoulli(logits=logits, validate_args=False).log_prob(x) * (erased & ~gone)).sum(dim=1)
    torch.testing.assert_close(found, kl_divergence(q, p).sum(dim=1) - log_p)


@pytest.mark.parametrize("name", floor.NETWORKS)
def test_no_network_looks_at_what_is_gone(name, batch):
    x, erased, gone = batch
    network = floor.NETWORKS[name][0]()
    with torch.no_grad():
        values = []
        for under in (0.0, 1.0):
            torch.manual_seed(0)
            shown = x.masked_fill(gone, under)
            values.append((network.loss(shown, erased, gone), network.predict(shown.masked_fill(erased, under), erased)))
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=0)
    assert values[0][1].shape == x.shape and 0 <= values[0][1].min() <= values[0][1].max() <= 1


def test_gaps_stay_and_take_their_share():
    found = floor.gaps(3, (50, 784), 0.3)
    assert found.mean() == pytest.approx(0.3, abs=1e-4)
    np.testing.assert_array_equal(found, floor.gaps(3, (50, 784), 0.3))
    assert not floor.gaps(0, (5, 784), 0).any() and (found != floor.gaps(4, (50, 784), 0.3)).any()


def test_other_masks_are_what_they_are_called():
    found = floor.other_masks(0, 40)
    assert found["random80"].mean() == pytest.approx(0.8, abs=1e-4)
    pictures = found["block"].reshape(40, 28, 28)
    for picture in pictures:
        rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
        assert len(rows) == len(columns) == 14 and np.ptp(rows) == np.ptp(columns) == 13 and picture.sum() == 196
    assert len({picture.tobytes() for picture in pictures}) > 30
    np.testing.assert_array_equal(found["lower"][7].reshape(28, 28), np.arange(28)[:, None].repeat(28, 1) >= 14)
    assert floor.all_masks(0, 40).keys() == {"random", "squares", "random80", "block", "lower"}


def test_pairwise_moments_are_those_of_pandas_where_means_agree(rng):
    """Without gaps: mean and covariance. With gaps: nearly those of pandas, which takes the means anew for each pair."""
    images = rng.normal(size=(4000, 4)) @ rng.normal(size=(4, 4))
    none = np.zeros(images.shape, bool)
    rows = floor.with_pairwise_moments(images, none)
    np.testing.assert_allclose(rows.mean(axis=0), images.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.cov(rows.T, ddof=0), np.cov(images.T, ddof=0), rtol=1e-4, atol=1e-5)
    holes = rng.random(images.shape) < 0.3
    rows = floor.with_pairwise_moments(np.where(holes, 9, images), holes)
    table = pd.DataFrame(np.where(holes, np.nan, images))
    np.testing.assert_allclose(rows.mean(axis=0), table.mean(), atol=1e-6)
    np.testing.assert_allclose(np.cov(rows.T, ddof=0), table.cov(ddof=0), rtol=0.01, atol=0.01)
    filled = baselines.conditional_mean(rows, images[:50], holes[:50], 1e-6, None)
    whole = baselines.conditional_mean(images, images[:50], holes[:50], 1e-6, None)
    assert np.abs(filled - whole).mean() < 0.1 * np.abs(whole).mean()


def test_training_lowers_the_loss_and_repeats(mnist):
    images, gone = mnist.train[:1000], floor.gaps(0, (1000, 784), 0.3)
    first, again = (floor.train(floor.Denoiser, 0, images, gone, epochs=2) for _ in range(2))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    x, hidden = torch.tensor(mnist.test[:200]), torch.tensor(gone[:200])
    torch.manual_seed(0)
    with torch.no_grad():
        losses = [network.loss(x, hidden, hidden).mean() for network in (floor.Denoiser(), first)]
    assert losses[1] < 0.9 * losses[0]


def test_what_is_there_is_not_done_again(tmp_path):
    path, done = tmp_path / "floor.json", []
    for key in ("a", "b", "a"):
        floor.add(path, key, lambda key=key: {"is": done.append(key) or key})
    assert done == ["a", "b"]
    known = json.loads(path.read_text())
    assert known.keys() == {"a", "b"} and known["b"]["is"] == "b" and "torch" in known["a"]["provenance"]


def test_trained_models_are_scored_by_the_library_s_methods(mnist, monkeypatch):
    model, test = VAE(Gaussian(), rng=0), mnist.test[:40]
    rows = {(mask, method): values for mask, method, values in floor.score_trained(model, 2, test)}
    missing = floor.all_masks(2, 40)["squares"]
    filled = impute.fill(test, missing, impute.latent_map(model, test, missing, draws=11, warm_up=0, seed=2))
    assert rows["squares", "ten_steps"]["mse"] == pytest.approx(np.mean((filled - test) ** 2), rel=1e-5)
    assert rows["", "active_units"]["count"] == np.sum(model.encode(test)[0].var(axis=0) > 0.01)
    assert {method for mask, method in rows if mask == "block"} == {"single_pass", "ten_steps", "floor"}


def test_a_quick_run_scores_what_it_trains_and_goes_on(tmp_path, monkeypatch, mnist, capsys):
    monkeypatch.setattr(floor, "NETWORKS", {name: floor.NETWORKS[name] for name in ("vae10", "denoiser_gaps")})
    for _ in range(2):
        floor.main(["--results", str(tmp_path), "--quick"])
    assert capsys.readouterr().out.count(" s\n") == 3  # nothing is done twice
    known = json.loads((tmp_path / "floor.json").read_bytes())
    assert known.keys() == {"without-0", "vae10-0", "denoiser_gaps-0"}
    of = {key: {(mask, method): values for mask, method, values in entry["rows"]} for key, entry in known.items()}
    missing = floor.all_masks(0, 50)["squares"]
    filled = impute.fill(mnist.test[:50], missing, baselines.conditional_mean(mnist.train[:2000], mnist.test[:50], missing, 1e-4))
    assert of["without-0"]["squares", "conditional"]["mse"] == pytest.approx(np.mean((filled - mnist.test[:50]) ** 2), abs=1e-5)
    assert {method for _, method in of["vae10-0"]} == {"single_pass", "latent_map"}
    assert {method for _, method in of["denoiser_gaps-0"]} == {"single_pass"}

"""The short experiments of chapter 10: what lowers the floor of ten coordinates, and models on masks that they never met.

    python -m tvae_lib.experiments.floor                            # the networks; 40 minutes on one core
    python -m tvae_lib.experiments.floor --weights results/work     # the trained models of the studies "holes" found there

Every network but one gets the image with 0 where pixels are erased, and the mask beside it. After each one the file is written,
and what it holds is not done again: results/floor.json, and results/holes.json for the models of the studies.
"""

import argparse
import json
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tvae_lib import baselines, checkpoint, impute, masks, metrics, results
from tvae_lib.data import batches, load_mnist
from tvae_lib.experiments.driver import provenance
from tvae_lib.experiments.studies import training_holes
from tvae_lib.files import write_atomically
from tvae_lib.latent import Gaussian
from tvae_lib.vae_torch import VAE

EPOCHS, BATCH, LR, SEEDS, TEST = 20, 250, 1e-3, 3, 2000


class Denoiser(nn.Module):
    """The VAE's network without its noise and its KL: the mask-aware encoder's mu, decoded."""

    def __init__(self, code=100):
        super().__init__()
        self.vae = VAE(Gaussian(), (784, 400, 128, code), mask_input=True)

    def loss(self, x, erased, gone):
        return cost(self.vae.run("decoder", self.vae.encode(x, erased)[0]), x, gone)

    def predict(self, x, erased):
        return self.vae.run("decoder", self.vae.encode(x, erased)[0]).sigmoid()


class Plain(nn.Module):
    """The VAE, its encoder told the mask or not; what is erased is left out of the loss, and the KL has a weight."""

    def __init__(self, code=10, kl_weight=1.0, told=True):
        super().__init__()
        self.vae, self.kl_weight = VAE(Gaussian(), (784, 400, 128, code), mask_input=told), kl_weight

    def loss(self, x, erased, gone):
        loss = self.vae.loss(x, torch.randn(len(x), self.vae.sizes[-1]), erased)
        return loss.reconstruction + self.kl_weight * loss.kl

    def predict(self, x, erased, draws=30):
        mu, logvar = self.vae.encode(x, erased)
        draw = lambda: self.vae.decode(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)).sigmoid()
        return sum(draw() for _ in range(draws)) / draws


class Conditional(nn.Module):
    """VAEAC (Ivanov, Figurnov and Vetrov 2019) in small: the decoder sees the observed pixels beside the code.

    While training, the code comes from an encoder that sees the whole image; to fill in, from a network that sees only what is
    observed. The KL draws the two together, and the loss is that of the erased pixels alone.
    """

    def __init__(self, code=50):
        super().__init__()

        def layers(*widths):
            a, b, c = (nn.Linear(*pair) for pair in pairwise(widths))
            return nn.Sequential(a, nn.ReLU(), b, nn.ReLU(), c)

        self.told, self.guess = layers(2 * 784, 400, 128, 2 * code), layers(2 * 784, 400, 128, 2 * code)
        self.decoder = layers(2 * 784 + code, 400, 400, 784)

    def decode(self, mu, logvar, seen):
        return self.decoder(torch.cat([mu + torch.exp(0.5 * logvar) * torch.randn_like(mu), seen], dim=1))

    def loss(self, x, erased, gone):
        seen = beside(x, erased)
        (mu, logvar), (m, s) = (net(y).chunk(2, dim=1) for net, y in ((self.told, beside(x, gone)), (self.guess, seen)))
        kl = 0.5 * (s - logvar + ((mu - m) ** 2 + logvar.exp()) * torch.exp(-s) - 1).sum(dim=1)
        return cost(self.decode(mu, logvar, seen), x, gone | ~erased) + kl

    def predict(self, x, erased, draws=30):
        seen = beside(x, erased)
        m, s = self.guess(seen).chunk(2, dim=1)
        return sum(self.decode(m, s, seen).sigmoid() for _ in range(draws)) / draws


def beside(x, erased):
    """The image, 0 where it is erased, and the mask beside it: (B, 2 D)."""
    return torch.cat([x.masked_fill(erased, 0), erased], dim=1)


def cost(logits, x, left_out):
    """The cross-entropy of each image, summed over the pixels that are not left out."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").masked_fill(left_out, 0).sum(dim=1)


# A name, how to make it, and the share of every training image's pixels that is gone for good.
NETWORKS = {
    "vae10": (Plain, 0),
    "denoiser": (Denoiser, 0),
    "vaeac": (Conditional, 0),
    "denoiser_gaps": (Denoiser, 0.3),
    "vae10_gaps": (Plain, 0.3),
    "vae50_beta0.1": (partial(Plain, 50, 0.1), 0),
    "vae50": (partial(Plain, 50), 0),
    "vae10_unmasked": (partial(Plain, told=False), 0),
}


def gaps(seed, shape, share):
    """The pixels (n, 784) of the training images that are gone for good: the same in every epoch."""
    return masks.random_pixels(np.random.default_rng((seed, 33)), shape, share)


def train(make, seed, images, gone, epochs=EPOCHS):
    """A network trained by Adam, the learning rate falling linearly to 0, with holes drawn anew for every batch."""
    torch.manual_seed(seed)
    network = make()
    descent = torch.optim.Adam(network.parameters(), LR, fused=True)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(descent, 1, 0, steps)
    for epoch in range(epochs):
        rng = np.random.default_rng((seed, epoch))
        for rows in batches(rng, len(images), BATCH):
            lost = torch.tensor(gone[rows])
            erased = torch.tensor(training_holes(rng, BATCH)) | lost
            loss = network.loss(torch.tensor(images[rows]), erased, lost).mean()
            descent.zero_grad()
            loss.backward()
            descent.step()
            schedule.step()
    return network


def other_masks(seed, n):
    """Masks of kinds that no training here has seen: 80 % scattered, one square of 14 by 14, the lower half; bool (n, 784)."""
    rng = np.random.default_rng((seed, 34))
    top, left = rng.integers(0, 15, (2, n, 1))
    row, column = np.divmod(np.arange(784), 28)
    block = (row >= top) & (row < top + 14) & (column >= left) & (column < left + 14)
    return {"random80": masks.random_pixels(rng, (n, 784), 0.8), "block": block, "lower": np.tile(row >= 14, (n, 1))}


def all_masks(seed, n):
    return results.test_masks(seed, n) | other_masks(seed, n)


def scored(x, missing, prediction, few=1000):
    """Mean squared error over all pixels, and windowed SSIM on the first few images (0: none), of the images filled in."""
    filled = impute.fill(x, missing, np.clip(prediction, 0, 1))
    return {"mse": metrics.mse(x, filled)} | ({"ssim": metrics.ssim(x[:few], filled[:few])} if few else {})


def score(network, seed, test, valid):
    """Rows (mask, method, scores) of one network on test images, and its error on validation images."""
    rows, model = [], getattr(network, "vae", None)
    predict = lambda x, missing: network.predict(torch.tensor(x), torch.tensor(missing)).numpy()
    with torch.no_grad():
        torch.manual_seed(seed)
        hidden = results.test_masks(seed + 1000, len(valid))
        held_out = {mask: metrics.mse(valid, impute.fill(valid, m, predict(valid, m))) for mask, m in hidden.items()}
        for mask, missing in all_masks(seed, len(test)).items():
            usual = mask in ("random", "squares")
            rows.append([mask, "single_pass", scored(test, missing, predict(test, missing), 1000 * usual)])
            if usual and isinstance(network, Plain):
                prediction = impute.latent_map(model, test, missing, draws=30, seed=seed)
                rows.append([mask, "latent_map", scored(test, missing, prediction)])
    return rows, held_out


# Without a network


def with_pairwise_moments(images, gone):
    """Rows that have the mean and, up to what makes it one, the covariance of images with gaps, for `conditional_mean`.

    Each entry of mean and covariance is taken over the images in which its one or two pixels are there.
    """
    there = (~gone).astype(np.float32)
    mean = (images * there).sum(axis=0, dtype=np.float64) / there.sum(axis=0, dtype=np.float64)
    centred = (images - mean).astype(np.float32) * there
    covariance = (centred.T @ centred).astype(float) / np.maximum((there.T @ there).astype(float), 1)
    values, vectors = np.linalg.eigh(covariance)
    rows = np.sqrt(len(mean) * np.maximum(values, 0))[:, None] * vectors.T
    return np.concatenate([mean + rows, mean - rows])


def score_without(seed, images, test, valid):
    """Rows of the methods without a network, among them the conditional mean from images with gaps (its ridge by validation)."""
    surrogate = with_pairwise_moments(images, gaps(seed, images.shape, 0.3))
    from_gaps = lambda ridge, x, m: baselines.conditional_mean(surrogate, x, m, ridge, None)
    hidden = results.test_masks(seed + 1000, len(valid))
    error = lambda ridge: sum(metrics.mse(valid, np.clip(from_gaps(ridge, valid, m), 0, 1)) for m in hidden.values())
    best = min((1e-4, 1e-3, 3e-3, 1e-2), key=error)
    rows = []
    for mask, missing in all_masks(seed, len(test)).items():
        blur = 0.8 if mask != "random" else 0.5
        found = {
            "conditional": baselines.conditional_mean(images, test, missing, 1e-4),
            "conditional_gaps": from_gaps(best, test, missing),
            "knn10": baselines.nearest_neighbours(images, test, missing, 10),
            "blur": baselines.blur(images, test, missing, blur),
        }
        rows += [[mask, method, scored(test, missing, prediction)] for method, prediction in found.items()]
    return rows, {"ridge_gaps": best}


# The models of the studies


def score_trained(model, seed, test):
    """Rows of a trained model: at the cost of eleven passes, and the most probable code after thirty on the usual masks."""
    mu = model.encode(test)[0]
    rows = [["", "active_units", {"count": int((mu.var(axis=0) > 0.01).sum())}]]
    whole = impute.single_pass(model, test, np.zeros(test.shape, bool), draws=10, seed=seed)
    methods = {"single_pass": partial(impute.single_pass, draws=21), "ten_steps": partial(impute.latent_map, draws=11, warm_up=0)}
    more = {"importance": partial(impute.importance, draws=11, warm_up=0), "latent_map": partial(impute.latent_map, draws=30)}
    for mask, missing in all_masks(seed, len(test)).items():
        usual = mask in ("random", "squares")
        for name, method in (methods | more if usual else methods).items():
            found = scored(test, missing, method(model, test, missing, seed=seed), 300 if usual and name in SSIM_OF else 0)
            rows.append([mask, name, found])
        rows.append([mask, "floor", scored(test, missing, whole, 0)])
    return rows


SSIM_OF = ("single_pass", "latent_map")


def add(path, key, work):
    """Do `work`, which gives entries of a dict, and add it to the file under a key that it does not have yet."""
    known = json.loads(path.read_bytes()) if path.exists() else {}
    if key in known:
        return
    started = time.process_time()
    entry = work() | {"provenance": provenance(torch=torch.__version__, cpu_seconds=0)}
    entry["provenance"]["cpu_seconds"] = round(time.process_time() - started)
    known = json.loads(path.read_bytes()) if path.exists() else {}
    write_atomically(path, json.dumps(known | {key: entry}, separators=(",", ":")).encode())
    print(f"{key}: {entry['provenance']['cpu_seconds']} s", flush=True)


def rounded(rows):
    return [[mask, method, {name: round(value, 7) for name, value in values.items()}] for mask, method, values in rows]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tvae_lib.experiments.floor", description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=results.RESULTS, help="folder to write to")
    parser.add_argument("--weights", type=Path, help="folder of weights of the studies holes...; without it networks are trained")
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, few images")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_mnist()
    images, test, valid = data.train, data.test[:TEST], data.valid[:1000]
    seeds, epochs = range(SEEDS), EPOCHS
    if options.quick:
        images, test, valid, seeds, epochs = images[:2000], test[:50], valid[:50], range(1), 1
    if options.weights:
        paths = [(path.stem.removesuffix("-float16").split("-"), path) for path in options.weights.glob("*-holes*.safetensors")]
        for (name, _, seed, study), path in sorted(paths, key=lambda pair: pair[0][2]):
            model = partial(checkpoint.load, path, family=results.family_of(name))
            about = {"model": name, "seed": int(seed), "study": study}
            work = lambda about=about, model=model: about | {"rows": rounded(score_trained(model(), about["seed"], test[:1000]))}
            add(options.results / "holes.json", f"{name}-{seed}-{study}", work)
        return

    def network(name, seed):
        make, share = NETWORKS[name]
        trained = train(make, seed, images, gaps(seed, images.shape, share), epochs)
        rows, held_out = score(trained, seed, test, valid)
        return {"network": name, "seed": seed, "epochs": epochs, "valid": held_out, "rows": rounded(rows)}

    def without(seed):
        rows, chosen = score_without(seed, images, test, valid)
        return {"network": "", "seed": seed, **chosen, "rows": rounded(rows)}

    path = options.results / "floor.json"
    for seed in seeds:
        add(path, f"without-{seed}", partial(without, seed))
        for name in NETWORKS:
            add(path, f"{name}-{seed}", partial(network, name, seed))


if __name__ == "__main__":
    main()

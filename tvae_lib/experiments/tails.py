"""Short experiments beside the studies: t3VAE and a learned nu (chapter 11), beta-divergence and missing answers (chapter 09).

    python -m tvae_lib.experiments.tails                  # all of them; hours on one core
    python -m tvae_lib.experiments.tails --device cuda    # minutes on a GPU

Many networks are trained side by side: parameters, images and noise have a leading axis of M models. Models of one seed start
from the same weights and see the same images in the same order. What was found goes to results/tails/NAME.json.
"""

import math
import time
from functools import partial
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.special import gammaln

from tvae_lib import baselines, synthetic
from tvae_lib.data import load_fashion_test, load_mnist
from tvae_lib.experiments import json_rows
from tvae_lib.experiments.scoring import score_missing_answers
from tvae_lib.experiments.stacked import exact_kl, forward
from tvae_lib.experiments.studies import ANSWERS, with_foreign
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.outliers import auc
from tvae_lib.results import model_of, test_masks

SIZES = (784, 400, 128, 10)


class Networks:
    """M networks of one shape, PyTorch's own first weights for each seed, and what they train on.

    images: (S, n, D), one data set per seed or one for all; seeds: M numbers.
    """

    def __init__(self, sizes, seeds, images, device):
        self.seeds, self.device = seeds, device
        self.images = torch.tensor(images, dtype=torch.float32, device=device)
        known = sorted(set(seeds))
        self.data_of = torch.tensor([known.index(s) if len(self.images) > 1 else 0 for s in seeds], device=device)
        self.seed_of = torch.tensor([known.index(s) for s in seeds], device=device)
        weights = [self._first(sizes, seed) for seed in known]
        self.params = {name: torch.stack([weights[known.index(s)][name] for s in seeds]).to(device) for name in weights[0]}
        for param in self.params.values():
            param.requires_grad_()
        self.depth, self.d = len(sizes) - 1, sizes[-1]
        self.known = known

    @staticmethod
    def _first(sizes, seed):
        torch.manual_seed(seed)
        params = {}
        for part, widths in ("encoder", (*sizes[:-1], 2 * sizes[-1])), ("decoder", sizes[::-1]):
            for i, (n_in, n_out) in enumerate(pairwise(widths)):
                layer = torch.nn.Linear(n_in, n_out)
                params[f"{part}.{i}.weight"], params[f"{part}.{i}.bias"] = layer.weight.detach(), layer.bias.detach()
        return params

    def encode(self, x):
        return forward(self.params, self.depth, "encoder", x).chunk(2, dim=-1)

    def decode(self, z):
        return forward(self.params, self.depth, "decoder", z)

    def train(self, loss, optimizers, epochs, batch_size, after_epoch=lambda epoch: None):
        """Stochastic gradient descent on loss(x, normal), (M,), where normal holds standard normal draws (M, B, d)."""
        n = self.images.shape[1]
        for epoch in range(epochs):
            orders = [np.random.default_rng((seed, epoch)).permutation(n) for seed in self.known]
            orders = torch.as_tensor(np.stack(orders), device=self.device)[self.seed_of]
            torch.manual_seed(epoch)  # for the noise
            for start in range(0, n - batch_size + 1, batch_size):
                x = self.images[self.data_of[:, None], orders[:, start : start + batch_size]]
                normal = torch.randn(len(self.known), batch_size, self.d, device=self.device)[self.seed_of]
                total = loss(x, normal).sum()
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=True)
                total.backward()
                for optimizer in optimizers:
                    optimizer.step()
            after_epoch(epoch)


def chi_square(df, shape):
    """Draws of V from chi-square with df degrees of freedom, differentiable in df: broadcast to shape."""
    return 2 * torch._standard_gamma((df / 2).expand(shape).contiguous())


def log_t(z, df):
    """Log density of the standard t, differentiable in df."""
    constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * torch.log(df * math.pi)
    return constant - (df + 1) / 2 * torch.log1p(z**2 / df)


def bernoulli_cost(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def gaussian_kl(mu, logvar):
    return 0.5 * (mu**2 + torch.expm1(logvar) - logvar).sum(-1)


# t3VAE ---------------------------------------------------------------------------------------------------------------


def t3_constants(df, n, m, sd):
    """C of the gamma-loss and the weight beta of the beta-VAE that it amounts to for n much larger than df (chapter 11)."""
    log_c = gammaln((df + n) / 2) - gammaln(df / 2) - n / 2 * np.log(df * np.pi)
    power = 2 / (df + n + m - 2)
    c = (1 + m / (df + n - 2)) * np.exp(power * (log_c - n * np.log(sd) + np.log((df - 2) / (df + n - 2))))
    return c, df * c / (df + n + m - 2)


def t3_fitted_scale(df, n, m, sd):
    """The scale tau of the t with df + n degrees of freedom at which the regularising part of the gamma-loss is least."""
    c, _ = t3_constants(df, n, m, sd)
    sigma_square = (c * (df + n - 2) / (df + n + m - 2)) ** ((df + n + m - 2) / (df + n - 2))
    return np.sqrt(df / (df + n) * sigma_square)


def real_valued_loss(networks, kinds):
    """The loss of models with a Normal (or t) decoder: kinds is a list of (kind, df, sd, beta), kind "t3" or "gaussian"."""
    column = lambda values: torch.tensor(values, dtype=torch.float32, device=networks.device)[:, None]
    n, m = networks.images.shape[-1], networks.d
    is_t3 = column([kind == "t3" for kind, *_ in kinds]).bool()
    df = column([df or 3.0 for _, df, _, _ in kinds])
    sd, beta = (column([kind[i] for kind in kinds]) for i in (2, 3))
    c = column([t3_constants(df or 3.0, n, m, sd)[0] for _, df, sd, _ in kinds])

    def loss(x, normal):
        mu, logvar = networks.encode(x)
        chi = chi_square(df[..., None] + n, (*normal.shape[:2], 1))
        t_noise = normal * torch.sqrt(df[..., None] / chi)  # sqrt(df / (df + n)) times a t with df + n degrees of freedom
        z = mu + torch.exp(0.5 * logvar) * torch.where(is_t3[..., None], t_noise, normal)
        reconstruction = ((x - networks.decode(z)) ** 2).sum(-1) / (2 * sd**2)
        trace, square = logvar.exp().sum(-1), (mu**2).sum(-1)
        power = torch.exp(logvar.sum(-1) / (df + n + m - 2))
        gamma = 0.5 * (square + df / (df + n - 2) * trace - df * c * power)
        return (reconstruction + torch.where(is_t3, gamma, beta * gaussian_kl(mu, logvar))).mean(-1)

    return loss


def score_real_valued(networks, kinds, test):
    """Scores of models with a Normal decoder on test images: one dict per model. Errors are mean squares over all pixels."""
    sd = torch.tensor([kind[2] for kind in kinds], device=networks.device)[:, None, None]
    found = [
        {"kind": k, "df": df, "sd": s, "beta": b, "seed": seed} for (k, df, s, b), seed in zip(kinds, networks.seeds, strict=True)
    ]
    with torch.no_grad():
        parts = [networks.encode(x.expand(len(kinds), -1, -1)) for x in test.split(1000)]
        mu, logvar = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        error = torch.cat(
            [((networks.decode(z) - x) ** 2).mean(-1) for z, x in zip(mu.split(1000, 1), test.split(1000), strict=True)], 1
        )
        values = {"reconstruction_mse": error.mean(1), "active_units": (mu.var(1) > 0.01 * logvar.exp().mean(1)).sum(-1)}
        values["code_size"] = (mu**2).sum(-1).mean(1)
    # The most probable code given the observed pixels: the same energy for the Gaussian and the t3 model.
    for mask in ("random", "squares"):
        missing = {s: torch.as_tensor(test_masks(s, len(test))[mask], device=networks.device) for s in networks.known}
        error = torch.zeros(len(kinds), device=networks.device)
        for start in range(0, len(test), 1000):
            x = test[start : start + 1000]
            hidden = torch.stack([missing[s][start : start + 1000] for s in networks.seeds])
            seen = torch.where(hidden, 0, x)
            z = networks.encode(seen)[0].detach().requires_grad_()
            optimizer = torch.optim.Adam([z], lr=0.2)
            steps = 60
            for step in range(steps):
                optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / steps)
                cost = torch.where(hidden, 0, networks.decode(z) - x) ** 2 / (2 * sd**2)
                (z.grad,) = torch.autograd.grad(cost.sum() + 0.5 * (z**2).sum(), z)
                optimizer.step()
            with torch.no_grad():
                error += (torch.where(hidden, networks.decode(z).clamp(0, 1) - x, 0) ** 2).mean(-1).sum(1)
        values[f"mse_imputation_{mask}"] = error / len(test)
    for name, each in values.items():
        for entry, value in zip(found, each.tolist(), strict=True):
            entry[name] = value
    return found


def t3_on_digits(device, epochs=20, seeds=range(5), images=None):
    """t3VAE, the Gaussian VAE with the same decoder, and the beta-VAE that t3VAE should amount to; Adam, real-valued pixels."""
    data = load_mnist()
    kinds = []
    for sd in (1.0, 0.2):
        kinds.append(("gaussian", None, sd, 1.0))
        for df in (3.0, 21.0):
            kinds += [("t3", df, sd, 1.0), ("gaussian", None, sd, t3_constants(df, 784, 10, sd)[1])]
    kinds, of_seed = [k for k in kinds for _ in seeds], [s for _ in kinds for s in seeds]
    networks = Networks(SIZES, of_seed, data.train[None, :images], device)
    networks.train(real_valued_loss(networks, kinds), [torch.optim.Adam(networks.params.values(), 1e-3)], epochs, 100)
    test = torch.tensor(data.test[:images], device=device)
    return score_real_valued(networks, kinds, test)


def t3_in_one_dimension(device, epochs=40, seeds=range(5), n=50_000):
    """Data on a line with heavy tails, one latent coordinate: what t3VAE and the Gaussian VAE make of the tails."""
    draw = lambda seed: 2.0 * np.random.default_rng((seed, 40)).standard_t(3, n)[:, None]
    kinds = [("gaussian", None, 0.5, 1.0)] + [("t3", df, 0.5, 1.0) for df in (3.0, 5.0, 21.0)]
    kinds, of_seed = [k for k in kinds for _ in seeds], [s for _ in kinds for s in seeds]
    networks = Networks((1, 64, 64, 1), of_seed, np.stack([draw(s) for s in seeds]), device)
    networks.train(real_valued_loss(networks, kinds), [torch.optim.Adam(networks.params.values(), 1e-3)], epochs, 500)
    found = [{"kind": k, "df": df, "sd": sd, "seed": seed} for (k, df, sd, _), seed in zip(kinds, of_seed, strict=True)]
    torch.manual_seed(0)
    for prior in ("own", "fitted"):
        for entry, made in zip(found, made_on_a_line(networks, kinds, prior), strict=True):
            entry[f"ks_{prior}"] = float(stats.kstest(made[:50_000], stats.t(3, scale=2).cdf).statistic)
            entry[f"beyond_{prior}"] = {limit: float(np.mean(np.abs(made) > limit)) for limit in (5, 10, 20, 40)}
    return found


@torch.no_grad()
def made_on_a_line(networks, kinds, prior, size=200_000):
    """What the models of `t3_in_one_dimension` make of codes from their own prior, or from the one that t3VAE's loss fits to.

    That one is t with df + n degrees of freedom and scale tau; a Gaussian model has its own only. Returns (M, size).
    """
    draw = lambda df: (
        torch.randn(size, 1, device=networks.device)
        * torch.rsqrt(chi_square(torch.tensor(df, device=networks.device), (size, 1)) / df)
    )
    z, noise = (torch.randn(len(kinds), size, 1, device=networks.device) for _ in range(2))
    for i, (kind, df, sd, _) in enumerate(kinds):
        if kind == "t3":
            z[i] = draw(df) if prior == "own" else t3_fitted_scale(df, 1, 1, sd) * draw(df + 1)
            noise[i] = draw(df + 1) * torch.sqrt((df + z[i] ** 2) / (df + 1))
    sd = torch.tensor([sd for _, _, sd, _ in kinds], device=networks.device)[:, None]
    return (networks.decode(z)[..., 0] + sd * noise[..., 0]).cpu().numpy()


# A learned nu --------------------------------------------------------------------------------------------------------


def learned_df(device, data, sizes, schedule, starts, seeds):
    """Learn nu with the weights, from several starts: for the prior alone under a Gaussian encoder, and for the tied pair."""
    kinds = [(which, start) for which in ("prior", "tied") for start in starts]
    kinds, of_seed = [k for k in kinds for _ in seeds], [s for _ in kinds for s in seeds]
    networks = Networks(sizes, of_seed, data, device)
    tied = torch.tensor([which == "tied" for which, _ in kinds], device=device)[:, None, None]
    log_df = torch.tensor([math.log(start) for _, start in kinds], device=device, requires_grad=True)

    def loss(x, normal):
        df = log_df.exp()[:, None, None]
        mu, logvar = networks.encode(x)
        wide = torch.where(tied, df, 1e3)  # what is not used must be finite too, or its gradient would be 0 times infinity
        eps = torch.where(tied, normal * torch.rsqrt(chi_square(wide, normal.shape) / wide), normal)
        z = mu + torch.exp(0.5 * logvar) * eps
        log_q = torch.where(tied, log_t(eps, df), -0.5 * normal**2 - 0.5 * math.log(2 * math.pi)) - 0.5 * logvar
        return (bernoulli_cost(networks.decode(z), x) + (log_q - log_t(z, df)).sum(-1)).mean(-1)

    path = [log_df.exp().tolist()]
    optimizers = [torch.optim.SGD(networks.params.values(), schedule["lr"]), torch.optim.Adam([log_df], 0.01)]
    networks.train(loss, optimizers, schedule["epochs"], schedule["batch_size"], lambda epoch: path.append(log_df.exp().tolist()))
    path = np.array(path).T.round(4).tolist()
    return [{"learned": w, "start": s, "seed": seed, "path": p} for (w, s), seed, p in zip(kinds, of_seed, path, strict=True)]


def df_on_digits(device, epochs=20, seeds=range(5), images=None):
    schedule = {"epochs": epochs, "batch_size": 100, "lr": 0.005}
    return learned_df(device, load_mnist().train[None, :images], SIZES, schedule, (2.5, 5.0, 21.0, 100.0), seeds)


def df_on_answers(device, epochs=240, seeds=range(5), people=10_000):
    """Questionnaires answered by people whose abilities are t with 3 degrees of freedom."""
    make = lambda seed: synthetic.questionnaire(StudentT(3), people, np.random.default_rng((seed, 32)))[0]
    schedule = {"epochs": epochs, "batch_size": 100, "lr": 0.05}
    data = np.stack([make(s) for s in seeds])
    return learned_df(device, data, (synthetic.QUESTIONS, 32, 1), schedule, (2.5, 5.0, 21.0, 100.0), seeds)


# Half of the answers missing -----------------------------------------------------------------------------------------


def half_missing(device, seeds=range(10), until=(20, 60, 240), people=(10_000, 2000)):
    """Half of the answers of heavy-tailed people are missing; they are filled in by models of chapter 09's questionnaire.

    Models: Gaussian, t3 and t21, the KL exact, asked after so many epochs for the exact mean over their posterior; beside them
    the truth and two fill-ins without a network. people: how many answer, to train on and to be filled in.
    """
    truth, families = StudentT(3), [Gaussian(), StudentT(3), StudentT(21)]
    train = [synthetic.questionnaire(truth, people[0], np.random.default_rng((s, 32)))[0] for s in seeds]
    networks = Networks((synthetic.QUESTIONS, 32, 1), [s for _ in families for s in seeds], np.stack(train), device)
    kl, found = [exact_kl(family, device) for family in families], []

    def score(name, epochs, losses):
        for seed, each in zip(seeds, losses, strict=True):
            rows = score_missing_answers(each, truth, people[1], seed)
            found.append({"model": name, "epochs": epochs, "seed": seed, **{metric: value for metric, _, _, value in rows}})

    def as_noise(family, normal):
        df = getattr(family, "df", None)
        return normal if df is None else normal * torch.rsqrt(chi_square(torch.tensor(df), normal.shape).to(device) / df)

    def loss(x, normal):
        mu, logvar = networks.encode(x)
        eps = torch.cat([as_noise(f, part) for f, part in zip(families, normal.split(len(seeds)), strict=True)])
        codes = zip(kl, *(part.double().split(len(seeds)) for part in (mu, logvar)), strict=True)
        cost = bernoulli_cost(networks.decode(mu + torch.exp(0.5 * logvar) * eps), x)
        return cost.mean(-1) + torch.cat([each(*code) for each, *code in codes]).mean(-1)

    @torch.no_grad()
    def after_epoch(epoch):
        if epoch + 1 in until:
            grid = torch.tensor(synthetic.GRID[:, None], dtype=torch.float32, device=device)
            logits = networks.decode(grid.expand(len(networks.seeds), -1, -1)).cpu().numpy()
            for family, group in zip(families, np.split(logits, len(families)), strict=True):
                score(model_of(family), epoch + 1, [partial(synthetic.log_loss_of_missing, family, one) for one in group])

    optimizer = torch.optim.SGD(networks.params.values(), ANSWERS["lr"])
    networks.train(loss, [optimizer], max(until), ANSWERS["batch_size"], after_epoch)
    score("truth", None, [partial(synthetic.log_loss_of_missing, truth, synthetic.true_logits(synthetic.GRID))] * len(seeds))
    for name, fill_in in ("conditional", baselines.conditional_mean), ("knn100", partial(baselines.nearest_neighbours, k=100)):
        score(name, None, [partial(log_loss_without_a_network, fill_in, one) for one in train])
    return found


def log_loss_without_a_network(fill_in, train, x, missing, limit=0.003):
    """Log loss of missing answers as `synthetic.log_loss_of_missing`, of a function of `baselines`.

    It knows no probabilities: its answers are cut to `limit` and 1 - limit. (This limit and 100 neighbours did best, or nearly
    so, on validation people.)
    """
    yes = np.clip(fill_in(train, x, missing), limit, 1 - limit)
    costs = -(x * np.log(yes) + (1 - x) * np.log1p(-yes))
    return np.where(missing, costs, 0).sum(axis=1) / missing.sum(axis=1)


# Training by beta-divergence on contaminated images ------------------------------------------------------------------


def robust_cost(logits, x, beta):
    """Reconstruction term of each image by the beta-divergence between images and Bernoulli pixels; cross-entropy at beta = 0.

    log p(x | z) is a sum over pixels, and so is the log of the normalising term: 784 pixels need a small beta.
    """
    cross = bernoulli_cost(logits, x)
    log_on, log_off = F.logsigmoid(logits), F.logsigmoid(-logits)
    normaliser = torch.logaddexp((1 + beta)[..., None] * log_on, (1 + beta)[..., None] * log_off).sum(-1).exp()
    safe = beta.clamp(min=1e-12)
    return torch.where(beta > 0, (1 + beta) / safe * -torch.expm1(-safe * cross) + normaliser - 1, cross)


def robust_on_foreign(device, epochs=20, seeds=range(5), images=None, share=0.1):
    """A tenth of the training images are Fashion-MNIST images, as in the study foreign10; Gaussian models, several beta."""
    data, fashion = load_mnist(), load_fashion_test()[0]
    sets = [with_foreign(data.train, share, seed)[:images] for seed in seeds]
    betas = [b for b in (0.0, 0.001, 0.0025, 0.005, 0.01) for _ in seeds]
    of_seed = [s for _ in range(5) for s in seeds]
    networks = Networks(SIZES, of_seed, np.stack(sets), device)
    beta = torch.tensor(betas, device=device)[:, None]

    def terms(x, normal):
        mu, logvar = networks.encode(x)
        logits = networks.decode(mu + torch.exp(0.5 * logvar) * normal)
        return mu, logits, gaussian_kl(mu, logvar)

    def loss(x, normal):
        _, logits, kl = terms(x, normal)
        return (robust_cost(logits, x, beta) + kl).mean(-1)

    networks.train(loss, [torch.optim.SGD(networks.params.values(), 0.005)], epochs, 100)
    found = [{"beta": b, "seed": s} for b, s in zip(betas, of_seed, strict=True)]
    torch.manual_seed(0)
    with torch.no_grad():
        negative_elbo = {}
        for name, pictures in (("digits", data.test[:images]), ("fashion", fashion[:2000])):
            sums = {"loss": [], "mse": []}
            for x in torch.tensor(pictures, device=device).split(1000):
                x = x.expand(len(betas), -1, -1)
                normal = torch.randn(len(networks.known), x.shape[1], networks.d, device=device)[networks.seed_of]
                mu, logits, kl = terms(x, normal)
                sums["loss"].append(bernoulli_cost(logits, x) + kl)
                sums["mse"].append(((networks.decode(mu).sigmoid() - x) ** 2).mean(-1))
            each = {key: torch.cat(parts, dim=1).cpu() for key, parts in sums.items()}
            negative_elbo[name] = each["loss"].numpy()
            for key, values in each.items():
                for entry, value in zip(found, values.mean(1).tolist(), strict=True):
                    entry[f"{key}_{name}"] = value
    for entry, usual, unusual in zip(found, negative_elbo["digits"], negative_elbo["fashion"], strict=True):
        entry["auc_fashion"] = auc(usual, unusual)
    return found


EXPERIMENTS = (t3_on_digits, t3_in_one_dimension, df_on_answers, df_on_digits, half_missing, robust_on_foreign)


def main(arguments=None):
    parser = json_rows.parser("tails", __doc__, "tails", EXPERIMENTS)
    parser.add_argument("--device", default="cpu", help="of PyTorch, such as cuda (default cpu)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for experiment in EXPERIMENTS:
        path = options.results / f"{experiment.__name__}.json"
        if path.exists() or experiment.__name__ not in options.only:
            continue
        started = time.perf_counter()
        found = experiment(options.device)
        device = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
        seconds = round(time.perf_counter() - started)
        json_rows.write(path, found, torch=torch.__version__, device=device, seconds=seconds)
        print(f"{experiment.__name__}: {seconds} s", flush=True)


if __name__ == "__main__":
    main()

"""Many runs of one shape trained side by side on one device, each as `train.fit` would train it alone.

Parameters have a leading axis of M models. First weights, order of images and noise are those of `fit` for each seed and
epoch, so that results differ by rounding only. The exact KL is computed on the device, by the rules of `divergences`.
"""

import math
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from itertools import groupby
from multiprocessing import get_context

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from scipy.special import digamma
from tqdm import tqdm

from tvae_lib import checkpoint, divergences
from tvae_lib.data import batches, load_mnist
from tvae_lib.experiments import driver
from tvae_lib.inputs import said
from tvae_lib.latent import prior_of
from tvae_lib.results import RESULTS
from tvae_lib.train import History

WORKERS = 12  # that draw the noise of the next epochs


def draws(family, seed, epoch, n, n_valid, batch_size, d, dtype, missing):
    """What `fit` draws in an epoch: rows, noise and masks (packed bits, or None) to train with, noise and masks to validate."""
    rng = np.random.default_rng((seed, epoch))
    noise = lambda size: family.sample(rng, (size, d)).astype(dtype)
    holes = lambda size: np.packbits(missing(rng, size), axis=-1) if missing else None
    training = [(rows, noise(batch_size), holes(batch_size)) for rows in batches(rng, n, batch_size)]
    validation = [(noise(size), holes(size)) for size in (min(1000, n_valid - first) for first in range(0, n_valid, 1000))]
    rows, eps, masks = zip(*training, strict=True)
    valid_eps, valid_masks = zip(*validation, strict=True)
    pack = lambda parts, join: join(parts) if missing else None
    return np.array(rows), np.array(eps), pack(masks, np.array), np.concatenate(valid_eps), pack(valid_masks, np.concatenate)


def exact_kl(family, device):
    """A function of mu and logvar (M, B, d) that gives the exact KL of M models of a family, (M, B), on a device."""
    encoder, prior = getattr(family, "encoder", family), prior_of(family)
    kind = type(prior).__name__
    if kind == "Scaled":
        plain = exact_kl(family.family, device)
        return lambda mu, logvar: plain(mu / family.scale, logvar)
    if kind == "MultivariateT":
        return multivariate_kl(family.df, device)
    if {kind, type(encoder).__name__} - {"Gaussian", "StudentT"}:
        raise ValueError(f"no exact KL on a device for the family {said(family)}")
    gaussian = type(encoder).__name__ == "Gaussian"
    entropy = 0.5 * math.log(2 * math.pi * math.e) if gaussian else divergences.entropy(encoder.df)
    if kind == "Gaussian":
        variance = 1 if gaussian else encoder.df / (encoder.df - 2)
        constant = 0.5 * math.log(2 * math.pi) - entropy
        return lambda mu, logvar: (0.5 * (mu**2 + variance * logvar.exp() - logvar) + constant).sum(-1)
    step = 0.05 if encoder is prior else 0.1  # `fit` has a series for two equal t's, which is more exact than the wider step
    rule = divergences.gauss_hermite() if gaussian else divergences.double_exponential(encoder.df, step)
    nodes, weights = torch.tensor(rule, dtype=torch.float64, device=device).T.contiguous()
    constant = -divergences.log_constant(prior.df) - entropy

    def kl(mu, logvar):
        z = mu[..., None] + (0.5 * logvar).exp()[..., None] * nodes
        return ((prior.df + 1) / 2 * (torch.log1p(z**2 / prior.df) @ weights) - 0.5 * logvar + constant).sum(-1)

    return kl


def multivariate_kl(df, device):
    """`divergences.multivariate_t`, all nodes of its trapezium rule at once, between bounds that serve for |mu|^2 up to 1e5."""

    step = 0.3  # of x = log t

    def kl(mu, logvar):
        half = (df + mu.shape[-1]) / 2
        prod, pull = 0, 0
        for coordinate in range(mu.shape[-1]):
            spread = 1 + t * logvar[..., coordinate].exp()
            prod, pull = prod + torch.log(spread), pull + mu[..., coordinate] ** 2 / spread
        g = torch.exp(-0.5 * prod - df / 2 * torch.log(1 + t + t / df * pull))
        integral = step * (torch.exp(-df / 2 * torch.log1p(t)) - g).sum(0)
        return half * (integral - float(digamma(half) - digamma(df / 2))) - 0.5 * logvar.sum(-1)

    most = df + 100  # coordinates: the bounds hold for any code of up to so many
    x = np.arange(math.log(1e-10 / most / 1e5), 2 / df * math.log((1 + most / df) * 1e10) + 1, step)
    t = torch.tensor(np.exp(x), dtype=torch.float64, device=device)[:, None, None]
    return kl


def forward(params, depth, part, h):
    """One half, "encoder" or "decoder", of M networks: (M, B, in) to (M, B, out)."""
    for i in range(depth):
        weight, bias = params[f"{part}.{i}.weight"], params[f"{part}.{i}.bias"]
        h = torch.baddbmm(bias[:, None], h, weight.transpose(1, 2))
        h = F.relu(h) if i < depth - 1 else h
    return h


class Stack:
    """M models of one study's shape; runs of one family stand side by side."""

    def __init__(self, models, lr, device, all_pixels=False):
        self.models, self.device, self.lr = models, device, lr
        self.depth, self.dtype = len(models[0].sizes) - 1, torch.as_tensor(models[0].params["encoder.0.bias"]).dtype
        self.mask_input, self.all_pixels = models[0].mask_input, all_pixels
        self.params = {
            name: torch.tensor(np.stack([model.params[name] for model in models]), device=device).requires_grad_()
            for name in models[0].params
        }
        families = [list(same) for _, same in groupby((model.family for model in models), repr)]  # side by side if they are one
        self.counts, self.kl = [len(same) for same in families], [exact_kl(same[0], device) for same in families]

    def loss(self, x, eps, missing=None):
        """Batch means of reconstruction and KL, (2, M): images (M, B, D), noise (M, B, d), masks (M, B, D / 8) in packed bits."""
        seen = x
        if missing is not None:
            bits = torch.arange(7, -1, -1, device=x.device, dtype=torch.uint8)
            missing = ((missing[..., None] >> bits) & 1).flatten(-2)[..., : x.shape[-1]].to(x.dtype)
            seen = x * (1 - missing)
        if self.mask_input:
            seen = torch.cat([seen, torch.zeros_like(x) if missing is None else missing], -1)
        mu, logvar = forward(self.params, self.depth, "encoder", seen).chunk(2, -1)
        logits = forward(self.params, self.depth, "decoder", mu + torch.exp(0.5 * logvar) * eps)
        cost = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        if missing is not None and not self.all_pixels:
            cost = cost * (1 - missing)
        codes = zip(self.kl, *(part.double().split(self.counts) for part in (mu, logvar)), strict=True)
        kl = torch.cat([kl(*code) for kl, *code in codes])
        return torch.stack([cost.sum(-1).mean(-1), kl.to(x.dtype).mean(-1)])

    def step_on(self, images):
        """A function of rows, noise and masks: one step of gradient descent for every model. It returns the losses before it."""

        def step(rows, eps, missing):
            loss = self.loss(images[rows], eps, missing)
            grads = torch.autograd.grad(loss.sum(), list(self.params.values()))
            with torch.no_grad():
                for param, grad in zip(self.params.values(), grads, strict=True):
                    param -= self.lr * grad
            return loss.detach()

        return step

    def write_back(self):
        """Copy the parameters into the models."""
        for name, values in self.params.items():
            for model, value in zip(self.models, values.detach().cpu().numpy(), strict=True):
                model.params[name][...] = value


@cache
def drawers(processes):
    """Who draws for the next epochs: threads or, for masks, which take many short steps of Python, processes."""
    return ProcessPoolExecutor(WORKERS, get_context("spawn")) if processes else ThreadPoolExecutor(WORKERS)


def train_together(
    models, seeds, histories, train, valid, *, epochs, batch_size, lr, device="cpu", after=None, missing=None, all_pixels=False
):
    """Train models (NumPy VAEs, kl exact) side by side to the given number of epochs; their parameters and histories change.

    missing (a function that draws masks) and all_pixels: as in `fit`; after(epoch, stack): called after each epoch.
    """
    stack, start = Stack(models, lr, device, all_pixels), len(histories[0])
    images, check = (torch.tensor(part, dtype=stack.dtype, device=device) for part in (train, valid))
    settings = (len(train), len(valid), batch_size, models[0].sizes[-1], models[0].dtype, missing)
    step = graphed(stack, images, batch_size, missing) if str(device).startswith("cuda") else stack.step_on(images)
    pool = drawers(bool(missing))
    ask = lambda epoch: [pool.submit(draws, m.family, s, epoch, *settings) for m, s in zip(models, seeds, strict=True)]

    def on_device(futures):
        parts = zip(*(future.result() for future in futures), strict=True)
        return [None if part[0] is None else torch.as_tensor(np.stack(part)).to(device) for part in parts]

    with tqdm(range(start, epochs), mininterval=5, file=sys.stdout, desc=f"{len(models)} models") as bar:
        ahead = [ask(epoch) for epoch in range(start, min(start + 3, epochs))]
        ready = on_device(ahead.pop(0)) if ahead else None
        for epoch in bar:
            began = time.perf_counter()
            rows, eps, masks, valid_eps, valid_masks = ready
            total, validation = torch.zeros(2, 2, len(models), device=device, dtype=torch.float64)
            for i in range(rows.shape[1]):
                total += step(rows[:, i], eps[:, i], None if masks is None else masks[:, i])
            with torch.no_grad():
                for first in range(0, len(valid), 1000):
                    noise, holes = (p if p is None else p[:, first : first + 1000] for p in (valid_eps, valid_masks))
                    x = check[first : first + 1000].expand(len(models), -1, -1)
                    validation += noise.shape[1] * stack.loss(x, noise, holes).double()
            if ahead:  # while the device works
                ready = on_device(ahead.pop(0))
                ahead += [ask(epoch + 3)] if epoch + 3 < epochs else []
            found = torch.cat([total / rows.shape[1], validation / len(valid)]).cpu().numpy()
            seconds = (time.perf_counter() - began) / len(models)
            for history, (loss, kl, valid_loss, valid_kl) in zip(histories, found.T, strict=True):
                history.append(loss + kl, loss, kl, valid_loss + valid_kl, valid_loss, valid_kl, seconds)
            bar.set_postfix(valid=f"{np.mean([history.valid_loss[-1] for history in histories]):.2f}")
            if after:
                after(epoch, stack)
    stack.write_back()


def graphed(stack, images, batch_size, missing):
    """`Stack.step_on` recorded once as a CUDA graph, which leaves no time between its many small kernels."""
    m, d, wide = len(stack.models), stack.models[0].sizes[-1], -(-images.shape[1] // 8)
    rows = torch.zeros(m, batch_size, dtype=torch.int64, device=images.device)
    eps = torch.zeros(m, batch_size, d, dtype=stack.dtype, device=images.device)
    masks = torch.zeros(m, batch_size, wide, dtype=torch.uint8, device=images.device) if missing else None
    before, step, graph = [p.detach().clone() for p in stack.params.values()], stack.step_on(images), torch.cuda.CUDAGraph()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # allocates what is needed
            step(rows, eps, masks)
    torch.cuda.current_stream().wait_stream(side)
    try:
        with torch.cuda.graph(graph):
            loss = step(rows, eps, masks)
    except RuntimeError as error:
        print(f"no CUDA graph, so training is slower: {said(str(error))}", flush=True)
        loss = None
    with torch.no_grad():
        for param, value in zip(stack.params.values(), before, strict=True):
            param.copy_(value)

    def run(*batch):
        for buffer, part in zip((rows, eps, masks), batch, strict=True):
            if part is not None:
                buffer.copy_(part)
        graph.replay()
        return loss

    return step if loss is None else run


def train_runs(runs, results=RESULTS, device="cuda", every=100):
    """Train what is not trained yet, groups of one shape together, and leave the weights for the sweep to score.

    Every so many epochs, and at the end of each group, everything is written; the same call continues from there.
    """
    name = torch.cuda.get_device_name(device) if str(device).startswith("cuda") else "CPU"
    about = driver.provenance(device=f"{name}, stacked", torch=torch.__version__)
    mnist, groups = load_mnist(), defaultdict(list)
    with ExitStack() as locks:
        for run in runs:
            path, work, trained = driver.paths(run, results)
            if path.exists() or trained.exists() or run.study.backend != "numpy" or run.study.kl != "exact":
                continue
            work.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(work.with_suffix(".lock"), timeout=0)
            try:
                locks.enter_context(lock)
            except Timeout:  # another process is training it
                continue
            model, history, study = run.new_model(), History(), run.study
            state = work.with_name(f"{run.name}-stacked.safetensors")
            if state.exists():
                _, params, extra = checkpoint.read(state)
                checkpoint.set_params(model, params, state)
                history = History(**extra["history"])
            images = study.data(run, mnist)
            shape = repr((study.sizes, study.protocol, study.making, study.training, len(history)))
            groups[shape, *map(id, images)].append((run, model, history, state, lock, images))
        for group in groups.values():
            group.sort(key=lambda member: member[0].model)
            members, models, histories, states, held, (images, *_) = zip(*group, strict=True)
            study = members[0].study

            def save(epoch, stack, models=models, histories=histories, states=states, last=study.epochs):
                if (epoch + 1) % every == 0 and epoch + 1 < last:
                    stack.write_back()
                    for state, model, history in zip(states, models, histories, strict=True):
                        checkpoint.save(state, model, history=vars(history))

            options = {**study.protocol, **study.training, "device": device, "after": save}
            train_together(models, [run.seed for run in members], histories, *images, **options)
            for run, model, history, state, lock in zip(members, models, histories, states, held, strict=True):
                if np.isfinite(history.valid_loss[-1]):
                    driver.save_trained(driver.paths(run, results)[2], model, history, about)
                else:
                    print(f"{run.name} diverged: train it alone to see when")
                state.unlink(missing_ok=True)
                lock.release()  # the sweep may score it, while others are trained here

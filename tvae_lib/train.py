"""One training loop for both back ends: stochastic gradient descent, plain or Adam's."""

import json
import time
import zlib
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tvae_lib import checkpoint as checkpoints
from tvae_lib.data import batches, check_batch_size
from tvae_lib.files import remove_leftovers
from tvae_lib.inputs import check_mask, check_rng, images, one_of, positive, real_array, switch, whole, with_holes


@dataclass
class History:
    """What `fit` saw, one entry per epoch. Losses are means over images, in nats.

    Training losses are averaged over the epoch's batches while the weights still move; validation losses are taken after it.
    """

    loss: list = field(default_factory=list)
    reconstruction: list = field(default_factory=list)
    kl: list = field(default_factory=list)
    valid_loss: list = field(default_factory=list)
    valid_reconstruction: list = field(default_factory=list)
    valid_kl: list = field(default_factory=list)
    seconds: list = field(default_factory=list)

    def __len__(self):
        return len(self.loss)

    def append(self, *values):
        """Add the numbers of an epoch, in the order above."""
        for series, value in zip(vars(self).values(), values, strict=True):
            series.append(float(value))


def split(loss):
    """Mean total, reconstruction and KL of a batch, as floats."""
    reconstruction, kl = float(loss.reconstruction.mean()), float(loss.kl.mean())
    return np.array([reconstruction + kl, reconstruction, kl])


def epoch(model, x, rng, optimizer, *, batch_size, which=1, missing=None, **options):
    """One pass over the images x (n, 784) in random order: noise, loss and gradient, and a step for each batch.

    Returns the mean loss as `split` does. FloatingPointError if it is not finite; `which` epoch it was, for the message. The rest
    is rarely needed: missing, as in `fit`, and options of `model.loss_and_grad`.
    """
    total, steps = np.zeros(3), 0
    for rows in batches(rng, len(x), batch_size):
        eps = model.family.sample(rng, (batch_size, model.sizes[-1]))
        if missing is not None:
            options["missing"] = missing(rng, batch_size) if callable(missing) else missing[rows]
        loss, grads = model.loss_and_grad(x[rows], eps, **options)
        total += split(loss)
        steps += 1
        check_finite(total[0], f"the loss is {total[0]} at epoch {which}, step {steps}", optimizer.lr)
        optimizer.step(grads)
    return total / steps


class SGD:
    """Plain stochastic gradient descent: every parameter moves by lr times its gradient."""

    def __init__(self, params, lr):
        self.params, self.lr, self.state = params, lr, {}

    def step(self, grads):
        """Change the parameters by these gradients, a dict, which is used up."""
        for name, grad in grads.items():
            grad *= self.lr
            self.params[name] -= grad


class Adam:
    """Adam (Kingma and Ba 2015): gradients averaged over some ten steps, and divided by their usual size over a thousand."""

    def __init__(self, params, lr, steps=0, state=None):
        self.params, self.lr, self.steps = params, lr, steps
        self.state = {f"{kind}.{name}": 0 * value for kind in ("mean", "square") for name, value in params.items()}
        for name, value in (state or {}).items():  # of the checkpoint that the training goes on from
            kept = self.state[name]
            kept[...] = kept.new_tensor(value) if hasattr(kept, "detach") else value

    def step(self, grads):
        self.steps += 1
        for name, grad in grads.items():
            mean, square = self.state[f"mean.{name}"], self.state[f"square.{name}"]
            mean += 0.1 * (grad - mean)
            square += 0.001 * (grad**2 - square)
            usual = (square / (1 - 0.999**self.steps)) ** 0.5 + 1e-8
            self.params[name] -= self.lr / (1 - 0.9**self.steps) * mean / usual


def evaluate(model, x, rng, missing=None, **options):
    """Mean loss, reconstruction and KL of a data set, one noise draw per image: an array of three floats, in nats.

    x: images (n, 784) that the model takes, at least one; rng: np.random.Generator; missing: as in `fit`. ValueError otherwise.
    """
    x, missing = with_mask("x", x, missing, model, **options)
    check_rng(rng)
    if not len(x):
        raise ValueError("x must hold at least one image")
    total = np.zeros(3)
    with getattr(model, "no_grad", nullcontext)():  # PyTorch then keeps nothing for a backward pass
        for start in range(0, len(x), 1000):
            part = x[start : start + 1000]
            eps = model.family.sample(rng, (len(part), model.sizes[-1]))
            if missing is not None:
                options["missing"] = missing(rng, len(part)) if callable(missing) else missing[start : start + 1000]
            total += len(part) * split(model.loss(part, eps, **options))
    return total / len(x)


def with_mask(name, x, missing, model, all_pixels=False):
    """Images that the model takes, and the mask of what is missing in it, None, or the function that draws masks."""
    x = real_array(name, x)
    if missing is None or callable(missing):
        return images(x, model, name), missing
    if all_pixels:
        return images(x, model, name), check_mask(missing, x.shape)
    return with_holes(x, missing, model, name)


def fit(
    model,
    train,
    valid,
    *,
    epochs,
    batch_size,
    lr,
    seed,
    checkpoint=None,
    progress=True,
    optimizer="sgd",
    kl_weight=1.0,
    missing=None,
    all_pixels=False,
):
    """Train a model of either back end by stochastic gradient descent on the batch-mean loss.

    Every epoch draws its order and its noise from np.random.default_rng((seed, epoch)). That makes a run repeatable, and
    resumable without saving the state of a generator.

    Parameters
    ----------
    model : VAE of `vae_numpy` or `vae_torch`; its parameters are updated in place.
    train, valid : (n, 784) arrays of pixels in [0, 1], or of what else the model's likelihood takes.
    epochs, batch_size : whole numbers; a last short batch is dropped.
    lr : learning rate.
    seed : non-negative whole number.
    checkpoint : path or None
        Written after every epoch. If it exists, training continues from it and ends with the same numbers, to the bit, as
        a run that was never interrupted.
    progress : show a bar with one step per epoch; a dict is passed on to tqdm, e.g. {"desc": "seed 3", "position": 1}.
    optimizer : "sgd", or "adam".
    kl_weight : 1, or another factor of the KL in the gradient; the history is without it.
    missing : None, a mask of train such as np.isnan(train), or a function (rng, n) that draws one for every batch
        Pixels that are 0 for the encoder and left out of the loss. For valid the function draws too, or NaN is what is missing.
    all_pixels : with True what is missing is in the loss all the same; so train and valid must be whole.

    Returns a `History`. ValueError if an argument is out of range or the checkpoint belongs to another run; FloatingPointError
    if the loss is no longer finite: the checkpoint then still holds the last good epoch.
    """
    epochs, seed = whole("epochs", epochs), whole("seed", seed)
    lr, kl_weight = positive("lr", lr), positive("kl_weight", kl_weight)
    one_of("optimizer", optimizer, "sgd", "adam")
    options = {"all_pixels": True} if switch("all_pixels", all_pixels) else {}
    train, missing = with_mask("train", train, missing, model, **options)
    holes = missing if missing is None or callable(missing) else np.isnan(real_array("valid", valid))
    valid, holes = with_mask("valid", valid, holes, model, **options)
    if not len(valid):
        raise ValueError("valid must hold at least one image")
    check_batch_size(batch_size, len(train))
    run = {"batch_size": int(batch_size), "lr": lr, "seed": seed, "train_crc": zlib.crc32(np.ascontiguousarray(train))}
    run |= not_usual(missing=missing, all_pixels=bool(all_pixels), optimizer=optimizer, kl_weight=kl_weight)
    history, state = (History(), {}) if checkpoint is None else resume(model, checkpoint, run)
    steps = len(history) * (len(train) // batch_size)
    descent = SGD(model.params, lr) if optimizer == "sgd" else Adam(model.params, lr, steps, state)
    more = options if kl_weight == 1 else {**options, "kl_weight": kl_weight}
    style = {"desc": "training", **(progress if isinstance(progress, dict) else {})}
    bar = tqdm(total=epochs, initial=min(len(history), epochs), unit="epoch", disable=not progress, **style)
    with bar, np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a loss that is not finite is reported
        for which in range(len(history), epochs):
            started = time.perf_counter()
            rng = np.random.default_rng((seed, which))
            training = epoch(model, train, rng, descent, batch_size=batch_size, which=which + 1, missing=missing, **more)
            validation = evaluate(model, valid, rng, holes, **options)
            check_finite(validation[0], f"the validation loss is {validation[0]} after epoch {which + 1}", lr)
            history.append(*training, *validation, time.perf_counter() - started)
            if checkpoint is not None:
                checkpoints.save(checkpoint, model, state=descent.state, run=run, history=asdict(history))
            bar.update()
            bar.set_postfix(train=f"{history.loss[-1]:.2f}", valid=f"{history.valid_loss[-1]:.2f}")
    return history


def check_finite(loss, message, lr):
    """Raise FloatingPointError with the message and a hint unless the loss is finite."""
    if not np.isfinite(loss):
        raise FloatingPointError(f"{message}: try a learning rate below {lr:g}")


def not_usual(**given):
    """Those of the arguments that make a training another one, for its checkpoint: files of the usual say nothing of them.

    A mask, or the first that a function draws, is told by its checksum.
    """
    if (mask := given["missing"]) is not None:
        given["missing"] = zlib.crc32(np.asarray(mask(np.random.default_rng(0), 2) if callable(mask) else mask).tobytes())
    usual = {"missing": None, "all_pixels": False, "optimizer": "sgd", "kl_weight": 1.0}
    return {name: value for name, value in given.items() if value != usual[name]}


def resume(model, path, run):
    """History and optimiser's state of a checkpoint that continues this very run; its parameters are loaded."""
    remove_leftovers(path)
    if not Path(path).exists():
        return History(), {}
    config, params, extra = checkpoints.read(path)
    different = checkpoints.differences({**checkpoints.describe(model), **run}, {**config, **extra.get("run", {})})
    if different:
        raise ValueError(f"checkpoint {path} belongs to another run: {json.dumps(different)}; use another path")
    checkpoints.set_params(model, params, path)
    return History(**extra["history"]), checkpoints.state_of(params)

"""One training loop for both back ends: plain stochastic gradient descent."""

import json
import time
import zlib
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tvae_lib import checkpoint as checkpoints
from tvae_lib import inputs
from tvae_lib.data import batches, check_batch_size
from tvae_lib.files import remove_leftovers
from tvae_lib.inputs import check_rng, rate, whole


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


def split(loss):
    """Mean total, reconstruction and KL of a batch, as floats."""
    reconstruction, kl = float(loss.reconstruction.mean()), float(loss.kl.mean())
    return np.array([reconstruction + kl, reconstruction, kl])


def epoch(model, images, rng, *, batch_size, lr, number=1):
    """One pass over the images (n, 784) in random order, a step of gradient descent per batch. Returns the mean loss as `split`.

    FloatingPointError if the loss is no longer finite; `number` is that of the epoch, for its message.
    """
    params, total, steps = model.params, np.zeros(3), 0
    for rows in batches(rng, len(images), batch_size):
        eps = model.family.sample(rng, (batch_size, model.sizes[-1]))
        loss, grads = model.loss_and_grad(images[rows], eps)
        total += split(loss)
        steps += 1
        check_finite(total[0], f"the loss is {total[0]} at epoch {number}, step {steps}", lr)
        for name, grad in grads.items():
            grad *= lr
            params[name] -= grad
    return total / steps


def evaluate(model, images, rng):
    """Mean loss, reconstruction and KL of a data set, one noise draw per image: an array of three floats, in nats.

    images: (n, 784) in [0, 1], at least one; rng: np.random.Generator; ValueError otherwise.
    """
    images = inputs.images(images, model.sizes[0], name="images")
    check_rng(rng)
    total = np.zeros(3)
    with getattr(model, "no_grad", nullcontext)():  # PyTorch then keeps nothing for a backward pass
        for start in range(0, len(images), 1000):
            x = images[start : start + 1000]
            eps = model.family.sample(rng, (len(x), model.sizes[-1]))
            total += len(x) * split(model.loss(x, eps))
    return total / len(images)


def fit(model, train, valid, *, epochs, batch_size, lr, seed, checkpoint=None, progress=True):
    """Train a model of either back end by stochastic gradient descent on the batch-mean loss.

    Every epoch draws its order and its noise from np.random.default_rng((seed, epoch)). That makes a run repeatable, and
    resumable without saving the state of a generator.

    Parameters
    ----------
    model : VAE of `vae_numpy` or `vae_torch`; its parameters are updated in place.
    train, valid : (n, 784) arrays of pixels in [0, 1].
    epochs, batch_size : whole numbers; a last short batch is dropped.
    lr : learning rate.
    seed : non-negative whole number.
    checkpoint : path or None
        Written after every epoch. If it exists, training continues from it and ends with the same numbers, to the bit, as
        a run that was never interrupted.
    progress : show a bar with one step per epoch; a dict is passed on to tqdm, e.g. {"desc": "seed 3", "position": 1}.

    Returns a `History`. ValueError if an argument is out of range or the checkpoint belongs to another run; FloatingPointError
    if the loss is no longer finite: the checkpoint then still holds the last good epoch.
    """
    epochs, seed, lr = whole("epochs", epochs), whole("seed", seed), rate(lr)
    train, valid = inputs.images(train, model.sizes[0]), inputs.images(valid, model.sizes[0], name="valid")
    check_batch_size(batch_size, len(train))
    run = {"batch_size": int(batch_size), "lr": lr, "seed": seed}  # plain numbers: JSON knows none of NumPy's
    run["train_crc"] = zlib.crc32(np.ascontiguousarray(train))
    history = History() if checkpoint is None else resume(model, checkpoint, run)
    style = {"desc": "training", **(progress if isinstance(progress, dict) else {})}
    bar = tqdm(total=epochs, initial=min(len(history), epochs), unit="epoch", disable=not progress, **style)
    with bar, np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a loss that is not finite is reported
        for number in range(len(history), epochs):
            started = time.perf_counter()
            rng = np.random.default_rng((seed, number))
            training = epoch(model, train, rng, batch_size=batch_size, lr=lr, number=number + 1)
            validation = evaluate(model, valid, rng)
            check_finite(validation[0], f"the validation loss is {validation[0]} after epoch {number + 1}", lr)
            values = [*training, *validation, time.perf_counter() - started]
            for series, value in zip(vars(history).values(), values, strict=True):
                series.append(float(value))
            if checkpoint is not None:
                checkpoints.save(checkpoint, model, run=run, history=asdict(history))
            bar.update()
            bar.set_postfix(train=f"{history.loss[-1]:.2f}", valid=f"{history.valid_loss[-1]:.2f}")
    return history


def check_finite(loss, message, lr):
    """Raise FloatingPointError with the message and a hint unless the loss is finite."""
    if not np.isfinite(loss):
        raise FloatingPointError(f"{message}: try a learning rate below {lr:g}")


def resume(model, path, run):
    """The history of a checkpoint, after making sure that it continues this very run and loading its parameters."""
    remove_leftovers(path)
    if not Path(path).exists():
        return History()
    config, params, extra = checkpoints.read(path)
    different = checkpoints.differences({**checkpoints.describe(model), **run}, {**config, **extra.get("run", {})})
    if different:
        raise ValueError(f"checkpoint {path} belongs to another run: {json.dumps(different)}; use another path")
    checkpoints.set_params(model, params, path)
    return History(**extra["history"])

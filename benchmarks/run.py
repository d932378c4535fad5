"""Side-by-side timings: every figure is a ratio of two medians, measured in turn in one run.

    python benchmarks/run.py                 # a few minutes; prints a table and writes results/benchmarks.csv
    python benchmarks/run.py --threads 2     # the same with two threads on both sides

A ratio says more than seconds do: it hardly depends on the machine. A target that is missed is shown as missed.
"""

import argparse
import csv
import datetime
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from scipy.special import expit
from threadpoolctl import threadpool_limits

from tvae_lib import baselines, impute, likelihood, masks, vae_numpy, vae_torch
from tvae_lib.checkpoint import set_params
from tvae_lib.data import load_mnist
from tvae_lib.latent import StudentT

OUTPUT = Path(__file__).parents[1] / "results" / "benchmarks.csv"
PAGE = Path(__file__).with_name("page.js")
FAMILY, SIZES, BATCH, LR, DRAWS = StudentT(21), (784, 400, 128, 10), 500, 0.005, 30


def medians(first, second, repeats, warm_up=3):
    """Median seconds of two functions that are called in turn, so that whatever slows the machine slows both."""
    seconds = [], []
    for repeat in range(-warm_up, repeats):
        for function, series in zip((first, second), seconds, strict=True):
            started = time.perf_counter()
            function()
            if repeat >= 0:
                series.append(time.perf_counter() - started)
    return [statistics.median(series) for series in seconds]


# ---- the training step


def batch():
    x = load_mnist().train[:BATCH].copy()
    return x, FAMILY.sample(np.random.default_rng(0), (BATCH, SIZES[-1])).astype(np.float32)


def numpy_step(kind=vae_numpy.VAE, dtype=np.float32):
    """Loss, gradient and update of one batch in NumPy."""
    x, eps = (array.astype(dtype) for array in batch())
    model = kind(FAMILY, SIZES, dtype=dtype)
    torch.manual_seed(0)
    set_params(model, {name: value.numpy() for name, value in vae_torch.VAE(FAMILY, SIZES).params.items()})

    def step():
        _, grads = model.loss_and_grad(x, eps)
        for name, grad in grads.items():
            grad *= LR
            model.params[name] -= grad

    return step


class OutOfPlace(vae_numpy.VAE):
    """The same model, but every addition, ReLU and mask makes a new array."""

    def forward(self, part, h):
        layers = [h]
        for i in range(len(self.sizes) - 1):
            h = h @ self.params[f"{part}.{i}.weight"].T + self.params[f"{part}.{i}.bias"]
            layers.append(np.maximum(h, 0) if i < len(self.sizes) - 2 else h)
            h = layers[-1]
        return layers

    def backward(self, part, layers, dout, grads=None):
        for i in reversed(range(len(self.sizes) - 1)):
            grads[f"{part}.{i}.weight"] = dout.T @ layers[i]
            grads[f"{part}.{i}.bias"] = dout.sum(axis=0)
            if i > 0:
                dout = (dout @ self.params[f"{part}.{i}.weight"]) * (layers[i] > 0)
            elif part == "decoder":
                dout = dout @ self.params[f"{part}.{i}.weight"]
        return dout


def bernoulli_losses():
    """The reconstruction term and its probabilities, by the two obvious functions and as a training step computes them."""
    x, _ = batch()
    logits = np.random.default_rng(0).normal(0, 4, x.shape).astype(np.float32)

    def obvious():
        return np.sum(np.logaddexp(0, logits) - x * logits, axis=1), expit(logits)

    for plain, fast in zip(obvious(), likelihood.cost_and_probabilities(logits, x), strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-6)
    return obvious, lambda: likelihood.cost_and_probabilities(logits, x)


def torch_step(compiled=False):
    """The same in PyTorch, as its users write it; compiled: through torch.compile."""
    torch.manual_seed(0)
    x, eps = map(torch.tensor, batch())
    model = vae_torch.VAE(FAMILY, SIZES)
    optimiser = torch.optim.SGD(model.parameters(), lr=LR)
    loss = torch.compile(model.loss) if compiled else model.loss

    def step():
        optimiser.zero_grad()
        loss(x, eps).total.backward()
        optimiser.step()

    return step


def halves():
    """Widths of the layers of encoder and decoder."""
    return pairwise((*SIZES[:-1], 2 * SIZES[-1])), pairwise(SIZES[::-1])


def layer(rng, n_in, n_out):
    """Random input, weight and gradient of the output of one layer, in float32."""
    return [rng.standard_normal(shape, np.float32) for shape in ((BATCH, n_in), (n_out, n_in), (BATCH, n_out))]


def products_of_a_step(convert=np.asarray):
    """The matrix products of one step and nothing else: forward, for the weights, and for the inputs (but the images)."""
    rng = np.random.default_rng(0)
    layers = [[convert(array) for array in layer(rng, *widths)] for half in halves() for widths in half]

    def products():
        for i, (h, weight, dout) in enumerate(layers):
            h @ weight.T
            dout.T @ h
            if i > 0:
                dout @ weight

    return products


# ---- imputation


def imputation(n):
    """`single_pass` over n test images, and its matrix products alone: each chunk is encoded once and decoded DRAWS times."""
    x = load_mnist().test[:n]
    rng = np.random.default_rng(0)
    missing = masks.random_pixels(rng, x.shape, 0.3)
    model = vae_numpy.VAE(FAMILY, SIZES)
    encoder, decoder = ([layer(rng, *widths)[:2] for widths in half] for half in halves())

    def products():
        for _ in range(n // impute.CHUNK):
            for h, weight in encoder + decoder * DRAWS:
                h @ weight.T

    assert impute.CHUNK == BATCH, "the products are meant for chunks of this size"
    return lambda: impute.single_pass(model, x, missing, draws=DRAWS, seed=0), products


def conditional_means(n, looped):
    """Seconds for the conditional mean of n test images by a plain loop of solves, and by `conditional_mean`.

    The loop runs over `looped` images and the rest is multiplied up: each image takes it as long as any other. The processor's
    seconds, since each is called only once.
    """
    data = load_mnist()
    train, x = data.train.astype(np.float64), data.test[:n]
    missing = masks.random_pixels(np.random.default_rng(0), x.shape, 0.3)

    def loop(n):
        mu, prediction = train.mean(axis=0), x[:n].astype(np.float64)
        covariance = np.cov(train, rowvar=False, bias=True) + 1e-3 * np.eye(784)
        for image, m in zip(prediction, missing[:n], strict=True):
            image[m] = mu[m] + covariance[np.ix_(m, ~m)] @ np.linalg.solve(covariance[np.ix_(~m, ~m)], (image - mu)[~m])
        return np.clip(prediction, 0, 1)

    np.testing.assert_allclose(baselines.conditional_mean(train, x[:50], missing[:50]), loop(50), atol=1e-6)
    library = lambda: baselines.conditional_mean(train, x, missing)
    seconds = []
    for function in (lambda: loop(0), lambda: loop(looped), library):
        started = time.process_time()
        function()
        seconds.append(time.process_time() - started)
    return seconds[0] + (seconds[1] - seconds[0]) * n / looped, seconds[2]


# ---- masks and noise


def squares_in_loops(rng, n, count=50, max_side=4):
    """The source project's way: three nested loops, over images, squares, and the rows of a square."""
    missing = np.zeros((n, 28, 28), bool)
    for image in range(n):
        for _ in range(count):
            side = rng.integers(1, max_side + 1)
            top, left = rng.integers(0, 29 - side), rng.integers(0, 29 - side)
            for row in range(top, top + side):
                missing[image, row, left : left + side] = True
    return missing.reshape(n, 784)


# ---- memory

TRAIN = """
import resource, sys
from pathlib import Path
from tvae_lib.data import load_mnist
from tvae_lib.latent import StudentT
from tvae_lib.train import fit
from tvae_lib.vae_numpy import VAE

data = load_mnist()
fit(VAE(StudentT(21)), data.train, data.valid, epochs=1, batch_size=500, lr=0.005, seed=0, progress=False)
status = Path("/proc/self/status")
if status.exists():  # Linux; its getrusage would count the process that started this one as well
    print(next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def peak_memory():
    """Bytes that a process of its own has needed at most after an epoch of training on all of MNIST."""
    return int(subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True).stdout)


# ---- the table


def measure():
    """Yield one row per figure: a name, what, against what, the two values, their ratio and its target."""
    ms = "{:.2f} ms".format

    def row(name, what, against, functions, repeats, target, warm_up=3):
        first, second = medians(*functions, repeats, warm_up)
        return name, what, against, ms(1e3 * first), ms(1e3 * second), first / second, target

    step, eager = numpy_step(), torch_step()
    yield row("products", "NumPy training step", "its matrix products alone", (step, products_of_a_step()), 200, "at most 1.25")
    yield row("eager", "NumPy training step", "PyTorch training step, eager", (step, eager), 200, "at most 1.0")
    in_torch = products_of_a_step(), products_of_a_step(torch.tensor)
    yield row("blas", "the matrix products of a step, NumPy", "the same, PyTorch", in_torch, 200, "")
    if shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"):
        compiled = torch_step(compiled=True)
        yield row(
            "compile", "PyTorch training step, eager", "the same through torch.compile", (eager, compiled), 100, "", warm_up=5
        )
    else:
        yield (
            "compile",
            "PyTorch training step, eager",
            "the same through torch.compile: no compiler here",
            "",
            "",
            float("nan"),
            "",
        )
    yield row("double", "NumPy training step in float64", "in float32", (numpy_step(dtype=np.float64), step), 50, "")
    yield row("out-of-place", "NumPy training step, a new array each time", "in place", (numpy_step(OutOfPlace), step), 200, "")
    yield row("bernoulli", "Bernoulli loss by logaddexp and expit", "bernoulli_loss", bernoulli_losses(), 100, "")
    yield row(
        "imputation",
        "imputation, 10,000 images x 30 draws",
        "its matrix products alone",
        imputation(10_000),
        5,
        "at most 1.4",
        warm_up=1,
    )
    first, second = conditional_means(10_000, looped=1000)
    loop = "loop of solves, conditional mean of 10,000 images"
    yield "conditional", loop, "conditional_mean", ms(1e3 * first), ms(1e3 * second), first / second, "at least 5"
    rng = np.random.default_rng(0)
    square_masks = lambda: squares_in_loops(rng, 2000), lambda: masks.random_squares(rng, 2000)
    yield row("squares", "three nested loops for square masks", "random_squares", square_masks, 5, "at least 50", warm_up=1)
    shape = BATCH, SIZES[-1]
    noise = lambda: stats.t.rvs(FAMILY.df, size=shape, random_state=rng), lambda: FAMILY.sample(rng, shape)
    yield row("noise", "scipy.stats.t.rvs for the noise of a batch", "StudentT.sample", noise, 500, "at least 1.0")
    gigabytes = peak_memory() / 1e9
    yield "memory", "peak memory, training on all of MNIST", "1 GB", f"{gigabytes:.2f} GB", "1 GB", gigabytes, "at most 1.0"
    if shutil.which("node"):
        page = json.loads(subprocess.run(["node", PAGE], capture_output=True, text=True, check=True).stdout)
        first, second = (f"{page['operations'] / 1e6 / page[name]:.2f} GFLOP/s" for name in ("blocked", "plain"))
        what = "product in the page, several rows at a time"
        yield "page-product", what, "three plain loops", first, second, page["plain"] / page["blocked"], "at least 2"
        took, what = 30 * max(page["gaussian"], page["t"]) / 1e3, "epoch of the training in the page"
        yield "page-epoch", what, "1.2 s", f"{took:.2f} s", "1.2 s", took / 1.2, "at most 1.0"


def met(ratio, target):
    """ "yes", "no", or "" without a target."""
    if not target:
        return ""
    _, sense, limit = target.split()
    return "yes" if (ratio <= float(limit) if sense == "most" else ratio >= float(limit)) else "no"


def processor():
    """The processor's name as its maker gives it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="threads on both sides of every ratio (default 1)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where to write the table (default results/benchmarks.csv)")
    options = parser.parse_args()
    if options.threads < 1:
        parser.error(f"--threads must be 1 or more, got {options.threads}")
    torch.set_num_threads(options.threads)
    machine = {
        "processor": processor(),
        "threads": options.threads,
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}",
        "date": datetime.date.today().isoformat(),
    }
    print(", ".join(f"{key}: {value}" for key, value in machine.items()))
    rows = []
    with threadpool_limits(options.threads):
        for name, what, against, first, second, ratio, target in measure():
            row = {"name": name, "what": what, "against": against, "first": first, "second": second, "ratio": f"{ratio:.3g}"}
            rows.append({**row, "target": target, "met": met(ratio, target), **machine})
            print("{what:44} {against:52} {first:>12} {second:>12} {ratio:>6}  {target:13} {met}".format(**rows[-1]), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with open(options.output, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

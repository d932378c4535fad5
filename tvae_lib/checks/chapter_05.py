"""Checks of workbook 05: autograd put to use, and the reader's own t-VAE as an nn.Module."""

from functools import partial, update_wrapper

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.checks.chapter_04 import made_up
from tvae_lib.latent import Gaussian, StudentT, kl_exact
from tvae_lib.vae_torch import VAE


def keep(function, *first):
    """The reader's function with its first arguments fixed: `call` copies the others, and a gradient must find these."""
    return update_wrapper(partial(function, *first), function) if callable(function) else function


def tensor(answer, what):
    """Raise NotYet unless the answer is a tensor."""
    if not isinstance(answer, torch.Tensor):
        raise NotYet(f"{what} should be a tensor, not of type {type(answer).__name__}: stay in PyTorch, which keeps the record.")
    return answer


def gradients(answer, inputs, what):
    """The derivatives of the sum of the answer for the inputs; zeros where the record does not reach."""
    if not answer.requires_grad:
        raise NotYet(
            f"{what} is right, but has no record of how it was made, so it cannot be differentiated: "
            "look for `.detach()`, `.item()`, `torch.tensor(...)`, NumPy, or a `no_grad` block."
        )
    found = torch.autograd.grad(answer.sum(), inputs, allow_unused=True)
    return [torch.zeros_like(each) if gradient is None else gradient for each, gradient in zip(inputs, found, strict=True)]


def twin_of(model):
    """The library's PyTorch model with the weights of a NumPy model."""
    twin = VAE(model.family, sizes=model.sizes, kl="sample", dtype=torch.float64)
    twin.load_state_dict({name: torch.tensor(value) for name, value in model.params.items()})
    return twin


@task("5.1")
def task_1(derivative):
    """derivative(f, z): f' at every entry of z, so that it can be differentiated again."""
    f = lambda z: 3 * torch.log1p(z**2 / 5)
    z = torch.linspace(-4, 5, 7, dtype=torch.float64, requires_grad=True)
    at = z.detach().numpy()
    first, second = 6 * at / (5 + at**2), 6 * (5 - at**2) / (5 + at**2) ** 2
    mistakes = {
        "It is the mean that you differentiate, so each entry is divided by their number: start from the sum.": first / 7,
        "These are the values of f, not of its derivative.": 3 * np.log1p(at**2 / 5),
    }
    answer = call(derivative, f, z)
    if isinstance(answer, tuple | list):
        raise NotYet("`torch.autograd.grad` gives a tuple with one tensor for each input: take the first, `[0]`.")
    expect(answer, first, "the derivative", mistakes)
    try:
        again = call(derivative, partial(derivative, f), z)
    except NotYet:
        raise NotYet(
            "The derivative is right, but it cannot be differentiated again: pass `create_graph=True`, and do not detach."
        ) from None
    expect(
        again,
        second,
        "the derivative of the derivative",
        {"`.grad` adds up: the first derivative is still in it.": first + second},
    )


@task("5.2")
def task_2(bernoulli_cost):
    """bernoulli_cost(logits, x): the reconstruction term of each image, from logits."""
    rng = np.random.default_rng(2)
    x = torch.tensor(rng.random((4, 6)))
    logits = torch.tensor(rng.normal(0, 2, (4, 6)), requires_grad=True)
    each = F.binary_cross_entropy_with_logits(logits, x, reduction="none").detach().numpy()
    twice = F.binary_cross_entropy_with_logits(torch.sigmoid(logits), x, reduction="none").detach().numpy()
    swapped = F.binary_cross_entropy_with_logits(x, logits, reduction="none").detach().numpy()
    mistakes = {
        'This is the mean over images and pixels, as by default: pass reduction="none", and sum over the pixels.': each.mean(),
        "One number for the batch: one for each image is asked for.": each.sum(),
        "The cost is not summed: add up the pixels of each image, dim=1.": each,
        "This is the mean over the pixels, but their costs add up; with the mean, the KL term weighs D times too much.": (
            each.mean(axis=1)
        ),
        "This sums over the images; sum over the pixels, dim=1.": each.sum(axis=0),
        "The arguments are swapped: first the logits, then the target x.": swapped.sum(axis=1),
        "The sigmoid is taken twice: `..._with_logits` takes it itself, so hand it the logits.": twice.sum(axis=1),
    }
    answer = tensor(call(keep(bernoulli_cost, logits), x), "The cost")
    expect(answer, each.sum(axis=1), "the cost of each image", mistakes)
    (slope,) = gradients(answer, [logits], "The cost")
    expect(slope, (torch.sigmoid(logits) - x).detach(), "the derivative of the cost for the logits")
    sure = (1000 * torch.sign(logits)).detach().requires_grad_()
    answer = call(keep(bernoulli_cost, sure), x)
    (slope,) = gradients(answer, [sure], "The cost")
    right = F.binary_cross_entropy_with_logits(sure, x, reduction="none").sum(dim=1).detach()
    if not np.allclose(answer.detach(), right) or not np.allclose(slope, (torch.sigmoid(sure) - x).detach()):
        raise NotYet(
            "Right for moderate logits. At logits of 1000 the probability is 0 or 1 in the computer and its logarithm is lost, "
            "and e^1000 overflows: start from the logits, with `F.binary_cross_entropy_with_logits`."
        )


@task("5.3")
def task_3(draw_t):
    """draw_t(generator, shape, df): standard t noise for a whole df, out of normals that a generator draws."""

    def noise(df, seed=3, shape=(300, 150)):
        generator = torch.Generator().manual_seed(seed)
        answers = []
        for _ in range(2):
            answer = tensor(call(keep(draw_t, generator), shape, df), "The noise")
            if tuple(answer.shape) != shape:
                raise NotYet(f"The noise should have shape {shape}, and has {tuple(answer.shape)}.")
            answers.append(answer.detach().double().numpy())
        return answers

    state = torch.random.get_rng_state()
    try:
        (first, second), (again, _) = noise(1), noise(1)
    finally:
        global_state_moved = not torch.equal(state, torch.random.get_rng_state())
        torch.random.set_rng_state(state)
    if global_state_moved or not np.array_equal(first, again, equal_nan=True):
        raise NotYet(
            "It draws from PyTorch's global generator: hand yours to every call, `torch.randn(..., generator=generator)`."
        )
    if np.array_equal(first, second):
        raise NotYet("Two calls with one generator give the same noise: do not set its seed inside the function.")
    rng = np.random.default_rng(0)
    one_v = "V has to be one number for each entry: draw `torch.randn(df, *shape, ...)` and sum over the first axis."
    for df, (sample, other) in ((2, noise(2)), (1, (first, second))):
        if not np.isfinite(sample).all():
            raise NotYet("The noise contains NaN or infinity.")
        spread, normal = sample.std(), stats.norm.cdf
        if abs(other.std() / spread - 1) > 0.05 and stats.kstest(sample.ravel() / spread, normal).statistic < 0.01:
            raise NotYet(one_v)
        if stats.kstest(sample.ravel(), stats.t(df).cdf).statistic > 0.015:
            z, v = rng.standard_normal(50_000), rng.chisquare(df, 50_000)
            mistakes = {
                "This is normal noise: divide by the root of V / nu.": z,
                "V is the wrong way up: divide by the root of V / nu.": z * np.sqrt(v / df),
                "The division of V by nu is missing.": z / np.sqrt(v),
                "The square root is missing: Z is divided by sqrt(V / nu).": z / (v / df),
                "V is a sum of nu squares; yours has one more.": z / np.sqrt((v + rng.standard_normal(50_000) ** 2) / df),
            }
            distance = {hint: stats.ks_2samp(sample.ravel(), wrong).statistic for hint, wrong in mistakes.items()}
            nearest = min(distance, key=distance.get)
            if distance[nearest] < 0.02:
                raise NotYet(nearest)
            raise NotYet(f"For nu = {df} this is not t noise: Z / sqrt(V / nu), where V is the sum of nu squared normals.")
        size = np.log(np.abs(sample) + 1e-12)
        for axis in (0, 1):
            if size.mean(axis=axis).var() * size.shape[axis] > 2 * size.var():  # 1 if they are independent
                raise NotYet("The entries depend on each other: every entry needs a Z and a V of its own. " + one_v)


@task("5.4")
def task_4(Network):
    """Network(sizes): the two halves as an nn.Module, with the names of chapter 04."""
    model, x, eps = made_up()
    network = call(Network, model.sizes)
    if not isinstance(network, nn.Module):
        raise NotYet(f"`Network` should be a class derived from nn.Module; it gives something of type {type(network).__name__}.")
    hidden = [v for v in vars(network).values() if isinstance(v, list | tuple) and any(isinstance(e, nn.Module) for e in v)]
    if hidden:
        raise NotYet(
            "The layers stand in a plain list, and nn.Module does not look into lists: no optimiser would ever see these "
            "weights. Wrap the list in `nn.ModuleList(...)`."
        )
    right = {name: value.shape for name, value in model.params.items()}
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if "encoder.4.weight" in found:
        raise NotYet(
            "The names are encoder.0, encoder.2, encoder.4: in nn.Sequential the ReLUs count as well. Put the three linear "
            "layers alone into an nn.ModuleList, so that files of weights fit."
        )
    missing = [name for name in right if name not in found]
    if missing:
        raise NotYet(
            f"`state_dict()` has no {missing[0]}: call the halves `self.encoder` and `self.decoder`, each an nn.ModuleList."
        )
    more = [name for name in found if name not in right]
    if more:
        raise NotYet(f"`state_dict()` has {more[0]}, which the model does not need: three linear layers in each half.")
    if found["encoder.2.weight"][0] * 2 == right["encoder.2.weight"][0]:
        raise NotYet("The encoder's last layer is too narrow by half: d numbers for mu and d for logvar.")
    wrong = [name for name in right if found[name] != right[name]]
    if wrong:
        raise NotYet(
            f"For sizes {model.sizes} the shape of {wrong[0]} should be {right[wrong[0]]}, and is {found[wrong[0]]}. "
            "Use `sizes`, not the numbers of MNIST."
        )
    network = network.double()
    network.load_state_dict({name: torch.tensor(value) for name, value in model.params.items()})
    for half, method, given in (("encoder", "encode", x), ("decoder", "decode", eps)):
        bare, last = given, model.forward(half, given)[-1]
        for i in range(3):
            bare = bare @ model.params[f"{half}.{i}.weight"].T + model.params[f"{half}.{i}.bias"]
        answer = call(getattr(network, method, None), torch.tensor(given))
        versions = {
            "The ReLU is missing between the layers: F.relu(...).": bare,
            "The last layer has no ReLU: mu, logvar and logits may be negative.": np.maximum(last, 0),
            "`decode` returns logits, without a sigmoid: the loss takes it from there.": 1 / (1 + np.exp(-last)),
        }
        if half == "decoder":
            expect(tensor(answer, "What `decode` returns"), last, "what `decode` returns", versions)
            continue
        mu, logvar = np.split(last, 2, axis=1)
        mu_first = parts(answer, "mu", "logvar")
        for i, (part, right_part) in enumerate(((mu_first[0], mu), (mu_first[1], logvar))):
            mistakes = {hint: np.split(version, 2, axis=1)[i] for hint, version in versions.items()}
            mistakes["mu and logvar are in the wrong order: mu is the first half."] = (logvar, mu)[i]
            mistakes["logvar is what the layer gives: take no exponential here."] = (np.exp(mu), np.exp(logvar))[i]
            name = ("mu", "logvar")[i]
            expect(tensor(part, f"{name} of `encode`"), right_part, f"{name}, as `encode` returns it,", mistakes)
    for name, value in network.named_parameters():
        if not value.requires_grad:
            raise NotYet(f"{name} is not marked `requires_grad`, so it would never be trained.")


@task("5.5")
def task_5(tvae_loss):
    """tvae_loss(model, x, eps, df): the loss, and through its record every gradient."""
    ours, x, eps = made_up()
    twin = twin_of(ours)
    expected, by_hand = ours.loss_and_grad(x, eps)
    names, weights = zip(*twin.named_parameters(), strict=True)
    answer = call(keep(tvae_loss, twin), torch.tensor(x), torch.tensor(eps), 5.0)
    reconstruction, kl = expected.reconstruction, expected.kl
    mu, logvar = ours.encode(x)
    log_sigma = logvar.sum(axis=1) / 2
    wide = mu + np.exp(logvar) * eps

    def loss_at(z, log_sigma):
        """The loss at the codes z, with log_sigma of each in the KL."""
        ratio = ours.family.log_prob(eps) - ours.family.log_prob(z)
        return (ours.reconstruction_and_dz(x, z)[0] + ratio.sum(axis=1) - log_sigma).mean()

    mistakes = {
        "The KL subtracts logvar, which is log sigma^2: log sigma is logvar / 2.": (reconstruction + kl - log_sigma).mean(),
        "-log sigma is missing from the KL: log q of a code is log f(eps) - log sigma.": (reconstruction + kl + log_sigma).mean(),
        "sigma is exp(logvar / 2); you multiply eps by exp(logvar), which is sigma squared.": loss_at(wide, log_sigma),
        "logvar is log sigma^2: sigma is exp(logvar / 2), and log sigma is logvar / 2.": loss_at(wide, 2 * log_sigma),
        "The noise is forgotten: the code is z = mu + sigma * eps.": loss_at(mu + np.exp(logvar / 2), log_sigma),
        "The code is taken at mu: it is z = mu + sigma * eps.": loss_at(mu, log_sigma),
        "mu and logvar are swapped: `encode` returns mu first.": loss_at(logvar + np.exp(mu / 2) * eps, mu.sum(axis=1) / 2),
        "This is the KL of two Gaussians. For the t take the one-draw estimate, from `StudentT(df).log_prob`.": (
            reconstruction + kl_exact(Gaussian(), mu, logvar).sum(axis=1)
        ).mean(),
        "The loss should be one number, the mean over the batch.": reconstruction + kl,
        "The loss is the sum over the batch; take the mean.": (reconstruction + kl).sum(),
        "The loss lacks its KL term.": reconstruction.mean(),
        "The loss lacks its reconstruction term.": kl.mean(),
        "The KL term is subtracted: it is a price, so add it.": (reconstruction - kl).mean(),
        'The pixels are averaged, so the KL weighs D times too much: pass reduction="none" and sum over the pixels.': (
            reconstruction.mean() / x.shape[1] + kl.mean()
        ),
        "The KL is averaged over the coordinates of a code: their prices add up.": (reconstruction + kl / eps.shape[1]).mean(),
    }
    expect(answer, expected.total, "the loss", mistakes)
    found = dict(zip(names, gradients(tensor(answer, "The loss"), weights, "The loss"), strict=True))
    decoder_right = all(np.allclose(found[name], by_hand[name]) for name in names if name.startswith("decoder"))
    if decoder_right and all(not found[name].any() for name in names if name.startswith("encoder")):
        raise NotYet(
            "The loss is right, but the encoder gets no gradient at all: the record is cut at mu and logvar. "
            "Look for `.detach()` or `torch.no_grad()` around `encode`."
        )
    mu, logvar = (torch.tensor(part, requires_grad=True) for part in ours.encode(x))
    z = mu + torch.exp(logvar / 2) * torch.tensor(eps)
    cost = F.binary_cross_entropy_with_logits(twin.decode(z), torch.tensor(x), reduction="sum") / len(x)
    through_decoder = torch.cat(torch.autograd.grad(cost, (mu, logvar)), dim=1).sum(dim=0).numpy()
    whole = by_hand["encoder.2.bias"]
    d = len(whole) // 2
    without_sigma = whole.copy()
    without_sigma[d:] = -0.5  # what is left of the KL's derivative for logvar
    bias = {
        "The loss is right, but the decoder's cost does not reach the encoder: z is detached on its way into `decode`.": (
            whole - through_decoder
        ),
        "The loss is right, but the KL sends no gradient to the encoder: it is detached, or made of detached parts.": (
            through_decoder
        ),
        "The loss is right, but sigma is detached: it reaches the loss only through -log sigma.": without_sigma,
    }
    expect(found["encoder.2.bias"], whole, "the gradient of encoder.2.bias", bias)
    for name in names:
        expect(found[name], by_hand[name], f"the gradient of {name}")


@task("5.6")
def task_6(train):
    """train(model, images, noise, df, lr): a step of SGD for each batch, and the loss before each step."""
    steps, lr = 4, 0.05
    ours, x, eps = made_up()
    rng = np.random.default_rng(6)
    images, noise = rng.random((steps, *x.shape)), rng.standard_t(5, (steps, *eps.shape))

    def path(mistake=""):
        """The losses by NumPy, and the weights at the end."""
        model, _, _ = made_up()
        losses, summed = [], {name: 0 for name in model.params}
        for x, eps in zip(images, noise, strict=True):
            loss, grads = model.loss_and_grad(x, eps)
            for name, gradient in grads.items():
                summed[name] = summed[name] + gradient if mistake == "sum" else gradient
                model.params[name] = model.params[name] + {"up": lr, "none": 0}.get(mistake, -lr) * summed[name]
            losses.append(model.loss(x, eps).total if mistake == "after" else loss.total)
        return np.array(losses), model.params

    twin = twin_of(ours)
    answer = call(keep(train, twin), torch.tensor(images), torch.tensor(noise), 5.0, lr)
    if not isinstance(answer, list | tuple) or len(answer) != steps:
        raise NotYet(f"`train` should return a list with one loss for each of the {steps} batches.")
    if any(isinstance(loss, torch.Tensor) and loss.requires_grad for loss in answer):
        raise NotYet(
            "The list holds tensors with their whole record, so nothing can be forgotten and memory fills up: "
            "append `loss.item()`."
        )
    right, weights = path()
    mistakes = {
        "The weights never change. In each turn call `zero_grad()`, `backward()` and `step()`, in this order.": path("none")[0],
        "The gradients of all steps so far add up in `.grad`: call `zero_grad()` in every turn.": path("sum")[0],
        "The loss is asked for as it was before the step, and you compute it again after the step.": path("after")[0],
        "The weights walk uphill: subtract the gradient, or leave it to torch.optim.SGD.": path("up")[0],
    }
    expect([float(loss) for loss in answer], right, "the list of losses", mistakes)
    for name, value in twin.params.items():
        expect(value, weights[name], f"{name} after {steps} steps")


@task("5.7")
def task_7(reconstruction_term, draw_code, validation_loss):
    """The bug hunt: three functions to repair."""
    rng = np.random.default_rng(7)
    logits, x = torch.tensor(rng.normal(0, 2, (5, 6))), torch.tensor(rng.random((5, 6)))
    each = F.binary_cross_entropy_with_logits(logits, x, reduction="none").numpy()
    twice = F.binary_cross_entropy_with_logits(torch.sigmoid(logits), x, reduction="none").numpy()
    expect(
        call(reconstruction_term, logits, x),
        each.sum() / 5,
        "the reconstruction term",
        {
            "Two mistakes stand in `reconstruction_term`. One: the sigmoid is taken twice.": twice.mean(),
            "`reconstruction_term` is nearly right: what does `..._with_logits` do first?": twice.sum() / 5,
            "`reconstruction_term` averages over images and pixels: over the pixels it should sum.": each.mean(),
            "`reconstruction_term` adds up the images: take their mean.": each.sum(),
            "`reconstruction_term` should be one number, the mean over the images.": each.sum(axis=1),
        },
    )
    mu, logvar = (torch.tensor(rng.normal(0, 1, (5, 3)), requires_grad=True) for _ in range(2))
    eps = torch.tensor(rng.standard_t(5, (5, 3)))
    scatter = (torch.exp(logvar / 2) * eps).detach()
    z = tensor(call(keep(draw_code, mu, logvar), eps), "What `draw_code` returns")
    expect(z, mu.detach() + scatter, "the code")
    to_mu, to_logvar = gradients(z, [mu, logvar], "The code")
    expect(to_mu, torch.ones_like(eps), "the derivative of the code for mu")
    hint = "`draw_code` gives the right codes, but no gradient reaches logvar: sigma is made where nothing is recorded."
    expect(to_logvar, scatter / 2, "the derivative of the code for logvar", {hint: np.zeros((5, 3))})

    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    batches = [(torch.full((n, 2), value, dtype=torch.float64), torch.zeros(n, 3)) for n, value in ((4, 1.0), (4, 3.0), (1, 9.0))]
    answer = call(validation_loss, lambda x, eps: weight * x.mean(), batches)
    expect(
        answer,
        2 * 25 / 9,
        "the validation loss",
        {
            "The last batch is smaller: weigh each batch by its number of images.": 2 * 13 / 3,
            "`validation_loss` should divide by the number of images.": 50.0,
        },
    )
    if isinstance(answer, torch.Tensor) and answer.requires_grad:
        raise NotYet(
            "`validation_loss` is right in value, but drags the record of every batch along, and memory fills up: "
            "`.item()`, or `with torch.no_grad():`."
        )


@task("5.8")
def task_8(kl_path):
    """kl_path(mu, logvar, eps, df): the one-draw KL whose gradient goes through z alone."""
    df, rng = 5.0, np.random.default_rng(8)
    mu, logvar = rng.normal(0, 1.5, (6, 3)), rng.normal(-1, 0.6, (6, 3))
    eps, family = rng.standard_t(df, (6, 3)), StudentT(df)
    sigma = np.exp(logvar / 2)
    z = mu + sigma * eps
    inputs = [torch.tensor(part, requires_grad=True) for part in (mu, logvar)]
    answer = tensor(call(keep(kl_path, *inputs), torch.tensor(eps), df), "The KL")
    each = family.log_prob(eps) - logvar / 2 - family.log_prob(z)
    mistakes = {
        "The KL is not summed: add up the coordinates of each code.": each,
        "-log sigma is missing from log q.": (each + logvar / 2).sum(axis=1),
    }
    expect(answer, each.sum(axis=1), "the value of the KL, which a detach does not change,", mistakes)
    dmu, dlogvar = gradients(answer, inputs, "The KL")
    score_q, score_p = family.score(eps) / sigma, family.score(z)
    plain = -score_p
    usual = "This is the ordinary gradient: mu and logvar inside log q are still recorded. Detach both there."
    only_logvar = "mu is still recorded inside log q: detach it there, as well as logvar."
    only_mu = "logvar is still recorded inside log q: detach it there, as well as mu."
    by_path = 0.5 * sigma * eps * (score_q - score_p)
    if np.allclose(dmu.numpy(), plain) and np.allclose(dlogvar.numpy(), 0.5 * sigma * eps * plain):
        raise NotYet(
            "No gradient reaches z through log q. Either eps stands in it, or mu and sigma in (z - mu) / sigma are still "
            "recorded and cancel: detach both there."
        )
    if np.allclose(dmu.numpy(), plain):
        raise NotYet(usual if np.allclose(dlogvar.numpy(), 0.5 * (sigma * eps * plain - 1)) else only_logvar)
    expect(dmu, score_q - score_p, "the gradient for mu", {"log p(z) sends no gradient: z is detached there.": score_q})
    mistakes = {
        only_mu: by_path - 0.5 - 0.5 * score_q * sigma * eps,
        "-log sigma in log q is still recorded: use the detached logvar there too.": by_path - 0.5,
    }
    expect(dlogvar, by_path, "the gradient for logvar", mistakes)

"""Checks of workbook 04: the network by hand, every gradient, and the reader's own t-VAE."""

from functools import partial

import numpy as np
from scipy.special import expit

from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.data import load_mnist
from tvae_lib.latent import Gaussian, StudentT, kl_sample_and_grad
from tvae_lib.vae_numpy import VAE, bernoulli_loss


def made_up(df=5.0, sizes=(12, 8, 6, 3), scale=0.5):
    """A model with weights of ordinary size, five images and their noise."""
    rng = np.random.default_rng(4)
    model = VAE(StudentT(df), sizes=sizes, dtype=np.float64, kl="sample")
    for value in model.params.values():
        value[...] = rng.normal(0, scale, value.shape)
    return model, rng.random((5, sizes[0])), rng.standard_t(df, (5, sizes[-1]))


def expect_gradients(answer, right, mistakes=None):
    """Compare a dictionary of gradients. mistakes: hint to the dictionary that the mistake gives."""
    if not isinstance(answer, dict):
        raise NotYet(f"The gradients should be a dictionary, not of type {type(answer).__name__}.")
    for name in right:
        if name not in answer:
            raise NotYet(f'The dictionary of gradients has no entry "{name}".')
    if matches(answer, right):
        return
    for hint, gradients in (mistakes or {}).items():  # first what explains all arrays, then what explains one
        if matches(answer, gradients):
            raise NotYet(hint)
    for name, value in right.items():
        wrong = {hint: gradients[name] for hint, gradients in (mistakes or {}).items()}
        expect(answer[name], value, f"the gradient of {name}", wrong)


def matches(answer, gradients):
    """Whether all arrays of a dictionary of gradients are those expected."""
    try:
        for name, value in gradients.items():
            expect(answer[name], value)
    except NotYet:
        return False
    return True


@task("4.1")
def task_1(forward):
    """forward(params, half, h): what enters each of the three layers of a half, and what the last puts out."""
    model, x, eps = made_up()
    for half, h in (("encoder", x), ("decoder", eps)):
        right = model.forward(half, h)
        answer = parts(call(forward, model.params, half, h), "the input", "hidden layer 1", "hidden layer 2", "the output")
        expect(answer[0], h, "the first entry, the input,")
        for i in range(3):
            weight, bias = model.params[f"{half}.{i}.weight"], model.params[f"{half}.{i}.bias"]
            before = right[i] @ weight.T + bias
            mistakes = {
                "The ReLU is missing between the layers: np.maximum(..., 0).": before,
                "The last layer has no ReLU: mu, logvar and logits may be negative.": np.maximum(before, 0),
                f"The bias of layer {i} is missing.": np.maximum(before - bias, 0) if i < 2 else before - bias,
            }
            expect(answer[i + 1], right[i + 1], f"what comes out of layer {i} of the {half}", mistakes)


@task("4.2")
def task_2(bernoulli_cost):
    """bernoulli_cost(logits, x): the reconstruction term of each image."""
    rng = np.random.default_rng(2)
    logits, x = rng.normal(0, 2, (4, 6)), rng.random((4, 6))
    each = np.logaddexp(0, logits) - x * logits
    mistakes = {
        "The cost is not summed: add up the pixels of each image, axis 1.": each,
        "This is the mean over the pixels, but their costs add up; with the mean, the KL term weighs D times too much.": (
            each.mean(axis=1)
        ),
        "This sums over the images; sum over the pixels, axis 1.": each.sum(axis=0),
        "This is one number for the batch: one for each image is asked for.": each.sum(),
        "A minus sign too many: this is the log probability, and the cost is minus that.": -each.sum(axis=1),
        "The part x * logits is missing.": np.logaddexp(0, logits).sum(axis=1),
        "x * logits is subtracted, not added.": (each + 2 * x * logits).sum(axis=1),
    }
    expect(call(bernoulli_cost, logits, x), each.sum(axis=1), "the cost of each image", mistakes)
    with np.errstate(all="ignore"):
        confident, sure = call(bernoulli_cost, 50 * logits, x), call(bernoulli_cost, 500 * logits, x)
    if not np.isfinite(confident).all():  # e^100 is no problem yet
        raise NotYet(
            "Right for moderate logits, but a confident probability is rounded to 1, and log(1 - pi) is then log 0: do not go "
            "through pi. log(1 + e^l) is np.logaddexp(0, logits)."
        )
    if not np.isfinite(sure).all():
        raise NotYet("Right for moderate logits, but e^1000 overflows: np.logaddexp(0, logits) is log(1 + e^l) without that.")
    right = bernoulli_loss(500 * logits, x)[0]
    if (np.asarray(sure) < right).all() and not np.allclose(sure, right):
        raise NotYet(
            "The probability is rounded to 0 or 1 and clipped, so that the cost of a confident mistake is lost: stay with logits."
        )
    expect(sure, right, "the cost at large logits")


@task("4.3")
def task_3(linear_backward):
    """linear_backward(dA, H, W): the three gradients of a linear layer."""
    rng = np.random.default_rng(3)
    dA, H, W = rng.normal(size=(5, 4)), rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    answer = parts(call(linear_backward, dA, H, W), "dW", "db", "dH")
    shapes = [np.shape(part) for part in answer]
    if shapes != [(4, 3), (4,), (5, 3)] and sorted(shapes) == [(4,), (4, 3), (5, 3)]:
        raise NotYet("Return dW, db, dH, in this order.")
    dW, db, dH = answer
    twice = "Do not divide by B: dA already contains the 1/B of the batch mean, and the images' shares are added up."
    expect(dW, dA.T @ H, "the derivative dW", {twice: dA.T @ H / 5})
    units = "db sums over the units; sum over the images, axis 0."
    expect(db, dA.sum(axis=0), "the derivative db", {twice: dA.mean(axis=0), units: dA.sum(axis=1)})
    without_h = "dH comes from dA and W, without H: which weight led from input k to output o?"
    expect(dH, dA @ W, "the derivative dH", {without_h: dA @ W * H})


@task("4.4")
def task_4(backward):
    """backward(params, half, layers, dout): all gradients of one half, and the derivative with respect to its input."""
    model, _, codes = made_up()
    layers = model.forward("decoder", codes)
    dout = np.random.default_rng(4).normal(size=layers[-1].shape)
    right, gated = {}, {}
    dinput = model.backward("decoder", layers, dout, right)
    gated_dinput = model.backward("decoder", layers, dout * (layers[-1] > 0), gated)
    ungated, delta = {}, dout
    for i in (2, 1, 0):
        ungated |= {f"decoder.{i}.weight": delta.T @ layers[i], f"decoder.{i}.bias": delta.sum(axis=0)}
        delta = delta @ model.params[f"decoder.{i}.weight"]
    grads, answer = parts(call(backward, model.params, "decoder", layers, dout), "the dictionary of gradients", "dinput")
    missing = "A ReLU stands before each layer but the first: multiply the derivative by layers[i] > 0, for i = 2 and 1."
    too_many = "layers[3] has not gone through a ReLU: what it gets passes as it is."
    expect_gradients(grads, right, {missing: ungated, too_many: gated})
    mistakes = {
        too_many: gated_dinput,
        missing: delta,
        "The input of the half has not gone through a ReLU: no layers[0] > 0.": dinput * (codes > 0),
    }
    expect(answer, dinput, "the derivative with respect to the input, dinput,", mistakes)


@task("4.5")
def task_5(kl_and_grad):
    """kl_and_grad(mu, logvar, eps, df): the one-draw KL and its derivatives for mu and logvar."""
    rng = np.random.default_rng(5)
    df, shape = 5.0, (6, 3)
    mu, logvar, eps = rng.normal(0, 2, shape), rng.normal(-1, 0.6, shape), rng.standard_t(df, shape)
    family = StudentT(df)
    kl, dmu, dlogvar = parts(call(kl_and_grad, mu, logvar, eps, df), "kl", "dmu", "dlogvar")
    right, right_dmu, right_dlogvar = kl_sample_and_grad(family, mu, logvar, eps)
    sigma = np.exp(logvar / 2)
    z = mu + sigma * eps
    each = family.log_prob(eps) - logvar / 2 - family.log_prob(z)
    not_summed = "The estimate kl is not summed: add up the coordinates of each code."
    expect(kl, right, "the estimate kl", {not_summed: each, "The estimate kl: a minus sign is missing.": -right})
    constant = "With eps fixed, log f(eps) is a constant: only -log sigma and -log f(z) depend on mu and logvar."
    later = "The 1/B of the batch mean comes later, in task 7."
    expect(
        dmu,
        right_dmu,
        "the derivative dmu",
        {
            constant: right_dmu - family.score(eps) / sigma,
            constant + " And eps does not change with mu.": right_dmu + family.score(eps) / sigma,
            later: right_dmu / len(mu),
            "dmu is s(z), the score itself: a minus sign is missing, since the KL contains -log f(z).": -right_dmu,
            "dmu is the Gaussian's pull, z: the t's is (nu + 1) z / (nu + z^2).": z,
            "dmu takes the score at mu; the KL contains log f(z), so take it at z.": -family.score(mu),
            "dmu divides by nu + z instead of nu + z^2.": (df + 1) * z / (df + z),
        },
    )
    expect(
        dlogvar,
        right_dlogvar,
        "the derivative dlogvar",
        {
            constant: right_dlogvar - family.score(eps) * eps / 2,
            later: right_dlogvar / len(mu),
            "dlogvar is twice the expected: did you differentiate sigma = exp(logvar / 2)? It brings a factor 1/2.": 2
            * right_dlogvar,
            "This is the derivative for sigma: one more step, times sigma / 2, leads to logvar.": eps * right_dmu - 1 / sigma,
            "dlogvar lacks the direct term: the KL contains -log sigma = -logvar / 2.": right_dlogvar + 0.5,
            "The direct term is -1/2, the derivative of -logvar / 2; you have -1.": right_dlogvar - 0.5,
            "The direct term has the wrong sign: the KL contains minus log sigma.": right_dlogvar + 1,
            "dlogvar lacks a factor sigma: dz / dlogvar = sigma * eps / 2.": 0.5 * (eps * right_dmu - 1),
        },
    )


@task("4.6")
def task_6(numerical_gradient):
    """numerical_gradient(loss, w, h): central differences, entry by entry."""
    rng = np.random.default_rng(6)
    w, a, h = rng.normal(0, 1, (2, 3)), rng.normal(0, 1, (2, 3)), 0.05
    visited = []

    def loss(v):
        visited.append(np.array(v, float))
        return np.sum(a * v**3)

    def central(above, below, width):
        return a * ((w + above) ** 3 - (w - below) ** 3) / width

    answer = call(numerical_gradient, loss, w, h)
    mistakes = {
        "It is half the expected: the second step leads from w + h back to w only, but the difference is divided by 2h.": central(
            h, 0, 2 * h
        ),
        "These are one-sided differences, (loss(w + h) - loss(w)) / h: step to both sides.": central(h, 0, h),
        "The two losses lie 2h apart, and you divide by h.": central(h, h, h),
        "A minus sign: first the loss above, then the one below.": -central(h, h, 2 * h),
    }
    moved = max(np.count_nonzero(~np.isclose(v, w, rtol=0, atol=h / 100)) for v in visited) if visited else 1
    if moved > 1:
        raise NotYet("Weights that were tried before stay moved while the next is tried: put each back before you go on.")
    expect(answer, central(h, h, 2 * h), "the numerical gradient", mistakes)


def backprop(model, x, eps, prior, weights=(1, 1), reach=lambda sigma, eps: (1, sigma * eps / 2), order=1):
    """The gradient of the loss, made of the library's parts, with room for a mistake.

    weights: of the reconstruction and of the KL; reach: what dz is multiplied by on its way to mu and to logvar; order: -1 joins
    dmu and dlogvar the wrong way round.
    """
    enc, grads = model.forward("encoder", x), {}
    mu, logvar = np.split(enc[-1], 2, axis=1)
    sigma = np.exp(logvar / 2)
    z = mu + sigma * eps
    dec = model.forward("decoder", z)
    dz = model.backward("decoder", dec, weights[0] * (expit(dec[-1]) - x) / len(x), grads)
    pull = -weights[1] / len(x) * prior.score(z)
    to_mu, to_logvar = reach(sigma, eps)
    parts_of_dout = [to_mu * dz + pull, to_logvar * dz + 0.5 * (sigma * eps * pull - weights[1] / len(x))]
    model.backward("encoder", enc, np.concatenate(parts_of_dout[::order], axis=1), grads)
    return grads


def wrong_losses(model, x, eps):
    """The losses of a forward pass with a mistake between the encoder and the decoder: hint to loss."""
    first, second = np.split(model.forward("encoder", x)[-1], 2, axis=1)

    def total(mu, logvar, z):
        cost = bernoulli_loss(model.forward("decoder", z)[-1], x)[0]
        return (cost + kl_sample_and_grad(model.family, mu, logvar, eps)[0]).mean()

    sigma = np.exp(second / 2)
    return {
        "The decoder gets mu: the code is z = mu + sigma * eps.": total(first, second, first),
        "The noise is forgotten: the code is z = mu + sigma * eps.": total(first, second, first + sigma),
        "The code is stretched by exp(logvar), which is sigma squared.": total(first, second, first + sigma**2 * eps),
        "mu and logvar are swapped: the first half of what the encoder puts out is mu.": total(
            second, first, second + np.exp(first / 2) * eps
        ),
    }


@task("4.7")
def task_7(loss_and_grad):
    """loss_and_grad(params, x, eps, df): the reader's t-VAE against the library's."""
    for df, sizes, scale in ((5.0, (12, 8, 6, 3), 0.5), (21.0, (784, 400, 128, 10), 0.1)):
        model, x, eps = made_up(df, sizes, scale)
        loss, right = model.loss_and_grad(x, eps)
        value, grads = parts(call(loss_and_grad, model.params, x, eps, df), "the loss", "the dictionary of gradients")
        expect(
            value,
            loss.total,
            "the loss",
            {
                "The loss is the sum over the batch; take the mean.": (loss.reconstruction + loss.kl).sum(),
                "The loss should be one number, the mean over the batch.": loss.reconstruction + loss.kl,
                "The loss lacks its KL term.": loss.reconstruction.mean(),
                "The loss lacks its reconstruction term.": loss.kl.mean(),
                "The KL term is subtracted: it is a price, so add it.": (loss.reconstruction - loss.kl).mean(),
                **wrong_losses(model, x, eps),
            },
        )
        B, through = len(x), "What comes from the decoder reaches logvar through sigma"
        wrong = partial(backprop, model, x, eps, model.family)
        as_sum = "These are the gradients of the sum over the batch: divide by B at the start, in dlogits, and in the KL's part."
        expect_gradients(
            grads,
            right,
            {
                as_sum: wrong((B, B)),
                "Divide by B in dlogits too; the KL's part has its 1/B already.": wrong((B, 1)),
                "The KL's part of the encoder's gradient is B times too large: it is part of the batch mean too.": wrong((1, B)),
                "You divide by B twice: dlogits has the 1/B already, and the backward pass hands it on.": wrong((1 / B, 1)),
                "The KL's part of the encoder's gradient is missing: add dmu and dlogvar of task 5.": wrong((1, 0)),
                "What comes from the decoder gets lost: dz belongs into dmu, and sigma * eps / 2 * dz into dlogvar.": wrong(
                    reach=lambda sigma, eps: (0, 0)
                ),
                "dmu lacks what comes from the decoder: z moves as mu does, so add dz.": wrong(
                    reach=lambda sigma, eps: (0, sigma * eps / 2)
                ),
                "dlogvar lacks what comes from the decoder: add sigma * eps / 2 * dz.": wrong(reach=lambda sigma, eps: (1, 0)),
                "dmu and dlogvar are joined the wrong way round: mu comes first, as in the encoder's output.": wrong(order=-1),
                f"{through} * eps: you left out eps, so dz / dlogvar is sigma * eps / 2.": wrong(
                    reach=lambda sigma, eps: (1, sigma / 2)
                ),
                f"{through} = exp(logvar / 2): there is a factor 1/2.": wrong(reach=lambda sigma, eps: (1, sigma * eps)),
                f"{through}: dz / dlogvar is sigma * eps / 2; you have eps.": wrong(reach=lambda sigma, eps: (1, eps)),
                f"{through}: dz / dlogvar is sigma * eps / 2; you have eps / 2.": wrong(reach=lambda sigma, eps: (1, eps / 2)),
                "The code is pulled as by a Gaussian prior.": backprop(model, x, eps, Gaussian()),
            },
        )


@task("4.8")
def task_8(params):
    """params: the weights of the reader's t-VAE (nu = 21) after an epoch of training on 10,000 images."""
    model = VAE(StudentT(21), rng=0, kl="sample")
    if not isinstance(params, dict) or set(params) != set(model.params):
        raise NotYet("`params` should be the dictionary of twelve arrays that `first_weights` makes.")
    for name, value in model.params.items():
        if np.shape(params[name]) != value.shape:
            raise NotYet(f"{name} should have shape {value.shape}, and has {np.shape(params[name])}.")
        if not np.isfinite(np.asarray(params[name], float)).all():
            raise NotYet(f"{name} contains NaN: the weights have diverged. Is the gradient subtracted, and the rate 0.005?")
        model.params[name] = np.asarray(params[name], np.float32)
    images = load_mnist().valid[:500]
    loss = model.loss(images, model.family.sample(np.random.default_rng(8), (500, 10))).total
    if loss > 500:
        raise NotYet(
            f"The loss on 500 validation images is {loss:.0f} nats, as with random weights. "
            "Does `train` change the arrays in `params` themselves, with `params[name] -= ...`?"
        )
    if loss > 220:
        raise NotYet(
            f"The loss on 500 validation images is {loss:.0f} nats. One epoch brings it below 220: run through all batches."
        )

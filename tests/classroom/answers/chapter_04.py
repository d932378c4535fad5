"""Right and wrong answers to the tasks of workbook 04; see tests/classroom/test_checks.py."""

import numpy as np
import torch
from scipy import stats

from tvae_lib.latent import StudentT
from tvae_lib.results import load_model
from tvae_lib.vae_numpy import VAE
from tvae_lib.vae_torch import VAE as TorchVAE


def relu(a):
    return a * (a > 0)


def forward(params, half, h, inner=relu, last=lambda a: a, biases=(1, 1, 1)):
    w = [params[f"{half}.{i}.weight"] for i in range(3)]
    b = [biases[i] * params[f"{half}.{i}.bias"] for i in range(3)]
    h1 = inner(np.einsum("ik,ok->io", h, w[0]) + b[0])
    h2 = inner(np.einsum("ik,ok->io", h1, w[1]) + b[1])
    return h, h1, h2, last(np.einsum("ik,ok->io", h2, w[2]) + b[2])


def bernoulli_cost(logits, x):
    return np.where(logits > 0, logits + np.log1p(np.exp(-np.abs(logits))), np.log1p(np.exp(-np.abs(logits)))).sum(1) - (
        (x * logits).sum(1)
    )


def naive_cost(logits, x):
    with np.errstate(all="ignore"):
        return (np.log(1 + np.exp(logits)) - x * logits).sum(axis=1)


def through_probabilities(logits, x):
    p = (1 + np.tanh(logits / 2)) / 2
    with np.errstate(all="ignore"):
        return -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1)


def clipped_cost(logits, x):
    p = np.clip((1 + np.tanh(logits / 2)) / 2, 1e-12, 1 - 1e-12)
    return -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1)


def linear_backward(dA, H, W):
    dA, H, W = torch.tensor(dA), torch.tensor(H, requires_grad=True), torch.tensor(W, requires_grad=True)
    b = torch.zeros(len(W), dtype=W.dtype, requires_grad=True)
    (dA * torch.nn.functional.linear(H, W, b)).sum().backward()
    return W.grad, b.grad, H.grad


def backward(params, half, layers, dout, gates=(1, 2)):
    grads = {}
    for i in range(2, -1, -1):
        grads[f"{half}.{i}.weight"] = np.einsum("io,ik->ok", dout, layers[i])
        grads[f"{half}.{i}.bias"] = np.ones(len(dout)) @ dout
        dout = dout @ params[f"{half}.{i}.weight"]
        if i in gates:
            dout = np.where(layers[i] > 0, dout, 0)
    return grads, dout


def kl_and_grad(mu, logvar, eps, df):
    """By automatic differentiation."""
    mu, logvar, eps = torch.tensor(mu, requires_grad=True), torch.tensor(logvar, requires_grad=True), torch.tensor(eps)
    t = torch.distributions.StudentT(torch.tensor(df, dtype=torch.float64))
    z = mu + torch.exp(logvar / 2) * eps
    kl = (t.log_prob(eps) - logvar / 2 - t.log_prob(z)).sum(dim=1)
    kl.sum().backward()
    return kl, mu.grad, logvar.grad


def change(kl=lambda kl: kl, dmu=lambda dmu: dmu, dlogvar=lambda dlogvar: dlogvar):
    """kl_and_grad with one of its parts changed."""

    def changed(mu, logvar, eps, df):
        right = kl_and_grad(mu, logvar, eps, df)
        return kl(right[0]), dmu(right[1]), dlogvar(right[2])

    return changed


def kl_not_summed(mu, logvar, eps, df):
    sigma = np.exp(logvar / 2)
    each = stats.t.logpdf(eps, df) - logvar / 2 - stats.t.logpdf(mu + sigma * eps, df)
    return (each, *kl_and_grad(mu, logvar, eps, df)[1:])


def gaussian_pull(mu, logvar, eps, df):
    kl, _, dlogvar = kl_and_grad(mu, logvar, eps, df)
    return kl, mu + np.exp(logvar / 2) * eps, dlogvar


def through_log_q(mu, logvar, eps, df):
    """log f(eps), as if eps = (z - mu) / sigma changed with mu and logvar."""
    kl, dmu, dlogvar = kl_and_grad(mu, logvar, eps, df)
    score = -(df + 1) * eps / (df + eps**2)
    return kl, dmu.numpy() - score / np.exp(logvar / 2), dlogvar.numpy() - score * eps / 2


def through_log_q_for_logvar_only(*arguments):
    kl, dmu, _ = kl_and_grad(*arguments)
    return kl, dmu, through_log_q(*arguments)[2]


def pull(z, df):
    return (df + 1) * z / (df + z**2)


def by_hand(
    dmu=lambda mu, sigma, eps, df: pull(mu + sigma * eps, df), dlogvar=lambda pull, sigma, eps: (sigma * eps * pull - 1) / 2
):
    def kl_and_grad(mu, logvar, eps, df):
        sigma = np.exp(logvar / 2)
        z = mu + sigma * eps
        kl = np.sum((df + 1) / 2 * np.log((df + z**2) / (df + eps**2)) - logvar / 2, axis=1)
        return kl, dmu(mu, sigma, eps, df), dlogvar(pull(z, df), sigma, eps)

    return kl_and_grad


def numerical_gradient(loss, w, h=1e-5):
    """Without touching w."""
    units = np.eye(w.size).reshape(w.size, *w.shape)
    return np.array([(loss(w + h * unit) - loss(w - h * unit)) / (2 * h) for unit in units]).reshape(w.shape)


def one_sided(loss, w, h=1e-5):
    units = np.eye(w.size).reshape(w.size, *w.shape)
    return np.array([(loss(w + h * unit) - loss(w)) / h for unit in units]).reshape(w.shape)


def back_to_the_start(loss, w, h=1e-5):
    return one_sided(loss, w, h) / 2


def put_back(loss, w, h=1e-5, last_step=True):
    """Back but for rounding."""
    gradient = np.zeros_like(w)
    for index in np.ndindex(w.shape):
        w[index] += h
        above = loss(w)
        w[index] -= 2 * h
        gradient[index] = (above - loss(w)) / (2 * h)
        w[index] += h * last_step
    return gradient


def last_one_stays(loss, w, h=1e-5):
    gradient = put_back(loss, w, h)
    w[-1, -1] += h
    return gradient


def never_put_back(loss, w, h=1e-5):
    return put_back(loss, w, h, last_step=False)


def loss_and_grad(params, x, eps, df, total=lambda loss: loss.total, scale=1.0):
    """By automatic differentiation, in the library's PyTorch model."""
    sizes = (x.shape[1], len(params["encoder.0.bias"]), len(params["encoder.1.bias"]), eps.shape[1])
    model = TorchVAE(StudentT(df), sizes=sizes, kl="sample").double()
    model.load_state_dict({name: torch.tensor(value) for name, value in params.items()})
    loss = model.loss(torch.tensor(x), torch.tensor(eps))
    loss.total.backward()
    return total(loss), {name: scale * value.grad for name, value in model.named_parameters()}


def assembled(
    reach=lambda sigma: sigma / 2,
    kl_share=1.0,
    pull=kl_and_grad,
    share=1.0,
    dz_for_mu=1,
    backward_eps=lambda eps: eps,
    join=np.hstack,
    code=lambda mu, sigma, eps: mu + sigma * eps,
    halves=slice(None),
):
    """loss_and_grad made of the pieces above, with room for a mistake."""

    def loss_and_grad(params, x, eps, df):
        enc = forward(params, "encoder", x)
        mu, logvar = np.hsplit(enc[-1], 2)[halves]
        sigma = np.exp(logvar / 2)
        dec = forward(params, "decoder", code(mu, sigma, eps))
        kl, dmu, dlogvar = (torch.as_tensor(part).detach().numpy() for part in pull(mu, logvar, eps, df))
        grads, dz = backward(params, "decoder", dec, share * (1 / (1 + np.exp(-dec[-1])) - x) / len(x))
        through = reach(sigma) * backward_eps(eps) * dz
        dout = join([dz_for_mu * dz + kl_share * dmu / len(x), through + kl_share * dlogvar / len(x)])
        return np.mean(bernoulli_cost(dec[-1], x) + kl), grads | backward(params, "encoder", enc, dout)[0]

    return loss_and_grad


def pulled_by_a_gaussian(mu, logvar, eps, df):
    scatter = np.exp(logvar / 2) * eps
    return kl_and_grad(mu, logvar, eps, df)[0], mu + scatter, (scatter * (mu + scatter) - 1) / 2


def without(name):
    def incomplete(params, x, eps, df):
        loss, grads = loss_and_grad(params, x, eps, df)
        return loss, {key: value for key, value in grads.items() if key != name}

    return incomplete


TRAINED = load_model("t21").params
UNTRAINED = VAE(StudentT(21)).params

ANSWERS = {
    1: {
        "right": (forward,),
        "wrong": [
            ((lambda params, half, h: forward(params, half, h, inner=lambda a: a),), "ReLU is missing"),
            ((lambda params, half, h: forward(params, half, h, last=relu),), "The last layer has no ReLU"),
            ((lambda params, half, h: forward(params, half, h, biases=(0, 0, 0)),), "bias of layer 0 is missing"),
            ((lambda params, half, h: forward(params, half, h, biases=(1, 0, 1)),), "bias of layer 1 is missing"),
            ((lambda params, half, h: forward(params, half, h, biases=(1, 1, 0)),), "bias of layer 2 is missing"),
            ((lambda params, half, h: forward(params, half, h)[-1],), "Return 4 things"),
            ((lambda params, half, h: [h @ params[f"{half}.0.weight"]],), "Your code stops"),
        ],
    },
    2: {
        "right": (bernoulli_cost,),
        "wrong": [
            ((lambda logits, x: np.logaddexp(0, logits) - x * logits,), "not summed"),
            ((lambda logits, x: bernoulli_cost(logits, x) / logits.shape[1],), "mean over the pixels"),
            ((lambda logits, x: -bernoulli_cost(logits, x),), "minus sign"),
            ((lambda logits, x: bernoulli_cost(logits, x).sum(),), "one for each image"),
            (
                (lambda logits, x: np.sum(np.logaddexp(0, logits) - x * logits, axis=0),),
                "sums over the images; sum over the pixels",
            ),
            ((lambda logits, x: bernoulli_cost(logits, 0 * x),), "The part x * logits is missing"),
            ((lambda logits, x: bernoulli_cost(logits, -x),), "x * logits is subtracted, not added"),
            ((naive_cost,), "overflows"),
            ((through_probabilities,), "is then log 0"),
            ((clipped_cost,), "stay with logits"),
        ],
    },
    3: {
        "right": (linear_backward,),
        "wrong": [
            ((lambda dA, H, W: (H.T @ dA, dA.sum(axis=0), dA @ W),), "transposed"),
            ((lambda dA, H, W: (dA.T @ H / len(H), dA.mean(axis=0), dA @ W),), "Do not divide by B"),
            ((lambda dA, H, W: (dA.T @ H, dA.mean(axis=0), dA @ W),), "Do not divide by B"),
            ((lambda dA, H, W: (dA.T @ H, dA.sum(axis=1), dA @ W),), "sums over the units"),
            ((lambda dA, H, W: (dA.T @ H, dA.sum(axis=0), H * (dA @ W)),), "which weight led from input k to output o"),
            ((lambda dA, H, W: (dA.T @ H, dA @ W),), "Return 3 things, dW, db, dH"),
            ((lambda dA, H, W: linear_backward(dA, H, W)[::-1],), "Return dW, db, dH, in this order."),
            ((lambda dA, H, W: (dA.T @ H, dA.sum(axis=0), dA @ W.T),), "Your code stops"),
        ],
    },
    4: {
        "right": (backward,),
        "wrong": [
            ((lambda *arguments: backward(*arguments, gates=()),), "A ReLU stands before each layer"),
            ((lambda *arguments: backward(*arguments, gates=(0, 1, 2)),), "no layers[0] > 0"),
            ((lambda params, half, layers, dout: backward(params, half, layers, dout * (layers[3] > 0)),), "passes as it is"),
            ((lambda *arguments: backward(*arguments)[0],), "Return 2 things"),
            ((lambda *arguments: (list(backward(*arguments)[0].values()), None),), "should be a dictionary, not of type list"),
            ((lambda *arguments: ({}, backward(*arguments)[1]),), 'no entry "decoder.'),
        ],
    },
    5: {
        "right": (kl_and_grad,),
        "wrong": [
            ((change(dlogvar=lambda dlogvar: 2 * dlogvar),), "did you differentiate sigma = exp(logvar / 2)"),
            ((change(dmu=lambda dmu: -dmu),), "a minus sign is missing"),
            ((change(kl=lambda kl: -kl),), "a minus sign is missing"),
            ((change(dlogvar=lambda dlogvar: dlogvar + 0.5),), "lacks the direct term"),
            ((change(dlogvar=lambda dlogvar: dlogvar - 0.5),), "The direct term is -1/2"),
            ((kl_not_summed,), "not summed"),
            ((gaussian_pull,), "Gaussian's pull"),
            (
                (by_hand(dmu=lambda mu, sigma, eps, df: pull(mu + sigma * eps, df) - pull(eps, df) / sigma),),
                "eps does not change with mu",
            ),
            ((by_hand(dmu=lambda mu, sigma, eps, df: pull(mu, df)),), "takes the score at mu; the KL contains log f(z)"),
            (
                (by_hand(dmu=lambda mu, sigma, eps, df: (df + 1) / (df / (mu + sigma * eps) + 1)),),
                "divides by nu + z instead of nu + z^2",
            ),
            ((by_hand(dlogvar=lambda pull, sigma, eps: eps * pull - 1 / sigma),), "This is the derivative for sigma"),
            ((by_hand(dlogvar=lambda pull, sigma, eps: (sigma * eps * pull + 1) / 2),), "The direct term has the wrong sign"),
            ((by_hand(dlogvar=lambda pull, sigma, eps: eps * pull / 2 - 1 / 2),), "lacks a factor sigma: dz / dlogvar"),
            ((through_log_q,), "With eps fixed, log f(eps) is a constant"),
            ((through_log_q_for_logvar_only,), "With eps fixed, log f(eps) is a constant"),
            ((change(dmu=lambda dmu: dmu / len(dmu)),), "comes later, in task 7"),
            ((change(dlogvar=lambda dlogvar: dlogvar / len(dlogvar)),), "comes later, in task 7"),
        ],
    },
    6: {
        "right": (numerical_gradient,),
        "wrong": [
            ((back_to_the_start,), "half the expected"),
            ((one_sided,), "one-sided"),
            ((never_put_back,), "put each back"),
            ((last_one_stays,), "`last_one_stays` has changed `w`"),
            ((lambda loss, w, h: 2 * numerical_gradient(loss, w, h),), "divide by h"),
            ((lambda loss, w, h: -numerical_gradient(loss, w, h),), "A minus sign"),
        ],
    },
    7: {
        "right": (loss_and_grad,),
        "wrong": [
            ((assembled(reach=lambda sigma: sigma),), "there is a factor 1/2"),
            ((assembled(share=5.0),), "Divide by B in dlogits too"),
            ((assembled(share=0.2),), "You divide by B twice"),
            ((assembled(dz_for_mu=0, reach=lambda sigma: 0),), "What comes from the decoder gets lost"),
            ((assembled(dz_for_mu=0),), "dmu lacks what comes from the decoder"),
            ((assembled(reach=lambda sigma: 0),), "dlogvar lacks what comes from the decoder"),
            ((assembled(backward_eps=lambda eps: 1),), "you left out eps"),
            ((assembled(join=lambda pair: np.hstack(pair[::-1])),), "the wrong way round"),
            ((assembled(code=lambda mu, sigma, eps: mu),), "The decoder gets mu"),
            ((assembled(code=lambda mu, sigma, eps: mu + sigma),), "The noise is forgotten"),
            ((assembled(code=lambda mu, sigma, eps: mu + sigma**2 * eps),), "which is sigma squared"),
            ((assembled(halves=slice(None, None, -1)),), "mu and logvar are swapped"),
            ((assembled(reach=lambda sigma: 1),), "; you have eps."),
            ((assembled(reach=lambda sigma: 0.5),), "; you have eps / 2"),
            ((assembled(kl_share=5.0),), "B times too large"),
            ((assembled(kl_share=0.0),), "KL's part of the encoder's gradient is missing"),
            ((assembled(pull=pulled_by_a_gaussian),), "Gaussian prior"),
            ((lambda *arguments: loss_and_grad(*arguments, total=lambda loss: loss.reconstruction.mean()),), "lacks its KL"),
            ((lambda *arguments: loss_and_grad(*arguments, total=lambda loss: loss.reconstruction + loss.kl),), "one number"),
            (
                (lambda *arguments: loss_and_grad(*arguments, total=lambda loss: (loss.reconstruction + loss.kl).sum()),),
                "is the sum over the batch; take the mean",
            ),
            ((lambda *arguments: loss_and_grad(*arguments, total=lambda loss: loss.kl.mean()),), "lacks its reconstruction term"),
            (
                (lambda *arguments: loss_and_grad(*arguments, total=lambda loss: loss.reconstruction.mean() - loss.kl.mean()),),
                "it is a price, so add it",
            ),
            ((lambda *arguments: loss_and_grad(*arguments, scale=5.0),), "gradients of the sum over the batch"),
            ((without("encoder.0.bias"),), 'no entry "encoder.0.bias"'),
        ],
    },
    8: {
        "right": (TRAINED,),
        "wrong": [
            ((UNTRAINED,), "as with random weights"),
            (({name: (value + UNTRAINED[name]) / 2 for name, value in TRAINED.items()},), "run through all batches"),
            ((TRAINED | {"decoder.1.bias": TRAINED["decoder.1.bias"] * np.nan},), "have diverged"),
            ((TRAINED | {"decoder.1.weight": TRAINED["decoder.1.weight"].T},), "should have shape"),
            (({"encoder.0.weight": TRAINED["encoder.0.weight"]},), "twelve arrays"),
        ],
    },
}

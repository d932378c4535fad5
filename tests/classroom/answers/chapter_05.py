"""Right and wrong answers to the tasks of workbook 05; see tests/classroom/test_checks.py."""

import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import StudentT


def derivative(f, z, reduce=torch.sum, record=True):
    return torch.autograd.grad(reduce(f(z)), z, create_graph=record)[0]


def by_grad(f, z):
    with warnings.catch_warnings(action="ignore"):  # PyTorch advises against it, too
        f(z).sum().backward(create_graph=True)
    return z.grad


def bernoulli_cost(logits, x):
    return (F.softplus(logits) - x * logits).sum(1)


def from_probabilities(logits, x):
    return F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="none").sum(dim=1)


def draw_t(generator, shape, df, squares=0, divide=torch.sqrt, by_df=True, square=torch.square):
    normals = torch.randn(1 + df + squares, *shape, generator=generator)
    v = square(normals[1:]).sum(0)
    return normals[0] / divide(v / df if by_df else v)


def draw_global(generator, shape, df):
    return StudentT(float(df)).sample(shape)


def draw_again(generator, shape, df):
    return draw_t(generator.manual_seed(0), shape, df)


def draw_one_v(generator, shape, df):
    v = torch.randn(df, len(torch.empty(shape)), 1, generator=generator).square().sum(0)
    return torch.randn(shape, generator=generator) / (v / df).sqrt()


def draw_one_v_for_all(generator, shape, df):
    v = torch.randn(df, generator=generator).square().sum()
    return torch.randn(shape, generator=generator) / (v / df).sqrt()


class Network(nn.Module):
    """Written with the layers one by one."""

    last = staticmethod(lambda h: h)
    between = staticmethod(torch.relu)

    def __init__(self, sizes):
        super().__init__()
        a, b, c, d = sizes
        self.encoder = self.group(nn.Linear(a, b), nn.Linear(b, c), nn.Linear(c, self.outputs(d)))
        self.decoder = self.group(nn.Linear(d, c), nn.Linear(c, b), nn.Linear(b, a))

    def group(self, *layers):
        return nn.ModuleList(layers)

    def outputs(self, d):
        return 2 * d

    def run(self, layers, h):
        return self.last(layers[2](self.between(layers[1](self.between(layers[0](h))))))

    def encode(self, x):
        h = self.run(self.encoder, x)
        return h[:, : h.shape[1] // 2], h[:, h.shape[1] // 2 :]

    def decode(self, z):
        return self.run(self.decoder, z)


class PlainList(Network):
    def group(self, *layers):
        return list(layers)


class Sequential(Network):
    def group(self, *layers):
        return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


class Narrow(Network):
    def outputs(self, d):
        return d


class NoReLU(Network):
    between = staticmethod(lambda h: h)


class LastReLU(Network):
    last = staticmethod(torch.relu)


class Swapped(Network):
    def encode(self, x):
        return super().encode(x)[::-1]


class Probabilities(Network):
    def decode(self, z):
        return torch.sigmoid(super().decode(z))


class LinearDecoder(Network):
    def decode(self, z):
        for layer in self.decoder:
            z = layer(z)
        return z


class PositiveLogits(Network):
    def decode(self, z):
        return torch.relu(super().decode(z))


class Fixed(Network):
    def __init__(self, sizes):
        super().__init__((784, 400, 128, 10))


class TwoHeads(Network):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.logvar = nn.Linear(sizes[2], sizes[3])


class Frozen(Network):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.decoder.requires_grad_(False)


class Variances(Network):
    def encode(self, x):
        mu, logvar = super().encode(x)
        return mu, logvar.exp()


class OtherNames(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(sizes[0], sizes[1])])


def same(value):
    return value


def tvae_loss(model, x, eps, df, z_of=same, kl_of=same, sigma_of=same, end=same, pixels=1, sign=1):
    mu, logvar = model.encode(x)
    sigma = sigma_of(torch.exp(logvar) ** 0.5)
    z = mu + sigma * eps
    log_q = StudentT(df, mu, torch.exp(logvar / 2)).log_prob(mu + torch.exp(logvar / 2) * eps)
    if sigma_of is not same:
        log_q = StudentT(df).log_prob(eps) - logvar / 2
    kl = (log_q - StudentT(df).log_prob(z)).sum()
    cost = bernoulli_cost(model.decode(z_of(z)), x).sum() / pixels
    return end((cost + sign * kl_of(kl)) / len(x))


def change(**options):
    return lambda *arguments: tvae_loss(*arguments, **options)


def with_kl(
    kl_of=lambda eps, z, logvar, t: t(eps) - logvar / 2 - t(z),
    power=0.5,
    combine=lambda cost, kl: (cost + kl.sum(dim=1)).mean(),
    code=lambda mu, sigma, eps: mu + sigma * eps,
    order=1,
):
    def loss(model, x, eps, df):
        mu, logvar = model.encode(x)[::order]
        z = code(mu, torch.exp(power * logvar), eps)
        return combine(bernoulli_cost(model.decode(z), x), kl_of(eps, z, logvar, StudentT(df).log_prob))

    return loss


def combined(combine):
    return with_kl(lambda eps, z, logvar, t: t(eps) - logvar / 2 - t(z), combine=combine)


def gaussian_kl(model, x, eps, df):
    mu, logvar = model.encode(x)
    kl = (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1) / 2
    return (bernoulli_cost(model.decode(mu + torch.exp(logvar / 2) * eps), x) + kl).mean()


def encoder_without_record(model, x, eps, df):
    with torch.no_grad():
        mu, logvar = model.encode(x)
    z = mu + torch.exp(logvar / 2) * eps
    kl = (StudentT(df).log_prob(eps) - logvar / 2 - StudentT(df).log_prob(z)).sum(dim=1)
    return (bernoulli_cost(model.decode(z), x) + kl).mean()


def train(model, images, noise, df, lr, zero=True, step=True, sign=1, late=False, keep=torch.Tensor.item):
    """By hand, without an optimiser."""
    losses, summed = [], {}
    for x, eps in zip(images, noise, strict=True):
        loss = tvae_loss(model, x, eps, df)
        grads = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        with torch.no_grad():
            for i, (weight, gradient) in enumerate(zip(model.parameters(), grads, strict=True)):
                summed[i] = gradient if zero else gradient + summed.get(i, 0)
                weight -= step * sign * lr * summed[i]
        losses.append(keep(tvae_loss(model, x, eps, df) if late else loss))
    return losses


def variant(**options):
    return lambda *arguments: train(*arguments, **options)


def reconstruction_term(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


def draw_code(mu, logvar, eps):
    return torch.addcmul(mu, torch.exp(0.5 * logvar), eps)


def validation_loss(loss_of, batches):
    with torch.no_grad():
        return sum(len(x) * loss_of(x, eps) for x, eps in batches) / sum(len(x) for x, _ in batches)


def with_record(loss_of, batches):
    return sum(len(x) * loss_of(x, eps) for x, eps in batches) / sum(len(x) for x, _ in batches)


def mean_of_means(loss_of, batches):
    return sum(loss_of(x, eps).item() for x, eps in batches) / len(batches)


def sum_over_images(loss_of, batches):
    return sum(loss_of(x, eps).item() * len(x) for x, eps in batches)


def kl_path(mu, logvar, eps, df, mu_q=torch.detach, logvar_q=torch.detach, cut=same, prior=1.0, z_p=same):
    z = cut(mu + torch.exp(logvar / 2) * eps)
    q = StudentT(df, mu_q(mu), torch.exp(logvar_q(logvar) / 2))
    return (q.log_prob(z) - prior * StudentT(df).log_prob(z_p(z))).sum(dim=1)


def kl_in_eps(mu, logvar, eps, df):
    t = StudentT(df)
    return (t.log_prob(eps) - logvar.detach() / 2 - t.log_prob(mu + torch.exp(logvar / 2) * eps)).sum(dim=1)


def kl_standardised(inside=same, outside=torch.detach, share=1, total=lambda kl: kl.sum(dim=1)):
    """log q as log f((z - mu) / sigma) - log sigma; inside and outside say what becomes of mu and logvar there."""

    def kl(mu, logvar, eps, df):
        t, z = StudentT(df), mu + torch.exp(logvar / 2) * eps
        standard = (z - inside(mu)) / torch.exp(inside(logvar) / 2)
        return total(t.log_prob(standard) - share * outside(logvar) / 2 - t.log_prob(z))

    return kl


def path(**options):
    return lambda *arguments: kl_path(*arguments, **options)


ANSWERS = {
    1: {
        "right": (derivative,),
        "wrong": [
            ((lambda f, z: derivative(f, z, reduce=torch.mean),), "start from the sum"),
            ((lambda f, z: torch.autograd.grad(f(z).sum(), z, create_graph=True),), "take the first, `[0]`"),
            ((lambda f, z: derivative(f, z, record=False),), "create_graph=True"),
            ((lambda f, z: derivative(f, z).detach(),), "do not detach"),
            ((by_grad,), "`.grad` adds up"),
            ((lambda f, z: f(z),), "the values of f"),
            ((lambda f, z: f(z).backward(),), "Your code stops"),
        ],
    },
    2: {
        "right": (bernoulli_cost,),
        "wrong": [
            ((lambda logits, x: F.binary_cross_entropy_with_logits(logits, x),), "as by default"),
            ((lambda logits, x: F.binary_cross_entropy_with_logits(logits, x, reduction="none"),), "not summed"),
            ((lambda logits, x: bernoulli_cost(logits, x) / logits.shape[1],), "mean over the pixels"),
            (
                (lambda logits, x: F.binary_cross_entropy_with_logits(logits, x, reduction="sum"),),
                "One number for the batch: one for each",
            ),
            ((lambda logits, x: (F.softplus(logits) - x * logits).sum(0),), "sums over the images; sum over the pixels, dim=1"),
            ((lambda logits, x: bernoulli_cost(torch.sigmoid(logits), x),), "taken twice"),
            ((lambda logits, x: bernoulli_cost(x, logits),), "first the logits, then the target"),
            ((lambda logits, x: bernoulli_cost(logits.detach(), x),), "no record"),
            ((from_probabilities,), "At logits of 1000"),
            ((lambda logits, x: (torch.log1p(torch.exp(logits)) - x * logits).sum(1),), "e^1000 overflows"),
            ((lambda logits, x: bernoulli_cost(logits, x).detach().numpy(),), "stay in PyTorch"),
        ],
    },
    3: {
        "right": (draw_t,),
        "wrong": [
            ((draw_global,), "global generator"),
            ((draw_again,), "do not set its seed"),
            ((draw_one_v,), "a Z and a V of its own"),
            ((draw_one_v_for_all,), "V has to be one number for each entry"),
            ((lambda generator, shape, df: torch.randn(shape, generator=generator),), "normal noise"),
            ((lambda *arguments: draw_t(*arguments, divide=lambda v: 1 / v.sqrt()),), "wrong way up"),
            ((lambda *arguments: draw_t(*arguments, divide=same),), "square root is missing"),
            ((lambda *arguments: draw_t(*arguments, by_df=False),), "division of V by nu"),
            ((lambda *arguments: draw_t(*arguments, squares=1),), "one more"),
            ((lambda generator, shape, df: torch.rand(shape, generator=generator),), "not t noise"),
            ((lambda generator, shape, df: draw_t(generator, shape[:1], df),), "The noise should have shape"),
            ((lambda *arguments: draw_t(*arguments, square=same),), "contains NaN or infinity"),
        ],
    },
    4: {
        "right": (Network,),
        "wrong": [
            ((PlainList,), "nn.ModuleList(...)"),
            ((Sequential,), "the ReLUs count"),
            ((Narrow,), "too narrow by half"),
            ((NoReLU,), "ReLU is missing"),
            ((LastReLU,), "The last layer has no ReLU"),
            ((LinearDecoder,), "ReLU is missing"),
            ((PositiveLogits,), "The last layer has no ReLU"),
            ((Swapped,), "wrong order"),
            ((Probabilities,), "without a sigmoid"),
            ((Fixed,), "not the numbers of MNIST"),
            ((OtherNames,), "call the halves"),
            ((TwoHeads,), "three linear layers in each half"),
            ((Frozen,), "decoder.0.weight is not marked `requires_grad`"),
            ((Variances,), "take no exponential here"),
            ((lambda sizes: Network(sizes).state_dict(),), "should be a class derived from nn.Module"),
        ],
    },
    5: {
        "right": (tvae_loss,),
        "wrong": [
            ((change(pixels=12),), "The pixels are averaged"),
            ((change(kl_of=lambda kl: 0 * kl),), "lacks its KL"),
            ((change(sign=-1),), "is subtracted"),
            ((combined(lambda cost, kl: cost + kl.sum(dim=1)),), "should be one number, the mean over the batch"),
            ((combined(lambda cost, kl: kl.sum(dim=1).mean()),), "lacks its reconstruction term"),
            ((combined(lambda cost, kl: cost.mean() + kl.mean()),), "averaged over the coordinates of a code"),
            ((with_kl(lambda eps, z, logvar, t: t(eps) - logvar - t(z)),), "log sigma is logvar / 2"),
            ((with_kl(lambda eps, z, logvar, t: t(eps) - t(z)),), "-log sigma is missing"),
            ((with_kl(lambda eps, z, logvar, t: t(eps) - logvar / 2 - t(z), power=1.0),), "multiply eps by exp(logvar)"),
            ((with_kl(lambda eps, z, logvar, t: t(eps) - logvar - t(z), power=1.0),), "logvar is log sigma^2: sigma is"),
            ((with_kl(code=lambda mu, sigma, eps: mu + sigma),), "The noise is forgotten"),
            ((with_kl(code=lambda mu, sigma, eps: mu),), "The code is taken at mu"),
            ((with_kl(order=-1),), "mu and logvar are swapped"),
            ((gaussian_kl,), "KL of two Gaussians"),
            ((change(end=lambda loss: 5 * loss),), "take the mean"),
            ((change(end=torch.detach),), "no record"),
            ((change(end=torch.Tensor.item),), "stay in PyTorch"),
            ((change(z_of=torch.detach),), "z is detached"),
            ((change(kl_of=torch.detach),), "the KL sends no gradient"),
            ((change(sigma_of=torch.detach),), "sigma is detached"),
            ((encoder_without_record,), "the encoder gets no gradient at all"),
        ],
    },
    6: {
        "right": (train,),
        "wrong": [
            ((variant(zero=False),), "add up in `.grad`"),
            ((variant(step=0),), "The weights never change"),
            ((variant(sign=-1),), "uphill"),
            ((variant(late=True),), "after the step"),
            ((variant(keep=same),), "loss.item()"),
            ((lambda *arguments: train(*arguments)[-1],), "one loss for each"),
        ],
    },
    7: {
        "right": (reconstruction_term, draw_code, validation_loss),
        "wrong": [
            (
                (lambda logits, x: F.binary_cross_entropy_with_logits(logits.sigmoid(), x), draw_code, validation_loss),
                "Two mistakes",
            ),
            ((lambda logits, x: reconstruction_term(logits.sigmoid(), x), draw_code, validation_loss), "do first?"),
            ((F.binary_cross_entropy_with_logits, draw_code, validation_loss), "over the pixels it should sum"),
            (
                (lambda *batch: len(batch[1]) * reconstruction_term(*batch), draw_code, validation_loss),
                "adds up the images: take their mean",
            ),
            ((bernoulli_cost, draw_code, validation_loss), "should be one number, the mean over the images"),
            (
                (reconstruction_term, lambda mu, logvar, eps: draw_code(mu, logvar.detach(), eps), validation_loss),
                "no gradient reaches logvar",
            ),
            ((reconstruction_term, draw_code, with_record), "record of every batch"),
            ((reconstruction_term, draw_code, mean_of_means), "The last batch is smaller"),
            ((reconstruction_term, draw_code, sum_over_images), "should divide by the number of images"),
        ],
    },
    8: {
        "right": (kl_path,),
        "wrong": [
            ((path(mu_q=same, logvar_q=same),), "the ordinary gradient"),
            ((path(mu_q=same),), "mu is still recorded"),
            ((path(logvar_q=same),), "logvar is still recorded"),
            ((path(cut=torch.detach),), "no record"),
            ((kl_in_eps,), "No gradient reaches z through log q"),
            ((kl_standardised(),), "No gradient reaches z through log q"),
            ((kl_standardised(inside=torch.detach, outside=same),), "-log sigma in log q is still recorded"),
            ((kl_standardised(inside=torch.detach, share=0),), "-log sigma is missing from log q"),
            ((kl_standardised(inside=torch.detach, total=same),), "The KL is not summed"),
            ((path(z_p=torch.detach),), "log p(z) sends no gradient"),
            ((path(prior=0.0),), "The value of the KL"),
        ],
    },
}

"""Fill in missing pixels with a trained model of either back end.

Every method takes images x (n, D), a mask `missing` (bool, True = missing) and a seed, and returns the predicted mean of ALL
pixels, (n, D); `fill` then keeps the observed ones. Values of x under the mask are never looked at. With code=True it returns,
in place of the mean, the one code (n, d) at which it ended, of which `completions` makes several completed images.

Most methods begin with `warm_up` passes of feeding back (draws - 1 if that is fewer), after which the encoder sees a likely
image. Cost is counted in passes: one encoding and one decoding. A decoding with its gradient for the code multiplies as many
matrices, so it counts as one pass too. Every method takes `draws` passes in all, save `single_pass`: it encodes only once.

ValueError unless x is (n, D) with observed pixels in [0, 1], the mask bool of that shape, draws a whole number, 1 or more (and
warm_up, 0 or more), and seed a whole number, 0 or more, or a np.random.Generator.
"""

from functools import wraps

import numpy as np

from tvae_lib.inputs import as_array, check_eps, generator, real_array, switch, whole, with_holes
from tvae_lib.latent import prior_of

CHUNK = 500  # images at a time: small enough for the processor's cache, large enough for fast matrix products


def in_chunks(method):
    """Decorator of a method written for one chunk of images: x float32 with 0 where pixels are missing, seed a generator."""

    @wraps(method)
    def whole_set(model, x, missing, *, draws=30, seed=0, **options):
        x, missing = with_holes(real_array("x", x), missing, model, "x")
        whole("draws", draws, 1)
        for name, check in {"warm_up": whole, "code": switch, "feed_draws": switch}.items():
            if name in options:
                check(name, options[name])
        options.update(draws=draws, seed=generator(seed))
        parts = []
        for start in range(0, max(len(x), 1), CHUNK):
            rows = slice(start, start + CHUNK)
            parts.append(method(model, x[rows].astype(np.float32), missing[rows], **options))
        whole_of = lambda parts: np.concatenate(parts).astype(np.float32, copy=False)
        return tuple(map(whole_of, zip(*parts, strict=True))) if isinstance(parts[0], tuple) else whole_of(parts)

    return whole_set


def _numpy(array):
    return array.detach().cpu().numpy() if hasattr(array, "detach") else array


def encode(model, x, missing=None):
    """mu and sigma of each image, as arrays. `missing` is for an encoder that is told which pixels are: x is 0 there."""
    known = {"missing": missing} if missing is not None and model.mask_input else {}
    mu, logvar = (_numpy(part) for part in model.encode(x, **known))
    return mu, np.exp(0.5 * logvar)


def decode(model, z):
    """The mean image of each code, an array."""
    logits = _numpy(model.decode(z))
    return model.likelihood.mean(logits, into=logits)


def noise(model, mu, rng):
    """One draw of eps for each code, in the precision of mu. ValueError if it is too large for that: df is too small."""
    return check_eps(model.family.sample(rng, mu.shape), mu.shape, mu.dtype).astype(mu.dtype)


def feed_back(model, image, missing, rng, feed_draws=False, first=False):
    """One pass: encode the image, draw a code, decode it, and replace the missing pixels, in place. Returns code and mean image.

    What replaces them is their mean, or with feed_draws one draw of them.
    """
    mu, sigma = encode(model, image, missing if first else None)
    z = mu + sigma * noise(model, mu, rng)
    out = _numpy(model.decode(z))
    if feed_draws:
        np.copyto(image, model.likelihood.sample(out, rng), where=missing)
    prediction = model.likelihood.mean(out, into=out)
    if not feed_draws:
        np.copyto(image, prediction, where=missing)
    return z, prediction


def warmed_up(model, x, missing, passes, rng):
    """mu and sigma of the images after some passes of feeding back, so that the encoder has seen a likely image."""
    image = x.copy()
    for i in range(passes):
        feed_back(model, image, missing, rng, first=i == 0)
    return encode(model, image, None if passes else missing)


def log_weight(model, x, missing, z, eps, sigma, out):
    """log p(x_observed | z) p(z) / q(z) of codes z = mu + sigma * eps that decode to `out`, and -log p(x_observed | z): (n,)."""
    log_q = (model.family.log_prob(eps) - np.log(sigma)).sum(axis=1)
    cost = model.likelihood.cost_and_grad(out, x, missing)[0]
    return prior_of(model.family).log_prob(z).sum(axis=1) - cost - log_q, cost


def energy_and_grad(model, x, missing, z):
    """-log p(x_observed | z) p(z) for each image (n,), and its derivative with respect to z (n, d).

    Up to a constant it is minus the log of the posterior density of the code given the observed pixels alone.
    """
    cost, dz = (_numpy(part) for part in model.reconstruction_and_dz(x, z, missing))
    prior = prior_of(model.family)
    return cost - prior.log_prob(z).sum(axis=1), dz - prior.score(z)


@in_chunks
def single_pass(model, x, missing, *, draws=30, seed=0, code=False):
    """The source project's method: encode the image with zeros where pixels are missing, average the decodings of `draws` codes.

    Cost: `draws` decodings and, since the encoder always sees the same image, one encoding.
    """
    rng = generator(seed)
    mu, sigma = encode(model, x, missing)
    if code:
        return mu + sigma * noise(model, mu, rng)
    return sum(decode(model, mu + sigma * noise(model, mu, rng)) for _ in range(draws)) / draws


@in_chunks
def pseudo_gibbs(model, x, missing, *, draws=30, seed=0, feed_draws=False, code=False):
    """Feed the filled-in image back to the encoder, `draws` times (Rezende et al. 2014, appendix F).

    Each pass encodes the current image, draws one code, and replaces the missing pixels by their decoded means. That has no
    p(x_missing | x_observed) as its target, even if the encoder is perfect: with feed_draws=True the pixels are drawn, and it has
    (the pseudo-Gibbs sampler of Mattei and Frellsen 2018; `metropolis` is right for any encoder).
    The prediction is the average over the second half of the passes, when the encoder no longer sees the zeros of the start.
    """
    rng, image = generator(seed), x.copy()
    kept, prediction = draws - draws // 2, 0
    for i in range(draws):
        z, decoded = feed_back(model, image, missing, rng, feed_draws, first=i == 0)
        if i >= draws - kept:
            prediction = prediction + decoded
    return z if code else prediction / kept


def metropolis(model, x, missing, *, draws=30, seed=0, warm_up=5, code=False):
    """Feeding back draws, with each new code accepted or refused: the first result of `metropolis_and_acceptance`."""
    return metropolis_and_acceptance(model, x, missing, draws=draws, seed=seed, warm_up=warm_up, code=code)[0]


@in_chunks
def metropolis_and_acceptance(model, x, missing, *, draws=30, seed=0, warm_up=5, code=False):
    """Metropolis within Gibbs (Mattei and Frellsen 2018): pseudo-Gibbs made exact, and the share of codes that were accepted.

    Each pass proposes a code from the encoder, keeps the last one instead if a Metropolis test says so, and draws the missing
    pixels anew from the code's decoding. The stationary distribution is p(z, x_missing | x_observed). The mean images of the
    second half are averaged. Returns them (n, D), and the share (n,).
    """
    rng, warm_up, image = generator(seed), min(warm_up, draws - 1), x.copy()
    for i in range(warm_up):
        feed_back(model, image, missing, rng, feed_draws=True, first=i == 0)
    z, steps = None, draws - warm_up
    prediction, share = np.zeros(x.shape, np.float32), np.zeros(len(x))
    for step in range(steps):
        mu, sigma = encode(model, image, missing if not warm_up and z is None else None)
        eps = noise(model, mu, rng)
        proposal = mu + sigma * eps
        new = _numpy(model.decode(proposal))
        if z is None:
            z, out = proposal, new
        else:
            forth, _ = log_weight(model, image, None, proposal, eps, sigma, new)
            back, _ = log_weight(model, image, None, z, (z - mu) / sigma, sigma, out)
            accepted = (np.log1p(-rng.random(len(z))) < forth - back)[:, None]
            z, out = np.where(accepted, proposal, z), np.where(accepted, new, out)
            share += accepted[:, 0]
        np.copyto(image, model.likelihood.sample(out, rng), where=missing)
        if step >= steps // 2:
            prediction += model.likelihood.mean(out)
    return z if code else prediction / (steps - steps // 2), share / max(steps - 1, 1)


def importance(model, x, missing, *, draws=30, seed=0, warm_up=5, code=False):
    """The codes' mean decoding, weighted by how well each explains what is observed: the first result of `importance_and_ess`."""
    return importance_and_ess(model, x, missing, draws=draws, seed=seed, warm_up=warm_up, code=code)[0]


@in_chunks
def importance_and_ess(model, x, missing, *, draws=30, seed=0, warm_up=5, code=False):
    """Self-normalised importance sampling (Mattei and Frellsen 2019), and how many of its draws really count.

    Codes z are drawn from the encoder q(z | filled image). The weight of each is p(x_observed | z) p(z) / q(z | filled image),
    divided by the sum of the weights. Returns the prediction (n, D) and the effective sample size 1 / sum(weight^2) of each
    image (n,), between 1 and the number of codes, which is 2 (draws - warm_up) - 1: they cost no more encodings.
    With code=True one of the codes, drawn with its weight as probability, is the first result.
    """
    rng, warm_up = generator(seed), min(warm_up, draws - 1)
    mu, sigma = warmed_up(model, x, missing, warm_up, rng)
    prediction = np.zeros(x.shape, np.float32)
    # Weights are kept relative to the largest one so far: their logarithms go down to minus hundreds.
    largest, total, squares, held = np.full(len(x), -np.inf), 0, 0, mu
    for _ in range(2 * (draws - warm_up) - 1):
        eps = noise(model, mu, rng)
        z = mu + sigma * eps
        out = _numpy(model.decode(z))
        new, _ = log_weight(model, x, missing, z, eps, sigma, out)
        shrink = np.exp(largest - np.maximum(largest, new))
        largest = np.maximum(largest, new)
        weight = np.exp(new - largest)
        total, squares = total * shrink + weight, squares * shrink**2 + weight**2
        if code:  # each code takes the place of the one held so far with a probability of its share of the total
            held = np.where((rng.random(len(x)) * total < weight)[:, None], z, held)
            continue
        prediction *= shrink[:, None]
        prediction += weight[:, None] * model.likelihood.mean(out, into=out)
    return held if code else prediction / total[:, None], total**2 / squares


@in_chunks
def latent_map(model, x, missing, *, draws=30, seed=0, warm_up=5, code=False):
    """Decode the most probable code given the observed pixels: the z that maximises p(x_observed | z) p(z).

    z starts at the encoder's mu and follows the gradient: Adam (Kingma and Ba 2015), with steps that shrink linearly from 0.2
    to 0.
    """
    warm_up = min(warm_up, draws - 1)
    steps = draws - warm_up - 1
    z, _ = warmed_up(model, x, missing, warm_up, generator(seed))
    mean, square = np.zeros_like(z), np.zeros_like(z)
    for step in range(steps):
        _, dz = energy_and_grad(model, x, missing, z)
        mean += 0.2 * (dz - mean)
        square += 0.05 * (dz**2 - square)
        unbiased = np.sqrt(square / (1 - 0.95 ** (step + 1))) + 1e-8
        z = z - 0.2 * (1 - step / steps) * mean / (1 - 0.8 ** (step + 1)) / unbiased
    return z if code else decode(model, z)


def langevin(model, x, missing, *, draws=30, seed=0, warm_up=5, code=False):
    """The posterior mean of the image, from a Markov chain on its code: the first result of `langevin_and_acceptance`."""
    return langevin_and_acceptance(model, x, missing, draws=draws, seed=seed, warm_up=warm_up, code=code)[0]


@in_chunks
def langevin_and_acceptance(model, x, missing, *, draws=30, seed=0, warm_up=5, code=False):
    """Langevin moves with a Metropolis test on the code of each image, and the share of moves that were accepted.

    The chain starts at the encoder's mu. Each move goes down the gradient and adds noise, with the encoder's sigma as step size
    in each coordinate; a Metropolis test accepts or refuses it, which makes the posterior the chain's stationary distribution
    (MALA, Roberts and Tweedie 1996). The decodings of its second half are averaged. Returns the mean (n, D), and the share (n,).
    Cost: `draws` passes, to within two.
    """
    rng, warm_up = generator(seed), min(warm_up, draws - 1)
    kept = max(1, 2 * (draws - warm_up) // 5)  # each kept state costs two gradients, its own and a discarded one, and a decoding
    z, sigma = warmed_up(model, x, missing, warm_up, rng)
    energy, dz = energy_and_grad(model, x, missing, z)
    prediction, share = np.zeros(x.shape, np.float32), np.zeros(len(x))
    for move in range(1, 2 * kept):
        eta = rng.standard_normal(z.shape, np.float32)
        proposal = z - 0.5 * sigma**2 * dz + sigma * eta
        new_energy, new_dz = energy_and_grad(model, x, missing, proposal)
        way_back = (z - proposal + 0.5 * sigma**2 * new_dz) / sigma  # the noise that would lead back from there
        log_ratio = energy - new_energy + 0.5 * (eta**2 - way_back**2).sum(axis=1)
        accepted = np.log1p(-rng.random(len(z))) < log_ratio
        z = np.where(accepted[:, None], proposal, z)
        dz = np.where(accepted[:, None], new_dz, dz)
        energy = np.where(accepted, new_energy, energy)
        share += accepted
        if move >= kept and not code:
            prediction += decode(model, z)
    return z if code else prediction / kept, share / (2 * kept - 1)


def completions(model, x, missing, *, method=langevin, copies=5, draws=30, seed=0, pixel_noise=True, **options):
    """Several completed images (copies, n, D), for multiple imputation (Rubin 1987): they differ as much as the model is unsure.

    For each of them `method` runs afresh and ends at a code, and the missing pixels are drawn from its decoding. A pixel of a
    Bernoulli decoder is drawn black or white; with pixel_noise=False it gets its mean, and what differs is due to the code alone.
    `options` go to the method. Cost: copies times that of the method.
    """
    rng, copies, pixel_noise = generator(seed), whole("copies", copies, 1), switch("pixel_noise", pixel_noise)
    images = []
    for _ in range(copies):
        z = method(model, x, missing, draws=draws, seed=rng, code=True, **options)
        drawn = model.likelihood.sample(_numpy(model.decode(z)), rng) if pixel_noise else decode(model, z)
        images.append(fill(x, missing, drawn))
    return np.stack(images)


def fill(x, missing, prediction):
    """The images with only their missing pixels replaced by the prediction, (n, D).

    ValueError unless all three have one shape, missing is bool, and the pixels that are kept are finite.
    """
    x, missing, prediction = real_array("x", x), as_array("missing", missing), real_array("prediction", prediction)
    if not x.shape == missing.shape == prediction.shape:
        raise ValueError(f"x, missing and prediction must have one shape, got {x.shape}, {missing.shape} and {prediction.shape}")
    if missing.dtype != bool:
        raise ValueError(f"missing must be bool, got {missing.dtype}")
    filled = np.where(missing, prediction, x)
    if not np.isfinite(filled).all():
        raise ValueError("the observed pixels of x and the prediction of the missing ones must be finite, got NaN or infinity")
    return filled

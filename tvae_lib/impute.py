"""Fill in missing pixels with a trained model of either back end.

Every method takes images x (n, 784), a mask `missing` (bool, True = missing) and a seed, and returns predicted pixel
probabilities for ALL pixels, (n, 784); `fill` then keeps the observed ones. Values of x under the mask are never looked at.

Cost is counted in passes: one encoding and one decoding. A decoding with its gradient for the code multiplies as many
matrices, so it counts as one pass too. With draws=30 every method takes 30 passes, save `single_pass`, which has no use for
more than 15.5.

ValueError unless x is (n, 784) with observed pixels in [0, 1], the mask bool of that shape, draws a whole number, 1 or more (and
warm_up, 0 or more), and seed a whole number, 0 or more, or a np.random.Generator.
"""

from functools import wraps

import numpy as np

from tvae_lib.inputs import as_array, check_eps, generator, masked_images, real_array, whole
from tvae_lib.latent import prior_of

CHUNK = 500  # images at a time: small enough for the processor's cache, large enough for fast matrix products


def in_chunks(method):
    """Decorator of a method written for one chunk of images: x float32 with 0 where pixels are missing, seed a generator."""

    @wraps(method)
    def whole_set(model, x, missing, *, draws=30, seed=0, **options):
        x, missing = masked_images(x, missing, model.sizes[0])
        whole("draws", draws, 1)
        for name, value in options.items():  # warm_up, where there is one
            whole(name, value)
        options.update(draws=draws, seed=generator(seed))
        parts = []
        for start in range(0, max(len(x), 1), CHUNK):
            image, hidden = x[start : start + CHUNK], missing[start : start + CHUNK]
            parts.append(method(model, np.where(hidden, 0, image).astype(np.float32), hidden, **options))
        if isinstance(parts[0], tuple):
            return tuple(np.concatenate(part).astype(np.float32, copy=False) for part in zip(*parts, strict=True))
        return np.concatenate(parts).astype(np.float32, copy=False)

    return whole_set


def _numpy(array):
    return array.detach().cpu().numpy() if hasattr(array, "detach") else array


def encode(model, x):
    """mu and sigma of each image, as arrays."""
    mu, logvar = (_numpy(part) for part in model.encode(x))
    return mu, np.exp(0.5 * logvar)


def decode(model, z):
    """The mean image of each code, an array."""
    logits = _numpy(model.decode(z))
    return model.likelihood.mean(logits, out=logits)


def noise(model, mu, rng):
    """One draw of eps for each code, in the precision of mu. ValueError if it is too large for that: df is too small."""
    return check_eps(model.family.sample(rng, mu.shape), mu.shape, mu.dtype).astype(mu.dtype)


def feed_back(model, image, missing, rng):
    """One pass: encode the image, draw a code, decode it, and replace the missing pixels, in place. Returns the decoded image."""
    mu, sigma = encode(model, image)
    prediction = decode(model, mu + sigma * noise(model, mu, rng))
    np.copyto(image, prediction, where=missing)
    return prediction


def warmed_up(model, x, missing, passes, rng):
    """mu and sigma of the images after some passes of feeding back, so that the encoder has seen a likely image."""
    image = x.copy()
    for _ in range(passes):
        feed_back(model, image, missing, rng)
    return encode(model, image)


def energy_and_grad(model, x, missing, z):
    """-log p(x_observed | z) p(z) for each image (n,), and its derivative with respect to z (n, d).

    Up to a constant it is minus the log of the posterior density of the code given the observed pixels alone.
    """
    cost, dz = (_numpy(part) for part in model.reconstruction_and_dz(x, z, missing))
    prior = prior_of(model.family)
    return cost - prior.log_prob(z).sum(axis=1), dz - prior.score(z)


@in_chunks
def single_pass(model, x, missing, *, draws=30, seed=0):
    """The source project's method: encode the image with zeros where pixels are missing, average the decodings of `draws` codes.

    Returns (n, 784). Cost: `draws` decodings and, since the encoder always sees the same image, one encoding.
    """
    rng = generator(seed)
    mu, sigma = encode(model, x)
    return sum(decode(model, mu + sigma * noise(model, mu, rng)) for _ in range(draws)) / draws


@in_chunks
def pseudo_gibbs(model, x, missing, *, draws=30, seed=0):
    """Feed the filled-in image back to the encoder, `draws` times (Rezende et al. 2014, appendix F).

    Each pass encodes the current image, draws one code, and replaces the missing pixels by the decoded probabilities.
    The prediction is the average over the second half of the passes, when the encoder no longer sees the zeros of the start.
    Returns (n, 784). Cost: `draws` encodings and decodings.
    """
    rng, image = generator(seed), x.copy()
    passes = (feed_back(model, image, missing, rng) for _ in range(draws))
    kept = draws - draws // 2
    return sum(prediction for i, prediction in enumerate(passes) if i >= draws - kept) / kept


def importance(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """The average decoding of the encoder's codes, each weighted by how well it explains the observed pixels.

    See `importance_and_ess`, of which this is the first result, (n, 784).
    """
    return importance_and_ess(model, x, missing, draws=draws, seed=seed, warm_up=warm_up)[0]


@in_chunks
def importance_and_ess(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """Self-normalised importance sampling (Mattei and Frellsen 2019), and how many of its draws really count.

    After `warm_up` passes of feeding back (fewer if draws is smaller) codes z are drawn from the encoder q(z | filled image). The
    weight of each is p(x_observed | z) p(z) / q(z | filled image), divided by the sum of the weights.

    Returns the prediction (n, 784) and the effective sample size 1 / sum(weight^2) of each image (n,), between 1 and the
    number of codes. Cost: `draws` passes, most of them spent on 2 (draws - warm_up) - 1 decodings.
    """
    rng, warm_up = generator(seed), min(warm_up, draws - 1)
    mu, sigma = warmed_up(model, x, missing, warm_up, rng)
    prediction = np.zeros(x.shape, np.float32)
    # Weights are kept relative to the largest one so far: their logarithms go down to minus hundreds.
    largest, total, squares = np.full(len(x), -np.inf), 0, 0
    for _ in range(2 * (draws - warm_up) - 1):
        eps = noise(model, mu, rng)
        z = mu + sigma * eps
        out = _numpy(model.decode(z))
        log_q = (model.family.log_prob(eps) - np.log(sigma)).sum(axis=1)
        log_p = prior_of(model.family).log_prob(z).sum(axis=1) - model.likelihood.cost_and_grad(out, x, missing)[0]
        log_weight = log_p - log_q
        shrink = np.exp(largest - np.maximum(largest, log_weight))
        largest = np.maximum(largest, log_weight)
        weight = np.exp(log_weight - largest)
        total, squares = total * shrink + weight, squares * shrink**2 + weight**2
        prediction *= shrink[:, None]
        prediction += weight[:, None] * model.likelihood.mean(out, out=out)
    return prediction / total[:, None], total**2 / squares


@in_chunks
def latent_map(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """Decode the most probable code given the observed pixels: the z that maximises p(x_observed | z) p(z).

    After `warm_up` passes of feeding back (fewer if draws is smaller) z starts at the encoder's mu and follows the gradient: Adam
    (Kingma and Ba 2015) with steps that shrink linearly from 0.2 to 0. Returns (n, 784). Cost: `draws` passes.
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
    return decode(model, z)


@in_chunks
def langevin(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """The posterior mean of the image given the observed pixels, from a Markov chain on the code of each image.

    After `warm_up` passes of feeding back (fewer if draws is smaller) the chain starts at the encoder's mu. Each move goes down
    the gradient and adds noise, with the encoder's sigma as step size in each coordinate; a Metropolis test accepts or refuses
    it, which makes the posterior the chain's stationary distribution (MALA, Roberts and Tweedie 1996). The decodings of its
    second half are averaged.
    Returns (n, 784). Cost: `draws` passes, to within two.
    """
    rng, warm_up = generator(seed), min(warm_up, draws - 1)
    kept = max(1, 2 * (draws - warm_up) // 5)  # each kept state costs two gradients, its own and a discarded one, and a decoding
    z, sigma = warmed_up(model, x, missing, warm_up, rng)
    energy, dz = energy_and_grad(model, x, missing, z)
    prediction = np.zeros(x.shape, np.float32)
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
        if move >= kept:
            prediction += decode(model, z)
    return prediction / kept


def fill(x, missing, prediction):
    """The images with only their missing pixels replaced by the prediction, (n, 784).

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

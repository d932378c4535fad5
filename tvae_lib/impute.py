"""Fill in missing pixels with a trained model of either back end.

Every method takes images x (n, 784), a mask `missing` (bool, True = missing) and a seed, and returns predicted pixel
probabilities for ALL pixels, (n, 784); `fill` then keeps the observed ones. Values of x under the mask are never looked at.

Cost is counted in passes: one encoding and one decoding. A decoding with its gradient for the code multiplies as many
matrices, so it counts as one pass too. With draws=30 every method takes 30 passes, save `single_pass`, which has no use for
more than 15.5.

ValueError unless x is (n, 784) with observed pixels in [0, 1], the mask bool of that shape, draws a whole number, 1 or more (and
warm_up, 0 or more), and seed a whole number, 0 or more, or a np.random.Generator.
"""

import numpy as np

from tvae_lib.inputs import as_array, check_mask, generator, real_array, whole
from tvae_lib.vae_numpy import bernoulli_loss, check_eps, check_images, hide

CHUNK = 500  # images at a time: small enough for the processor's cache, large enough for fast matrix products


def _check(model, x, missing, draws, warm_up=0):
    x = real_array("x", x)
    if x.ndim != 2 or x.shape[1] != model.sizes[0]:
        raise ValueError(f"x must have shape (n, {model.sizes[0]}), got {x.shape}")
    missing = check_mask(missing, x.shape)
    check_images(np.where(missing, 0, x), model.sizes[0])
    whole("draws", draws, 1)
    whole("warm_up", warm_up)
    return x, missing


def _numpy(array):
    return array.detach().cpu().numpy() if hasattr(array, "detach") else array


def _encode(model, x):
    mu, logvar = (_numpy(part) for part in model.encode(x))
    return mu, np.exp(0.5 * logvar)


def _probabilities(model, z):
    return _sigmoid(_numpy(model.decode(z)))


def noise(model, mu, rng):
    """One draw of eps for each code, in the precision of mu. ValueError if it is too large for that: df is too small."""
    eps = model.family.sample(rng, mu.shape)
    check_eps(eps, mu.shape, mu.dtype)
    return eps.astype(mu.dtype)


def _decode(model, mu, sigma, rng):
    """Pixel probabilities for one draw of the code of each image."""
    eps = noise(model, mu, rng)
    return _probabilities(model, mu + sigma * eps)


def _sigmoid(logits):
    """1 / (1 + e^-l), written over the logits, as (1 + tanh(l / 2)) / 2: many times faster than `expit` in float32."""
    logits *= 0.5
    np.tanh(logits, out=logits)
    logits += 1
    logits *= 0.5
    return logits


def _chunks(x, missing):
    """Slices of CHUNK images with the missing pixels set to 0, as the encoder will see them."""
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        yield rows, np.where(missing[rows], 0, x[rows]).astype(np.float32), missing[rows]


def single_pass(model, x, missing, *, draws=30, seed=0):
    """The source project's method: encode the image with zeros where pixels are missing, average the decodings of `draws` codes.

    Returns (n, 784). Cost: `draws` decodings and, since the encoder always sees the same image, one encoding.
    """
    x, missing = _check(model, x, missing, draws)
    rng = generator(seed)
    prediction = np.zeros(x.shape, np.float32)
    for rows, zeroed, _ in _chunks(x, missing):
        mu, sigma = _encode(model, zeroed)
        for _ in range(draws):
            prediction[rows] += _decode(model, mu, sigma, rng)
    prediction /= draws
    return prediction


def pseudo_gibbs(model, x, missing, *, draws=30, seed=0):
    """Feed the filled-in image back to the encoder, `draws` times (Rezende et al. 2014, appendix F).

    Each pass encodes the current image, draws one code, and replaces the missing pixels by the decoded probabilities.
    The prediction is the average over the second half of the passes, when the encoder no longer sees the zeros of the start.
    Returns (n, 784). Cost: `draws` encodings and decodings.
    """
    x, missing = _check(model, x, missing, draws)
    rng = generator(seed)
    prediction = np.zeros(x.shape, np.float32)
    first_kept = draws // 2
    for rows, image, hidden in _chunks(x, missing):
        for draw in range(draws):
            probabilities = _decode(model, *_encode(model, image), rng)
            np.copyto(image, probabilities, where=hidden)
            if draw >= first_kept:
                prediction[rows] += probabilities
    prediction /= draws - first_kept
    return prediction


def _warm_up(model, image, missing, passes, rng):
    """Some passes of pseudo-Gibbs on `image`, in place, so that the encoder sees a likely image. Returns its mu and sigma."""
    for _ in range(passes):
        np.copyto(image, _decode(model, *_encode(model, image), rng), where=missing)
    return _encode(model, image)


def _energy(model, x, missing, z):
    """-log p(x_observed | z) p(z) for each image (n,), and its derivative with respect to z (n, d).

    Up to a constant it is minus the log of the posterior density of the code given the observed pixels alone.
    """
    cost, dz = (_numpy(part) for part in model.reconstruction_and_dz(x, z, missing))
    return cost - model.family.log_prob(z).sum(axis=1), dz - model.family.score(z)


def importance(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """The average decoding of the encoder's codes, each weighted by how well it explains the observed pixels.

    See `importance_and_ess`, of which this is the first result, (n, 784).
    """
    return importance_and_ess(model, x, missing, draws=draws, seed=seed, warm_up=warm_up)[0]


def importance_and_ess(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """Self-normalised importance sampling (Mattei and Frellsen 2019), and how many of its draws really count.

    After `warm_up` passes of pseudo-Gibbs (fewer if draws is smaller) codes z are drawn from the encoder q(z | filled image). The
    weight of each is p(x_observed | z) p(z) / q(z | filled image), divided by the sum of the weights.

    Returns the prediction (n, 784) and the effective sample size 1 / sum(weight^2) of each image (n,), between 1 and the
    number of codes. Cost: `draws` passes, most of them spent on 2 (draws - warm_up) - 1 decodings.
    """
    x, missing = _check(model, x, missing, draws, warm_up)
    rng = generator(seed)
    warm_up = min(warm_up, draws - 1)
    prediction, ess = np.zeros(x.shape, np.float32), np.zeros(len(x), np.float32)
    for rows, zeroed, hidden in _chunks(x, missing):
        mu, sigma = _warm_up(model, zeroed.copy(), hidden, warm_up, rng)
        # Weights are kept relative to the largest one so far: their logarithms go down to minus hundreds.
        largest, total, squares = np.full(len(mu), -np.inf), 0, 0
        for _ in range(2 * (draws - warm_up) - 1):
            eps = noise(model, mu, rng)
            z = mu + sigma * eps
            logits = _numpy(model.decode(z))
            log_q = (model.family.log_prob(eps) - np.log(sigma)).sum(axis=1)
            log_weight = model.family.log_prob(z).sum(axis=1) - bernoulli_loss(*hide(logits, zeroed, hidden))[0] - log_q
            shrink = np.exp(largest - np.maximum(largest, log_weight))
            largest = np.maximum(largest, log_weight)
            weight = np.exp(log_weight - largest)
            total, squares = total * shrink + weight, squares * shrink**2 + weight**2
            prediction[rows] *= shrink[:, None]
            prediction[rows] += weight[:, None] * _sigmoid(logits)
        prediction[rows] /= total[:, None]
        ess[rows] = total**2 / squares
    return prediction, ess


def latent_map(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """Decode the most probable code given the observed pixels: the z that maximises p(x_observed | z) p(z).

    After `warm_up` passes of pseudo-Gibbs (fewer if draws is smaller) z starts at the encoder's mu and follows the gradient: Adam
    (Kingma and Ba 2015) with steps that shrink linearly from 0.2 to 0. Returns (n, 784). Cost: `draws` passes.
    """
    x, missing = _check(model, x, missing, draws, warm_up)
    rng = generator(seed)
    warm_up = min(warm_up, draws - 1)
    steps = draws - warm_up - 1
    prediction = np.zeros(x.shape, np.float32)
    for rows, zeroed, hidden in _chunks(x, missing):
        z, _ = _warm_up(model, zeroed.copy(), hidden, warm_up, rng)
        mean, square = np.zeros_like(z), np.zeros_like(z)
        for step in range(steps):
            dz = _energy(model, zeroed, hidden, z)[1]
            mean += 0.2 * (dz - mean)
            square += 0.05 * (dz**2 - square)
            unbiased = np.sqrt(square / (1 - 0.95 ** (step + 1))) + 1e-8
            z = z - 0.2 * (1 - step / steps) * mean / (1 - 0.8 ** (step + 1)) / unbiased
        prediction[rows] = _probabilities(model, z)
    return prediction


def langevin(model, x, missing, *, draws=30, seed=0, warm_up=5):
    """The posterior mean of the image given the observed pixels, from a Markov chain on the code of each image.

    After `warm_up` passes of pseudo-Gibbs (fewer if draws is smaller) the chain starts at the encoder's mu. Each move goes down
    the gradient and adds noise, with the encoder's sigma as step size in each coordinate; a Metropolis test accepts or refuses
    it, which makes the posterior the chain's stationary distribution (MALA, Roberts and Tweedie 1996). The decodings of its
    second half are averaged.
    Returns (n, 784). Cost: `draws` passes, to within two.
    """
    x, missing = _check(model, x, missing, draws, warm_up)
    rng = generator(seed)
    warm_up = min(warm_up, draws - 1)
    kept = max(1, 2 * (draws - warm_up) // 5)  # each kept state costs two gradients, its own and a discarded one, and a decoding
    prediction = np.zeros(x.shape, np.float32)
    for rows, zeroed, hidden in _chunks(x, missing):
        z, sigma = _warm_up(model, zeroed.copy(), hidden, warm_up, rng)
        energy, dz = _energy(model, zeroed, hidden, z)
        for move in range(1, 2 * kept):
            noise = rng.standard_normal(z.shape, np.float32)
            proposal = z - 0.5 * sigma**2 * dz + sigma * noise
            new_energy, new_dz = _energy(model, zeroed, hidden, proposal)
            way_back = (z - proposal + 0.5 * sigma**2 * new_dz) / sigma  # the noise that would lead back from there
            log_ratio = energy - new_energy + 0.5 * (noise**2 - way_back**2).sum(axis=1)
            accepted = np.log1p(-rng.random(len(z))) < log_ratio
            z = np.where(accepted[:, None], proposal, z)
            dz = np.where(accepted[:, None], new_dz, dz)
            energy = np.where(accepted, new_energy, energy)
            if move >= kept:
                prediction[rows] += _probabilities(model, z)
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

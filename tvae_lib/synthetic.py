"""Made-up data whose codes are known: a questionnaire answered by people of heavy-tailed ability (chapter 09).

A person has one hidden number z, the ability; question j is answered with yes with probability 1 / (1 + exp(-1.5 (z - b_j))),
where b_j is its difficulty. (The logistic model of item response theory, one slope for all questions.) With a single latent
coordinate the likelihood of any model is an integral over a line, so models can be compared with the truth exactly.
"""

import numpy as np
from scipy.special import expit, logsumexp, xlogy

from tvae_lib.inputs import check_family, check_images, check_mask, check_rng, finite, floating, whole

QUESTIONS = 50
SLOPE = 1.5
# Difficulties from -8 to 8, closest together near 0, where most people are.
DIFFICULTY = 8 * np.sinh(np.linspace(-2, 2, QUESTIONS)) / np.sinh(2)

# Points z for the integral, from -200 to 200, 0.0002 apart at the centre; the weights are the spacings.
GRID = np.sinh(np.linspace(-9, 9, 4001)) / 20
LOG_SPACING = np.log(np.gradient(GRID))


def true_logits(z):
    """Logits (n, 50) of the answer yes for abilities z (n,). ValueError unless z has this shape, is finite and not huge."""
    z = finite("z", z)
    if z.ndim != 1:
        raise ValueError(f"z must have shape (n,), got {z.shape}")
    return SLOPE * (z[:, None] - DIFFICULTY)


def questionnaire(family, n, rng):
    """Answers (n, 50), float32 zeros and ones, and the abilities (n,) behind them, drawn from the standard `family`.

    n: a whole number, 0 or more; rng: np.random.Generator; ValueError otherwise.
    """
    check_family(family)
    check_rng(rng)
    n = whole("n", n)
    z = family.sample(rng, n)
    return (rng.random((n, QUESTIONS)) < expit(true_logits(z))).astype(np.float32), z


def log_likelihood_and_mean(family, logits, x):
    """log p(x) of answers x (n, 50), each (n,), and the posterior mean of z, by the trapezoidal rule on GRID.

    family: prior of z; logits: the decoder's output at GRID, shape (4001, 50), at most 1e15 in size. ValueError unless the shapes
    fit and answers lie in [0, 1].
    """
    log_evidence, posterior = _evidence_and_posterior(family, logits, x)
    return log_evidence, posterior @ GRID


def log_loss_of_missing(family, logits, x, missing):
    """How badly the missing ones of the answers x (n, 50) are guessed from the others: (n,), in nats per missing answer.

    The mean of -log P(answer | the person's observed answers), the integral over abilities by the trapezoidal rule on GRID;
    missing: bool (n, 50), True = missing, at least one for each person. The rest is as in `log_likelihood_and_mean`.
    """
    _, posterior = _evidence_and_posterior(family, logits, x, missing)
    x, missing = np.asarray(x, float), np.asarray(missing)
    if not missing.any(axis=1).all():
        raise ValueError("missing must leave at least one answer out of each row")
    yes, no = (posterior @ expit(sign * np.asarray(logits, float)) for sign in (1, -1))  # both, as 1 - yes may round to 0
    return -np.where(missing, xlogy(x, yes) + xlogy(1 - x, no), 0).sum(axis=1) / missing.sum(axis=1)


def _evidence_and_posterior(family, logits, x, missing=None):
    """log p(observed answers), (n,), and the posterior's mass at each point of GRID, (n, 4001)."""
    check_family(family)
    logits, x = finite("logits", logits, 1e15).astype(float), floating("x", x)
    if logits.shape != (len(GRID), QUESTIONS):
        raise ValueError(f"logits must have shape {(len(GRID), QUESTIONS)}, got {logits.shape}")
    check_images(x, QUESTIONS)
    seen = np.ones(x.shape) if missing is None else (~check_mask(missing, x.shape)).astype(float)
    log_joint = (seen * x) @ logits.T - seen @ np.logaddexp(0, logits).T + family.log_prob(GRID) + LOG_SPACING
    log_evidence = logsumexp(log_joint, axis=1)
    return log_evidence, np.exp(log_joint - log_evidence[:, None])

"""The questionnaire against its own definition, and the integral over abilities against SciPy's."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad, quad_vec
from scipy.special import log_expit

from tvae_lib import experiments, synthetic
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.likelihood import Bernoulli
from tvae_lib.vae_numpy import VAE

STANDARD = {"Gaussian()": stats.norm(), "StudentT(df=3)": stats.t(3)}


@pytest.mark.parametrize("family", [Gaussian(), StudentT(3)], ids=str)
def test_questionnaire(family):
    x, z = synthetic.questionnaire(family, 40_000, np.random.default_rng(1))
    assert x.shape == (40_000, 50) and x.dtype == np.float32 and set(np.unique(x)) == {0, 1}
    assert stats.kstest(z, STANDARD[str(family)].cdf).pvalue > 1e-3
    for j in (3, 20, 25, 40):  # the share of yes is the logistic curve averaged over abilities
        curve = lambda a, j=j: STANDARD[str(family)].pdf(a) / (1 + np.exp(-1.5 * (a - synthetic.DIFFICULTY[j])))
        expected = quad(curve, -50, 50, points=[0, synthetic.DIFFICULTY[j]], limit=200)[0]
        assert x[:, j].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 40_000))
    assert np.diff(synthetic.DIFFICULTY).min() > 0 and synthetic.DIFFICULTY[[0, -1]] == pytest.approx([-8, 8])


@pytest.mark.parametrize("family", [Gaussian(), StudentT(3)], ids=str)
def test_log_likelihood_against_scipy(family):
    x, _ = synthetic.questionnaire(StudentT(3), 30, np.random.default_rng(2))
    x[0], x[1] = 0, 1  # the two extremes, whose integrals have the longest tails
    found, mean = synthetic.log_likelihood_and_mean(family, synthetic.true_logits(synthetic.GRID), x)

    def log_joint(z):
        """Of each person's answers and the ability z, (30,)."""
        logits = 1.5 * (z - synthetic.DIFFICULTY)
        return x @ log_expit(logits) + (1 - x) @ log_expit(-logits) + STANDARD[str(family)].logpdf(z)

    top = np.max([log_joint(z) for z in np.linspace(-15, 15, 601)], axis=0)

    def mass_and_moment(z):
        mass = np.exp(log_joint(z) - top)
        return np.stack([mass, z * mass])

    total, first_moment = sum(quad_vec(mass_and_moment, a, a + 2)[0] for a in range(-200, 200, 2))
    np.testing.assert_allclose(found, np.log(total) + top, rtol=0, atol=1e-4)
    np.testing.assert_allclose(mean, first_moment / total, rtol=1e-3, atol=1e-4)


def test_scores_of_the_truth_and_of_a_wrong_prior():
    class Truth:
        """A model that knows the questionnaire; its encoder guesses from the number of yes answers."""

        sizes, likelihood = (50, 1), Bernoulli()

        def __init__(self, family):
            self.family = family

        def decode(self, z):
            return synthetic.true_logits(z[:, 0])

        def loss(self, x, eps):
            model = VAE(self.family, sizes=(50, 1))
            return model.loss(x, eps)

    score = lambda family: {row[0]: row[3] for row in experiments.score_answers(Truth(family), StudentT(3), 3000, 1)}
    right, wrong = score(StudentT(3)), score(Gaussian())
    assert right["regret"] == pytest.approx(0, abs=1e-9) and right["regret_far"] == pytest.approx(0, abs=1e-9)
    assert wrong["regret"] > 0.05 and wrong["regret_far"] > 10 * wrong["regret"]
    assert right["rank_correlation"] > 0.9 and 0.3 < right["rank_correlation_far"] < 1


def missing_half(x, seed=3):
    missing = np.random.default_rng(seed).random(x.shape) < 0.5
    missing[0] = True  # nothing seen of the first person: then the prior speaks
    return missing


@pytest.mark.parametrize("family", [Gaussian(), StudentT(3)], ids=str)
def test_log_loss_of_missing_answers_against_scipy(family):
    x, _ = synthetic.questionnaire(StudentT(3), 4, np.random.default_rng(4))
    x[1], x[2] = 0, 1
    missing = missing_half(x)
    found = synthetic.log_loss_of_missing(family, synthetic.true_logits(synthetic.GRID), x, missing)

    def mass(z, person):
        """Of the ability z and, besides the person's observed answers, of each answer to be as it is: (51,)."""
        logits = 1.5 * (z - synthetic.DIFFICULTY)
        each = np.where(x[person] == 1, log_expit(logits), log_expit(-logits))
        joint = each[~missing[person]].sum() + STANDARD[str(family)].logpdf(z)
        return np.exp(np.append(joint, joint + each))

    for person in range(4):
        total = sum(quad_vec(lambda z, person=person: mass(z, person), a, a + 2)[0] for a in range(-200, 200, 2))
        expected = -np.log(total[1:] / total[0])[missing[person]].mean()
        assert found[person] == pytest.approx(expected, abs=2e-4)


def test_log_loss_of_missing_answers_takes_observed_ones_only():
    x, _ = synthetic.questionnaire(StudentT(3), 8, np.random.default_rng(5))
    missing, logits = missing_half(x), synthetic.true_logits(synthetic.GRID)
    found = synthetic.log_loss_of_missing(StudentT(3), logits, x, missing)
    # With one answer missing, it is the difference of two log evidences: chain rule.
    one = np.zeros(x.shape, bool)
    one[:, 17] = True
    turned = x.copy()
    turned[:, 17] = 1 - x[:, 17]
    log_p, other = (synthetic.log_likelihood_and_mean(StudentT(3), logits, answers)[0] for answers in (x, turned))
    np.testing.assert_allclose(
        synthetic.log_loss_of_missing(StudentT(3), logits, x, one), np.logaddexp(log_p, other) - log_p, atol=1e-9
    )
    # The others' missing answers do not help: turning all of them round exchanges P(yes) and P(no), person by person.
    assert (found > 0).all()
    flipped = synthetic.log_loss_of_missing(StudentT(3), logits, np.where(missing, 1 - x, x), missing)
    probability = lambda answers: np.exp(-synthetic.log_loss_of_missing(StudentT(3), logits, answers, one))
    np.testing.assert_allclose(probability(x) + probability(turned), 1)
    assert not np.allclose(found, flipped)
    with pytest.raises(ValueError, match="missing must leave at least one answer out of each row"):
        synthetic.log_loss_of_missing(StudentT(3), logits, x, one & (np.arange(8) > 0)[:, None])


def test_logits_for_other_abilities_are_refused(refuses):
    with refuses(r"logits must have shape \(4001, 50\), got \(7, 50\)"):
        synthetic.log_likelihood_and_mean(Gaussian(), np.zeros((7, 50)), np.zeros((2, 50)))


def test_missing_answers_are_guessed_best_by_the_truth():
    logits = synthetic.true_logits(synthetic.GRID)
    rows = {}
    for family in (StudentT(3), StudentT(21), Gaussian()):
        losses = lambda x, missing, family=family: synthetic.log_loss_of_missing(family, logits, x, missing)
        rows[str(family)] = {row[0]: row[3] for row in experiments.scoring.score_missing_answers(losses, StudentT(3), 3000, 1)}
    truth, t21, gaussian = rows.values()
    assert truth["log_loss"] < t21["log_loss"] < gaussian["log_loss"]
    assert truth["log_loss_far"] < t21["log_loss_far"] < gaussian["log_loss_far"]
    seen = []
    experiments.scoring.score_missing_answers(lambda x, missing: seen.append((x, missing)) or x[:, 0], Gaussian(), 400, 1)
    assert np.mean(seen[0][1]) == pytest.approx(0.5, abs=0.02)  # half of the answers

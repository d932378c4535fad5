"""What is measured on a trained model: every function returns rows (metric, mask, method, value)."""

from functools import partial

import numpy as np

from tvae_lib import baselines, impute, metrics, outliers, synthetic
from tvae_lib.latent import kl_exact
from tvae_lib.results import test_masks
from tvae_lib.train import evaluate

DRAWS = 30
METHODS = (impute.single_pass, impute.pseudo_gibbs, impute.importance, impute.latent_map, impute.langevin)
BASELINES = {
    "zero": baselines.zero,
    "mean": baselines.mean,
    "blur0.5": partial(baselines.blur, width=0.5),  # the best width on validation images with scattered pixels missing
    "blur0.8": partial(baselines.blur, width=0.8),  # the best with squares missing
    "pca10": partial(baselines.principal_components, components=10),  # as many numbers as a code has
    "pca60": partial(baselines.principal_components, components=60),  # the best on validation images with squares missing
    "pca120": partial(baselines.principal_components, components=120),  # better still on scattered pixels
    "conditional": partial(baselines.conditional_mean, ridge=1e-4),  # on validation images all ridges up to this are as good
    "knn10": partial(baselines.nearest_neighbours, k=10),  # the best k on validation images
}
BASELINE_SEEDS = 3  # masks are all that differs between seeds, and 7,840,000 pixels leave them little room


def score(model, seed, test, methods=None):
    """All scores of one trained model on test images, as rows (metric, mask, method, value); methods: `METHODS` unless given.

    The masks and all noise depend on the seed only, so that two models with one seed are compared on the same masks.
    """
    rows = []
    loss, reconstruction, kl = evaluate(model, test, np.random.default_rng(seed))
    rows += [("test_loss", "", "", loss), ("test_reconstruction", "", "", reconstruction), ("test_kl", "", "", kl)]

    mu, logvar = model.encode(test)
    rows.append(("active_units", "", "", int(np.sum(mu.var(axis=0) > 0.01))))  # Burda et al. (2016)
    per_dimension = kl_exact(model.family, mu, logvar)
    if per_dimension.shape == mu.shape:  # a multivariate family has one KL for the whole code
        rows += [(f"kl_dimension_{i}", "", "", value) for i, value in enumerate(np.sort(per_dimension.mean(axis=0))[::-1])]
    one_draw = model.reconstruct(test, model.family.sample(np.random.default_rng(seed), mu.shape))
    rows.append(("reconstruction_mse", "", "", metrics.mse(test, one_draw)))
    rows.append(("reconstruction_ssim", "", "", metrics.ssim(test[:1000], one_draw[:1000])))

    # The floor: what the same method would say if it saw the whole image.
    nothing_missing = np.zeros(test.shape, bool)
    floors = {
        "floor": impute.single_pass(model, test, nothing_missing, draws=DRAWS, seed=seed),
        "floor_latent_map": impute.latent_map(model, test, nothing_missing, draws=DRAWS, seed=seed),
    }
    for mask, missing in test_masks(seed, len(test)).items():
        for name, whole in floors.items():
            rows.append(("mse_missing", mask, name, metrics.mse_missing(test, whole, missing)))
        for method in METHODS if methods is None else methods:
            if method is impute.importance:
                prediction, ess = impute.importance_and_ess(model, test, missing, draws=DRAWS, seed=seed)
                rows.append(("ess_median", mask, method.__name__, np.median(ess)))
            else:
                prediction = method(model, test, missing, draws=DRAWS, seed=seed)
            rows += _score_prediction(test, missing, prediction, mask, method.__name__)
    return _floats(rows)


def score_outliers(model, seed, test, left_out=()):
    """How well unusual images are told from test images: rows ("auc", set of images, score, value), and the test images' bound.

    left_out: (n, 784), digits of a class that the model was not trained on, or none.
    """
    usual = outliers.unusualness(model, test, seed=seed)
    rows = [("test_bound", "", "", usual["bound"].mean())]
    sets = outliers.unusual_images(test, seed)
    if len(left_out):
        sets["left out"] = left_out
    for name, images in sets.items():
        unusual = outliers.unusualness(model, images, seed=seed)
        rows += [("auc", name, score, outliers.auc(usual[score], unusual[score])) for score in usual]
    return _floats(rows)


def score_answers(model, abilities, n, seed):
    """How well a model of the questionnaire knows n new people, abilities drawn from the family `abilities`, as rows.

    "regret": mean of log p(x) under the truth minus log p(x) under the model, in nats; "regret_far" the same for the 5 % of
    people with the most unusual abilities; "rank_correlation" (Spearman) of posterior means and true abilities;
    "rank_correlation_far" within the two tails that these 5 % make, averaged; "gap": mean of log p(x) minus the ELBO.
    """
    from scipy.stats import spearmanr

    rng = np.random.default_rng((seed, 33))
    x, z = synthetic.questionnaire(abilities, n, rng)
    far = np.abs(z) >= np.quantile(np.abs(z), 0.95)
    truth, _ = synthetic.log_likelihood_and_mean(abilities, synthetic.true_logits(synthetic.GRID), x)
    found, guess = synthetic.log_likelihood_and_mean(model.family, model.decode(synthetic.GRID[:, None]), x)
    rows = [("regret", np.mean(truth - found)), ("regret_far", np.mean((truth - found)[far]))]
    rank_correlation = lambda people: abs(spearmanr(guess[people], z[people])[0])  # the sign of a code is arbitrary
    rows.append(("rank_correlation", rank_correlation(slice(None))))
    rows.append(("rank_correlation_far", np.mean([rank_correlation(far & (z > 0)), rank_correlation(far & (z < 0))])))
    rows.append(("gap", np.mean(found) + evaluate(model, x, rng)[0]))
    return _floats([(metric, "", "", value) for metric, value in rows])


def score_missing_answers(losses, abilities, n, seed):
    """How well half of the answers are guessed from the other half, for the n new people of `score_answers`, as rows.

    losses(x, missing): the log loss of each person, (n,), as `synthetic.log_loss_of_missing` gives it. "log_loss": its mean over
    people, in nats per missing answer; "log_loss_far": over the 5 % of people with the most unusual abilities.
    """
    x, z = synthetic.questionnaire(abilities, n, np.random.default_rng((seed, 33)))
    found = losses(x, np.random.default_rng((seed, 34)).random(x.shape) < 0.5)
    far = np.abs(z) >= np.quantile(np.abs(z), 0.95)
    return _floats([("log_loss", "", "", np.mean(found)), ("log_loss_far", "", "", np.mean(found[far]))])


def score_digits(run, model, mnist):
    """`score` on the run's test images, and `score_outliers` on up to 2,000 of them."""
    test = mnist.test[: run.study.test_images]
    return score(model, run.seed, test) + score_outliers(model, run.seed, test[:2000])


def score_filling(run, model, mnist):
    """`score` on the run's test images, by all methods but Langevin's."""
    methods = [method for method in METHODS if method is not impute.langevin]
    return score(model, run.seed, mnist.test[: run.study.test_images], methods)


def score_known_digits(run, model, mnist):
    """The same without the digit class that the model was not trained on, its images being one more set of unusual ones."""
    test, known = mnist.test[: run.study.test_images], mnist.test_labels[: run.study.test_images] != run.seed
    rows = score(model, run.seed, test[known])
    return rows + score_outliers(model, run.seed, test[known][:2000], test[~known][:2000])


def score_baselines(seed, train, test, names):
    """The same scores for some of the methods in `BASELINES`, given by their names, on the masks of a seed."""
    rows = []
    for mask, missing in test_masks(seed, len(test)).items():
        for name in names:
            rows += _score_prediction(test, missing, BASELINES[name](train, test, missing), mask, name)
    return _floats(rows)


def _score_prediction(test, missing, prediction, mask, method):
    filled = impute.fill(test, missing, prediction)
    values = {
        "mse_prediction": metrics.mse(test, prediction),
        "mse_imputation": metrics.mse(test, filled),
        "ssim_global_prediction": metrics.ssim_global(test, prediction),
        "ssim_global_imputation": metrics.ssim_global(test, filled),
        "mse_missing": metrics.mse_missing(test, prediction, missing),
        "ssim_imputation": metrics.ssim(test[:1000], filled[:1000]),  # the first 1,000 images: it is slow
    }
    return [(metric, mask, method, value) for metric, value in values.items()]


def _floats(rows):
    return [(metric, mask, method, float(value)) for metric, mask, method, value in rows]

"""Property tests of data, masks, scores, baselines, made-up data, figures and answer checks; `anything` says what is tried."""

import matplotlib

matplotlib.use("Agg")

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pytest
from anything import any_input, families, few, floats, laid_out, obeys, small
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.metrics import mean_squared_error

from tvae_lib import baselines, checks, data, experiments, interactive, masks, metrics, outliers, plots, synthetic
from tvae_lib.data import torch_data
from tvae_lib.latent import StudentT

RNG = np.random.default_rng(0)
MASKS = laid_out(hnp.arrays(bool, (3, 784), elements=st.booleans(), fill=st.booleans()))
WHITE = np.ones((3, 784))


# Data and masks


@given(st.integers(1, 50), st.integers(1, 50))
def test_batches_cover_everything_once(n, size):
    rows = obeys(lambda: list(data.batches(np.random.default_rng(0), n, size)))
    if size > n:
        assert rows is None
    else:
        found = np.concatenate(rows)
        assert all(len(row) == size for row in rows) and len(found) == n // size * size == len(set(found))
        assert found.min() >= 0 and found.max() < n


@given(any_input(), any_input())
def test_data_of_anything(value, other):
    obeys(data.batches, value, 10, 5)
    obeys(data.batches, RNG, 10, value)
    if not isinstance(value, int) or value < 100:
        obeys(data.batches, RNG, value, other)
    obeys(data.read_idx, value)
    obeys(torch_data.MnistImages, value)
    obeys(torch_data.torchvision_dataset, value, "nowhere")


@given(st.one_of(st.floats(0, 1), st.fractions(0, 1), st.floats(0, 1, width=16).map(np.float16)), st.integers(0, 400))
@example(np.float16(0.3), 78_400)  # 0.3 of them is more than a float16 holds
@example(Fraction(1, 3), 3)
def test_random_pixels_are_exactly_as_many(fraction, n):
    missing = obeys(masks.random_pixels, np.random.default_rng(0), (2, n), fraction)
    assert missing.shape == (2, n) and missing.sum() == round(float(fraction) * 2 * n)


@given(st.integers(0, 5), st.integers(0, 60), st.integers(1, 28), st.integers(0, 2**64))
def test_squares_cover_what_they_can(n, count, max_side, seed):
    missing = obeys(masks.random_squares, np.random.default_rng(seed), n, count, max_side)
    assert missing.shape == (n, 784) and missing.dtype == bool
    assert (missing.sum(axis=1) <= count * max_side**2).all()
    if n and count:
        assert missing.any(axis=1).all()


@given(any_input())
@example(True)
def test_masks_of_anything(value):
    obeys(masks.random_pixels, RNG, (2, 10), value)
    obeys(masks.random_pixels, value, (2, 10), 0.5)
    obeys(masks.random_squares, value, 2)
    obeys(masks.random_squares, RNG, 2, 3, value)
    if small(value):
        obeys(masks.random_pixels, RNG, value, 0.5)
        obeys(masks.random_squares, RNG, value)
        obeys(masks.random_squares, RNG, 2, value)


# Scores


@given(*[st.one_of(floats((3, 784), -1, 2), floats((3, 784), -1e6, 1e6))] * 2, MASKS)
@example(np.full((3, 784), 1e-200), np.linspace(0, 1e-200, 2352).reshape(3, 784), np.ones((3, 784), bool))
def test_scores(x, y, missing):
    wide_x, wide_y = x.astype(float), y.astype(float)
    assert obeys(metrics.mse, x, y) == pytest.approx(mean_squared_error(wide_x, wide_y), rel=1e-5, abs=1e-30)
    found = obeys(metrics.mse_missing, x, y, missing)
    if missing.any():
        assert found == pytest.approx(mean_squared_error(wide_x[missing], wide_y[missing]), rel=1e-5, abs=1e-30)
    else:
        assert found is None
    for score in (metrics.ssim, metrics.ssim_global):
        values = [obeys(score, *pair) for pair in ((x, y), (y, x), (x, x), (y, y))]
        if max(np.abs(x).max(), np.abs(y).max()) <= 2:  # of large numbers scikit-image's variances in float32 have few digits
            assert values == pytest.approx([values[0], values[0], 1, 1], abs=1e-3)
    assert abs(metrics.ssim_global(x, y)) <= 1 + 1e-6


@given(hnp.arrays("uint8", (3, 784), elements=st.integers(0, 1)), st.sampled_from(["uint8", "int8", "bool", "float16"]))
def test_scores_of_other_numbers_are_those_of_floats(x, kind):
    y = x[::-1]
    for score in (metrics.mse, metrics.ssim, metrics.ssim_global, lambda x, y: metrics.mse_missing(x, y, WHITE > 0)):
        assert obeys(score, x.astype(kind), y.astype(kind)) == pytest.approx(score(x.astype(float), y.astype(float)), abs=1e-12)


@given(any_input((3, 784), (1, 784), (784,)), any_input((3, 784), (1, 784)))
def test_scores_of_anything(value, other):
    for score in (metrics.mse, metrics.ssim, metrics.ssim_global):
        for pair in ((value, other), (value, WHITE), (WHITE, value), (value, value)):
            assert isinstance(obeys(score, *pair), float | None)
    for arguments in ((value, other, WHITE > 0), (WHITE, WHITE, value), (value, value, other)):
        assert isinstance(obeys(metrics.mse_missing, *arguments), float | None)


@given(floats(st.integers(1, 8), -1e15, 1e15), floats(st.integers(1, 8), -1e15, 1e15))
def test_auc_by_counting(usual, unusual):
    pairs = np.sign(unusual[:, None].astype(float) - usual.astype(float))
    assert obeys(outliers.auc, usual, unusual) == pytest.approx(np.mean((pairs + 1) / 2), abs=1e-12)


@given(floats(st.integers(2, 8), -1e15, 1e15, ["float64"]))
def test_mean_interval(values):
    found = obeys(experiments.mean_interval, [*values, np.nan, np.inf])
    error = stats.sem(values)
    expected = np.mean(values) + np.array([0, -1, 1]) * stats.t(len(values) - 1).ppf(0.975) * error
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(values).max())


@given(any_input((4,)), any_input((4,)))
def test_rates_and_intervals_of_anything(value, other):
    obeys(outliers.auc, value, other)
    obeys(outliers.auc, [0.0, 1.0], value)
    obeys(lambda: experiments.mean_interval(value)[:0])  # NaN for fewer than two numbers, as documented


# Baselines, unusual images, questionnaire


@few
@given(floats((5, 6), 0, 1), floats((3, 6), 0, 1), st.integers(0, 2**18 - 1), st.integers(1, 5))
@example(np.eye(5, 6) * 1e-300, np.ones((3, 6)), 7, 1)  # variances of 0
@example(0.5 + np.eye(5, 6) * 1e-12, np.ones((3, 6)), 7, 2)  # less than rounding
def test_baselines(train, x, pattern, k):
    missing = np.array(list(f"{pattern:018b}")).reshape(3, 6) == "1"
    hidden = np.where(missing, np.nan, x)
    assert not obeys(baselines.zero, train, hidden, missing).any()
    np.testing.assert_allclose(
        obeys(baselines.mean, train, hidden, missing)[1], train.astype(float).mean(axis=0), rtol=1e-6, atol=1e-30
    )
    by_components = obeys(baselines.principal_components, train, hidden, missing, components=k, passes=3)
    assert (by_components is None) == (np.ptp(train, axis=0).max() < 1e-6)
    for found in (
        obeys(baselines.nearest_neighbours, train, hidden, missing, k=k),
        obeys(baselines.blur, train, hidden, missing, width=k, shape=(2, 3)),
        obeys(baselines.conditional_mean, train, hidden, missing, ridge=k),
        *([] if by_components is None else [by_components]),
    ):
        assert found.shape == (3, 6) and found.min() >= 0 and found.max() <= 1 + 1e-6
    for row in range(3):  # one neighbour: no image is nearer on the observed pixels
        distance = np.where(missing[row], 0, train.astype(float) - np.where(missing[row], 0, x[row])) ** 2
        chosen = baselines.nearest_neighbours(train, hidden, missing, k=1)[row]
        of_chosen = np.where(missing[row], 0, chosen - np.where(missing[row], 0, x[row].astype(float))) ** 2
        assert of_chosen.sum() <= distance.sum(axis=1).min() + 1e-5


@few
@given(any_input((5, 6), (3, 6)), any_input((3, 6)))
def test_baselines_of_anything(value, other):
    train, x, missing = np.eye(5, 6), np.full((3, 6), 0.5), np.eye(3, 6, dtype=bool)
    methods = {
        baselines.zero: {},
        baselines.mean: {},
        baselines.blur: {"shape": (2, 3)},
        baselines.nearest_neighbours: {"k": 2},
        baselines.principal_components: {"components": 2, "passes": 2},
        baselines.conditional_mean: {},
    }
    for method, options in methods.items():
        for arguments in (
            (value, x, missing),
            (train, value, missing),
            (train, x, value),
            (value, other, missing),
            (value, value, other),
        ):
            obeys(method, *arguments, **options)
            obeys(method, *arguments, **options, limits=None)
        obeys(method, train, x, missing, **options, limits=value)
    obeys(baselines.blur, train, x, missing, width=value, shape=(2, 3))
    obeys(baselines.blur, train, x, missing, shape=value)
    obeys(baselines.conditional_mean, train, x, missing, ridge=value)
    obeys(baselines.nearest_neighbours, train, x, missing, k=value)
    obeys(baselines.principal_components, train, x, missing, components=value)
    if not isinstance(value, int) or value < 100:
        obeys(baselines.principal_components, train, x, missing, components=2, passes=value)


@few
@given(any_input((2, 784)), floats((2, 784), 0, 1))
def test_unusual_images(value, digits):
    for arguments in ((value,), (digits, value), (digits,), (digits[:0],)):
        sets = obeys(outliers.unusual_images, *arguments)
        for images in (sets or {}).values():
            assert images.shape == (len(arguments[0]), 784) and images.min(initial=0) >= 0 and images.max(initial=0) <= 1


@few
@given(families(), st.integers(0, 20), st.integers(0, 2**64), st.floats(-1e4, 1e4))
def test_questionnaire(family, n, seed, shift):
    answers = obeys(synthetic.questionnaire, family, n, np.random.default_rng(seed))
    if answers is None:  # an ability beyond 1e120
        assert family.df < 0.2
        return
    assert answers[0].shape == (n, 50) and np.isin(answers[0], (0, 1)).all()
    logits = synthetic.true_logits(synthetic.GRID) + shift
    evidence, mean = obeys(synthetic.log_likelihood_and_mean, family, logits, answers[0])
    assert (evidence <= 1e-3).all() and (np.abs(mean) <= synthetic.GRID[-1] * (1 + 1e-9)).all()


@few
@given(any_input((2, 50)), any_input((4001, 50)))
def test_questionnaire_of_anything(value, other):
    found = obeys(synthetic.true_logits, value)
    assert found is None or found.shape == (len(value), 50)
    obeys(synthetic.questionnaire, value, 3, RNG)
    obeys(synthetic.questionnaire, StudentT(3), 3, value)
    if not isinstance(value, int) or value < 1000:
        obeys(synthetic.questionnaire, StudentT(3), value, RNG)
    good = synthetic.true_logits(synthetic.GRID)
    for arguments in ((StudentT(3), good, value), (StudentT(3), other, np.ones((2, 50))), (value, good, np.ones((2, 50)))):
        obeys(synthetic.log_likelihood_and_mean, *arguments)
        obeys(synthetic.log_loss_of_missing, *arguments, np.ones((2, 50), bool))
    obeys(synthetic.log_loss_of_missing, StudentT(3), good, np.ones((2, 50)), value)


# Figures and answer checks


@few
@given(any_input((2, 784)))
def test_figures_of_anything(value):
    plots.colour(value)
    for call in (
        lambda: plots.show_digits([value, WHITE]).canvas.draw(),
        lambda: plots.show_digits(value),
        lambda: plots.show_digits([WHITE], labels=value),
        lambda: plots.show_digits([WHITE], titles=value),
        lambda: plots.loss_curves(value),
        lambda: interactive.kl_explorer(mu=value),
        lambda: interactive.kl_explorer(df=value),
        lambda: interactive.sampling_explorer(draws=value),
        lambda: interactive.backprop_explorer(value, [0, 1], 0.5),
    ):
        obeys(call)
        plt.close("all")


@given(st.floats(-6, 6), st.floats(0.05, 5), st.floats(1, 50))
@few
def test_live_figure_of_every_setting(mu, sigma, df):
    figure = obeys(interactive.kl_explorer, mu=mu, sigma=sigma, df=df)
    assert f'data-df="{df!r}"' in figure._repr_html_()


@given(any_input((2, 3)), any_input((2, 3), ()))
@example(np.array(0.0), np.nan)
@example(np.array([None]), None)
def test_checks_take_every_answer(answer, expected):
    """A wrong answer is told so, a right one passes, and nothing else is ever raised."""
    reference = np.arange(6.0).reshape(2, 3)

    def judge(answer, reference):
        try:
            checks.expect(answer, reference, "the answer", {"A mistake.": expected if isinstance(expected, float) else 3.0})
        except checks.NotYet as hint:
            return str(hint)

    assert obeys(judge, reference.tolist(), reference) is None
    hint = obeys(judge, answer, reference)
    right = isinstance(answer, np.ndarray) and answer.dtype.kind in "biuf" and np.array_equal(answer, reference)
    assert bool(hint) is not right
    obeys(judge, answer, 1e300 * reference)
    for call in (
        lambda: checks.parts(answer, "a", "b"),
        lambda: checks.call(answer, expected),
        lambda: checks.call(np.sum, answer),
    ):
        try:
            call()
        except checks.NotYet as hint:
            assert str(hint)

"""The studies as a table, `STUDIES`: which models are trained, on what, for how long, and how they are scored.

A new study is a row there, and a function where its data, its first weights or its scores are new.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tvae_lib import masks, results, synthetic
from tvae_lib.data import load_fashion_test
from tvae_lib.experiments.scoring import score_answers, score_digits, score_filling, score_known_digits
from tvae_lib.latent import Gaussian, StudentT

# The source project's protocol (chapter 04): plain SGD, no weight decay, no schedule.
PROTOCOL = {"epochs": 300, "batch_size": 500, "lr": 0.005}
# As many steps as 100 epochs of the protocol, at its learning rate, in a third of the time.
SHORT = {"epochs": 20, "batch_size": 100, "lr": 0.005}
AS_LONG = SHORT | {"epochs": 60}  # as many steps as the protocol
ANSWERS = {"epochs": 60, "batch_size": 100, "lr": 0.05}  # the questionnaire's network has 1 % of the weights


# What a run trains on and is validated on


def all_digits(run, mnist):
    return mnist.train, mnist.valid


def without_a_class(run, mnist):
    """The digits but for the class whose number is the seed."""
    return mnist.train[mnist.train_labels != run.seed], mnist.valid[mnist.valid_labels != run.seed]


def some_foreign(run, mnist, share):
    """The digits, a share of the training images replaced by Fashion-MNIST's."""
    return with_foreign(mnist.train, share, run.seed), mnist.valid


def with_foreign(images, share, seed):
    """A copy of the images with a share of them replaced by Fashion-MNIST's."""
    # Not the first 2,000, on which `score_outliers` asks whether the model tells them from digits.
    rng, foreign, images = np.random.default_rng((seed, 31)), load_fashion_test()[0][2000:], images.copy()
    n = round(len(images) * share)
    images[rng.choice(len(images), n, replace=False)] = foreign[rng.choice(len(foreign), n, replace=False)]
    return images


def answers(run, mnist, abilities):
    """Made-up answers to a questionnaire by people whose abilities are drawn from a family (see `synthetic`)."""
    rng = np.random.default_rng((run.seed, 32))
    return [synthetic.questionnaire(abilities, n, rng)[0] for n in (10_000, 1000)]


def training_holes(rng, n):
    """Masks (n, 784) to train with: a tenth of the images whole, of the others half with squares as in the test, half with
    scattered pixels, a share of them that is uniform in 0 to 0.6.
    """
    missing, kind = np.zeros((n, 784), bool), rng.random(n)
    scattered, squares = (kind >= 0.1) & (kind < 0.55), kind >= 0.55
    share = rng.uniform(0, 0.6, (scattered.sum(), 1)).astype(np.float32)
    missing[scattered] = rng.random((len(share), 784), np.float32) < share
    missing[squares] = masks.random_squares(rng, int(squares.sum()))
    return missing


# The table


@dataclass(frozen=True)
class Study:
    """Runs that differ in model and seed only. The defaults are the source project's protocol."""

    name: str
    what: str
    models: dict  # name of a model to its number of seeds, from 0
    backend: str = "numpy"
    epochs: int = PROTOCOL["epochs"]
    batch_size: int = PROTOCOL["batch_size"]
    lr: float = PROTOCOL["lr"]
    kl: str | None = "exact"  # None: the source project's choice
    sizes: tuple = (784, 400, 128, 10)
    test_images: int = 10_000  # how many of them are scored
    data: Callable = all_digits  # (run, mnist) to the images to train on and to be validated on
    start: Callable | None = None  # (run) to its first weights; None: random ones
    score: Callable = score_digits  # (run, model, mnist) to rows of `scoring`
    shipped: int = 0  # how many seeds keep their weights, 1.5 MB each, in results/weights
    making: dict = field(default_factory=dict)  # what else the model is told,
    training: dict = field(default_factory=dict)  # and `train.fit`

    @property
    def protocol(self):
        return {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}

    @property
    def runs(self):
        """All its runs, seed by seed."""
        return [Run(m, seed, self) for seed in range(max(self.models.values())) for m, n in self.models.items() if seed < n]


@dataclass(frozen=True)
class Run:
    """One training run: a model, named as in `results.family_of`, and a seed."""

    model: str
    seed: int
    study: Study

    @property
    def name(self):
        return results.name_of(self.record)

    @property
    def record(self):
        """What its file says of it, besides history and scores."""
        study = self.study
        record = {"model": self.model, "seed": self.seed, "backend": study.backend, "study": study.name}
        return record | {"epochs": study.epochs, "test_images": study.test_images, "protocol": study.protocol}

    @property
    def family(self):
        return results.family_of(self.model)

    @property
    def ships_weights(self):
        return self.seed < self.study.shipped

    def new_model(self):
        """The untrained model."""
        if self.study.backend == "torch":
            import torch

            from tvae_lib.vae_torch import VAE

            torch.set_num_threads(1)
            torch.manual_seed(self.seed)  # PyTorch's own initialisation, as in the source project
            return VAE(self.family, self.study.sizes, kl=self.study.kl, **self.study.making)
        from tvae_lib.vae_numpy import VAE

        model = VAE(self.family, self.study.sizes, rng=self.seed, kl=self.study.kl, **self.study.making)
        if self.study.start:
            model.params = self.study.start(self)
        return model


def gaussian_s_weights(run):
    """The weights with which the full-length run of the Gaussian with this seed ended."""
    return results.load_model("gaussian", run.seed).params


def short(name, what, models, **fields):
    return Study(name, what, models, **{**SHORT, "test_images": 1000} | fields)


def questionnaire(name, abilities, models, epochs=ANSWERS["epochs"]):
    """Answers by people with such abilities, to a network of its own."""
    what = f"made-up answers to a questionnaire, abilities {results.title(results.model_of(abilities))}, {epochs} epochs"
    data, score = partial(answers, abilities=abilities), partial(score_answers, abilities=abilities)
    sizes = (synthetic.QUESTIONS, 32, 1)
    return Study(name, what, models, **ANSWERS | {"epochs": epochs}, sizes=sizes, test_images=5000, data=data, score=score)


def foreign(percent, models):
    what = f"{percent} % of the training images replaced by Fashion-MNIST's"
    return short(f"foreign{percent}", what, models, data=partial(some_foreign, share=percent / 100))


def holes(name, what, models, **fields):
    """Digits with holes, for the encoder at least, as long as the protocol; scored by how well holes are filled in."""
    fields = {"training": {"missing": training_holes}, "score": score_filling, "test_images": 2000} | fields
    return Study(name, what, models, **AS_LONG | fields)


five = lambda *models: dict.fromkeys(models, 5)
ten = lambda *models: dict.fromkeys(models, 10)
six = lambda *models: dict.fromkeys(models, 6)

# The most needed first. The full-length runs have no study in the tables.
STUDIES = [
    Study("", "the protocol", ten("gaussian", "t21"), kl=None, shipped=5),
    Study("", "the protocol in PyTorch, with its first weights", six("gaussian", "t21"), "torch", kl=None, shipped=1),
    Study("", "the protocol", six("t3", "t5", "t10", "t50", "t200"), kl=None, shipped=1),
    Study(
        "apart",
        "encoder and prior of different families, the KL exact; the Gaussian as a control",
        ten("gaussian_t3") | five("t3_gaussian", "t3", "gaussian_t5", "gaussian_t21", "gaussian"),
    ),
    Study("multivariate", "a multivariate t for encoder and prior, the KL exact", five("mt21") | {"mt3": 3}),
    holes(
        "holes", "trained on digits with holes, 0 for the encoder and left out of the loss", five("gaussian", "t21"), shipped=1
    ),
    holes("holes_none", "the same on whole digits, as a control", five("gaussian", "t21"), training={}),
    holes("holes_mask", "the mask beside the image", five("gaussian", "t21"), making={"mask_input": True}),
    holes("holes_all", "all pixels in the loss", five("gaussian"), training={"missing": training_holes, "all_pixels": True}),
    holes("holes_50", "with holes, a code of 50 coordinates", {"gaussian": 3}, sizes=(784, 400, 128, 50)),
    holes("holes_none_50", "whole digits, a code of 50 coordinates", {"gaussian": 3}, training={}, sizes=(784, 400, 128, 50)),
    questionnaire("heavy", StudentT(3), ten("gaussian", "t3", "t21")),
    questionnaire("light", Gaussian(), ten("gaussian", "t3", "t21")),
    questionnaire("heavy240", StudentT(3), five("gaussian", "t3"), 240),
    questionnaire("heavy960", StudentT(3), five("gaussian", "t3"), 960),
    questionnaire("light960", Gaussian(), five("gaussian", "t3"), 960),
    Study(
        "warm",
        "20 more epochs from the weights of the full-length Gaussian run of this seed; the Gaussian as a control",
        five("t3", "gaussian"),
        epochs=20,
        test_images=1000,
        start=gaussian_s_weights,
    ),
    short(
        "exact",
        "the KL exact, for encoder and prior of one family or of two",
        five(
            "gaussian", "t3", "t21", "gaussian_t3", "t3_gaussian", "t5", "gaussian_t5", "t5_gaussian", "t3_t5", "t5_t3", "t3unit"
        ),
    ),
    short("sample", "the KL from one draw", five("gaussian", "t3", "t21"), kl="sample"),
    short(
        "without",
        "the digit class whose number is the seed left out of training",
        five("gaussian", "t21"),
        test_images=2000,  # a tenth of them was left out
        data=without_a_class,
        score=score_known_digits,
    ),
    foreign(1, five("gaussian", "t21")),
    foreign(5, five("gaussian", "t21")),
    foreign(10, five("gaussian", "t3", "t21", "gaussian_t3")),
]


def sweep():
    """All runs of all studies, the most needed first."""
    return [run for study in STUDIES for run in study.runs]


def rehearsal():
    """Three models and a PyTorch twin, one seed and one epoch each, scored on few images."""
    few = {"kl": None, "epochs": 1, "test_images": 300, "shipped": 1}
    models = dict.fromkeys(("gaussian", "t3", "t21"), 1)
    return Study("", "a rehearsal", models, **few).runs + Study("", "a rehearsal", {"t21": 1}, "torch", **few).runs

"""What models, methods and masks are called: in files, and in the tables of the book."""

import re

import numpy as np

from tvae_lib import latent
from tvae_lib.inputs import said

# What the book calls the methods and masks of the tables.
TITLES = {
    "gaussian": "Gaussian",
    "laplace": "Laplace",
    "logistic": "logistic",
    "single_pass": "one pass",
    "pseudo_gibbs": "feeding back",
    "feed_draws": "feeding back draws",
    "metropolis": "Metropolis",
    "importance": "weighting",
    "latent_map": "most probable code",
    "langevin": "Langevin",
    "zero": "zeros",
    "mean": "mean digit",
    "knn10": "nearest neighbours",
    "knn100": "nearest neighbours",
    "knn": "nearest neighbours",
    "pca": "PCA",
    "conditional": "conditional mean",
    "blur0.5": "blur",
    "blur0.8": "blur",
    "random": "pixels",
    "squares": "squares",
}


def model_of(family):
    """The name in files and tables of the models with a latent family: "gaussian", "t21", "mt21" (multivariate), "gaussian_t3".

    The last has a Gaussian encoder and a t prior; "t3unit" is a t of unit variance. ValueError for other families.
    """
    kind = type(family).__name__
    if kind == "Scaled" and repr(family_of(f"{model_of(family.family)}unit")) == repr(family):
        return f"{model_of(family.family)}unit"
    if kind == "Apart":
        return f"{model_of(family.encoder)}_{model_of(family.prior)}"
    names = {"Gaussian": "gaussian", "StudentT": "t", "MultivariateT": "mt"}
    if kind not in names:
        raise ValueError(f"family must be one of tvae_lib.latent, got {said(family)}")
    return names[kind] + (f"{family.df:g}" if hasattr(family, "df") else "")


def family_of(model):
    """The latent family of a model's name, as `model_of` gives it; ValueError for other names."""
    encoder, apart, prior = model.partition("_")
    if apart:
        return latent.Apart(family_of(encoder), family_of(prior))
    if model == "gaussian":
        return latent.Gaussian()
    if not (parts := re.fullmatch(r"(m?t)(\d+|\d+\.\d+)(unit)?", model)):
        raise ValueError(f'model must be "gaussian", "t21", "mt21", "gaussian_t3" or alike, got {model!r}')
    if parts[3]:
        df = float(parts[2])
        return latent.Scaled(latent.StudentT(df), np.sqrt((df - 2) / df))
    return (latent.StudentT if parts[1] == "t" else latent.MultivariateT)(float(parts[2]))


def title(name):
    """What a table or figure calls a model, a method or a mask: title("t21") is "t, ν = 21"; other names stay as they are."""
    family = r"(?:gaussian|laplace|logistic|m?t\d[\d.]*)"
    if parts := re.fullmatch(f"({family})_({family})", name):
        return ", ".join(re.sub(r"$|(?=,)", f" {part}", title(parts[i]), count=1) for i, part in ((1, "encoder"), (2, "prior")))
    if parts := re.fullmatch(r"(m?)t(\d[\d.]*)(unit)?", name):
        return f"{'multivariate ' * bool(parts[1])}t, ν = {parts[2]}{', unit variance' * bool(parts[3])}"
    if parts := re.fullmatch(r"pca(\d+)", name):
        return f"PCA, {parts[1]}"
    return TITLES.get(name, name)

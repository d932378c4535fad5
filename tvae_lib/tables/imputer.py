"""A VAE as a scikit-learn imputer: tables of real numbers with NaN for what is missing, in training and afterwards."""

from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tvae_lib import checkpoint, impute
from tvae_lib.inputs import one_of
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.likelihood import Normal
from tvae_lib.train import fit
from tvae_lib.vae_numpy import VAE

METHODS = {  # no warm-up by feeding back: the encoder knows holes
    "one pass": impute.single_pass,
    "weighting": partial(impute.importance, warm_up=0),
    "most probable code": partial(impute.latent_map, warm_up=0),
    "Langevin": partial(impute.langevin, warm_up=0),
}


def some_missing(width):
    """For `fit`: a function that hides 30 % of every batch."""
    return lambda rng, n: rng.random((n, width)) < 0.3


class VAEImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill in missing values with a VAE that was trained on what is there.

    Inside, columns are standardised and kept within 10 standard deviations, the encoder is told what is missing, and what is
    missing is left out of the loss. If nothing is missing in training, 30 % of every batch
    is hidden, so that the encoder knows holes.

    Parameters
    ----------
    code : how many numbers a code has. hidden : widths of the encoder's hidden layers, which the decoder mirrors.
    df : degrees of freedom of prior and encoder; None for the Gaussian.
    sd : standard deviation of the decoder's noise, in those of a column; None to let the decoder say it for each number.
    kl_weight : a factor of the KL in training; below 1 more coordinates of the code are used.
    epochs, batch_size, lr : of training, with Adam. A batch is never larger than the data.
    method : "one pass", "weighting", "most probable code" or "Langevin" (chapter 07), of `transform`; `sample` takes Langevin.
    draws : passes of the method.
    random_state : a whole number, a RandomState, or None for another result each time.

    Attributes
    ----------
    model_, mean_, scale_ : the trained VAE, and mean and standard deviation of each column.
    history_ : what `train.fit` saw; its validation rows are the first 500 of training.
    """

    def __init__(
        self,
        code=16,
        hidden=(64,),
        df=None,
        sd=0.2,
        kl_weight=1.0,
        epochs=200,
        batch_size=64,
        lr=2e-3,
        method="most probable code",
        draws=30,
        random_state=0,
    ):
        self.code, self.hidden, self.df, self.sd, self.kl_weight = code, hidden, df, sd, kl_weight
        self.epochs, self.batch_size, self.lr = epochs, batch_size, lr
        self.method, self.draws, self.random_state = method, draws, random_state

    def fit(self, X, y=None):
        """Train on X (n, D), NaN where a number is missing. y is ignored."""
        X = self._numbers(X, reset=True)
        missing, seed = np.isnan(X), self._seed()
        counts = np.maximum((~missing).sum(axis=0), 1)
        self.mean_ = np.where(missing, 0, X).sum(axis=0) / counts
        self.scale_ = np.sqrt(np.square(np.where(missing, 0, X - self.mean_)).sum(axis=0) / counts)
        self.scale_[self.scale_ <= 1e-12 * np.abs(self.mean_)] = 1  # constant columns, and those without any number
        x = self._standardised(X)
        self.model_ = self._model(seed)
        options = {"epochs": self.epochs, "batch_size": min(self.batch_size, len(x)), "lr": self.lr, "seed": seed}
        options |= {"optimizer": "adam", "kl_weight": self.kl_weight, "progress": False}
        options["missing"] = missing if missing.any() else some_missing(x.shape[1])
        self.history_ = fit(self.model_, x, np.where(missing, np.nan, x)[:500], **options)
        return self

    def transform(self, X):
        """X with a number in place of every NaN; what was there stays as it is."""
        predict = METHODS[one_of("method", self.method, *METHODS)]
        return self._filled(X, lambda *data: predict(*data, draws=self.draws, seed=self._seed()))

    def sample(self, X, copies=5):
        """Several completed tables (copies, n, D), for multiple imputation: they differ as much as the model is unsure."""
        options = {"method": METHODS["Langevin"], "copies": copies, "draws": self.draws, "seed": self._seed()}
        return self._filled(X, lambda *data: impute.completions(*data, **options))

    def _filled(self, X, predict):
        check_is_fitted(self)
        X = self._numbers(X, reset=False)
        prediction = predict(self.model_, self._standardised(X), np.isnan(X)) * self.scale_ + self.mean_
        return np.where(np.isnan(X), prediction, X).astype(X.dtype)

    def _numbers(self, X, reset):
        return validate_data(self, X, reset=reset, dtype=(np.float64, np.float32), ensure_all_finite="allow-nan")

    def _standardised(self, X):
        return np.clip(np.where(np.isnan(X), 0, (X - self.mean_) / self.scale_), -10, 10)

    def _seed(self):
        return int(check_random_state(self.random_state).randint(2**31))

    def _model(self, seed):
        family = Gaussian() if self.df is None else StudentT(self.df)
        sizes = (self.n_features_in_, *self.hidden, self.code)
        return VAE(family, sizes, rng=seed, kl="exact", likelihood=Normal(self.sd), mask_input=True)

    def save(self, path):
        """Write the fitted imputer to one safetensors file, without pickle."""
        check_is_fitted(self)
        names = list(getattr(self, "feature_names_in_", []))
        columns = {"mean": self.mean_.tolist(), "scale": self.scale_.tolist(), "names": names}
        params = {name: getattr(value, "tolist", lambda v=value: v)() for name, value in self.get_params().items()}
        checkpoint.save(path, self.model_, imputer=params, columns=columns)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote. ValueError for any other file."""
        _, _, extra = checkpoint.read(path)
        if not {"imputer", "columns"} <= extra.keys():
            raise ValueError(f"{path} holds a model, but no imputer: it was not written by VAEImputer.save")
        imputer, columns = cls(**extra["imputer"] | {"hidden": tuple(extra["imputer"]["hidden"])}), extra["columns"]
        imputer.model_ = checkpoint.load(path)
        imputer.mean_, imputer.scale_ = np.array(columns["mean"]), np.array(columns["scale"])
        imputer.n_features_in_ = len(imputer.mean_)
        if columns["names"]:
            imputer.feature_names_in_ = np.array(columns["names"], dtype=object)
        return imputer

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

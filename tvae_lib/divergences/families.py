"""Families made of others, and one over whole codes (chapter 11). `latent` has them all by name."""

from functools import partial

import numpy as np

from tvae_lib import divergences
from tvae_lib.inputs import check_df, check_family, checked, size, whole_codes


class Apart:
    """Encoder noise of one family and a prior of another, for example Apart(Gaussian(), StudentT(3)).

    `sample`, `log_prob` and `score` are the encoder's; `prior_of` gives the prior. There is an exact KL between Gaussian and
    StudentT in any combination but StudentT(df) to Gaussian with df <= 2, where it is infinite.
    """

    def __init__(self, encoder, prior):
        self.encoder, self.prior = check_family(encoder), check_family(prior)

    def sample(self, rng, shape):
        return self.encoder.sample(rng, shape)

    def log_prob(self, z):
        return self.encoder.log_prob(z)

    def score(self, z):
        return self.encoder.score(z)

    @property
    def kl_exact_and_grad(self):
        """A function of mu and logvar, as that of the families."""
        from tvae_lib.latent import Gaussian, StudentT  # here, as `latent` has the classes of this file

        q, p = self.encoder, self.prior
        kinds = type(q), type(p)
        if kinds == (Gaussian, Gaussian) or (kinds == (StudentT, StudentT) and q.df == p.df):
            return q.kl_exact_and_grad
        if kinds == (Gaussian, StudentT):
            return partial(divergences.t_from_gaussian, p.df)
        if kinds == (StudentT, Gaussian) and q.df > 2:
            return partial(divergences.gaussian_from_t, q.df)
        if kinds == (StudentT, StudentT):
            return partial(divergences.t_from_t, p.df, q.df)
        infinite = kinds == (StudentT, Gaussian)
        raise AttributeError(f"the KL of {p} from {q} is infinite" if infinite else f"none is known of {p} from {q}")

    def __repr__(self):
        return f"Apart({self.encoder!r}, {self.prior!r})"


@checked
class Scaled:
    """A family whose standard density is another's, made `scale` times as wide: Scaled(StudentT(3), 3**-0.5) has variance 1."""

    def __init__(self, family, scale):
        self.family, self.scale = check_family(family), size("scale", scale)
        if hasattr(family, "prior"):
            raise ValueError(f"family must have one density for encoder and prior, got {family}; scale the two by themselves")

    def sample(self, rng, shape):
        return self.scale * self.family.sample(rng, shape)

    def log_prob(self, z):
        return self.family.log_prob(z / self.scale) - np.log(self.scale)

    def score(self, z):
        return self.family.score(z / self.scale) / self.scale

    @property
    def kl_exact_and_grad(self):
        """A function of mu and logvar, if the other family has one: measured in units of `scale`, only mu changes."""
        exact = self.family.kl_exact_and_grad

        def scaled(mu, logvar):
            kl, dmu, dlogvar = exact(mu / self.scale, logvar)
            return kl, dmu / self.scale, dlogvar

        return scaled

    def __repr__(self):
        return f"Scaled({self.family!r}, {self.scale:g})"


@checked
class MultivariateT:
    """A t over whole codes: d normal numbers divided by one and the same square root of chi-square / df.

    Arrays are (..., d). `log_prob` gives the log density of each coordinate given those before it, so that the sum over the last
    axis is that of the code, as with the other families. `kl_exact_and_grad` gives the KL of a code, (B, 1).
    """

    def __init__(self, df):
        self.df = check_df(df)

    def sample(self, rng, shape):
        eps = rng.standard_normal(shape)
        return eps / np.sqrt(rng.chisquare(self.df, (*eps.shape[:-1], 1)) / self.df)

    def log_prob(self, z):
        return divergences.multivariate_t_log_prob(self.df, whole_codes(z))

    def score(self, z):
        z = whole_codes(z)
        return -(self.df + z.shape[-1]) * z / (self.df + np.sum(z**2, axis=-1, keepdims=True))

    def kl_exact_and_grad(self, mu, logvar):
        return divergences.multivariate_t(self.df, whole_codes(mu, dims=2), logvar)

    def __repr__(self):
        return f"MultivariateT(df={self.df:g})"

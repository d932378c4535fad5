"""What the decoder's output says about numbers that need not lie in [0, 1]; both classes have the methods of `Bernoulli`."""

import math

import numpy as np

from tvae_lib.divergences import log_constant
from tvae_lib.inputs import check_df, module_of, size


class Normal:
    """Independent normal numbers around the decoder's output, with one standard deviation `sd` for all.

    sd=None: the decoder puts out log variances too, one for each mean, (B, 2 D) in all.
    """

    limits = -1e6, 1e6

    def __init__(self, sd=None):
        self.sd = sd if sd is None else size("sd", sd)

    def outputs(self, width):
        return width if self.sd else 2 * width

    def costs(self, out, x):
        """-log p of every number, (B, D); arrays or tensors."""
        width = x.shape[1]
        if self.sd:
            return 0.5 * ((out - x) / self.sd) ** 2 + (math.log(self.sd) + 0.5 * math.log(2 * math.pi))
        mean, log_variance = out[:, :width], out[:, width:]
        return 0.5 * ((mean - x) ** 2 * module_of(out).exp(-log_variance) + log_variance + math.log(2 * math.pi))

    def cost_and_grad(self, out, x, missing=None):
        """-log p(x | out) of each row (B,), and its derivative with respect to the decoder's output."""
        width = x.shape[1]
        if self.sd:
            parts = [(out - x) / self.sd**2]
        else:
            precision = np.exp(-out[:, width:])
            pull = (out[:, :width] - x) * precision
            parts = [pull, 0.5 * (1 - pull * (out[:, :width] - x))]
        return observed(self.costs(out, x), parts, missing)

    def mean(self, out, into=None):
        """The mean of every number given the decoder's output, (B, D)."""
        return out if self.sd else out[:, : out.shape[1] // 2]

    def sample(self, out, rng):
        """One draw of every number, (B, D)."""
        mean, width = self.mean(out), out.shape[1] // 2
        sd = self.sd or np.exp(0.5 * out[:, width:])
        return (mean + sd * rng.standard_normal(mean.shape)).astype(out.dtype)

    def __repr__(self):
        return f"Normal({self.sd or ''})"


class StudentT:
    """Independent numbers around the decoder's output, t with `df` degrees of freedom times `scale`: outliers cost little."""

    limits = -1e6, 1e6

    def __init__(self, df, scale=1.0):
        self.df, self.scale = check_df(df), size("scale", scale)

    def outputs(self, width):
        return width

    def costs(self, out, x):
        """-log p of every number, (B, D); arrays or tensors."""
        square = ((out - x) / self.scale) ** 2
        return (self.df + 1) / 2 * module_of(out).log1p(square / self.df) + (math.log(self.scale) - log_constant(self.df))

    def cost_and_grad(self, out, x, missing=None):
        """-log p(x | out) of each row (B,), and its derivative with respect to the decoder's output."""
        r = (out - x) / self.scale
        return observed(self.costs(out, x), [(self.df + 1) * r / (self.df + r**2) / self.scale], missing)

    def mean(self, out, into=None):
        return out

    def sample(self, out, rng):
        """One draw of every number, (B, D)."""
        return (out + self.scale * rng.standard_t(self.df, out.shape)).astype(out.dtype)

    def __repr__(self):
        return f"StudentT(df={self.df:g}, scale={self.scale:g})"


def observed(costs, parts, missing):
    """The cost of each row and the parts of its derivative side by side, both without what is missing."""
    if missing is not None:
        costs, *parts = (np.where(missing, 0, part) for part in (costs, *parts))
    return costs.sum(axis=1), np.concatenate(parts, axis=1)

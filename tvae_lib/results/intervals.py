"""A mean over seeds with its 95 % interval."""

from dataclasses import dataclass

import numpy as np

from tvae_lib.inputs import finite, real_array


def mean_interval(values):
    """Mean of a sample and its 95 % interval by Student's t: (mean, low, high), NaN bounds for fewer than two values.

    values: numbers in any shape; NaN and infinity are left out, and the mean of nothing is NaN. ValueError beyond 1e120.
    """
    from scipy import stats

    values = real_array("values", values).astype(float)
    values = finite("values", values[np.isfinite(values)])
    if len(values) < 2:
        return float(values.mean()) if len(values) else np.nan, np.nan, np.nan
    half_width = stats.t(len(values) - 1).ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half_width), float(values.mean() + half_width)


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval. `Interval.of(values)` is that of a sample; `0 in gap` asks, `1000 * gap` is in thousandths.

    f"{gap:+.4f}" gives "+0.0012 (−0.0003 to +0.0027)"; only the mean where there is no interval, "–" where there is no mean.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        """The interval of `mean_interval`."""
        return cls(*mean_interval(values))

    def __iter__(self):
        return iter((self.mean, self.low, self.high))

    def __contains__(self, value):
        return not (value < self.low or value > self.high)  # an interval that is not known excludes nothing

    def __mul__(self, factor):
        return Interval(self.mean * factor, *sorted((self.low * factor, self.high * factor)))

    __rmul__ = __mul__

    def __format__(self, spec):
        mean, low, high = (format(value, spec).replace("-", "−") for value in self)
        if np.isnan(self.mean):
            return "–"
        return f"{mean} ({low} to {high})" if self.low < self.high else mean

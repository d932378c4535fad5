"""What several modules ask of their arguments: each function raises a one-line ValueError, or returns the argument for use."""

import contextlib
import numbers

import numpy as np


def said(value):
    """`value` in one line of at most 80 characters, for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def as_array(name, value):
    """`value` as an array of whatever it holds."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # rows of unequal length, or a tensor that is part of a graph
        raise ValueError(f"{name} must be an array, and NumPy can make none of this {type(value).__name__}") from None


def real_array(name, value):
    """`value` as an array of real numbers of any shape: bool, integer or floating point, NaN and infinity included."""
    array = as_array(name, value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got {array.dtype}")
    return array


def largest(dtype):
    """The largest number taken, 1e15 in float32 and 1e120 in float64: far from where squares and sums of them overflow."""
    return np.float64(1e120 if dtype.itemsize >= 8 else 1e15)  # not a Python float, which float16 could not be compared with


def floating(name, value):
    """`value` as an array of float32, if that is what it is, or else of float64."""
    array = real_array(name, value)
    with np.errstate(over="ignore"):  # a longdouble may be beyond float64
        return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def finite(name, value, limit=None):
    """`value` as a floating-point array without NaN, and with nothing beyond `limit` (that of `largest`) on either side of 0."""
    array = floating(name, value)
    limit = limit or largest(array.dtype)
    if not (np.abs(array) <= limit).all():  # a NaN fails the comparison
        raise ValueError(f"{name} must be finite and at most {limit:g} in size, got {_worst(array)}")
    return array


def _worst(array):
    return "NaN" if np.isnan(array).any() else f"values from {array.min():g} to {array.max():g}"


def whole(name, value, low=0, high=np.inf):
    """`value` as an int from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= value <= high:
        allowed = f", {low} or more" if high == np.inf else f" from {low} to {high}"
        raise ValueError(f"{name} must be a whole number{allowed}, got {said(value)}")
    return int(value)


def check_rng(rng):
    """Raise ValueError unless rng is a NumPy generator."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a np.random.Generator, such as np.random.default_rng(0), got {said(rng)}")


def generator(seed):
    """The generator of a seed: a whole number, 0 or more, or several of them. A generator is returned as it is."""
    try:
        if seed is None:  # NumPy would draw a seed
            raise TypeError
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f"seed must be a whole number, 0 or more, or a np.random.Generator, got {said(seed)}") from None


def check_dtype(dtype, *allowed):
    """`dtype` as a NumPy dtype, one of those allowed."""
    with contextlib.suppress(TypeError, ValueError):
        dtype = np.dtype(dtype)
    if not any(dtype is np.dtype(one) for one in allowed):
        raise ValueError(f"dtype must be one of {', '.join(np.dtype(one).name for one in allowed)}, got {said(dtype)}")
    return dtype


def check_shape(shape):
    """Raise ValueError unless shape is a whole number, 0 or more, or a tuple or list of them."""
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    if not all(isinstance(size, numbers.Integral) and not isinstance(size, bool) and size >= 0 for size in sizes):
        raise ValueError(f"shape must be a whole number, 0 or more, or several of them, got {said(shape)}")


def check_mask(missing, shape):
    """`missing`, an array or a tensor, as a bool array of the given shape."""
    missing = as_array("missing", missing)
    if missing.shape != tuple(shape) or missing.dtype != bool:
        raise ValueError(f"missing must be bool of shape {tuple(shape)}, got {missing.dtype} of shape {missing.shape}")
    return missing

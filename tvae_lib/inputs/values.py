"""What numbers, texts, seeds, shapes and arrays may be."""

import contextlib
import numbers
import sys

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


def module_of(array):
    """NumPy or PyTorch, whichever has made the array: most functions have one name in both."""
    return np if isinstance(array, np.ndarray | np.generic) else sys.modules["torch"]  # what torch 2.9 compiles, too


def largest(dtype):
    """The largest number taken, 1e15 in float32 and 1e120 in float64: far from where squares and sums of them overflow."""
    return 1e120 if dtype.itemsize >= 8 else 1e15


def within(array, limit):
    """Whether nothing in an array or tensor is NaN or larger than the limit on either side of 0."""
    if not hasattr(array, "detach"):
        limit = np.float64(limit)  # which float16 can be compared with
    return (abs(array) <= limit).all()  # a NaN fails the comparison


def floating(name, value):
    """`value` as an array of float32, if that is what it is, or else of float64."""
    array = real_array(name, value)
    with np.errstate(over="ignore"):  # a longdouble may be beyond float64
        return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def finite(name, value, limit=None):
    """`value` as a floating-point array without NaN, and with nothing beyond `limit` (that of `largest`) on either side of 0."""
    array = floating(name, value)
    limit = limit or largest(array.dtype)
    if not within(array, limit):
        worst = "NaN" if np.isnan(array).any() else f"values from {array.min():g} to {array.max():g}"
        raise ValueError(f"{name} must be finite and at most {limit:g} in size, got {worst}")
    return array


def whole(name, value, low=0, high=np.inf):
    """`value` as an int from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= value <= high:
        allowed = f", {low} or more" if high == np.inf else f" from {low} to {high}"
        raise ValueError(f"{name} must be a whole number{allowed}, got {said(value)}")
    return int(value)


def number(name, value, low, high, allowed=None):
    """`value` as a float from `low` to `high`. `allowed` says in words what that is, if the two limits do not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= value <= high:
        raise ValueError(f"{name} must be {allowed or f'a number from {low:g} to {high:g}'}, got {said(value)}")
    return float(value)


def positive(name, value):
    """A finite number greater than 0 as a float."""
    # Python's own floats: unlike NumPy's, they can be compared with whole numbers of any size.
    return number(name, value, 5e-324, sys.float_info.max, "a finite number greater than 0")


def size(name, value):
    """A scale or standard deviation as a float."""
    return number(name, value, 1e-6, 1e6, "a number from 1e-6 to 1e6")


def check_df(df):
    """Degrees of freedom as a float."""
    return number("df", df, 1e-6, 1e20, "a number from 1e-6 to 1e20 (for more take the Gaussian)")


def one_of(name, value, *allowed):
    """One of the texts that are allowed."""
    if not isinstance(value, str) or value not in allowed:
        texts = " or ".join(f'"{text}"' for text in allowed)
        raise ValueError(f"{name} must be {texts}, got {said(value)}")
    return value


def switch(name, value):
    """`value`, True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {said(value)}")
    return bool(value)


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
    for length in shape if isinstance(shape, tuple | list) else (shape,):
        whole("shape", length)


def check_image_shape(shape, of=None):
    """`shape`, rows and columns of an image, as a tuple. With `of`, the shape (n, D) of some images, their product must be D."""
    try:
        rows, columns = (whole("side", side, 1) for side in shape)
    except (TypeError, ValueError):
        raise ValueError(f"shape must be two whole numbers, 1 or more, rows and columns, got {said(shape)}") from None
    if of is not None and (len(of) != 2 or of[1] != rows * columns):
        raise ValueError(f"images must have shape (n, {rows * columns}), got {tuple(of)}")
    return rows, columns


def check_mask(missing, shape):
    """`missing`, an array or a tensor, as a bool array of the given shape."""
    missing = as_array("missing", missing)
    if missing.shape != tuple(shape) or missing.dtype != bool:
        raise ValueError(f"missing must be bool of shape {tuple(shape)}, got {missing.dtype} of shape {missing.shape}")
    return missing

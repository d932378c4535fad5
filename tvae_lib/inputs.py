"""What several modules ask of their arguments: each function raises a one-line ValueError, or returns the argument for use."""

import contextlib
import numbers
import sys
from functools import wraps

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


def number(name, value):
    """A finite number greater than 0 as a float."""
    if not isinstance(value, numbers.Real) or not 0 < value <= sys.float_info.max:
        raise ValueError(f"{name} must be a finite number greater than 0, got {said(value)}")
    return float(value)


def one_of(name, value, *allowed):
    """One of the texts that are allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"{name} must be {' or '.join(map(repr, allowed))}, got {said(value)}".replace("'", '"', 2 * len(allowed))
        )
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
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    if not all(isinstance(size, numbers.Integral) and not isinstance(size, bool) and size >= 0 for size in sizes):
        raise ValueError(f"shape must be a whole number, 0 or more, or several of them, got {said(shape)}")


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


# ---- what the models take, arrays or tensors: `check_...` only looks at it and returns it


def check_sizes(sizes):
    """The layer widths as a tuple."""
    try:
        widths = tuple(whole("width", width, 1) for width in sizes)
    except (TypeError, ValueError):  # not iterable, or not whole numbers
        widths = ()
    if len(widths) < 2:
        raise ValueError(f"sizes must be at least two positive whole numbers, images first, latent last, got {said(sizes)}")
    return widths


def check_family(family):
    """An object with the three methods that every model needs."""
    if isinstance(family, type):
        raise ValueError(f"family must be an object, got the class {family.__name__}; call it: {family.__name__}(...)")
    missing = [name for name in ("sample", "log_prob", "score") if not callable(getattr(family, name, None))]
    if missing:
        need = "family must have the methods sample, log_prob and score"
        raise ValueError(f"{need}, got {said(family)} without {', '.join(missing)}")
    return family


def check_likelihood(likelihood):
    """One of the objects of `likelihood`, or another with their methods."""
    if isinstance(likelihood, type) or not all(
        hasattr(likelihood, name) for name in ("limits", "outputs", "cost_and_grad", "mean")
    ):
        raise ValueError(f"likelihood must be an object such as Bernoulli() or Normal(), got {said(likelihood)}")
    return likelihood


def layer_widths(model):
    """The widths of the layers of both halves of a model's network."""
    image, *hidden, latent = model.sizes
    encoder = ((2 if model.mask_input else 1) * image, *hidden, 2 * latent)
    return {"encoder": encoder, "decoder": (latent, *hidden[::-1], model.likelihood.outputs(image))}


def check_kl(kl, family, default="sample"):
    """ "exact" or "sample"; None stands for the default."""
    if kl is None:
        return default
    if not isinstance(kl, str) or kl not in ("exact", "sample"):
        raise ValueError(f'kl must be "exact", "sample" or None, got {said(kl)}')
    if kl == "exact" and not hasattr(family, "kl_exact_and_grad"):
        hint = 'has no method kl_exact_and_grad(mu, logvar); kl="sample" does without'
        raise ValueError(f'kl="exact" is not possible: {type(family).__name__} {hint}')
    return kl


def tensor_or_real(name, value):
    """A tensor as it is, anything else as an array of real numbers."""
    return value if hasattr(value, "detach") else real_array(name, value)


def _kind(x):
    """The kind of numbers in an array or a tensor by NumPy's letter: f floating point, c complex, i and others."""
    if hasattr(x.dtype, "kind"):
        return x.dtype.kind
    return "f" if x.dtype.is_floating_point else "c" if x.dtype.is_complex else "i"


def check_images(x, width, low=0, high=1):
    """Images (n, width) with pixels in [0, 1], or whatever the limits are."""
    if _kind(x) not in "biuf":
        raise ValueError(f"images must hold real numbers, got {x.dtype}")
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"images must have shape (n, {width}), got {tuple(x.shape)}")
    if len(x) and not (x.min() >= low and x.max() <= high):  # a NaN fails both comparisons
        raise ValueError(f"pixels must lie in [{low:g}, {high:g}], got values from {x.min():g} to {x.max():g}")
    return x


def check_eps(eps, shape, dtype, name="eps"):
    """Noise, floating point of the given shape, and not too large for a dtype."""
    if tuple(eps.shape) != tuple(shape) or _kind(eps) != "f":
        raise ValueError(f"{name} must be floating point of shape {tuple(shape)}, got {eps.dtype} of shape {tuple(eps.shape)}")
    return _check_size(name, eps, dtype)


def check_codes(z, width, dtype):
    """Codes (n, width), not too large for a dtype."""
    if z.ndim != 2 or z.shape[1] != width or _kind(z) not in "biuf":
        raise ValueError(f"z must hold real numbers, shape (n, {width}), got {z.dtype} of shape {tuple(z.shape)}")
    return _check_size("z", z, dtype)


def _check_size(name, value, dtype):
    if not within(value, largest(dtype)):
        raise ValueError(f"{name} must be finite and at most {largest(dtype):g} in size in {dtype}, got more or NaN")
    return value


def check_pairs(x, z):
    """As many images as codes."""
    if len(x) != len(z):
        raise ValueError(f"x and z must have the same number of rows, got {len(x)} and {len(z)}")


def images(x, model, dtype=None):
    """Images that a model takes, as an array in the given precision or in its own."""
    x = check_images(real_array("images", x), model.sizes[0], *model.likelihood.limits)
    return x if dtype is None else x.astype(dtype, copy=False)


def some(name, x):
    """At least one image."""
    if not len(x):
        raise ValueError(f"{name} must hold at least one image")
    return x


def codes(z, model):
    """Codes (n, d) as an array in the model's precision."""
    return check_codes(real_array("z", z), model.sizes[-1], model.dtype).astype(model.dtype, copy=False)


def noise(eps, model, n):
    """Noise (n, d) as an array in the model's precision."""
    return check_eps(as_array("eps", eps), (n, model.sizes[-1]), model.dtype).astype(model.dtype, copy=False)


def with_holes(x, missing, model, name="images"):
    """`x`, array or tensor, with 0 where the mask `missing` says so, and the mask as a bool array."""
    x = tensor_or_real(name, x)
    if x.ndim != 2 or x.shape[1] != model.sizes[0]:
        raise ValueError(f"{name} must have shape (n, {model.sizes[0]}), got {tuple(x.shape)}")
    missing = check_mask(missing, x.shape)
    zeroed = x.masked_fill(x.new_tensor(missing).bool(), 0) if hasattr(x, "detach") else np.where(missing, 0, x)
    return check_images(zeroed, model.sizes[0], *model.likelihood.limits), missing


def encoder_input(x, model, missing=None):
    """What the encoder gets: 0 where pixels are missing, and, if it is to know, D further inputs that are 1 there."""
    x = images(x if missing is None else with_holes(real_array("images", x), missing, model)[0], model, model.dtype)
    if not model.mask_input:
        return x
    return np.concatenate([x, np.zeros_like(x) if missing is None else missing], axis=1, dtype=model.dtype)


def batch(x, eps, model, missing=None, all_pixels=False, at_least=0):
    """Images, noise, what the encoder gets, and the mask of the pixels that are left out of the loss, if there is one."""
    seen = encoder_input(x, model, missing)
    if missing is None:
        x, hidden = images(x, model, model.dtype) if model.mask_input else seen, None
    else:
        x, hidden = (x, None) if all_pixels else with_holes(real_array("images", x), missing, model)
        x = images(x, model, model.dtype)
    if len(x) < at_least:
        raise ValueError("a gradient needs at least one image, got none")
    return x, noise(eps, model, len(x)), seen, hidden


def check_encoded(encoded):
    """What an encoder puts out. The arguments have been checked, so it is a FloatingPointError if it is not finite."""
    if not (abs(encoded) < np.inf).all():  # a NaN fails the comparison
        raise FloatingPointError("the encoder puts out NaN or infinity: the weights have diverged, try a lower learning rate")
    return encoded


@contextlib.contextmanager
def blame_the_weights():
    """Around what depends on checked arguments and the weights: a ValueError in it is the weights' fault."""
    try:
        yield
    except ValueError as error:
        raise FloatingPointError(f"{error}: the weights have diverged, try a lower learning rate") from None


# ---- what the latent families take


def check_df(df):
    """Degrees of freedom as a float."""
    if isinstance(df, bool) or not isinstance(df, numbers.Real) or not 1e-6 <= df <= 1e20:
        raise ValueError(f"df must be a number from 1e-6 to 1e20 (for more take the Gaussian), got {said(df)}")
    return float(df)


def check_code(mu, logvar):
    """mu and logvar, arrays or tensors, of one shape and of a size with which the KL can be computed."""
    if tuple(mu.shape) != tuple(logvar.shape):
        raise ValueError(f"mu and logvar must have the same shape, got {tuple(mu.shape)} and {tuple(logvar.shape)}")
    dtype = min(mu.dtype, logvar.dtype, key=lambda dtype: dtype.itemsize)
    most, most_logvar = largest(dtype), 600 if dtype.itemsize >= 8 else 80
    if not (within(mu, most) and within(logvar, most_logvar)):
        limits = f"in {dtype} at most {most:g} and {most_logvar} in size"
        raise ValueError(f"mu and logvar must be finite, {limits}, got more or NaN")
    return mu, logvar


def code(mu, logvar):
    """mu and logvar as arrays."""
    return check_code(floating("mu", mu), floating("logvar", logvar))


def drawn_code(mu, logvar, eps):
    """mu, logvar and the noise of one draw as arrays."""
    mu, logvar = code(mu, logvar)
    eps = as_array("eps", eps)
    if eps.shape != mu.shape or eps.dtype.kind != "f":
        raise ValueError(f"eps must be floating point of shape {mu.shape}, got {eps.dtype} of shape {eps.shape}")
    eps = finite("eps", eps)
    finite("sigma * eps", np.exp(0.5 * logvar) * eps)
    return mu, logvar, eps


def whole_codes(z, dims=None):
    """Codes whose coordinates belong together, (..., d), or (B, d) for dims=2."""
    if not z.ndim or (dims and z.ndim != dims):
        raise ValueError(f"codes of a density over whole codes must have shape {'(B, d)' if dims else '(..., d)'}, got {z.shape}")
    return z


def checked(family):
    """Class decorator: the methods of a family first look at what they are given, and `sample` at what it has drawn.

    z must be finite and at most 1e15 in size in float32, 1e120 in float64, so that no square overflows.
    """
    draw, of_numbers = family.sample, [family.log_prob, family.score]

    @wraps(draw)
    def sample(self, rng, shape):
        check_rng(rng)
        check_shape(shape)
        eps = draw(self, rng, shape)
        if not np.isfinite(eps).all():  # the share of draws of t beyond x falls like x^-df
            raise ValueError(f"df = {self.df:g} is too small: some draws exceed the largest float64; take 0.05 or more")
        return eps

    def looking(method):
        return wraps(method)(lambda self, z: method(self, finite("z", z)))

    family.sample = sample
    family.log_prob, family.score = map(looking, of_numbers)
    return family

"""What a model is made of, and the images, codes and noise that it takes, arrays or tensors. `check_...` only looks at them."""

import contextlib

import numpy as np

from tvae_lib.inputs.values import as_array, check_mask, largest, module_of, real_array, said, whole, within


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
    needed = ("limits", "outputs", "cost_and_grad", "costs", "mean", "sample")
    if isinstance(likelihood, type) or (lacking := [name for name in needed if not hasattr(likelihood, name)]):
        without = "" if isinstance(likelihood, type) or len(lacking) == len(needed) else f" without {', '.join(lacking)}"
        raise ValueError(f"likelihood must be an object such as Bernoulli() or Normal(), got {said(likelihood)}{without}")
    return likelihood


def layer_widths(model):
    """The widths of the layers of both halves of a model's network."""
    image, *hidden, latent = model.sizes
    encoder = ((2 if model.mask_input else 1) * image, *hidden, 2 * latent)
    return {"encoder": encoder, "decoder": (latent, *hidden[::-1], model.likelihood.outputs(image))}


def check_kl(kl, family, default):
    """ "exact" or "sample"; None stands for the default."""
    if kl is None:
        return default
    if not isinstance(kl, str) or kl not in ("exact", "sample"):
        raise ValueError(f'kl must be "exact", "sample" or None, got {said(kl)}')
    if kl == "exact":
        exact_kl(family)
    return kl


def exact_kl(family):
    """The family's method `kl_exact_and_grad`. ValueError if it has none; `Apart` says why."""
    try:
        return family.kl_exact_and_grad
    except AttributeError as error:
        raise ValueError(f'{said(family)} offers no exact KL: {error}; kl="sample" does without') from None


def given(name, value, model, make=real_array):
    """`value` as an array, made by `make`; for a model of PyTorch a tensor may stay one."""
    return value if getattr(model, "tensors", False) and hasattr(value, "detach") else make(name, value)


def _kind(x):
    """The kind of numbers in an array or a tensor by NumPy's letter: f floating point, c complex, i and others."""
    if hasattr(x.dtype, "kind"):
        return x.dtype.kind
    return "f" if x.dtype.is_floating_point else "c" if x.dtype.is_complex else "i"


def check_images(x, width, low=0, high=1, name="images"):
    """Images (n, width) with pixels in [0, 1], or whatever the limits are."""
    if _kind(x) not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got {x.dtype}")
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"{name} must have shape (n, {width}), got {tuple(x.shape)}")
    if len(x) and not (x.min() >= low and x.max() <= high):  # a NaN fails both comparisons
        of = "" if name == "images" else f" of {name}"
        raise ValueError(f"pixels{of} must lie in [{low:g}, {high:g}], got values from {x.min():g} to {x.max():g}")
    return x


def check_eps(eps, shape, dtype, name="eps"):
    """Noise, floating point of the given shape, and not too large for a dtype."""
    fits = tuple(eps.shape) == tuple(shape) and _kind(eps) == "f"
    return _check_form(name, eps, fits, f"be floating point of shape {tuple(shape)}", dtype)


def check_codes(z, width, dtype):
    """Codes (n, width), not too large for a dtype."""
    fits = z.ndim == 2 and z.shape[1] == width and _kind(z) in "biuf"
    return _check_form("z", z, fits, f"hold real numbers, shape (n, {width})", dtype)


def _check_form(name, value, fits, form, dtype):
    if not fits:
        raise ValueError(f"{name} must {form}, got {value.dtype} of shape {tuple(value.shape)}")
    if not within(value, largest(dtype)):
        raise ValueError(f"{name} must be finite and at most {largest(dtype):g} in size in {dtype}, got more or NaN")
    return value


def check_pairs(x, z):
    """As many images as codes."""
    if len(x) != len(z):
        raise ValueError(f"x and z must have the same number of rows, got {len(x)} and {len(z)}")


def images(x, model, name="images"):
    """Images (n, D) that a model takes, in their own precision."""
    return check_images(given(name, x, model), model.sizes[0], *model.likelihood.limits, name)


def codes(z, model):
    """Codes (n, d) in the model's precision."""
    return model.own(check_codes(given("z", z, model), model.sizes[-1], model.dtype))


def noise(eps, model, n):
    """Noise (n, d) in the model's precision."""
    return model.own(check_eps(given("eps", eps, model, as_array), (n, model.sizes[-1]), model.dtype))


def with_holes(x, missing, model, name="images"):
    """`x`, array or tensor, with 0 where the mask `missing` says so, and the mask as a bool array."""
    x = given(name, x, model)
    if x.ndim != 2 or x.shape[1] != model.sizes[0]:
        raise ValueError(f"{name} must have shape (n, {model.sizes[0]}), got {tuple(x.shape)}")
    missing = check_mask(missing, x.shape)
    zeroed = x.masked_fill(x.new_tensor(missing).bool(), 0) if hasattr(x, "detach") else np.where(missing, 0, x)
    return check_images(zeroed, model.sizes[0], *model.likelihood.limits, name), missing


def encoder_input(x, model, missing=None):
    """What the encoder gets: 0 where pixels are missing, and, if it is to know, D further inputs that are 1 there."""
    x, missing = (images(x, model), None) if missing is None else with_holes(x, missing, model)
    seen = model.own(x)
    if not model.mask_input:
        return seen
    xp = module_of(seen)
    return xp.concatenate([seen, xp.zeros_like(seen) if missing is None else model.own(missing)], 1)


def batch(x, eps, model, missing=None, all_pixels=False, at_least=0):
    """Images, noise, what the encoder gets, and the mask of the pixels that are left out of the loss, if there is one."""
    seen, hidden = encoder_input(x, model, missing), None
    if missing is not None and not all_pixels:
        x, hidden = with_holes(x, missing, model)
    x = seen if missing is None and not model.mask_input else model.own(images(x, model))
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

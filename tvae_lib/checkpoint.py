"""Save and load models: safetensors files that carry the configuration, and load in NumPy or PyTorch alike.

A file is written under a temporary name and then renamed, so a reader never sees half of one. Pickles are never loaded.
"""

import json
import os
import zlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from tvae_lib import latent, likelihood
from tvae_lib.files import write_atomically
from tvae_lib.inputs import check_dtype, check_family, one_of, said
from tvae_lib.vae_numpy import VAE

FORMAT = "tvae-1"
STATE = "optimiser."  # what the names of an optimiser's arrays begin with


def describe(model):
    """The configuration of a model as plain JSON values."""
    config = {**_describe_family(model.family), "sizes": list(model.sizes), "kl": model.kl}
    if type(model.likelihood) is not likelihood.Bernoulli:  # files from before there were others say nothing
        config["likelihood"] = {"name": type(model.likelihood).__name__, **vars(model.likelihood)}
    return {**config, "mask_input": True} if model.mask_input else config


def _describe_family(family):
    """The name of a family's class and its attributes, e.g. "family.shape": 1.5; only `df` goes by its own name."""
    config = {"family": type(family).__name__, "df": None}
    for name, value in vars(family).items():
        if name.startswith("_"):
            continue
        try:
            plain = json.loads(json.dumps(value, default=_plain))
        except (AttributeError, TypeError):
            hint = "numbers, texts and arrays can be stored, and a name that begins with _ leaves it out"
            raise ValueError(f"the family's attribute {name} is a {type(value).__name__}: {hint}") from None
        config["df" if name == "df" else f"family.{name}"] = plain
    return config


def _plain(value):
    return _describe_family(value) if hasattr(value, "log_prob") else value.tolist()


def _family(config, path):
    """The family that a configuration describes, if it is one of `latent`."""
    name = config["family"]
    if name == "Gaussian":
        return latent.Gaussian()
    if name in ("StudentT", "MultivariateT"):
        return getattr(latent, name)(config["df"])
    if name == "Apart":
        return latent.Apart(*(_family(config[f"family.{part}"], path) for part in ("encoder", "prior")))
    if name == "Scaled":
        return latent.Scaled(_family(config["family.family"], path), config["family.scale"])
    raise ValueError(f"{path} holds a model of the family {name!r}, not one of tvae_lib's: load(path, family={name}(...))")


def differences(here, there):
    """What differs between two configurations, as a list of texts such as "df 21.0 there, 5.0 here"."""
    names = {**here, **there}
    return [f"{name} {there.get(name)} there, {here.get(name)} here" for name in names if here.get(name) != there.get(name)]


def save(path, model, dtype=None, state=None, **extra):
    """Write a model of either back end to a safetensors file.

    path : str or Path, replaced if it exists.
    dtype : the stored precision, np.float16 (for shipped weights: half the size), np.float32, np.float64; default the model's.
    state : arrays or tensors of an optimiser, a dict, stored in their own precision (`state_of` gives them back).
    extra : JSON values stored beside the configuration (`read` gives them back).

    ValueError if path, dtype or extra is none of these, or a weight is too large for the dtype.
    """
    path = _path(path)
    if dtype is not None:
        dtype = check_dtype(dtype, np.float16, np.float32, np.float64)
    try:
        json_extra = json.dumps(extra)
    except (TypeError, ValueError, RecursionError):  # a value of another type, or one that contains itself
        raise ValueError(f"extra must be JSON values (numbers, texts, lists, dicts), got {', '.join(extra)}") from None
    arrays = {}
    for name, value in model.params.items():
        value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        if dtype is not None and (np.abs(value) > np.finfo(dtype).max).any():
            raise ValueError(f"{name} has values up to {np.abs(value).max():g}, too large for {dtype}")
        arrays[name] = np.ascontiguousarray(value, dtype)
    for name, value in (state or {}).items():
        arrays[STATE + name] = np.ascontiguousarray(value.cpu() if hasattr(value, "cpu") else value)
    metadata = {"format": FORMAT, "config": json.dumps(describe(model)), "extra": json_extra}
    metadata["crc32"] = _checksum(metadata, arrays)
    write_atomically(path, to_bytes(arrays, metadata))


def _path(path):
    if not isinstance(path, str | os.PathLike) or not Path(path).name:
        raise ValueError(f"path must name a file, got {said(path)}")
    return Path(path)


def _checksum(metadata, arrays):
    crc = zlib.crc32((metadata["config"] + metadata["extra"]).encode())
    for name in sorted(arrays):
        crc = zlib.crc32(f"{name} {arrays[name].dtype}".encode(), crc)
        crc = zlib.crc32(arrays[name], crc)
    return str(crc)


def read(path):
    """Read a file written by `save`: (configuration, parameters, extra). Raises ValueError if it is anything else."""
    path = _path(path)
    if not path.is_file():
        raise ValueError(f"there is no weight file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            params = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:  # the last: no dtype of NumPy
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a whole safetensors file ({reason}); restore it or train again") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} was not written by tvae_lib.checkpoint.save (its format is {metadata.get('format')!r})")
    try:
        checksum = _checksum(metadata, params)
        whole = metadata["crc32"] == checksum
        config, extra = json.loads(metadata["config"]), json.loads(metadata["extra"])
        whole = whole and config.keys() >= {"family", "df", "sizes", "kl"} and isinstance(config["sizes"], list)
    except (KeyError, ValueError, AttributeError, RecursionError):  # of JSON, or JSON that is no dict
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged (its configuration or checksum is wrong); restore it or train again")
    return config, params, extra


def load(path, backend="numpy", family=None):
    """Read a model, float32, for the back end "numpy" or "torch". Raises ValueError for anything but a file of `save`.

    A file holds the name and the attributes of its family, and no code. Those of `latent` are made from them. A family of your
    own you pass, as in load(path, family=Laplace()); its class must have the stored name, its attributes the stored values.
    """
    one_of("backend", backend, "numpy", "torch")
    config, params, _ = read(path)
    if family is not None:
        check_family(family)
        there = {k: v for k, v in config.items() if k not in ("sizes", "kl", "likelihood", "mask_input")}
        different = differences(_describe_family(family), there)
        if different:
            raise ValueError(f"{path} holds a model of another family: {json.dumps(different)}")
    else:
        family = _family(config, path)
    if backend == "torch":
        from tvae_lib.vae_torch import VAE as kind
    else:
        kind = VAE
    options = {"likelihood": _likelihood(config.get("likelihood"), path), "mask_input": config.get("mask_input", False)}
    model = kind(family, sizes=config["sizes"], kl=config["kl"], **options)
    set_params(model, params, path)
    return model


def _likelihood(config, path):
    """The likelihood that a configuration describes."""
    if config is None:
        return likelihood.Bernoulli()
    values = dict(config)
    name = values.pop("name")
    if name not in ("Normal", "StudentT"):
        raise ValueError(f"{path} holds a model with the likelihood {name!r}, not one of tvae_lib's")
    return getattr(likelihood, name)(**values)


def state_of(params):
    """The state of an optimiser among the arrays of a file."""
    return {name.removeprefix(STATE): value for name, value in params.items() if name.startswith(STATE)}


def set_params(model, params, path="the parameters"):
    """Copy a dict of arrays into a model of either back end; every name and shape must fit."""
    params = {name: value for name, value in params.items() if not name.startswith(STATE)}
    expected = {name: tuple(value.shape) for name, value in model.params.items()}
    found = {name: tuple(value.shape) for name, value in params.items()}
    if expected != found:
        raise ValueError(f"{path}: names or shapes differ from the model's: {sorted(expected.items() ^ found.items())[:2]}")
    for name, value in params.items():
        target = model.params[name]
        if hasattr(target, "detach"):
            target.copy_(target.new_tensor(np.asarray(value, np.float64)))
        else:
            target[...] = value

"""Weight files: round trips, what is refused, and that no half file is ever left."""

import json
import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tvae_lib import checkpoint
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.likelihood import Bernoulli
from tvae_lib.vae_numpy import VAE

SIZES = (6, 5, 2)


@pytest.fixture
def model():
    return VAE(StudentT(7.5), sizes=SIZES, rng=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    "family, kl", [(Gaussian(), None), (Gaussian(), "sample"), (StudentT(2.5), None), (StudentT(21), "exact")]
)
def test_round_trip(path, family, kl):
    model = VAE(family, sizes=SIZES, rng=1, kl=kl)
    checkpoint.save(path, model)
    back = checkpoint.load(path)
    assert type(back.family) is type(family) and repr(back.family) == repr(family)
    assert back.sizes == SIZES and back.kl == model.kl and back.dtype == np.float32
    assert list(back.params) == list(model.params)
    for name, value in model.params.items():
        np.testing.assert_array_equal(back.params[name], value)
    x, eps = np.full((3, 6), 0.25), np.ones((3, 2))
    assert back.loss(x, eps).total == model.loss(x, eps).total


def test_text_paths_and_new_folders(tmp_path, model):
    path = f"{tmp_path}/a/b/model.safetensors"
    checkpoint.save(path, model)
    assert checkpoint.load(path).sizes == SIZES


@pytest.mark.parametrize("nothing", [3, None, "", ".", "/"])
def test_a_path_that_names_no_file(nothing, model, refuses):
    with refuses("path must name a file, got"):
        checkpoint.save(nothing, model)
    with refuses("path must name a file, got"):
        checkpoint.load(nothing)


def test_half_precision(path, model):
    checkpoint.save(path, model, dtype=np.float16)
    assert all(value.dtype == np.float16 for value in load_file(path).values())
    back = checkpoint.load(path)
    for name, value in model.params.items():
        assert back.params[name].dtype == np.float32
        np.testing.assert_array_equal(back.params[name], value.astype(np.float16))
        np.testing.assert_allclose(back.params[name], value, rtol=2**-11, atol=1e-7)


def test_a_weight_too_large_for_the_precision(path, model, refuses):
    bias = model.params["decoder.0.bias"]
    bias[0] = -65504  # float16 has none larger
    checkpoint.save(path, model, dtype=np.float16)
    assert checkpoint.load(path).params["decoder.0.bias"][0] == -65504
    bias[0] = -65536
    with refuses("decoder.0.bias has values up to 65536, too large for float16"):
        checkpoint.save(path, model, dtype=np.float16)


def test_half_precision_halves_the_file(tmp_path):
    model = VAE(Gaussian())
    for name, dtype in ("full", None), ("half", np.float16):
        checkpoint.save(tmp_path / name, model, dtype=dtype)
    assert (tmp_path / "half").stat().st_size < 0.51 * (tmp_path / "full").stat().st_size < 1.02 * 4 * 752_000 * 0.51


def test_double_precision_is_stored(path):
    model = VAE(Gaussian(), sizes=SIZES, dtype=np.float64)
    checkpoint.save(path, model)
    assert all(value.dtype == np.float64 for value in load_file(path).values())
    np.testing.assert_array_equal(checkpoint.read(path)[1]["encoder.0.weight"], model.params["encoder.0.weight"])


def test_extra_values_come_back(path, model):
    checkpoint.save(path, model, run={"seed": 3}, note="é", history={"loss": [1.5, 0.1 + 0.2]})
    config, params, extra = checkpoint.read(path)
    assert config == {"family": "StudentT", "df": 7.5, "sizes": [6, 5, 2], "kl": "sample"}
    assert set(params) == set(model.params)
    assert extra == {"run": {"seed": 3}, "note": "é", "history": {"loss": [1.5, 0.1 + 0.2]}}


def test_extra_values_that_json_does_not_know(path, model, refuses):
    with refuses(r"extra must be JSON values \(numbers, texts, lists, dicts\), got note"):
        checkpoint.save(path, model, note={1})
    assert not path.exists()


def test_a_likelihood_of_ones_own_is_not_loaded(path, refuses):
    class Mine(Bernoulli):
        pass

    checkpoint.save(path, VAE(Gaussian(), sizes=SIZES, likelihood=Mine()))
    with refuses("holds a model with the likelihood 'Mine', not one of tvae_lib's"):
        checkpoint.load(path)


def test_loaded_parameters_can_be_trained(path, model):
    checkpoint.save(path, model)
    back = checkpoint.load(path)
    for value in back.params.values():
        value += 1


# Writing is all or nothing


class NoSpaceError(OSError):
    pass


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(path, model, monkeypatch, broken):
    checkpoint.save(path, model)
    before = path.read_bytes()

    def fail(*_):
        raise NoSpaceError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, broken, fail)
        with pytest.raises(NoSpaceError):
            checkpoint.save(path, VAE(Gaussian(), sizes=SIZES))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_failed_first_write_leaves_nothing(path, model, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(NoSpaceError()))
    with pytest.raises(NoSpaceError) as caught:
        checkpoint.save(path, model)
    assert caught.value.filename == str(path)
    assert list(path.parent.iterdir()) == []


def test_the_file_is_whole_before_it_gets_its_name(path, model, monkeypatch):
    sizes, replace = [], os.replace
    checkpoint.save(path, model)
    monkeypatch.setattr(os, "replace", lambda a, b: (sizes.append(os.path.getsize(a)), checkpoint.read(a), replace(a, b)))
    checkpoint.save(path, model)
    assert sizes == [path.stat().st_size]


# What is refused


def test_missing_file(path, refuses):
    with refuses(r"there is no weight file .*model\.safetensors"):
        checkpoint.load(path)
    with refuses("there is no weight file"):
        checkpoint.load(path.parent)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1, -100])
def test_truncated_file(path, model, kept, refuses):
    checkpoint.save(path, model)
    path.write_bytes(path.read_bytes()[:kept])
    with refuses(r"model\.safetensors is not a whole safetensors file .*restore it or train again"):
        checkpoint.load(path)


def test_every_flipped_byte_is_noticed_or_harmless(path, model):
    checkpoint.save(path, model, note="text")
    whole, expected = path.read_bytes(), checkpoint.read(path)
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x15]) + whole[position + 1 :])
        try:
            found = checkpoint.read(path)
        except ValueError as error:
            assert "model.safetensors" in str(error) and "\n" not in str(error)
        else:
            np.testing.assert_equal(found, expected)


def test_a_file_without_a_checksum_is_refused(path, model, refuses):
    """Were it taken, a damaged name would take the checksum off a file."""
    save_file(model.params, path, {"format": checkpoint.FORMAT, "config": json.dumps(checkpoint.describe(model)), "extra": "{}"})
    with refuses("is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_refused_and_never_run(path, protocol, refuses):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(path.parent / "exploded"),)

    path.write_bytes(pickle.dumps(Bomb(), protocol))
    with refuses("is not a whole safetensors file"):
        checkpoint.load(path)
    assert not (path.parent / "exploded").exists()


def test_a_numpy_or_text_file_is_refused(path, refuses):
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))
    with refuses("is not a whole safetensors file"):
        checkpoint.load(path)
    path.write_text("<html>404 Not Found</html>")
    with refuses("is not a whole safetensors file"):
        checkpoint.load(path)


def test_foreign_safetensors_files(path, model, refuses):
    save_file({"weight": np.zeros(3)}, path)
    with refuses("was not written by tvae_lib.checkpoint.save"):
        checkpoint.load(path)
    save_file({"weight": np.zeros(3)}, path, {"format": "pt"})
    with refuses("was not written by tvae_lib.checkpoint.save .its format is 'pt'"):
        checkpoint.load(path)
    save_file({"weight": np.zeros(3)}, path, {"format": checkpoint.FORMAT})
    with refuses("is damaged .its configuration or checksum is wrong"):
        checkpoint.load(path)


CONFIG = {"family": "Gaussian", "df": None, "sizes": list(SIZES), "kl": "exact"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"family": "Laplace"}, "Laplace"),
        ({"family": "StudentT", "df": -2}, "df must be a number from 1e-6 to 1e20"),
        ({"sizes": [6]}, "sizes must be at least two"),
        ({"sizes": [6, 5, 3]}, "names or shapes differ"),
        ({"kl": "other"}, "kl must be"),
    ],
)
def test_foreign_configuration(path, model, change, message, refuses):
    metadata = {"format": checkpoint.FORMAT, "config": json.dumps({**CONFIG, **change}), "extra": "{}"}
    save_file(model.params, path, metadata | {"crc32": checkpoint._checksum(metadata, model.params)})
    with refuses(message):
        checkpoint.load(path)


@pytest.mark.parametrize("backend", ["jax", "NumPy", "", None, 1])
def test_unknown_backend(path, model, backend, refuses):
    checkpoint.save(path, model)
    with refuses('backend must be "numpy" or "torch", got'):
        checkpoint.load(path, backend)


def test_set_params_wants_the_very_same_names_and_shapes(model, refuses):
    good = {name: value + 1 for name, value in model.params.items()}
    before = {name: value.copy() for name, value in model.params.items()}
    missing = {name: value for name, value in good.items() if name != "decoder.0.bias"}
    would_broadcast = {**good, "decoder.0.bias": np.zeros(1, np.float32)}
    transposed = {**good, "encoder.0.weight": good["encoder.0.weight"].T}
    for params in (missing, {**good, "extra": np.zeros(1)}, would_broadcast, transposed):
        with refuses("names or shapes differ from the model's"):
            checkpoint.set_params(model, params)
    for name, value in before.items():
        np.testing.assert_array_equal(model.params[name], value)
    checkpoint.set_params(model, good)
    np.testing.assert_array_equal(model.params["encoder.0.weight"], before["encoder.0.weight"] + 1)

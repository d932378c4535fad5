"""Thousands of mutated checkpoints and data files: each gives the very same content, or one line of ValueError."""

import numpy as np
import pytest
import trials

from tvae_lib import checkpoint, data
from tvae_lib.latent import StudentT
from tvae_lib.vae_numpy import VAE

NAME, OTHER = "t10k-labels-idx1-ubyte.gz", "fashion-t10k-labels-idx1-ubyte.gz"  # the smallest of the data


def flip(rng, whole, other):
    content = bytearray(whole)
    for position in rng.integers(len(whole), size=rng.integers(1, 9)):
        content[position] ^= 1 << rng.integers(8)
    return bytes(content)


def flip_in_front(rng, whole, other):
    """Where the header is."""
    return flip(rng, whole[:600], other) + whole[600:]


def truncate(rng, whole, other):
    return whole[: rng.integers(len(whole))]


def insert(rng, whole, other):
    at = rng.integers(len(whole))
    return whole[:at] + rng.bytes(rng.integers(1, 40)) + whole[at:]


def remove(rng, whole, other):
    start, length = rng.integers(len(whole)), rng.integers(1, 200)
    return whole[:start] + whole[start + length :]


def duplicate(rng, whole, other):
    """A block of the file comes twice: behind itself, or over what stood elsewhere."""
    start, length, at = rng.integers(len(whole)), rng.integers(1, 400), rng.integers(len(whole))
    block = whole[start : start + length]
    return whole[:at] + block + whole[at + rng.choice([0, len(block)]) :]


def splice(rng, whole, other):
    """The front of another valid file before the rest of this one."""
    at = rng.integers(min(len(whole), len(other)))
    return other[:at] + whole[at:]


def digits(rng, whole, other):
    """Other digits in the text of the header: shapes, offsets, numbers of the configuration, the checksum."""
    content = bytearray(whole)
    places = [i for i in range(8, min(len(whole), 1000)) if chr(content[i]).isdigit()] or [0]
    for place in rng.choice(places, size=rng.integers(1, 4)):
        content[place] = ord("0") + rng.integers(10)
    return bytes(content)


MUTATIONS = (flip, flip_in_front, truncate, insert, remove, duplicate, splice, digits)


def fuzz(path, read, whole, other, seed, count):
    """Let `read` read `count` mutations of the file; returns how many were refused."""
    rng, refused = np.random.default_rng(seed), 0
    path.write_bytes(whole)
    expected = read(path)
    for number in range(count):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        content = mutation(rng, whole, other)
        if content == other:
            continue
        path.write_bytes(content)
        try:
            found = read(path)
        except ValueError as error:
            message = str(error)
            assert type(error) is ValueError and path.name in message and "\n" not in message, (number, mutation, message)
            refused += content != whole
        else:
            assert found == expected, (number, mutation)
    return refused


def load(path):
    model = checkpoint.load(path)
    config, _, extra = checkpoint.read(path)
    params = {name: (value.dtype, value.shape, value.tobytes()) for name, value in model.params.items()}
    return repr(model.family), model.sizes, model.kl, params, config, extra


@pytest.mark.parametrize("dtype", [None, np.float16])
def test_mutated_checkpoints(tmp_path, dtype):
    contents = []
    for name, family, sizes in (("a", StudentT(21), (6, 5, 2)), ("b", StudentT(3), (6, 5, 3))):
        checkpoint.save(tmp_path / name, VAE(family, sizes, rng=1), dtype, run={"seed": 4}, history={"loss": [1.5, 0.25]})
        contents.append((tmp_path / name).read_bytes())
    assert fuzz(tmp_path / "run.safetensors", load, *contents, seed=5, count=6000) > 5700


def test_mutated_data(tmp_path):
    contents = [(data.FOLDER / name).read_bytes() for name in (NAME, OTHER)]
    read = lambda path: data.read_idx(path).tobytes()
    assert fuzz(tmp_path / NAME, read, *contents, seed=6, count=6000) > 5700


def test_mutated_results(tmp_path):
    read = lambda path: trials.results.read_record(path)
    contents = []
    for seed in (0, 1):
        path = tmp_path / f"baselines-{seed}.json"
        scores = [[metric, "random", "zero", seed + 1 / 3] for metric in ("mse_missing", "mse_prediction")]
        trials.results.write_record(path, {"seed": seed, "baselines": True, "provenance": {"numpy": "2.0"}, "scores": scores})
        contents.append(path.read_bytes())
    assert fuzz(tmp_path / "baselines-0.json", read, *contents, seed=7, count=4000) > 3800

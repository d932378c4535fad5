"""The embedded data: the split's hashes, labels, damaged files, batches."""

import gzip
import hashlib
import shutil

import numpy as np
import pytest

from tvae_lib import data

SPLIT_SHA256 = {  # of the uint8 rows (n, 784) in C order, computed when the data was handed to this project
    "train": (55_000, "207f4b309759125fbda39b7c9cfeb0f0a0b3bdde83cbdae6acdecc17028f2011"),
    "valid": (5_000, "d799cbdbacf9336b69b656a6581633a1f49fe3ecf17a7b2755494b4cc6ee6193"),
    "test": (10_000, "c18fd56232a1b32b024a40f4c78235f28848191316412d131f57c1c913ab823f"),
}


@pytest.mark.parametrize("part", SPLIT_SHA256)
def test_split_hashes(mnist, part):
    rows, expected = SPLIT_SHA256[part]
    images = getattr(mnist, part)
    assert images.shape == (rows, 784) and images.dtype == np.float32
    assert images.min() == 0 and images.max() == 1
    as_bytes = np.rint(images * 255).astype(np.uint8)
    assert hashlib.sha256(as_bytes.tobytes()).hexdigest() == expected
    np.testing.assert_array_equal(images[:50], as_bytes[:50].astype(np.float32) / np.float32(255))


def test_labels_follow_their_images(mnist):
    counts = sum(np.bincount(getattr(mnist, f"{part}_labels"), minlength=10) for part in SPLIT_SHA256)
    assert counts.tolist() == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    assert mnist.test_labels[3001] == 5  # the digit that the source project samples 30 times
    for part in SPLIT_SHA256:
        assert len(getattr(mnist, f"{part}_labels")) == len(getattr(mnist, part))
    # A nearest-class-mean classifier gets about 82 % right; with labels shuffled against images it would get 10 %.
    means = np.stack([mnist.train[mnist.train_labels == digit].mean(axis=0) for digit in range(10)])
    distance = -2 * mnist.test @ means.T + np.sum(means**2, axis=1)
    assert np.mean(distance.argmin(axis=1) == mnist.test_labels) > 0.8


def test_loaders_cache_and_protect_their_arrays(mnist):
    assert data.load_mnist() is mnist
    with pytest.raises(ValueError, match="read-only"):
        mnist.train[0, 0] = 1
    with pytest.raises(AttributeError):
        mnist.train = mnist.valid
    images, labels = data.load_fashion_test()
    assert images.shape == (10_000, 784) and images.dtype == np.float32 and images.max() == 1
    assert np.bincount(labels).tolist() == [1000] * 10
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1


NAME = "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def copy(tmp_path):
    return shutil.copy(data.FOLDER / NAME, tmp_path / NAME)


def test_a_whole_file_reads(copy):
    assert data.read_idx(copy)[:5].tolist() == [7, 2, 1, 0, 4]


def test_every_flipped_byte_of_the_payload_is_noticed(copy, refuses):
    whole = copy.read_bytes()
    for position in (0, 200, len(whole) // 2, len(whole) - 1):
        copy.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with refuses(rf"{NAME} .*restore it with `git checkout -- tvae_lib/data/{NAME}`"):
            data.read_idx(copy)


def test_one_changed_label_in_a_valid_gzip_is_noticed(copy, refuses):
    raw = bytearray(gzip.decompress(copy.read_bytes()))
    raw[-1] ^= 1
    copy.write_bytes(gzip.compress(raw))
    with refuses("damaged .wrong checksum."):
        data.read_idx(copy)


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_truncated_or_empty_file(copy, refuses, kept):
    copy.write_bytes(copy.read_bytes()[:kept])
    with refuses(rf"{NAME} .*restore it"):
        data.read_idx(copy)


def test_missing_file(copy, refuses):
    copy.unlink()
    with refuses(rf"{NAME} cannot be read .*restore it"):
        data.read_idx(copy)


def test_a_damaged_file_stops_the_loader(tmp_path, monkeypatch, refuses):
    for name in data.MD5:
        (tmp_path / name).write_bytes((data.FOLDER / name).read_bytes())
    (tmp_path / NAME).write_bytes(b"not gzip")
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    with refuses(NAME):
        data.load_mnist.__wrapped__()


def test_batches_cover_every_row_once_and_drop_the_short_rest(rng):
    rows = list(data.batches(rng, 23, 5))
    assert [len(r) for r in rows] == [5, 5, 5, 5]
    assert len(set(np.concatenate(rows).tolist())) == 20 and np.concatenate(rows).max() < 23
    assert sorted(np.concatenate(list(data.batches(rng, 20, 5)))) == list(range(20))
    assert [len(r) for r in data.batches(rng, 5, 5)] == [5]


def test_batches_repeat_with_the_seed_and_differ_between_seeds():
    first, again, other = (np.concatenate(list(data.batches(np.random.default_rng(s), 100, 10))) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first != np.arange(100)).any()


@pytest.mark.parametrize("size", [0, -1, 11, 2.5, "5", None, float("nan")])
def test_batch_size_out_of_range(rng, refuses, size):
    with refuses("batch size must be a whole number from 1 to 10, got"):
        data.batches(rng, 10, size)

"""MNIST and the Fashion-MNIST test set, embedded next to this file, so that nothing is downloaded.

The files are the canonical IDX files, gzip-compressed; README.md beside them gives their licences and checksums.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tvae_lib.inputs import check_rng, said, whole

FOLDER = Path(__file__).parent

# md5 of the unpacked files, as published with the data sets (README.md).
MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    "fashion-t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
    "fashion-t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
}


@dataclass(frozen=True)
class Mnist:
    """70,000 digits in three parts. Images are float32 (n, 784) with pixels in [0, 1]; labels are uint8 (n,)."""

    train: np.ndarray  # (55000, 784)
    valid: np.ndarray  # (5000, 784)
    test: np.ndarray  # (10000, 784)
    train_labels: np.ndarray
    valid_labels: np.ndarray
    test_labels: np.ndarray


def read_idx(path):
    """Read one gzip-compressed IDX file of unsigned bytes and check it against its md5.

    Returns uint8, images flattened to (n, 784), labels (n,). Raises ValueError if the file is damaged or missing, or not one of
    those in README.md.
    """
    if not isinstance(path, str | Path) or Path(path).name not in MD5:
        raise ValueError(f"path must end in one of {', '.join(MD5)}, got {said(path)}")
    path = Path(path)
    restore = f"restore it with `git checkout -- tvae_lib/data/{path.name}` or reinstall tvae_lib"
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {restore}") from None
    except Exception as error:  # zlib.error is not an OSError
        raise ValueError(f"{path} is damaged ({error}); {restore}") from None
    if hashlib.md5(raw).hexdigest() != MD5[path.name]:
        raise ValueError(f"{path} is damaged (wrong checksum); {restore}")
    # IDX header: two zero bytes, the type code, the number of dimensions, then each dimension as a big-endian int32.
    n_dims = raw[3]
    shape = np.frombuffer(raw, dtype=">i4", count=n_dims, offset=4)
    values = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * n_dims)
    return values.reshape(shape[0], -1) if n_dims > 1 else values


def _to_unit_interval(images):
    scaled = images.astype(np.float32)
    scaled /= 255
    return scaled


def _read_only(*arrays):
    # The loaders are cached: everybody shares these arrays, so nobody may write to them.
    for array in arrays:
        array.setflags(write=False)
    return arrays


@cache
def load_mnist():
    """MNIST in the split of the source project: 55,000 / 5,000 / 10,000 images, the same rows every time.

    The files are verified once and the result is kept; later calls return the same read-only arrays.

    Returns
    -------
    Mnist
        `.train`, `.valid`, `.test`: float32 (n, 784) in [0, 1]; `.train_labels` and so on: uint8 (n,).
    """
    from sklearn.model_selection import train_test_split  # slow to import, needed only here

    images = np.concatenate([read_idx(FOLDER / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")])
    labels = np.concatenate([read_idx(FOLDER / f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")])
    rest, test = train_test_split(np.arange(len(images)), test_size=10_000, random_state=123)
    train, valid = train_test_split(rest, test_size=5_000, random_state=123)
    parts = [_to_unit_interval(images[rows]) for rows in (train, valid, test)]
    return Mnist(*_read_only(*parts, labels[train], labels[valid], labels[test]))


@cache
def load_fashion_test():
    """The 10,000 Fashion-MNIST test images, float32 (10000, 784) in [0, 1], and their labels, uint8 (10000,)."""
    images = read_idx(FOLDER / "fashion-t10k-images-idx3-ubyte.gz")
    labels = read_idx(FOLDER / "fashion-t10k-labels-idx1-ubyte.gz").copy()
    return _read_only(_to_unit_interval(images), labels)


def batches(rng, n, size):
    """Iterate over index arrays of `size` that cover 0..n-1 in random order; a last short batch is dropped.

    rng: np.random.Generator. Raises ValueError unless rng is one, and size and n are whole numbers with 1 <= size <= n.
    """
    check_rng(rng)
    check_batch_size(size, n)
    order = rng.permutation(n)
    return (order[start : start + size] for start in range(0, n - size + 1, size))


def check_batch_size(size, n):
    """Raise ValueError unless size and n are whole numbers and 1 <= size <= n."""
    whole("n", n)
    whole("batch size", size, 1, n)

"""MNIST as a PyTorch data set, and other data sets of 28 x 28 images from torchvision."""

import torch
from torch.utils.data import Dataset

from tvae_lib.data import load_mnist
from tvae_lib.inputs import one_of

TORCHVISION = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST")  # 28 x 28 grey images, as the models here expect


class MnistImages(Dataset):
    """One part of the embedded MNIST: pairs of an image, float32 (784,) in [0, 1], and its label, an int.

    part : "train", "valid" or "test", 55,000, 5,000 and 10,000 images; ValueError for anything else.
    """

    def __init__(self, part="train"):
        one_of("part", part, "train", "valid", "test")
        data = load_mnist()
        # Copies, because tensors must be writable and the loader's arrays are shared and read-only.
        self.images = torch.tensor(getattr(data, part))
        self.labels = torch.tensor(getattr(data, f"{part}_labels"), dtype=torch.int64)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], int(self.labels[i])


def torchvision_dataset(name, root="torchvision-data", train=True, download=False):
    """Open a data set of torchvision.datasets; its images come as float32 tensors (784,) in [0, 1].

    name : "MNIST", "FashionMNIST", "KMNIST" or "QMNIST".
    root : the folder that holds it, or will.
    download : fetch the files if they are not there. Nothing is downloaded unless asked for.

    Raises ValueError for an unknown name, and FileNotFoundError when the files are neither there nor could be downloaded.
    """
    from torchvision import datasets
    from torchvision.transforms import v2

    one_of("name", name, *TORCHVISION)
    to_vector = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Lambda(torch.flatten)]
    try:
        return getattr(datasets, name)(root, train=train, download=download, transform=v2.Compose(to_vector))
    except (RuntimeError, OSError) as error:
        if download:
            reason = " ".join(str(error).split())
            hint = (
                f"could not be downloaded ({reason}); without a network use load_mnist() or load_fashion_test() of tvae_lib.data"
            )
        else:
            hint = f"is not in {root}; pass download=True to fetch it, once, over the network"
        raise FileNotFoundError(f"{name} {hint}") from None

"""The PyTorch model against the NumPy one: same parameters and noise, same numbers."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence
from torch.distributions import StudentT as TorchStudentT
from torch.utils.data import DataLoader

from tvae_lib import checkpoint, experiments, impute, masks, vae_numpy, vae_torch
from tvae_lib.data import load_mnist, torch_data
from tvae_lib.latent import Gaussian, StudentT, kl_exact_and_grad, kl_sample_and_grad
from tvae_lib.train import evaluate, fit

FAMILIES = [Gaussian(), StudentT(1), StudentT(2.5), StudentT(5), StudentT(21), StudentT(200)]
KINDS = [(family, kl) for family in FAMILIES for kl in ("exact", "sample")]
PRECISIONS = {np.float32: (torch.float32, 1e-5, 1e-4), np.float64: (torch.float64, 1e-12, 1e-10)}


@pytest.fixture(scope="module")
def images():
    return load_mnist().train[:1000]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def twins(family, dtype=np.float32, **options):
    """The same model in both back ends, from PyTorch's initial weights."""
    torch.manual_seed(5)
    ours = vae_numpy.VAE(family, dtype=dtype, **options)
    twin = vae_torch.VAE(family, dtype=PRECISIONS[dtype][0], **options)
    checkpoint.set_params(ours, {name: value.numpy() for name, value in twin.params.items()})
    return ours, twin


def relative_error(a, b):
    """Largest difference, relative to the largest entry of `a`."""
    a, b = (np.asarray(value) for value in (a, b))
    return float(np.abs(a - b).max() / np.abs(a).max())


def clear_of_kinks(model, x, eps):
    """Which images have no hidden unit so close to the kink of its ReLU that float32 rounding could switch it: nearly all."""
    params = {name: value.astype(float) for name, value in model.params.items()}
    distance = np.full(len(x), np.inf)
    h, depth = x.astype(float), len(model.sizes) - 1
    for part in ("encoder", "decoder"):
        for i in range(depth):
            h = h @ params[f"{part}.{i}.weight"].T + params[f"{part}.{i}.bias"]
            if i < depth - 1:
                distance = np.minimum(distance, np.abs(h).min(axis=1))
                h = np.maximum(h, 0)
        if part == "encoder":
            mu, logvar = np.split(h, 2, axis=1)
            h = mu + np.exp(0.5 * logvar) * eps
    return distance > 3e-6


# ---- parity


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("family, kl", KINDS, ids=str)
def test_loss_and_every_gradient_agree(images, family, kl, dtype):
    _, tolerance, _ = PRECISIONS[dtype]
    ours, twin = twins(family, dtype, kl=kl)
    rng = np.random.default_rng(8)
    x, eps = images[:200], family.sample(rng, (200, 10))
    clear = clear_of_kinks(ours, x, eps)
    assert clear.mean() > 0.8
    x, eps = x[clear], eps[clear]
    loss, grads = ours.loss_and_grad(x, eps)
    twin_loss, twin_grads = twin.loss_and_grad(x, eps)
    assert set(grads) == set(twin_grads) == set(ours.params)
    assert float(twin_loss.total) == pytest.approx(loss.total, rel=tolerance)
    assert relative_error(loss.reconstruction, twin_loss.reconstruction) < tolerance
    np.testing.assert_allclose(twin_loss.kl, loss.kl, rtol=tolerance, atol=tolerance)
    for name, grad in grads.items():
        assert twin_grads[name].dtype == PRECISIONS[dtype][0]
        assert relative_error(grad, twin_grads[name]) < tolerance, name


@pytest.mark.parametrize("sizes", [(784, 5), (784, 30, 3), (784, 40, 20, 12, 2)], ids=str)
def test_other_depths_agree(images, sizes):
    ours, twin = twins(StudentT(4), np.float64, sizes=sizes)
    eps = StudentT(4).sample(np.random.default_rng(0), (50, sizes[-1]))
    _, grads = ours.loss_and_grad(images[:50], eps)
    _, twin_grads = twin.loss_and_grad(images[:50], eps)
    assert all(relative_error(grads[name], twin_grads[name]) < 1e-12 for name in grads)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("family, kl", [(Gaussian(), "exact"), (StudentT(21), "sample"), (StudentT(3), "exact")], ids=str)
def test_ten_steps_of_sgd_lead_to_the_same_parameters(images, family, kl, dtype):
    # Compared by the norm of each array: in float32 a unit within rounding of the kink of its ReLU may be on in one back end
    # and off in the other for one image, which moves a few entries more than the rest.
    _, _, tolerance = PRECISIONS[dtype]
    ours, twin = twins(family, dtype, kl=kl)
    for model in (ours, twin):
        fit(model, images[:200], images[:100], epochs=10, batch_size=200, lr=0.005, seed=1, progress=False)
    for name, value in ours.params.items():
        assert np.linalg.norm(twin.params[name].numpy() - value) < tolerance * np.linalg.norm(value), name


def test_encode_decode_and_reconstruct_agree(images):
    ours, twin = twins(StudentT(21), np.float64)
    eps = StudentT(21).sample(np.random.default_rng(0), (20, 10))
    for ours_part, twin_part in zip(ours.encode(images[:20]), twin.encode(images[:20]), strict=True):
        np.testing.assert_allclose(twin_part.detach(), ours_part, rtol=1e-11)
    np.testing.assert_allclose(twin.decode(eps).detach(), ours.decode(eps), rtol=1e-11)
    np.testing.assert_allclose(twin.reconstruct(images[:20], eps), ours.reconstruct(images[:20], eps), rtol=1e-11)


def test_the_numpy_model_makes_arrays_of_tensors():
    model, x, eps = vae_numpy.VAE(StudentT(3), (7, 5, 2)), torch.full((4, 7), 0.5), torch.ones(4, 2)
    assert model.loss(x, eps).total == model.loss(x.numpy(), eps.numpy()).total
    assert type(model.decode(eps)) is np.ndarray


def test_arrays_and_tensors_are_both_taken_and_shared_arrays_draw_no_warning(images, recwarn):
    _, twin = twins(Gaussian())
    eps = np.random.default_rng(0).standard_normal((20, 10))
    assert not images.flags.writeable
    expected = twin.loss(images[:20], eps).total
    assert twin.loss(torch.tensor(images[:20]), torch.tensor(eps)).total == expected
    assert twin(images[:20], eps).total == expected  # forward is loss
    assert not recwarn.list


# ---- KL terms against torch.distributions


@pytest.fixture
def latent():
    rng = np.random.default_rng(2)
    return [torch.tensor(rng.normal(0, 1.5, (40, 10)), requires_grad=True) for _ in range(2)]


def test_gaussian_kl_agrees_with_torch(latent):
    mu, logvar = latent
    expected = kl_divergence(Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    kl = vae_torch.kl_exact(Gaussian(), mu, logvar)
    torch.testing.assert_close(kl, expected, rtol=1e-12, atol=1e-12)
    for grad, expected_grad in zip(
        torch.autograd.grad(kl.sum(), latent), torch.autograd.grad(expected.sum(), latent), strict=True
    ):
        torch.testing.assert_close(grad, expected_grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_sampled_kl_agrees_with_torch_and_with_numpy(family, latent):
    mu, logvar = latent
    eps = torch.tensor(family.sample(np.random.default_rng(3), mu.shape))
    sigma = torch.exp(0.5 * logvar)
    if isinstance(family, Gaussian):
        q, p = Normal(mu, sigma), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    else:
        df = torch.tensor(family.df, dtype=torch.float64)
        q, p = TorchStudentT(df, mu, sigma), TorchStudentT(df, torch.zeros_like(mu), torch.ones_like(mu))
    z = mu + sigma * eps
    kl = vae_torch.kl_sample(family, mu, logvar, eps)
    torch.testing.assert_close(kl, (q.log_prob(z) - p.log_prob(z)).sum(1), rtol=1e-10, atol=1e-10)
    ours, *grads = kl_sample_and_grad(family, mu.detach().numpy(), logvar.detach().numpy(), eps.numpy())
    np.testing.assert_allclose(kl.detach(), ours, rtol=1e-11, atol=1e-11)
    for grad, expected in zip(torch.autograd.grad(kl.sum(), latent), grads, strict=True):
        np.testing.assert_allclose(grad, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("df", [1, 2.5, 21, 1e6])
def test_exact_t_kl_passes_torchs_gradient_check(df):
    rng = np.random.default_rng(2)
    latent = [torch.tensor(rng.normal(0, 0.7, (3, 4)), requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda mu, logvar: vae_torch.kl_exact(StudentT(df), mu, logvar), latent)
    ours = kl_exact_and_grad(StudentT(df), *(part.detach().numpy() for part in latent))[0]
    np.testing.assert_array_equal(vae_torch.kl_exact(StudentT(df), *latent).detach(), ours)


def test_the_kl_takes_tensors_of_single_or_double_precision(refuses):
    good = torch.zeros(2, 3)
    for bad in (good.numpy(), good.half(), good.long()):
        for kl, count in ((vae_torch.kl_exact, 2), (vae_torch.kl_sample, 3)):
            for place in range(count):
                tensors = [bad if i == place else good for i in range(count)]
                with refuses("the KL takes tensors of float32 or float64, got (torch.)?(float32|float16|int64)"):
                    kl(StudentT(3), *tensors)


def test_exact_t_kl_refuses_a_second_derivative():
    """Its first derivatives are saved numbers: to differentiate them again would give something wrong without a word."""
    mu = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    kl = vae_torch.kl_exact(StudentT(21), mu, torch.tensor([-1.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(kl.square().sum(), mu, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_torch_and_numpy_draw_the_same_t_noise_in_law():
    torch.manual_seed(0)
    theirs = TorchStudentT(5.0).sample((20_000,)).numpy()
    ours = StudentT(5).sample(np.random.default_rng(0), 20_000)
    assert stats.ks_2samp(theirs, ours).pvalue > 0.01


# ---- PyTorch's habits


def test_state_dict_keys_and_initialisation_are_pytorchs_own():
    torch.manual_seed(3)
    model = vae_torch.VAE(Gaussian())
    torch.manual_seed(3)
    first = torch.nn.Linear(784, 400)
    assert torch.equal(model.params["encoder.0.weight"], first.weight)
    shapes = {name: value.shape for name, value in vae_numpy.VAE(Gaussian()).params.items()}
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == shapes
    assert list(model.params) == list(shapes)


def test_params_update_in_place_and_leave_no_graph(images):
    model = vae_torch.VAE(Gaussian(), sizes=(784, 20, 3))
    assert not any(value.requires_grad for value in model.params.values())
    model.params["decoder.0.bias"] += 1
    assert float(model.decoder[0].bias.detach().min()) > 0
    eps = np.zeros((30, 3))
    loss, grads = model.loss_and_grad(images[:30], eps)
    assert not loss.total.requires_grad and not any(grad.requires_grad for grad in grads.values())
    assert not model.reconstruct(images[:30], eps).requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():
        assert torch.equal(model.loss_and_grad(images[:30], eps)[1]["encoder.0.weight"], grads["encoder.0.weight"])


def test_backward_and_torch_sgd_do_what_fit_does(images):
    _, model = twins(StudentT(21))
    _, other = twins(StudentT(21))
    optimiser = torch.optim.SGD(other.parameters(), lr=0.005)
    eps = StudentT(21).sample(np.random.default_rng(0), (500, 10))
    for _ in range(3):
        optimiser.zero_grad()
        other.loss(images[:500], eps).total.backward()
        optimiser.step()
        _, grads = model.loss_and_grad(images[:500], eps)
        for name, grad in grads.items():
            model.params[name] -= 0.005 * grad
    for name, value in model.params.items():
        torch.testing.assert_close(other.params[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "device", [pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_on_a_gpu(images, device):
    ours, twin = twins(StudentT(21), np.float64, kl="exact")
    twin = twin.to(device)
    assert vae_torch.VAE(Gaussian(), device=device).encoder[0].weight.is_cuda
    eps = StudentT(21).sample(np.random.default_rng(0), (100, 10))
    loss, grads = ours.loss_and_grad(images[:100], eps)
    twin_loss, twin_grads = twin.loss_and_grad(images[:100], eps)
    assert float(twin_loss.total) == pytest.approx(loss.total, rel=1e-10)
    assert all(relative_error(grads[name], twin_grads[name].cpu()) < 1e-10 for name in grads)


def test_device_argument():
    model = vae_torch.VAE(Gaussian(), sizes=(784, 5), device="meta")  # a device that every machine has, and that holds no data
    assert {value.device.type for value in model.params.values()} == {"meta"}
    assert (
        vae_torch.VAE(Gaussian(), sizes=(784, 5), dtype=torch.float64, device="cpu").params["encoder.0.bias"].dtype
        == torch.float64
    )


# ---- the rest of the library drives both


@pytest.mark.parametrize("family", [Gaussian(), StudentT(21)], ids=str)
def test_fit_drives_both_and_gives_close_histories(images, family):
    histories = [
        fit(model, images[:400], images[:200], epochs=3, batch_size=100, lr=0.005, seed=4, progress=False)
        for model in twins(family)
    ]
    for name, series in vars(histories[0]).items():
        if name != "seconds":
            np.testing.assert_allclose(vars(histories[1])[name], series, rtol=1e-3, atol=1e-3, err_msg=name)


def test_evaluate_builds_no_graph(images, monkeypatch):
    _, model = twins(Gaussian())
    seen = []
    loss = model.loss
    monkeypatch.setattr(model, "loss", lambda x, eps: seen.append(loss(x, eps)) or seen[-1])
    evaluate(model, images, np.random.default_rng(0))
    assert seen and not any(part.total.requires_grad for part in seen)


def test_one_file_loads_in_either(tmp_path, images):
    for model in twins(StudentT(7), kl="exact"):
        path = tmp_path / "model.safetensors"
        checkpoint.save(path, model)
        eps = StudentT(7).sample(np.random.default_rng(0), (50, 10))
        loaded = [checkpoint.load(path, backend) for backend in ("numpy", "torch")]
        assert isinstance(loaded[1], vae_torch.VAE)
        for other in loaded:
            assert (other.family.df, other.kl, other.sizes) == (7, "exact", (784, 400, 128, 10))
            for name, value in model.params.items():
                np.testing.assert_array_equal(other.params[name], value)
        assert float(loaded[1].loss(images[:50], eps).total.detach()) == pytest.approx(
            float(loaded[0].loss(images[:50], eps).total), rel=1e-6
        )
    with pytest.raises(ValueError, match="backend must be"):
        checkpoint.load(path, "jax")


def test_imputation_is_the_same_in_both(images):
    missing = masks.random_squares(np.random.default_rng(0), 600)  # more than one chunk
    ours, twin = twins(StudentT(21))
    for method in (impute.single_pass, impute.pseudo_gibbs):
        predictions = [method(model, images[:600], missing, draws=4, seed=3) for model in (ours, twin)]
        assert all(type(prediction) is np.ndarray for prediction in predictions)
        np.testing.assert_allclose(*predictions, atol=1e-5, err_msg=method.__name__)


def test_an_experiment_with_torch(tmp_path, monkeypatch):
    data = load_mnist()
    small = dataclasses.replace(data, train=data.train[:1000], valid=data.valid[:200], test=data.test[:200])
    monkeypatch.setattr(experiments.driver, "load_mnist", lambda: small)
    monkeypatch.setattr(experiments.scoring, "DRAWS", 2)
    run = experiments.rehearsal()[-1]
    experiments.execute(run, tmp_path, progress=False)
    table = experiments.collect(tmp_path)
    assert set(table.backend) == {"torch"} and np.isfinite(table.value).all() and "mse_missing" in set(table.metric)


# ---- data sets


def test_mnist_as_a_data_set():
    data = load_mnist()
    test = torch_data.MnistImages("test")
    assert len(test) == 10_000
    image, label = test[7]
    np.testing.assert_array_equal(image, data.test[7])
    assert (image.dtype, type(label), label) == (torch.float32, int, data.test_labels[7])
    x, labels = next(iter(DataLoader(test, batch_size=32)))
    assert (tuple(x.shape), tuple(labels.shape)) == ((32, 784), (32,))
    assert vae_torch.VAE(Gaussian()).loss(x, np.zeros((32, 10))).total > 0
    with pytest.raises(ValueError, match="part must be"):
        torch_data.MnistImages("training")


def test_torchvision_data_is_never_fetched_unasked_and_says_so_when_it_cannot(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="pass download=True"):
        torch_data.torchvision_dataset("FashionMNIST", tmp_path)
    assert not any(tmp_path.rglob("*.gz"))
    with pytest.raises(ValueError, match='name must be "MNIST" or "FashionMNIST" or'):
        torch_data.torchvision_dataset("ImageNet", tmp_path)

    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    with pytest.raises(FileNotFoundError, match=r"^FashionMNIST could not be downloaded.*load_mnist\(\)") as caught:
        torch_data.torchvision_dataset("FashionMNIST", tmp_path, download=True)
    assert "\n" not in str(caught.value)


def test_torchvision_data_once_there(tmp_path):
    """Files in torchvision's place and form: the embedded MNIST, unpacked."""
    import gzip

    from tvae_lib.data import FOLDER, read_idx

    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in FOLDER.glob("t*-ubyte.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    data = torch_data.torchvision_dataset("MNIST", tmp_path, train=False)
    image, label = data[3]
    assert (image.shape, image.dtype, label) == ((784,), torch.float32, read_idx(FOLDER / "t10k-labels-idx1-ubyte.gz")[3])
    expected = read_idx(FOLDER / "t10k-images-idx3-ubyte.gz")[3] / np.float32(255)
    np.testing.assert_allclose(image, expected, rtol=2e-7)  # torchvision multiplies by 1 / 255


# ---- bad input


def test_bad_input_gets_the_same_one_line_errors(images):
    x, eps = images[:5], np.zeros((5, 10))
    bad_images = [x[:, :100], x + 1, np.where(x > 0, np.nan, x)]
    for model in twins(Gaussian()):
        for kind in (np.asarray, torch.tensor) if isinstance(model, vae_torch.VAE) else (np.asarray,):
            for bad in bad_images:
                with pytest.raises(ValueError, match=r"images must|pixels must"):
                    model.loss(kind(bad), eps)
            for bad in (np.zeros((4, 10)), np.zeros((5, 10), int)):
                with pytest.raises(ValueError, match="eps must"):
                    model.loss(x, kind(bad))
                with pytest.raises(ValueError, match="eps must"):
                    model.reconstruct(x, kind(bad))
        model.params["encoder.0.bias"][:] = np.nan
        with pytest.raises(FloatingPointError, match="diverged"):
            model.loss(x, eps)
    for options in ({"sizes": (784,)}, {"sizes": (784, 0)}, {"kl": "both"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must"):
            vae_torch.VAE(Gaussian(), **options)


def test_gradient_for_the_code(images):
    ours, twin = twins(StudentT(21), np.float64)
    z = np.random.default_rng(0).standard_normal((20, 10))
    (cost, dz), (twin_cost, twin_dz) = (model.reconstruction_and_dz(images[:20], z) for model in (ours, twin))
    assert relative_error(cost, twin_cost) < 1e-12
    assert relative_error(dz, twin_dz) < 1e-12
    missing = np.random.default_rng(1).random((20, 784)) < 0.4
    (cost, dz), (twin_cost, twin_dz) = (model.reconstruction_and_dz(images[:20], z, missing) for model in (ours, twin))
    assert relative_error(cost, twin_cost) < 1e-12
    assert relative_error(dz, twin_dz) < 1e-12


@pytest.mark.parametrize("method", [impute.importance, impute.latent_map, impute.langevin], ids=lambda method: method.__name__)
def test_both_back_ends_impute_alike(images, method):
    ours, twin = twins(StudentT(21), np.float64)
    missing = np.random.default_rng(1).random((20, 784)) < 0.4
    expected = method(ours, images[:20], missing, draws=8, seed=1)
    np.testing.assert_allclose(method(twin, images[:20], missing, draws=8, seed=1), expected, atol=1e-5)

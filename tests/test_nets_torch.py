"""From PyTorch: what can be expressed gives the same, what cannot is named with its place."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as f  # noqa: E402

from fastdeblur import nets  # noqa: E402
from fastdeblur.errors import InvalidArgument, ModelError, Unsupported  # noqa: E402

torch.set_num_threads(1)


def ops(model):
    return [node.op for node in model.graph.nodes]


def export(module, channels=4, size=(24, 20), **options):
    torch.manual_seed(0)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype.is_floating_point:
            tensor.data.copy_(torch.rand_like(tensor) * 0.4 + 0.1)
    return nets.from_torch(module, torch.rand(1, channels, *size), name="test", tolerance=1e-5, **options)


class Call(nn.Module):
    """A module of one function."""

    def __init__(self, function, **children):
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


CONV = nn.Conv2d(4, 4, 3, padding=1)

MODULES = [
    (nn.Conv2d(4, 4, 3, padding=1), ["conv2d"]),
    (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), ["conv2d"]),
    (nn.Conv2d(4, 4, (4, 2), padding="same", groups=2), ["conv2d"]),
    (nn.Conv2d(4, 4, 3, padding=2, dilation=2), ["conv2d"]),
    (nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1)), ["conv2d", "conv_transpose2d"]),
    (nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(4, 4, 5)), ["conv2d"]),
    (nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(4, 4, 4)), ["conv2d"]),
    (nn.Sequential(nn.ZeroPad2d(1), nn.ReLU(), nn.Conv2d(4, 4, 3)), ["conv2d", "relu", "conv2d"]),
    (nn.Sequential(CONV, nn.BatchNorm2d(4)), ["conv2d"]),
    (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)), ["scale", "bias", "conv2d"]),
    (nn.Sequential(nn.ConvTranspose2d(4, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4)), ["conv_transpose2d"]),
    (nn.InstanceNorm2d(4, affine=True), ["instance_norm"]),
    (nn.GroupNorm(4, 4), ["instance_norm"]),
    (nn.Sequential(nn.LeakyReLU(0.1), nn.PReLU(4), nn.Sigmoid(), nn.Tanh()), ["leaky_relu", "prelu", "sigmoid", "tanh"]),
    (nn.Sequential(nn.GELU(), nn.GELU("tanh"), nn.Identity(), nn.Dropout2d(0.2)), ["gelu", "gelu"]),
    (nn.Sequential(nn.SiLU()), ["sigmoid", "multiply"]),
    (nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), ["pixel_unshuffle", "pixel_shuffle"]),
    (nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), ["conv2d", "resize"]),
    (Call(lambda m, x: f.interpolate(f.interpolate(x, scale_factor=2, mode="bilinear"), scale_factor=0.5)), None),
    (Call(lambda m, x: x * f.adaptive_avg_pool2d(x, 1).sigmoid()), ["average_pool", "sigmoid", "multiply"]),
    (Call(lambda m, x: x.mean((-1, -2), keepdim=True) + x), ["average_pool", "add"]),
    (Call(lambda m, x: (lambda p: p[0] * p[1])(torch.cat([x, x.tanh()], 1).chunk(2, 1))), ["tanh", "concat", "simple_gate"]),
    (Call(lambda m, x: torch.cat([x[:, 1:], x[:, :1]], 1)), ["linear", "linear", "concat"]),
    (Call(lambda m, x: torch.cat(x.split([1, 3], 1)[::-1], dim=1)), None),
    (Call(lambda m, x: x.clamp(0.2, 0.7)), None),
    (Call(lambda m, x: x.clamp(min=0.3) + f.relu6(x * 10)), None),
    (Call(lambda m, x: (1 - x) / 2 - 3 * x + -x.pow(2)), None),
    (Call(lambda m, x: torch.sub(x, x.square(), alpha=0.5)), None),
    (
        Call(
            lambda m, x: m.conv(x) * m.scale.exp() + x,
            conv=nn.Conv2d(4, 4, 1),
            scale=nn.Parameter(torch.rand(1, 4, 1, 1)),
        ),
        ["conv2d", "add"],
    ),
    (Call(lambda m, x: m.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), norm=nn.LayerNorm(4)), ["layer_norm"]),
    (
        Call(
            lambda m, x: m.down(f.gelu(m.up(x.permute([0, 2, 3, 1])))).permute(0, 3, 1, 2).contiguous(),
            up=nn.Linear(4, 9),
            down=nn.Linear(9, 4),
        ),
        ["linear", "gelu", "linear"],
    ),
    (
        Call(
            lambda m, x: x * m.gate(x.mean((2, 3))).view(x.size(0), x.shape[1], 1, 1),
            gate=nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4)),
        ),
        ["average_pool", "linear", "relu", "linear", "multiply"],
    ),
    (
        Call(
            lambda m, x: x * m.gate(m.pool(x).flatten(1))[:, :, None, None],
            gate=nn.Linear(4, 4),
            pool=nn.AdaptiveAvgPool2d(1),
        ),
        None,
    ),
    (Call(lambda m, x: m.relu(x - 0.5) + x, relu=nn.ReLU(inplace=True)), None),
    (Call(lambda m, x: f.relu(y := x - 0.5, inplace=True) + y), None),
    (Call(lambda m, x: x.tanh().add_(x).mul_(2)), None),
    (Call(lambda m, x: (m.a(x) + m.a(x * 2)), a=nn.Conv2d(4, 4, 3, padding=1)), None),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(("module", "layers"), MODULES, ids=range(len(MODULES)))
def test_modules_are_expressed(module, layers):
    module.eval()
    model = export(module, multiple_of=2)
    if layers is not None:
        assert ops(model) == layers
    image = torch.rand(1, 4, 24, 32)
    with torch.no_grad():
        wanted = module(image.clone())[0].numpy()
    np.testing.assert_allclose(model(image[0].numpy(), channel_axis=0, backend="numpy"), wanted, atol=1e-4)


def test_shared_weights_are_stored_once(tmp_path):
    module = Call(lambda m, x: m.a(m.a(x)), a=nn.Conv2d(4, 4, 3, padding=1))
    model = export(module, path=tmp_path / "a.safetensors")
    assert model.summary((20, 20), backend="numpy").parameters == 4 * 4 * 9 + 4


class Wiener(nn.Module):
    """A Wiener filter per channel by torch.fft on a periodic frame: what `fft_wiener` says it is."""

    def __init__(self):
        super().__init__()
        self.log_balance = nn.Parameter(torch.tensor([-3.0, -4.0]))

    def fastdeblur_layer(self):
        return "fft_wiener", {"boundary": "periodic"}, {"log_balance": self.log_balance}

    def forward(self, x, psf, noise=None):
        grid = torch.zeros(x.shape[-2:])
        grid[: psf.shape[-2], : psf.shape[-1]] = psf[0] / psf.sum()
        otf = torch.fft.rfft2(grid.roll([-(n // 2) for n in psf.shape[-2:]], (0, 1)))
        balance = self.log_balance.exp()[:, None, None]
        if noise is not None:
            balance = balance * (noise / 0.01) ** 2
        gain = otf.conj() / (otf.abs() ** 2 + balance)
        return torch.fft.irfft2(torch.fft.rfft2(x) * gain, x.shape[-2:])


class NonBlind(nn.Module):
    multiple_of = 4

    def __init__(self):
        super().__init__()
        self.wiener = Wiener()
        self.features = nn.Conv2d(1, 2, 1)
        self.end = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x, psf, noise=None):
        return self.end(self.wiener(self.features(x), psf, noise))


@pytest.mark.parametrize("with_noise", [False, True])
def test_a_network_that_takes_a_psf(with_noise):
    example = (torch.rand(1, 1, 20, 24), torch.rand(1, 5, 7), torch.rand(1))[: 2 + with_noise]
    model = nets.from_torch(NonBlind(), example, name="non-blind", light="linear")
    assert (model.takes_psf, model.takes_noise, model.light) == (True, with_noise, "linear")
    assert model.graph.multiple_of == (4, 4)
    assert ops(model) == ["conv2d", "fft_wiener", "conv2d"]


def test_without_a_name_it_is_the_file_s_or_the_class_s(tmp_path):
    module, example = nn.Conv2d(4, 4, 1), torch.rand(1, 4, 8, 8)
    assert nets.from_torch(module, example).name == "Conv2d"
    assert nets.from_torch(module, example, tmp_path / "mine.safetensors").name == "mine"
    assert nets.load(tmp_path / "mine.safetensors").name == "mine"


def test_normalisation_belongs_to_the_file():
    model = export(nn.Tanh(), scale=2.0, offset=-1.0, out_scale=0.5, out_offset=0.5)
    image = np.random.default_rng(0).random((4, 9, 9)).astype(np.float32)
    np.testing.assert_allclose(model(image, channel_axis=0), np.tanh(image * 2 - 1) / 2 + 0.5, atol=1e-6)


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    nets.from_torch(module, torch.rand(1, 4, 8, 8), name="a")
    assert module.training
    assert module[1].training
    assert all((tensor == before[name]).all() for name, tensor in module.state_dict().items())


def test_half_precision_files(tmp_path):
    module = nn.Conv2d(4, 4, 3, padding=1)
    path = tmp_path / "half.safetensors"
    model = export(module, path=path, dtype="float16", description="two\n words")
    again = nets.load(path)
    assert again.description == "two words"
    weight = module.weight.detach().numpy()
    for each in (model, again):
        assert (each.graph.nodes[0].tensors["weight"] == weight.astype(np.float16)).all()


def branching(m, x):
    if x.shape[2] > 3:
        return x
    return x * 2


INEXPRESSIBLE = [
    (nn.Sequential(nn.Conv2d(4, 4, 1), nn.MaxPool2d(3, 1, 1)), "MaxPool2d (module '1')"),
    (nn.Sequential(nn.Sequential(nn.Softplus())), "Softplus (module '0.0')"),
    (nn.GroupNorm(2, 4), "4 channels in 2 groups"),
    (nn.LayerNorm([4, 24, 20]), "layer normalisation"),
    (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "padding_mode='circular'"),
    (nn.ConvTranspose2d(4, 4, 3, 2, 0, 1), "output_padding"),
    (nn.Upsample(scale_factor=2, mode="bicubic"), "mode='bicubic'"),
    (nn.Upsample(size=(24, 20)), "expected scale_factor"),
    (nn.Upsample(scale_factor=1.5), "factor: expected two whole numbers"),
    (nn.AdaptiveAvgPool2d(2), "adaptive pooling to 2"),
    (Call(lambda m, x: torch.abs(x)), "abs (test_nets_torch.py:"),
    (Call(lambda m, x: x.exp()), "Tensor.exp (test_nets_torch.py:"),
    (Call(lambda m, x: x / x.sigmoid()), "a division by what depends on the image"),
    (Call(lambda m, x: x**3), "a power of 3"),
    (Call(lambda m, x: x[:, :, 1:]), "an index"),
    (Call(lambda m, x: x[:, ::2]), "an index"),
    (Call(lambda m, x: torch.cat([x, x], 2)), "along axis 2"),
    (Call(lambda m, x: x.transpose(2, 3)), "Tensor.transpose"),
    (Call(lambda m, x: x.permute(0, 1, 3, 2)), "axes reordered"),
    (Call(lambda m, x: x.mean(1, keepdim=True)), "a mean over the axes 1"),
    (Call(lambda m, x: f.pad(x, (1, 1, 1, 1), value=1.0)), "padding by"),
    (Call(lambda m, x: x.view(1, 4, -1)), "a view of shape"),
    (Call(lambda m, x: x + torch.rand(24, 20)), "a constant of shape (24, 20)"),
    (Call(lambda m, x: m.linear(x), linear=nn.Linear(20, 20)), "a linear layer along the columns"),
    (Call(branching), "must not depend on the image or its size (test_nets_torch.py:"),
    (Call(lambda m, x: x if x.sum() > 1 else -x), "must not depend on the image"),
    (Call(lambda m, x: x.no_such_method()), "Tensor.no_such_method"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "says"), INEXPRESSIBLE, ids=[says for _, says in INEXPRESSIBLE])
def test_what_cannot_be_expressed_is_named(module, says, tmp_path):
    with pytest.raises(Unsupported, match=re.escape(says)) as caught:
        export(module, path=tmp_path / "a.safetensors")
    assert str(caught.value).startswith("module: ")
    assert not list(tmp_path.iterdir())


def test_a_psf_in_other_hands_is_refused():
    class Misused(NonBlind):
        def forward(self, x, psf):
            return x * psf

    with pytest.raises(Unsupported, match="the psf used by anything but a Wiener layer"):
        nets.from_torch(Misused(), (torch.rand(1, 1, 8, 8), torch.rand(1, 3, 3)), name="a")


class Wrong(nn.Module):
    """Says that it is a ReLU, and is none."""

    def fastdeblur_layer(self):
        return "relu", {}, {}

    def forward(self, x):
        return x.abs()


IMAGE = torch.rand(1, 4, 8, 8)
STEPPED = nn.Sequential(nn.Conv2d(4, 8, 2, stride=2), nn.ConvTranspose2d(8, 4, 2, stride=2))
ARGUMENTS = [
    (lambda: nets.from_torch(len, IMAGE, name="a"), "module: expected a torch.nn.Module"),
    (
        lambda: nets.from_torch(CONV, IMAGE[0], name="a"),
        r"example: expected an image of shape \(1, C, H, W\)",
    ),
    (lambda: nets.from_torch(CONV, np.ones(3), name="a"), "example: expected a tensor"),
    (lambda: nets.from_torch(CONV, (), name="a"), "example: expected a tensor"),
    (lambda: nets.from_torch(CONV, (IMAGE, 3), name="a"), "example: expected a PSF"),
    (lambda: nets.from_torch(CONV, IMAGE, name=""), "name: expected printable"),
    (lambda: nets.from_torch(CONV, IMAGE, name="a", dtype="int8"), "dtype: expected one of"),
    (lambda: nets.from_torch(CONV, IMAGE, name="a", light="dark"), "light: expected one of"),
    (lambda: nets.from_torch(CONV, IMAGE, name="a", scale=np.nan), "scale: expected a finite number"),
    (lambda: nets.from_torch(CONV, IMAGE, name="a", tolerance=-1), "tolerance: expected"),
    (lambda: nets.from_torch(CONV, IMAGE, name="a", multiple_of=0), "multiple_of: expected"),
    (lambda: nets.from_torch(nn.Conv2d(4, 5, 1), IMAGE, name="a"), "channels, got one with 5"),
    (lambda: nets.from_torch(nn.Conv2d(4, 4, 3), IMAGE, name="a"), "pixels for an image of"),
    (lambda: nets.from_torch(STEPPED, IMAGE), "multiple_of says what sizes it is for"),
    (lambda: nets.from_torch(Wrong(), IMAGE - 0.5, name="a", scale=-1), "within 0.0001 of the module's"),
]


@pytest.mark.parametrize(("call", "says"), ARGUMENTS, ids=[says for _, says in ARGUMENTS])
def test_arguments_that_break_their_rule(call, says):
    with pytest.raises(InvalidArgument, match=says):
        call()


def test_a_failed_parity_writes_nothing(tmp_path):
    with pytest.raises(InvalidArgument, match="module's"):
        nets.from_torch(Wrong(), IMAGE, tmp_path / "a.safetensors", name="a", scale=-1)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="channels"):
        nets.from_torch(nn.Conv2d(4, 5, 1), IMAGE, tmp_path / "a.safetensors", name="a")

"""The layers that PyTorch lacks compute what the library and the model file say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdeblur
from fastdeblur.nets.graph import make_node
from fastdeblur.nets.reference import Run, channel_attention

torch = pytest.importorskip("torch")

from fastdeblur.train.layers import (  # noqa: E402
    ChannelAttention,
    LayerNorm2d,
    Scale,
    SimpleGate,
    WienerLayer,
    local_mean,
)

SIZES = [(24, 31), (17, 40), (13, 13)]
KERNELS = [(5, 5), (4, 7), (1, 3), (1, 1)]


def scene(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize("boundary", ["reflect", "edge", "zero", "periodic"])
@pytest.mark.parametrize("reg", ["identity", "laplacian"])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_wiener_is_the_librarys(boundary, reg, kernel, size):
    images, psfs = scene((2, 3, *size)), scene((2, *kernel), 1) + 0.1
    balances, noise = np.array([0.003, 0.02, 0.5]), np.array([0.01, 0.03])
    layer = WienerLayer(torch.from_numpy(np.log(balances)), boundary, reg).double()
    found = layer(torch.from_numpy(images), torch.from_numpy(psfs), torch.from_numpy(noise)).detach().numpy()
    for n in range(2):
        for c in range(3):
            balance = balances[c] * (noise[n] / 0.01) ** 2
            wanted = fastdeblur.wiener(images[n, c], psfs[n], balance, reg=reg, boundary=boundary)
            # The layer keeps its balances in float32.
            np.testing.assert_allclose(found[n, c], wanted, rtol=0, atol=3e-6)


def test_wiener_folds_a_psf_that_is_larger_than_a_periodic_frame():
    image, kernel = scene((9, 12)), scene((13, 15), 1)
    layer = WienerLayer(torch.zeros(1), "periodic").double()
    found = layer(torch.from_numpy(image)[None, None], torch.from_numpy(kernel))[0, 0].detach().numpy()
    np.testing.assert_allclose(
        found, fastdeblur.wiener(image, kernel, 1.0, reg="identity", boundary="periodic"), atol=1e-9
    )


def test_wieners_gradients_are_those_of_differences():
    layer = WienerLayer(torch.tensor([-3.0, -1.0])).double()
    image = torch.from_numpy(scene((1, 2, 7, 8))).requires_grad_()
    psf = torch.from_numpy(scene((1, 3, 3), 1))
    balance = layer.log_balance.detach().clone().requires_grad_()

    def run(image, balance):
        return torch.func.functional_call(layer, {"log_balance": balance}, (image, psf, 0.02))

    assert torch.autograd.gradcheck(run, (image, balance))


@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(1, 12), width=st.integers(1, 12), rows=st.integers(1, 14), columns=st.integers(1, 14)
)
def test_local_mean_is_the_windows_mean(height, width, rows, columns):
    x = scene((1, 2, height, width))
    found = local_mean(torch.from_numpy(x), (rows, columns)).numpy()
    found = np.broadcast_to(found, x.shape)
    for i in range(height):
        for j in range(width):
            top = min(max(i - rows // 2, 0), max(height - rows, 0))
            left = min(max(j - columns // 2, 0), max(width - columns, 0))
            wanted = x[..., top : top + rows, left : left + columns].mean(axis=(2, 3))
            np.testing.assert_allclose(found[..., i, j], wanted, rtol=1e-12)


def test_attentions_window_holds_when_evaluating_only():
    layer = ChannelAttention(2, (3, 3))
    x = torch.from_numpy(scene((1, 2, 9, 9))).float()
    whole = ChannelAttention(2)
    whole.load_state_dict(layer.state_dict())
    assert torch.equal(layer.train()(x), whole(x))
    assert not torch.allclose(layer.eval()(x), whole(x))
    pooled = local_mean(x, (3, 3))
    wanted = x * (torch.einsum("oc,nchw->nohw", layer.weight, pooled) + layer.bias[:, None, None])
    assert torch.allclose(layer(x), wanted, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    window=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    step=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_attention_is_the_engines_layer(height, width, window, step):
    layer = ChannelAttention(2, window, step).double().eval()
    x = scene((1, 2, height, width))
    node = make_node(
        "channel_attention",
        [0],
        {"window": list(window), "step": list(step)},
        {"weight": layer.weight.detach().numpy(), "bias": layer.bias.detach().numpy()},
    )
    wanted = channel_attention(node, x[0], Run(None, None))
    np.testing.assert_allclose(layer(torch.from_numpy(x))[0].detach().numpy(), wanted, rtol=1e-6)


def test_attention_without_a_window_has_no_step():
    with pytest.raises(ValueError, match="step: expected"):
        ChannelAttention(2, None, (2, 2))


def test_layer_norm_is_over_the_channels_of_each_pixel():
    layer = LayerNorm2d(4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 5.0))
        layer.bias.fill_(0.5)
    x = scene((2, 4, 3, 5))
    centred = x - x.mean(axis=1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
    wanted = wanted * np.arange(1, 5)[:, None, None] + 0.5
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), wanted, rtol=1e-7)


def test_gate_and_scale():
    x = torch.from_numpy(scene((1, 4, 2, 3)))
    assert torch.equal(SimpleGate()(x), x[:, :2] * x[:, 2:])
    assert torch.equal(Scale(4, 3.0)(x), 3 * x)

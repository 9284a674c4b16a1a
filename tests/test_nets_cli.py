"""`fastdeblur deblur --model` and `fastdeblur nets`, from end to end."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
Image = pytest.importorskip("PIL.Image")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

from typer.testing import CliRunner  # noqa: E402

import fastdeblur  # noqa: E402
from fastdeblur import _light, nets  # noqa: E402
from fastdeblur.cli.app import app  # noqa: E402
from fastdeblur.nets.graph import Graph, Input, Output, make_node, write  # noqa: E402


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def blend(channels, light="srgb"):
    """Each pixel becomes half of itself, a quarter of the next on its row, and 0.1: what comes out is known."""
    weight = np.zeros((channels, channels, 1, 2), np.float32)
    weight[range(channels), range(channels), 0] = 0.5, 0.25
    tensors = {"weight": weight, "bias": np.full(channels, 0.1, np.float32)}
    node = make_node("conv2d", [0], {"padding": [0, 0, 0, 1]}, tensors)
    return Graph(f"blend{channels}", "known", Input(channels, light=light), Output(1), (1, 1), (node,))


def blended(values):
    following = np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], 1)
    return 0.5 * values + 0.25 * following + 0.1


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with photos and networks."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
    Image.fromarray(rgb).save("rgb.png")
    Image.fromarray(rgb[..., 0]).save("grey.png")
    Image.fromarray(np.dstack([rgb, np.full((24, 30), 200, np.uint8)])).save("rgba.png")
    tifffile.imwrite("linear.tif", rgb.astype(np.uint16) * 257, photometric="rgb")
    tifffile.imwrite("float.tif", rgb.astype(np.float32) / 255, photometric="rgb")
    tifffile.imwrite("counts.tif", rgb.astype(np.float32) * 100, photometric="rgb")
    for channels in (1, 3):
        write(f"blend{channels}.safetensors", blend(channels))
    write("light.safetensors", blend(3, "linear"))
    nodes = (make_node("fft_wiener", [0], {}, {"log_balance": np.full(1, -5, np.float32)}),)
    write("wiener.safetensors", Graph("wiener", "", Input(1, psf=True), Output(1), (1, 1), nodes))
    return rgb


def opened(name):
    return np.asarray(Image.open(name))


def test_photos_are_given_as_they_stand(place):
    result = run("deblur", "rgb.png", "-o", "out.png", "--model", "blend3.safetensors")
    assert result.exit_code == 0, result.output
    assert "rgb.png -> out.png" in result.output
    wanted = np.rint(blended(place / 255) * 255)
    assert np.abs(opened("out.png") - wanted).max() <= 1


def test_alpha_and_grey(place):
    assert run("deblur", "rgba.png", "-o", "out.png", "--model", "blend3.safetensors").exit_code == 0
    got = opened("out.png")
    assert (got[..., 3] == 200).all()
    assert np.abs(got[..., :3] - blended(place / 255) * 255).max() <= 1
    for channels in (1, 3):
        name = f"grey{channels}.png"
        assert run("deblur", "grey.png", "-o", name, "--model", f"blend{channels}.safetensors").exit_code == 0
        assert np.abs(opened(name) - blended(place[..., 0] / 255) * 255).max() <= 1
    assert run("deblur", "rgb.png", "-o", "by_channel.png", "--model", "blend1.safetensors").exit_code == 0
    assert np.abs(opened("by_channel.png") - blended(place / 255) * 255).max() <= 1


@pytest.mark.parametrize(("file", "white"), [("linear.tif", 65535), ("float.tif", 1)])
def test_linear_light_is_encoded_for_a_network_of_photos(place, file, white):
    assert run("deblur", file, "-o", "out.tif", "--model", "blend3.safetensors").exit_code == 0
    wanted = _light.decode_srgb(blended(_light.encode_srgb(place / 255))) * white
    np.testing.assert_allclose(tifffile.imread("out.tif"), wanted, rtol=1e-3, atol=1e-4 * white)
    assert run("deblur", file, "-o", "same.tif", "--model", "light.safetensors").exit_code == 0
    np.testing.assert_allclose(
        tifffile.imread("same.tif"), blended(place / 255) * white, rtol=1e-3, atol=1e-4 * white
    )


def test_a_network_that_takes_a_psf(place):
    arguments = ("deblur", "grey.png", "-o", "out.png", "--model", "wiener.safetensors")
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "psf: expected an array, which the network 'wiener' takes" in refused.stderr
    assert run(*arguments, "--psf", "motion:5,30").exit_code == 0
    kernel = fastdeblur.psf.motion(5, 30)
    wanted = fastdeblur.wiener(place[..., 0] / 255, kernel, np.exp(-5.0), reg="identity", boundary="reflect")
    assert np.abs(opened("out.png") - np.clip(wanted, 0, 1) * 255).max() <= 1.01


def test_noise_and_memory_reach_the_network(place, monkeypatch):
    given = []
    original = nets.Model.__call__

    def spied(self, image, psf=None, **options):
        given.append((options["noise"], options["max_memory"]))
        return original(self, image, psf, **options)

    monkeypatch.setattr(nets.Model, "__call__", spied)
    arguments = ("deblur", "grey.png", "--psf", "motion:5", "--noise", "0.02", "--max-memory", "700")
    assert run(*arguments, "-o", "a.png", "--model", "dwdn-s").exit_code == 0
    assert given == [(0.02, 700_000_000)]
    refused = run(
        "deblur", "grey.png", "-o", "b.png", "--psf", "motion:5", "--noise", "-1", "--model", "dwdn-s"
    )
    assert "noise: expected a finite number > 0, got -1" in refused.stderr


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_too_little_memory_is_told_in_megabytes_before_any_work(place, tmp_path, monkeypatch, backend):
    monkeypatch.setattr(nets.Model, "__call__", None)
    Image.fromarray(np.zeros((256, 320, 3), np.uint8)).save("large.png")
    before = sorted(path.name for path in tmp_path.iterdir())
    arguments = ("--model", "nafnet-s", "--backend", backend, "--max-memory", "1")
    result = run("deblur", "rgb.png", "large.png", "-o", "out/", *arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("fastdeblur: --max-memory: ")
    assert ".png: " in line
    assert " MB" in line
    assert "bytes" not in line
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_memory_that_is_asked_for_is_enough(place):
    Image.fromarray(np.zeros((256, 320, 3), np.uint8)).save("large.png")
    arguments = ("deblur", "large.png", "-o", "out.png", "--model", "nafnet-s", "--max-memory")
    said = run(*arguments, "1").stderr
    least = re.search(r"expected at least (\d+) MB for a frame of 256 x 320 pixels, got 1$", said.strip())
    if least is None:
        pytest.skip("the compiled engine for networks is not built")
    assert run(*arguments, int(least[1]) - 1).exit_code == 2
    assert run(*arguments, least[1]).exit_code == 0


REFUSED = [
    (["rgb.png", "--model", "sharp"], "--model: expected one of"),
    (
        ["rgb.png", "--model", "blend3.safetensors", "--noise", "0.1"],
        "--noise: has no meaning for the network 'blend3'",
    ),
    (["rgb.png", "--noise", "0.1"], "--noise: needs --model"),
    (["rgb.png", "--psf", "motion:5", "--max-memory", "9"], "--max-memory: needs --model"),
    (["rgb.png", "--model", "none.safetensors"], "cannot be read"),
    (["rgb.png", "--model", "rgb.png"], "rgb.png: model file"),
    (["rgb.png", "--model", "blend3.safetensors", "--psf", "motion:5"], "psf: expected None for the network"),
    (["rgb.png", "--model", "blend3.safetensors", "--kind", "motion"], "--kind: has no meaning with --model"),
    (["rgb.png", "--model", "blend3.safetensors", "--method", "wiener"], "--method: has no meaning"),
    (["rgb.png", "--model", "blend3.safetensors", "--num-iter", "3"], "--num-iter: has no meaning"),
    (["rgb.png", "--model", "blend3.safetensors", "--volume"], "--volume: has no meaning"),
    (["counts.tif", "--model", "blend3.safetensors"], "expected a float picture whose white is 1"),
]


@pytest.mark.parametrize(("arguments", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_what_is_refused_is_said_in_one_line(place, tmp_path, arguments, says):
    before = sorted(path.name for path in tmp_path.iterdir())
    out = "out.tif" if arguments[0].endswith("tif") else "out.png"
    result = run("deblur", *arguments, "-o", out)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("fastdeblur: ")
    assert says in line
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_networks_are_listed_and_told(place, monkeypatch, tmp_path):
    from fastdeblur.nets import model

    monkeypatch.setattr(model, "WEIGHTS", tmp_path)
    (tmp_path / "blend3.md").write_text("# Where it comes from\n", encoding="utf-8")
    listed = run("nets")
    assert listed.exit_code == 0, listed.output
    assert all(name in listed.output for name in nets.available())
    assert "needs --psf" in listed.output
    told = run("nets", "blend3")
    assert "conv2d" in told.output
    assert "# Where it comes from" in told.output
    data = json.loads(run("nets", "blend3", "--json").output)
    assert data[0]["parameters"] == 3 * 3 * 2 + 3
    assert data[0]["layers"][0]["op"] == "conv2d"
    assert [said["name"] for said in json.loads(run("nets", "--json").output)] == [
        nets.load(name).name for name in nets.available()
    ]
    monkeypatch.setattr(model, "WEIGHTS", tmp_path / "empty")
    assert "No network is installed" in run("nets").output
    assert run("nets", "blend3").exit_code == 2

"""Configurations: every key's rule, checked before any work and without PyTorch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PIL")

from fastdeblur import InvalidArgument
from fastdeblur.train import CONFIGS, load_config, parse_config

from training import config

SHIPPED = sorted(CONFIGS.glob("*.toml"))

WRONG = [
    ("name", None, "name: expected a value, got none"),
    ("name", "", "name: expected a text, got ''"),
    ("seed", -1, "seed: expected an integer >= 0, got -1"),
    ("seed", 1.0, "seed: expected an integer >= 0, got 1.0"),
    ("seed", True, "seed: expected an integer >= 0, got True"),
    ("sead", 1, "sead: expected one of the keys name, "),
    ("precision", "float64", "precision: expected 'float32' or 'bfloat16' or 'float16', got 'float64'"),
    ("model", None, "model: expected a value, got none"),
    ("model", 3, "model: expected a table, got 3"),
    ("model.kind", None, "model.kind: expected one of srcnn, deblurgan, nafnet, dwdn, got none"),
    ("model.kind", "unet", "model.kind: expected 'srcnn' or "),
    ("model.width", 0, "model.width: expected an integer >= 1, got 0"),
    ("model.depth", 2, "model.depth: expected one of the keys kind, channels, "),
    ("model.up", [1, 1], r"model.up: expected as many scales as model.down \(1\), got \[1, 1\]"),
    ("model.up", None, "model.up: expected together with model.down"),
    ("model.window", -1, "model.window: expected an integer >= 1 or 0, got -1"),
    ("data", None, "data.folders: expected a value, got none"),
    ("data", [], r"data: expected a table, got \[\]"),
    ("data.folders", [], r"data.folders: expected a list of at least 1, got \[\]"),
    ("data.folders", ["a", 2], r"data.folders\[1\]: expected a text, got 2"),
    ("data.kind", "video", "data.kind: expected 'synthetic' or 'paired', got 'video'"),
    ("data.layout", "reds", "data.layout: expected 'gopro' or 'realblur' or 'suffix', got 'reds'"),
    ("data.crop", 7, "data.crop: expected an integer >= 8, got 7"),
    ("data.batch", 0, "data.batch: expected an integer >= 1, got 0"),
    ("data.workers", -1, "data.workers: expected an integer >= 0 and <= 1024, got -1"),
    ("threads", 100_000, "threads: expected an integer >= 0 and <= 1024, got 100000"),
    ("name", "../x", "name: expected a name that a file can have, without a folder, got '../x'"),
    ("name", "a/b", "name: expected a name that a file can have"),
    ("name", ".x", "name: expected a name that a file can have"),
    ("name", "x\n", "name: expected a name that a file can have"),
    ("start", "", "start: expected a text, got ''"),
    ("data.psf", [], r"data.psf: expected a table, or a list of at least 1, got \[\]"),
    ("data.psf", [{}, 3], r"data.psf\[1\]: expected a table, got 3"),
    ("data.psf", [{"sizes": [9]}], r"data.psf\[0\].sizes: expected \[least, most\], got \[9\]"),
    ("data.psf", [{}, {"shares": [0, 0, 0, 0]}], r"data.psf\[1\].shares: expected a sum > 0"),
    ("data.psf.weight", 0, "data.psf.weight: expected a number > 0, got 0"),
    ("data.psf.sizes", [9], r"data.psf.sizes: expected \[least, most\], got \[9\]"),
    ("data.psf.sizes", [9, 7], r"data.psf.sizes: expected \[least, most\], got \[9, 7\]"),
    ("data.psf.sizes", [1, 7], r"data.psf.sizes\[0\]: expected an integer >= 3, got 1"),
    ("data.psf.shares", [1.0, 0.0], r"data.psf.shares: expected 4 values, got \[1.0, 0.0\]"),
    ("data.psf.shares", [0, 0, 0, 0], "data.psf.shares: expected a sum > 0"),
    ("data.psf.anxiety", [0, 1], r"data.psf.anxiety\[0\]: expected a number > 0 and <= 1, got 0"),
    ("data.psf.exposure", [0.5, 2], r"data.psf.exposure\[1\]: expected a number > 0 and <= 1, got 2"),
    ("data.degradation.noise", [0, 2], r"data.degradation.noise\[1\]: expected a number >= 0 and <= 1"),
    (
        "data.degradation.gamma",
        "rec709",
        "data.degradation.gamma: expected a number > 0 or 'srgb', got 'rec709'",
    ),
    (
        "data.degradation.gamma",
        float("nan"),
        "data.degradation.gamma: expected a number > 0 or 'srgb', got nan",
    ),
    ("data.degradation.saturated", 1.5, "data.degradation.saturated: expected a number >= 0 and <= 1"),
    ("data.degradation.jpeg", -0.5, "data.degradation.jpeg: expected a number >= 0 and <= 1"),
    ("data.degradation.jpeg_quality", [50, 101], "data.degradation.jpeg_quality: expected at most 100"),
    ("data.degradation.linear", 2, "data.degradation.linear: expected a number >= 0 and <= 1, got 2"),
    ("data.degradation.varying", -1, "data.degradation.varying: expected a number >= 0 and <= 1, got -1"),
    ("data.degradation.reduced", "half", "data.degradation.reduced: expected a number"),
    ("optimiser", None, "optimiser.steps: expected a value, got none"),
    ("optimiser.steps", 0, "optimiser.steps: expected an integer >= 1, got 0"),
    ("optimiser.warmup", 10, r"optimiser.warmup: expected fewer than optimiser.steps \(10\), got 10"),
    ("optimiser.rate", 0, "optimiser.rate: expected a number > 0, got 0"),
    ("optimiser.betas", [0.9, 1.0], "optimiser.betas: expected numbers < 1"),
    ("optimiser.average", 2, "optimiser.average: expected a number >= 0 and <= 1"),
    ("loss", {}, "loss: expected a weight > 0 for one of psnr, l1"),
    ("loss.l1", -1, "loss.l1: expected a number >= 0, got -1"),
    ("loss.perceptual", 1, "loss.vgg16: expected the file of VGG16's weights"),
    ("loss.critic_steps", 0, "loss.critic_steps: expected an integer >= 1"),
    ("validation.every", 0, "validation.every: expected an integer >= 1, got 0"),
    ("validation.crop", 4, "validation.crop: expected an integer >= 16, got 4"),
    ("card.license", "MIT", "card.license: expected one of the keys data, licence, limits"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG, ids=[f"{k}={v}" for k, v, _ in WRONG])
def test_a_wrong_value_names_key_and_rule(key, value, message):
    with pytest.raises(InvalidArgument, match=message):
        parse_config(config(**{key: value}))


def test_blur_that_varies_has_no_psf():
    message = r"data.degradation.varying: expected 0 for a network that takes a PSF, got 0.5"
    with pytest.raises(InvalidArgument, match=message):
        parse_config(config(data__degradation__varying=0.5, model={"kind": "dwdn"}))
    assert parse_config(config(data__degradation__varying=0.5)).data.degradation.varying == 0.5


def test_a_right_configuration_says_what_it_says():
    found = parse_config(config(data__psf__anxiety=[0.001, 0.01]))
    assert found.data.psf[0].anxiety == (0.001, 0.01)
    assert found.data.psf[0].sizes == (5, 9)
    assert found.optimiser.rate == 1e-3
    assert found.loss.psnr == 1


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_can_be_read(path):
    found = load_config(path)
    assert path.stem.startswith(found.name)
    assert found.card.licence
    assert not set(found.data.folders) & set(found.validation.folders)


def test_each_network_has_a_configuration_for_processor_and_gpu():
    names = {path.stem for path in SHIPPED}
    wanted = {
        f"{net}-{device}" for net in ("srcnn", "deblurgan", "nafnet-s", "dwdn-s") for device in ("cpu", "gpu")
    }
    assert wanted <= names


def test_identity_is_what_decides_the_result():
    base = parse_config(config()).identity()
    same = {
        "optimiser.steps": 99,
        "validation": {},
        "checkpoint_every": 9,
        "card.limits": "x",
        "data.workers": 2,
    }
    for key, value in same.items():
        assert parse_config(config(**{key: value})).identity() == base
    for key, value in {
        "seed": 4,
        "model.width": 9,
        "data.crop": 40,
        "loss.l1": 1,
        "optimiser.rate": 0.1,
        "start": "nafnet-s",
        "data.psf": [{"sizes": [5, 9]}, {}],
    }.items():
        assert parse_config(config(**{key: value})).identity() != base


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_an_error(tmp_path, content):
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    with pytest.raises(InvalidArgument, match="config: expected a TOML file, got"):
        load_config(file)


def test_a_configuration_is_checked_without_torch():
    code = f"import sys\nfrom fastdeblur.train import parse_config\nparse_config({config()!r})\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_the_guides_configuration_can_be_read(tmp_path):
    guide = Path(__file__).resolve().parent.parent / "docs" / "training.md"
    if not guide.is_file():
        pytest.skip("the documentation is not beside the tests")
    (text,) = re.findall(r"^```toml\n(.*?)^```", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    file = tmp_path / "c.toml"
    file.write_text(text, encoding="utf-8")
    assert load_config(file).model["window"] == 192

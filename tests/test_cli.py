"""The fastdeblur command from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
Image = pytest.importorskip("PIL.Image")
tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

from typer.testing import CliRunner  # noqa: E402

import fastdeblur  # noqa: E402
from fastdeblur import _light  # noqa: E402
from fastdeblur import psf as generators  # noqa: E402
from fastdeblur.cli import psfspec  # noqa: E402
from fastdeblur.cli.app import app  # noqa: E402
from fastdeblur.cli.failure import WorkError  # noqa: E402

COMMAND = [sys.executable, "-c", "from fastdeblur.cli import main; main()"]


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def deblur(*arguments):
    return run("deblur", *arguments, "--backend", "numpy")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a photo in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save("photo.png")
    return tmp_path


def files(place):
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def refused(place, *arguments, says, code=2, command=deblur):
    """The command fails with one line that says so, and touches nothing."""
    before = {name: (place / name).read_bytes() for name in files(place) if (place / name).is_file()}
    result = command(*arguments)
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("fastdeblur: ")
    assert says in lines[0]
    assert "Traceback" not in result.output
    after = {name: (place / name).read_bytes() for name in files(place) if (place / name).is_file()}
    assert after == before


def test_deblurs_what_was_blurred(place):
    """A scene of blocks, blurred by a known motion: the result is much nearer to the truth than the input."""
    rng = np.random.default_rng(1)
    scene = rng.random((8, 8, 3)).repeat(16, axis=0).repeat(16, axis=1)
    kernel = generators.motion(9, 30)
    padded = np.zeros(scene.shape[:2])
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, [-(n // 2) for n in kernel.shape], axis=(0, 1))
    otf = np.fft.rfft2(padded)[..., None]
    blurred = np.fft.irfft2(np.fft.rfft2(scene, axes=(0, 1)) * otf, scene.shape[:2], axes=(0, 1))

    def save(name, light):
        Image.fromarray(np.rint(255 * _light.encode_srgb(np.clip(light, 0, 1))).astype(np.uint8)).save(name)

    save("truth.png", scene)
    save("blurred.png", blurred)
    for method in (["-m", "richardson-lucy"], ["-m", "wiener", "--balance", "1e-4"]):
        options = ["--psf", "motion:9,30", "--boundary", "periodic", "--overwrite", *method]
        result = deblur("blurred.png", "-o", "sharp.png", *options)
        assert result.exit_code == 0, result.output
        truth, before, after = (
            np.asarray(Image.open(name), float) for name in ("truth.png", "blurred.png", "sharp.png")
        )
        assert np.mean((after - truth) ** 2) < 0.4 * np.mean((before - truth) ** 2)


def test_prints_the_time_per_file(place):
    result = deblur("photo.png", "-o", "out.png", "--psf", "gaussian:1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("photo.png -> out.png  24x30x3 uint8  ")
    assert result.stdout.rstrip().endswith(" s")
    assert deblur("photo.png", "-o", "quiet.png", "--psf", "gaussian:1", "--quiet").output == ""


def test_many_inputs_go_to_a_directory_and_share_a_plan(place, monkeypatch):
    from fastdeblur.cli import restore

    plans = []

    def counted(*arguments, **options):
        plans.append(arguments[0])
        return fastdeblur.Deconvolver(*arguments, **options)

    monkeypatch.setattr(restore, "Deconvolver", counted)
    for name in ("a.png", "b.png", "c.tif", "d.jpg"):
        Image.fromarray(np.zeros((24, 30, 3), np.uint8)).save(name)
    Image.fromarray(np.zeros((24, 31), np.uint8)).save("e.png")
    result = deblur(
        "a.png", "b.png", "c.tif", "d.jpg", "e.png", "-o", "made/", "--psf", "gaussian:1", "-n", "1"
    )
    assert result.exit_code == 0, result.output
    assert [name for name in files(place) if name.startswith("made")] == [
        "made", "made/a.png", "made/b.png", "made/c.tif", "made/d.jpg", "made/e.png",
    ]  # fmt: skip
    assert plans == [(24, 30, 3), (24, 31)]


def test_one_input_into_a_directory(place):
    (place / "there").mkdir()
    assert deblur("photo.png", "-o", "there", "--psf", "gaussian:1", "-n", "1").exit_code == 0
    assert deblur("photo.png", "-o", "new/", "--psf", "gaussian:1", "-n", "1").exit_code == 0
    assert (place / "there/photo.png").read_bytes() == (place / "new/photo.png").read_bytes()


def test_the_suffix_is_the_format(place):
    for name in ("x.jpg", "x.JPEG", "x.tif", "x.TIFF", "x.png"):
        assert deblur("photo.png", "-o", name, "--psf", "gaussian:1", "-n", "1").exit_code == 0
        with Image.open(name) as image:
            assert image.format == {"j": "JPEG", "t": "TIFF", "p": "PNG"}[name[2].lower()]


def test_a_file_is_replaced_only_when_told(place):
    before = (place / "photo.png").read_bytes()
    refused(place, "photo.png", "-o", "photo.png", "--psf", "gaussian:1", says="is the input itself")
    os.link("photo.png", "same.png")
    refused(place, "photo.png", "-o", "same.png", "--psf", "gaussian:1", says="is the input itself")
    (place / "old.png").write_bytes(b"old")
    refused(place, "photo.png", "-o", "old.png", "--psf", "gaussian:1", says="old.png exists; --overwrite")
    assert deblur("photo.png", "-o", "old.png", "--psf", "gaussian:1", "--overwrite").exit_code == 0
    assert deblur("photo.png", "-o", "photo.png", "--psf", "gaussian:1", "--overwrite").exit_code == 0
    assert (place / "photo.png").read_bytes() == (place / "old.png").read_bytes() != before


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["missing.png"], "missing.png: No such file"),
        (["empty.png"], "empty.png: the file is empty"),
        (["text.png"], "text.png: expected a PNG, JPEG or TIFF image"),
        (["cut.png"], "cut.png: the PNG is truncated"),
        (["cut.jpg"], "cut.jpg: the JPEG cannot be decoded"),
        (["folder.png"], "IN: folder.png: expected PNG, JPEG or TIFF files, got a directory"),
        (["folder"], "IN: folder: expected PNG, JPEG or TIFF files, got a directory"),
        (["nan.tif"], "nan.tif: expected finite values"),
        (["photo.png", "cut.png"], "cut.png"),
    ],
)
def test_unusable_inputs_are_refused_before_any_work(place, inputs, says):
    (place / "empty.png").touch()
    (place / "text.png").write_text("hello")
    data = (place / "photo.png").read_bytes()
    (place / "cut.png").write_bytes(data[: len(data) // 2])
    Image.open("photo.png").save("cut.jpg")
    data = (place / "cut.jpg").read_bytes()
    (place / "cut.jpg").write_bytes(data[: len(data) // 2])
    (place / "folder.png").mkdir()
    (place / "folder").mkdir()
    tifffile.imwrite("nan.tif", np.full((9, 9), np.nan, np.float32))
    refused(place, *inputs, "-o", "new/", "--psf", "gaussian:1", says=says)
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("nowhere/out.png", "the directory 'nowhere' does not exist"),
        ("nowhere/out/", "the directory 'nowhere' does not exist"),
        ("out.gif", "expected a name ending in .png"),
        ("out", "expected a name ending in .png"),
        ("photo.png/", "expected a directory, but"),
    ],
)
def test_unusable_outputs_are_refused(place, output, says):
    refused(place, "photo.png", "-o", output, "--psf", "gaussian:1", says=says)


def test_a_forbidden_directory_is_refused(place, monkeypatch):
    (place / "locked").mkdir(mode=0o500)
    if not hasattr(os, "geteuid") or os.geteuid() == 0:  # nothing is forbidden to root
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and real(path, mode))
    refused(place, "photo.png", "-o", "locked/out.png", "--psf", "gaussian:1", says="cannot be written to")


def test_two_inputs_for_one_output_are_refused(place):
    (place / "sub").mkdir()
    (place / "sub/photo.png").write_bytes((place / "photo.png").read_bytes())
    refused(
        place, "photo.png", "sub/photo.png", "-o", "out/", "--psf", "gaussian:1",
        says="photo.png and sub/photo.png would both be written to out/photo.png",
    )  # fmt: skip
    refused(
        place, "photo.png", "sub/photo.png", "-o", "x.png", "--psf", "gaussian:1", says="expected a directory"
    )
    (place / "other.png").write_bytes((place / "photo.png").read_bytes())
    refused(
        place, "sub/photo.png", "photo.png", "-o", ".", "--psf", "gaussian:1", "--overwrite",
        says="would both be written to",
    )  # fmt: skip
    os.remove("sub/photo.png")
    os.symlink("../other.png", "sub/photo.png")
    refused(
        place, "photo.png", "other.png", "-o", "sub", "--psf", "gaussian:1", "--overwrite",
        says="which is another input",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "pixels", "output", "says"),
    [
        (
            "f.tif",
            np.zeros((9, 9), np.float32),
            "x.png",
            "PNG holds uint8 or uint16 pixels, but f.tif has float32",
        ),
        ("f.tif", np.zeros((9, 9), np.float32), "x.jpg", "JPEG holds uint8 pixels"),
        ("s.tif", np.zeros((9, 9), np.uint16), "x.jpg", "JPEG holds uint8 pixels, but s.tif has uint16"),
        ("p.tif", np.zeros((2, 9, 9), np.uint8), "x.png", "PNG holds one page, but p.tif has 2"),
    ],
)
def test_a_format_that_cannot_hold_the_picture_is_refused(place, name, pixels, output, says):
    tifffile.imwrite(name, pixels, photometric="minisblack")
    refused(place, name, "-o", output, "--psf", "gaussian:1", says=says)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "expected motion:LENGTH[,ANGLE]"),
        ("motion", "there is no file 'motion'"),
        ("motion:", "expected motion:LENGTH[,ANGLE] with numbers"),
        ("motion:a", "expected motion:LENGTH[,ANGLE] with numbers, got 'motion:a'"),
        ("motion:5,", "with numbers"),
        ("motion:5,10,15", "expected motion:LENGTH[,ANGLE], got"),
        ("motion:-5,10", "length: "),
        ("motion:nan", "length: "),
        ("motion:inf", "length: "),
        ("gaussian:1,2,3", "expected one sigma or 2 (one per axis)"),
        ("gaussian:-1", "sigma: "),
        ("defocus:1,2", "expected defocus:RADIUS"),
        ("defocus:x", "expected defocus:RADIUS[,blades=,rotation=] with numbers"),
        ("blur:4", "there is no file 'blur:4'"),
        ("none.npy", "there is no file 'none.npy'"),
        ("bad.npy", "cannot be read as a .npy file"),
        ("pickle.npy", "cannot be read as a .npy file"),
        ("line.npy", "expected 2 axes, got shape (5,)"),
        ("zero.npy", "--psf: zero.npy: expected a positive, finite sum"),
        ("nan.npy", "--psf: nan.npy: expected finite values"),
        ("complex.npy", "--psf: complex.npy: expected a real numeric dtype"),
        ("empty.png", "--psf: empty.png: the file is empty"),
        ("photo.png", "expected a grey image, got 3 different channels"),
    ],
)
def test_bad_psfs_are_refused(place, spec, says):
    (place / "bad.npy").write_bytes(b"\x93NUMPY\x01")
    (place / "empty.png").touch()
    np.save("pickle.npy", np.array([object()]))
    np.save("line.npy", np.ones(5))
    np.save("zero.npy", np.zeros((3, 3)))
    np.save("nan.npy", np.full((3, 3), np.nan))
    np.save("complex.npy", np.ones((3, 3), complex))
    refused(place, "photo.png", "-o", "x.png", "--psf", spec, says=says)
    refused(place, "photo.png", "-o", "newdir/", "--psf", spec, says=says)
    assert not (place / "newdir").exists()


def test_psf_specs(place):
    np.testing.assert_array_equal(psfspec.parse("motion:21,30", 2), generators.motion(21, 30))
    np.testing.assert_array_equal(psfspec.parse("motion:7", 2), generators.motion(7))
    np.testing.assert_array_equal(psfspec.parse("gaussian:2.5", 2), generators.gaussian(2.5))
    np.testing.assert_array_equal(psfspec.parse("gaussian:2,3", 2), generators.gaussian((2, 3)))
    np.testing.assert_array_equal(psfspec.parse("gaussian:1,2,2", 3), generators.gaussian((1, 2, 2), ndim=3))
    np.testing.assert_array_equal(psfspec.parse("defocus:4", 2), generators.defocus(4))
    kernel = np.arange(15, dtype=np.uint16).reshape(3, 5)
    np.save("k.npy", kernel)
    (place / "k.png").write_bytes(imagecodecs.png_encode(kernel))
    (place / "rgb.png").write_bytes(imagecodecs.png_encode(np.repeat(kernel[..., None], 3, axis=2)))
    tifffile.imwrite("k.tif", kernel.astype(np.float32))
    tifffile.imwrite("k3.tif", np.ones((3, 3, 3), np.float32), photometric="minisblack")
    for name in ("k.npy", "k.png", "rgb.png", "k.tif"):
        np.testing.assert_array_equal(psfspec.parse(name, 2), kernel)
    assert psfspec.parse("k3.tif", 3).shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--balance", "1"], "--balance: has no meaning for --method richardson-lucy"),
        (["-m", "wiener", "--num-iter", "3"], "--num-iter: has no meaning for --method wiener"),
        (["-m", "wiener", "--tol", "3"], "--tol: has no meaning"),
        (["-m", "wiener", "--background", "0"], "--background: has no meaning"),
        (["-m", "wiener", "--acceleration", "none"], "--acceleration: has no meaning"),
        (["-m", "wiener", "--boundary", "unknown"], "--boundary: expected periodic"),
        (["-m", "wiener", "--balance", "-1"], "--balance: expected a finite number >= 0, got -1.0"),
        (["-m", "wiener", "--balance", "nan"], "--balance: expected a finite number >= 0, got nan"),
        (["--num-iter", "-1"], "--num-iter: expected an integer >= 0, got -1"),
        (["--background", "inf"], "--background: expected a finite number"),
        (["--tol", "-1"], "--tol: expected a finite number"),
        (["--gamma", "x"], "--gamma: expected auto, srgb, none or a number"),
        (["--gamma", "0"], "--gamma: expected auto, srgb, none or a number"),
        (["--gamma", "srgb", "--linear"], "--linear: contradicts --gamma srgb"),
        (["--volume"], "--psf: motion has two axes, but --volume needs three"),
        (["--max-pixels", "10"], "30 x 24 pixels, more than --max-pixels 10"),
    ],
)
def test_bad_options_are_refused(place, options, says):
    refused(place, "photo.png", "-o", "x.png", "--psf", "motion:3", *options, says=says)


@pytest.mark.parametrize(
    "options",
    [["--method", "x"], ["--boundary", "x"], ["--threads", "-1"], ["--backend", "x"], ["--nonsense"]],
)
def test_unknown_words_are_refused(place, options):
    result = run("deblur", "photo.png", "-o", "x.png", "--psf", "motion:3", *options)
    assert result.exit_code == 2
    assert not (place / "x.png").exists()


def test_volumes(place):
    stack = np.random.default_rng(0).random((6, 12, 10)).astype(np.float32)
    tifffile.imwrite("v.tif", stack, photometric="minisblack")
    result = deblur("v.tif", "-o", "w.tif", "--psf", "gaussian:1,2,2", "--volume", "-n", "3")
    assert result.exit_code == 0, result.output
    expected = fastdeblur.richardson_lucy(stack, generators.gaussian((1, 2, 2), ndim=3), 3, backend="numpy")
    np.testing.assert_array_equal(tifffile.imread("w.tif"), expected)
    assert deblur("v.tif", "-o", "p.tif", "--psf", "gaussian:2", "-n", "3").exit_code == 0
    expected = fastdeblur.richardson_lucy(stack[2], generators.gaussian(2), 3, backend="numpy")
    np.testing.assert_array_equal(tifffile.imread("p.tif")[2], expected)
    refused(
        place, "photo.png", "-o", "x.png", "--psf", "gaussian:1", "--volume", says="expected several pages"
    )
    tifffile.imwrite("c.tif", np.zeros((2, 3, 9, 9), np.uint8), imagej=True, metadata={"axes": "TCYX"})
    refused(place, "c.tif", "-o", "x.tif", "--psf", "gaussian:1", "--volume", says="got axes 'TC'")


def test_a_psf_of_three_axes_needs_volume(place):
    np.save("k.npy", np.ones((3, 3, 3)))
    np.save("line.npy", np.ones(3))
    microscope = "born_wolf:3,5,5,wavelength=0.5,na=1.4,refractive_index=1.5,pixel_size=0.1,z_step=0.2"
    for spec in ("k.npy", microscope):
        refused(place, "photo.png", "-o", "x.png", "--psf", spec, says="; a PSF of three axes needs --volume")
    result = deblur("photo.png", "-o", "x.png", "--psf", "line.npy")
    assert "expected 2 axes, got shape (3,) from line.npy\n" in result.stderr
    result = deblur("photo.png", "-o", "x.png", "--psf", "k.npy", "--model", "dwdn-s")
    assert "got shape (3, 3, 3) from k.npy\n" in result.stderr  # a network takes no volume


def test_a_psf_file_is_one_volume_from_front_to_back(place):
    """Of an OME-TIFF whose pages lie the other way round; one of several volumes, or of channels, is refused."""
    kernel = np.arange(1, 28, dtype=np.float32).reshape(3, 3, 3)
    data = "".join(f'<TiffData IFD="{2 - z}" FirstZ="{z}" PlaneCount="1"/>' for z in range(3))
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="float" SizeX="3" SizeY="3" SizeZ="3" SizeC="1" SizeT="1">'
        f"{data}</Pixels></Image></OME>"
    )
    tifffile.imwrite("k.ome.tif", kernel[::-1], description=xml, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(psfspec.parse("k.ome.tif", 3), kernel)
    for axes, shape, says in (
        ("CYX", (3, 3, 3), "call them channels"),
        ("TZYX", (2, 3, 3, 3), "one volume, got 2"),
    ):
        tifffile.imwrite("k.tif", np.ones(shape, np.float32), imagej=True, metadata={"axes": axes})
        refused(place, "photo.png", "-o", "x.png", "--volume", "--psf", "k.tif", says=says)


def test_a_name_that_is_too_long_is_refused_before_any_work(place):
    long = "a" * 300 + ".png"
    refused(place, "photo.png", "-o", long, "--psf", "motion:3", says=f"OUT: {long}: ")


def test_a_second_psf_is_refused(place):
    refused(
        place, "photo.png", "-o", "x.png", "--psf", "motion:3", "--psf=gaussian:1",
        says="--psf: expected one, got several; blurs that follow one another are joined by +",
    )  # fmt: skip
    shown = deblur("photo.png", "-o", "x.png", "--psf", "motion:3", "--psf=gaussian:1", "--help")
    assert shown.exit_code == 0
    twice = deblur("photo.png", "-o", "x.png", "--psf", "motion:3", "-n", "2", "--num-iter", "1")
    assert twice.exit_code == 0, twice.output


@pytest.fixture
def bright(place):
    """A 16-bit picture whose peaks rise beyond the dtype when it is deblurred."""
    pixels = np.full((24, 30), 1000, np.uint16)
    pixels[4:20:5, 4:26:5] = 65000
    tifffile.imwrite("bright.tif", pixels, compression="lzw", predictor=True)
    return pixels


SHARPEN = ["--psf", "gaussian:1", "-n", "9"]


def test_values_that_are_cut_are_told(place, bright):
    result = deblur("bright.tif", "-o", "cut.tif", *SHARPEN)
    assert result.exit_code == 0, result.output
    whole = fastdeblur.richardson_lucy(bright, generators.gaussian(1), 9, backend="numpy")
    count = (np.rint(whole) > 65535).sum()
    assert count > 1
    assert result.stderr == (
        f"fastdeblur: note: bright.tif: {count} values ({count / 720:.2%}) became brighter than uint16 holds, "
        "and were cut; --dtype float32 keeps them, in a TIFF\n"
    )
    assert (tifffile.imread("cut.tif") == 65535).sum() == count
    assert deblur("bright.tif", "-o", "quiet.tif", *SHARPEN, "--quiet").output == ""
    assert deblur("bright.tif", "-o", "whole.tif", *SHARPEN, "--dtype", "float32").stderr == ""
    np.testing.assert_array_equal(tifffile.imread("whole.tif"), whole)


def test_float32_is_not_offered_where_it_is_refused(place, bright):
    pixels = np.dstack([bright, np.full_like(bright, 65535)])
    (place / "alpha.png").write_bytes(imagecodecs.png_encode(pixels))
    result = deblur("alpha.png", "-o", "cut.png", *SHARPEN, "--linear")
    assert result.stderr.endswith(" became brighter than uint16 holds, and were cut\n")


def test_float32_is_in_the_files_numbers(place):
    """Gamma-encoded as before, where 255 is white; a PNG becomes a TIFF with its metadata."""
    pixels = np.asarray(Image.open("photo.png"))
    Image.fromarray(pixels).save("photo.png", dpi=(300, 300))
    result = deblur("photo.png", "-o", "whole.tif", *SHARPEN, "--dtype", "float32")
    assert result.exit_code == 0, result.output
    light = _light.decode_srgb(pixels.astype(np.float32) / 255)
    sharp = fastdeblur.richardson_lucy(light, generators.gaussian(1), 9, channel_axis=-1, backend="numpy")
    written = tifffile.imread("whole.tif")
    assert written.dtype == np.float32
    assert written.max() > 255
    np.testing.assert_allclose(written, 255 * _light.encode_srgb(sharp), rtol=1e-5, atol=1e-3)
    with tifffile.TiffFile("whole.tif") as tif:
        above, below = tif.pages[0].tags["XResolution"].value
        assert above / below == pytest.approx(300, abs=0.01)
        assert tif.pages[0].predictor == 3
    assert deblur("photo.png", "-o", "cut.png", *SHARPEN).exit_code == 0
    cut = np.asarray(Image.open("cut.png"))
    np.testing.assert_allclose(cut, np.clip(written, 0, 255), atol=0.501)


@pytest.mark.parametrize(("name", "white"), [("photo.png", 255), ("linear.tif", 65535)])
def test_a_network_is_told_that_white_is_1_for_float32_too(place, name, white):
    pixels = np.asarray(Image.open("photo.png"))
    tifffile.imwrite("linear.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
    for out, dtype in (("cut.tif", "same"), ("whole.tif", "float32")):
        result = deblur(name, "-o", out, "--model", "srcnn", "--dtype", dtype)
        assert result.exit_code == 0, result.output
    cut, whole = tifffile.imread("cut.tif"), tifffile.imread("whole.tif")
    assert whole.dtype == np.float32
    assert whole.max() > white / 2
    np.testing.assert_allclose(cut, np.clip(whole, 0, white), atol=0.51, rtol=1e-5)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_volumes_as_float32(place, kind):
    stack = np.random.default_rng(0).integers(0, 65536, (2, 6, 12, 10), dtype=np.uint16)
    name = f"a.{kind}.tif"
    options = {"imagej": True} if kind == "imagej" else {"ome": True}
    tifffile.imwrite(name, stack, **options, metadata={"axes": "TZYX", "Ranges": (0.0, 500.0)})
    result = deblur(
        name, "-o", "w.ome.tif", "--psf", "gaussian:1,1,1", "--volume", "-n", "3", "--dtype", "float32"
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    kernel = generators.gaussian((1, 1, 1), ndim=3)
    with tifffile.TiffFile("w.ome.tif") as tif:
        series = tif.series[0]
        assert (series.kind, series.axes, series.dtype) == (kind, "TZYX", np.float32)
        for found, volume in zip(series.asarray(), stack, strict=True):
            expected = fastdeblur.richardson_lucy(volume, kernel, 3, backend="numpy")
            np.testing.assert_array_equal(found, expected)
        if kind == "ome":
            assert 'Type="float"' in tif.ome_metadata
            assert "uint16" not in tif.ome_metadata
        else:
            assert tif.imagej_metadata["Ranges"] == (0.0, 500.0)


def test_what_floats_cannot_stand_for_is_refused(place):
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save("alpha.png")
    tifffile.imwrite("white.tif", np.zeros((9, 9), np.uint8), photometric="miniswhite")
    tifffile.imwrite("large.tif", np.full((9, 9), 1e300))
    for name, out, says in (
        (
            "photo.png",
            "x.png",
            "--dtype: float32 needs a TIFF, a name ending in .tif or .tiff: PNG holds integers: x.png",
        ),
        ("photo.png", "x.jpg", "JPEG holds integers: x.jpg"),
        ("alpha.png", "x.tif", "--dtype: alpha.png: float32 is for pictures without alpha"),
        ("white.tif", "x.tif", "--dtype: white.tif: float32 is for pictures whose 0 is black"),
        ("large.tif", "x.tif", "--dtype: large.tif: expected values that float32 holds, got up to 1e+300"),
    ):
        refused(place, name, "-o", out, "--psf", "gaussian:1", "--dtype", "float32", says=says)
    wide = np.ones((9, 9, 4))
    tifffile.imwrite("float.tif", wide, photometric="rgb", extrasamples=["unassalpha"])
    done = deblur("float.tif", "-o", "x.tif", "--psf", "gaussian:1", "--dtype", "float32")
    assert done.exit_code == 0, done.output  # alpha was a share of 1 before
    np.testing.assert_array_equal(tifffile.imread("x.tif"), wide.astype(np.float32))


def test_errors_from_the_library_name_the_file(place):
    tifffile.imwrite("negative.tif", np.full((9, 9), -1, np.float32))
    refused(
        place, "negative.tif", "-o", "x.tif", "--psf", "gaussian:1",
        says="fastdeblur: IN: negative.tif: image: expected values >= 0, got -1.0",
    )  # fmt: skip


def test_all_inputs_are_checked_before_the_first_is_written(place):
    """Each of these is fine as a picture, and found wanting only against the method or the PSF."""
    good, page = np.full((9, 9), 1, np.float32), np.full((30, 30), 1, np.float32)
    tifffile.imwrite("good.tif", page)
    tifffile.imwrite("negative.tif", np.stack([page, page - 2]), photometric="minisblack")
    tifffile.imwrite("signed.tif", np.full((30, 30), -3, np.int16))
    tifffile.imwrite("large.tif", page * np.float32(3e38))
    tifffile.imwrite("small.tif", good)
    tifffile.imwrite(
        "five.tif", np.ones((30, 5, 4), np.float32), photometric="minisblack", planarconfig="contig"
    )
    wiener = ["-m", "wiener", "--psf", "gaussian:3"]
    for name, options, says in (
        ("negative.tif", ["--psf", "gaussian:1"], "IN: negative.tif: image: expected values >= 0, got -1.0"),
        ("signed.tif", ["--psf", "gaussian:1"], "IN: signed.tif: image: expected values >= 0, got -3.0"),
        ("large.tif", ["--psf", "gaussian:1"], "IN: large.tif: image: expected values within"),
        ("large.tif", wiener, "IN: large.tif: image: expected values within"),
        ("small.tif", wiener, "IN: small.tif: psf: expected at most 19 pixels on an axis of 9"),
        ("five.tif", wiener, "IN: five.tif: psf: expected at most 11 pixels on an axis of 5"),
    ):
        refused(place, "good.tif", name, "photo.png", "-o", "made/", *options, says=says)
        assert not (place / "made").exists()
    assert (
        deblur(
            "good.tif", "signed.tif", "small.tif", "-o", "made/", "-m", "wiener", "--psf", "gaussian:1"
        ).exit_code
        == 0
    )


def test_what_is_hidden_is_not_checked(place):
    pixels = np.ones((20, 20, 2), np.float32)
    pixels[3:5, 3:5] = -9, 0
    tifffile.imwrite(
        "a.tif", pixels, photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"
    )
    result = deblur("a.tif", "-o", "b.tif", "--psf", "gaussian:1", "-n", "1")
    assert result.exit_code == 0, result.output
    pixels[9, 9] = -9, 1
    tifffile.imwrite(
        "c.tif", pixels, photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"
    )
    refused(place, "c.tif", "-o", "d.tif", "--psf", "gaussian:1", says="got -9.0 at index (9, 9)")


def test_a_volume_is_checked_as_one(place):
    tifffile.imwrite("v.tif", np.ones((3, 12, 10), np.float32), photometric="minisblack")
    refused(
        place, "v.tif", "-o", "w.tif", "--volume", "-m", "wiener", "--psf", "gaussian:2,1,1",
        says="IN: v.tif: psf: expected at most 7 pixels on an axis of 3",
    )  # fmt: skip


def test_an_input_that_changes_after_its_check_is_a_failure(place, monkeypatch):
    from fastdeblur.cli import deblur as module

    monkeypatch.setattr(module, "_KEEP", 0)  # decoded again for the work
    Image.open("photo.png").save("second.png")
    real = module.images.write

    def write(picture, out, overwrite):
        real(picture, out, overwrite)
        (place / "second.png").write_bytes(b"hello")

    monkeypatch.setattr(module.images, "write", write)
    result = deblur("photo.png", "second.png", "-o", "out/", "--psf", "gaussian:1", "-n", "1")
    assert result.exit_code == 1
    assert "second.png: expected a PNG, JPEG or TIFF" in result.stderr
    assert [name for name in files(place) if name.startswith("out")] == ["out", "out/photo.png"]


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")
def test_a_link_stays_a_link(place):
    (place / "sub").mkdir()
    os.symlink("sub/real.png", "link.png")
    refused(place, "photo.png", "-o", "link.png", "--psf", "gaussian:1", says="link.png exists; --overwrite")
    for _ in range(2):  # first it points at nothing
        done = deblur("photo.png", "-o", "link.png", "--psf", "gaussian:1", "-n", "1", "--overwrite")
        assert done.exit_code == 0, done.output
        assert os.readlink("link.png") == "sub/real.png"
        with Image.open("sub/real.png") as image:
            assert image.size == (30, 24)
    assert files(place) == ["link.png", "photo.png", "sub", "sub/real.png"]
    os.symlink("nowhere/real.png", "lost.png")
    refused(
        place, "photo.png", "-o", "lost.png", "--psf", "gaussian:1", "--overwrite",
        says="nowhere' does not exist",
    )  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")
def test_a_pipe_is_refused_not_waited_for(place):
    os.mkfifo("pipe.png")
    result = subprocess.run(
        [*COMMAND, "deblur", "pipe.png", "-o", "x.png", "--psf", "gaussian:1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "fastdeblur: IN: pipe.png: expected a regular file, got a pipe or a device\n"


def test_one_plan_is_kept_at_a_time(place):
    """A folder of pictures that are all cropped differently must not fill the memory."""
    from gc import collect
    from weakref import ref

    from fastdeblur.cli import images, restore

    settings = restore.Settings("richardson-lucy", 0.01, 1, None, None, 0.0, None, 1, "numpy", None)
    restorer = restore.Restorer(settings, generators.gaussian(1))
    plans = []
    for width in (10, 11, 11, 12):
        picture = images.Picture(place / "x", "PNG", [images.Page(np.ones((9, width), np.uint8))])
        restorer.pages(picture)
        plans.append(ref(restorer._plan[1]))
    collect()
    assert plans[1] is plans[2]
    assert [plan() is None for plan in plans] == [True, True, True, False]


def test_options_reach_the_library(place):
    pixels = np.random.default_rng(3).integers(5, 1000, (20, 21), dtype=np.uint16)
    tifffile.imwrite("a.tif", pixels)
    result = deblur(
        "a.tif", "-o", "b.tif", "--psf", "defocus:2", "--num-iter", "9", "--acceleration", "biggs-andrews",
        "--background", "4", "--boundary", "zero", "--tol", "0.01", "--threads", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = fastdeblur.richardson_lucy(
        pixels, generators.defocus(2), 9, acceleration="biggs-andrews", background=4.0, boundary="zero",
        tol=0.01, n_threads=1, backend="numpy",
    )  # fmt: skip
    np.testing.assert_array_equal(tifffile.imread("b.tif"), np.rint(np.clip(expected, 0, 65535)))


def test_warnings_are_one_line(place):
    kernel = np.ones((3, 3))
    kernel[0, 0] = -0.1
    np.save("k.npy", kernel)
    result = deblur("photo.png", "-o", "x.png", "--psf", "k.npy", "-n", "1")
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "negative values" in line] == [
        result.stderr.strip()
    ]
    assert result.stderr.startswith("fastdeblur: warning: psf: ")


def test_metadata_too_long_for_a_jpeg_are_refused_before_any_work(place):
    from PIL.PngImagePlugin import PngInfo

    for length in (65504, 65505):  # a segment of 65535 bytes: its length, 29 bytes of Adobe's name, XMP
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", "x" * length)
        Image.open("photo.png").save(f"{length}.png", pnginfo=text)
    exif = Image.Exif()
    exif[0x010E] = "d" * 70_000
    Image.open("photo.png").save("exif.png", exif=exif.tobytes())
    options = ("--psf", "gaussian:1", "-n", "1")
    assert deblur("65504.png", "-o", "out.jpg", *options).exit_code == 0
    with Image.open("out.jpg") as image:
        assert image.info["xmp"] == b"x" * 65504
    says = "OUT: JPEG holds at most 65504 bytes of XMP, but 65505.png has 65505: x.jpg"
    refused(place, "65505.png", "-o", "x.jpg", *options, says=says)
    says = "OUT: JPEG holds at most 65527 bytes of EXIF, but exif.png has 7"
    refused(place, "exif.png", "-o", "x.jpg", *options, says=says)


@pytest.mark.parametrize("rows", [65500, 65501])
def test_a_jpeg_holds_so_many_rows(place, rows):
    (place / "tall.png").write_bytes(imagecodecs.png_encode(np.zeros((rows, 1), np.uint8)))
    options = ("tall.png", "-o", "x.jpg", "--psf", "gaussian:1,0", "-m", "wiener", "--boundary", "periodic")
    if rows == 65500:
        assert deblur(*options).exit_code == 0
    else:
        refused(place, *options, says="JPEG holds at most 65500 rows and columns, but tall.png has 65501 x 1")


@pytest.mark.parametrize(
    "name", ["\N{GRINNING FACE}" * 62 + ".png", "x" * 251 + ".png"], ids=["emoji", "ascii"]
)
def test_the_longest_names_can_be_written(place, name):
    assert deblur("photo.png", "-o", name, "--psf", "gaussian:1", "-n", "1").exit_code == 0
    assert files(place) == sorted(["photo.png", name])


def test_an_enlarged_psf_is_taken_as_it_was(place):
    spec = "camera_shake:9,2"
    for name, zoom in (("small.png", 1), ("large.png", 4)):
        assert run("psf", spec, "--zoom", zoom, "-o", name).exit_code == 0
        assert deblur("photo.png", "-o", f"by_{name}", "--psf", name, "-n", "2").exit_code == 0
    assert imagecodecs.png_decode((place / "large.png").read_bytes()).shape == (36, 36)
    assert (place / "by_large.png").read_bytes() == (place / "by_small.png").read_bytes()


def test_a_failure_in_the_middle_keeps_what_is_done(place, monkeypatch):
    from fastdeblur.cli import png

    Image.open("photo.png").save("second.png")
    real, calls = png.write, []

    def write(picture, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(picture, path)

    monkeypatch.setattr(png, "write", write)
    result = deblur("photo.png", "second.png", "-o", "out/", "--psf", "gaussian:1", "-n", "1")
    assert result.exit_code == 1
    assert result.stderr.strip() == "fastdeblur: out/second.png: cannot be written: No space left on device"
    assert [name for name in files(place) if name.startswith("out")] == ["out", "out/photo.png"]
    assert "photo.png -> " in result.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_long_run_and_leaves_nothing(place, number, code):
    tifffile.imwrite("large.tif", np.random.default_rng(0).random((300, 300)).astype(np.float32))
    before = files(place)
    script = """
import sys
from fastdeblur.cli import main, restore
class Announced(restore.Deconvolver):
    def richardson_lucy(self, *arguments, **options):
        print("started", flush=True)
        return super().richardson_lucy(*arguments, **options)
restore.Deconvolver = Announced
sys.argv[1:] = "deblur large.tif -o out.tif --psf gaussian:2 -n 1000000 --backend numpy".split()
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.strip() in ("fastdeblur: interrupted", "fastdeblur: terminated")
    assert files(place) == before


def test_a_signal_while_writing_leaves_nothing(place):
    """SIGTERM arrives when half of the file is there."""
    script = """
import os, signal, sys
from fastdeblur.cli import png
def write(picture, path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
png.write = write
from fastdeblur.cli import main
sys.argv[1:] = "deblur photo.png -o out.png --psf gaussian:1 -n 1 --backend numpy".split()
main()
"""
    if os.name != "posix":
        pytest.skip("signals as POSIX has them")
    before = files(place)
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert process.returncode == 143, process.stderr
    assert files(place) == before


def test_exit_codes_of_the_real_process(place):
    arguments = ["deblur", "photo.png", "-o", "x.png", "--psf", "gaussian:1", "-n", "1", "--backend", "numpy"]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    again = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert again.stdout == ""


def test_the_entry_point_is_installed():
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        points = distribution("fastdeblur").entry_points
    except PackageNotFoundError:
        pytest.skip("fastdeblur is not installed")
    (point,) = [each for each in points if each.group == "console_scripts"]
    assert (point.name, point.value) == ("fastdeblur", "fastdeblur.cli:main")
    assert point.load().__name__ == "main"


@pytest.mark.parametrize("missing", ["typer", "rich", "PIL", "tifffile", "imagecodecs"])
def test_missing_libraries_are_told(missing, monkeypatch, capsys):
    import fastdeblur.cli as cli

    real = cli.find_spec
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 2
    assert (
        capsys.readouterr().err == f'fastdeblur: the command needs {missing}: pip install "fastdeblur[cli]"\n'
    )


def test_the_package_does_not_import_the_command():
    code = (
        "import sys, fastdeblur; print([m for m in ('typer', 'rich', 'PIL', 'tifffile') if m in sys.modules])"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parent, text=True)
    assert printed.strip() == "[]"


def test_the_bar_shows_iterations(terminal):
    from fastdeblur.cli import progress

    image = np.random.default_rng(0).random((2, 12, 12))
    with progress.Bar(1, quiet=False) as bar:
        bar.begin("a.png", runs=2)
        for plane in image:
            fastdeblur.richardson_lucy(plane, np.ones((3, 3)), 4, callback=bar.callback(), backend="numpy")
        assert bar._progress.tasks[0].completed == 1
        bar.end()
        assert bar._progress.tasks[0].completed == 1
    assert "a.png" in terminal.getvalue()
    assert "iteration 4/4" in terminal.getvalue()
    with progress.Bar(1, quiet=True) as bar:
        assert bar.callback() is None


def test_info():
    result = run("info", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["version"] == fastdeblur.__version__
    assert found["numpy"] == np.__version__
    assert found["backends"]["numpy"] == ""
    assert found["threads"] >= 1
    if not found["backends"]["native"]:
        from fastdeblur.backends import native

        assert found["threads"] == native.default_threads()
    assert set(found["backends"]) >= {"native", "numba", "numpy", "cuda", "cupy"}
    assert found["gpu"]
    assert all(isinstance(line, str) for line in found["gpu"])
    text = run("info").stdout
    for name in found:
        assert name == "backends" or name in text
    for name in found["backends"]:
        assert f"backend {name}" in text


def test_version_and_help():
    assert run("--version").stdout.strip() == f"fastdeblur {fastdeblur.__version__}"
    for command in ([], ["deblur"], ["info"], ["demo"]):
        assert run(*command, "--help").exit_code == 0
    assert "sRGB" in run("deblur", "--help").stdout  # what auto does


def test_demo(place, monkeypatch):
    pytest.importorskip("skimage")
    from fastdeblur.cli import clock

    monkeypatch.setattr(clock, "ITERATIONS", 4)
    monkeypatch.setattr(clock, "FRAME_ITERATIONS", 4)
    result = run("demo", "--backend", "numpy")
    assert result.exit_code == 0, result.output
    assert files(place) == ["fastdeblur-astronaut.png", "fastdeblur-clock.png", "photo.png"]
    rows = {line.split("│")[2].strip(): line.split("│") for line in result.stdout.splitlines() if "│" in line}
    before = next(line.split("│") for line in result.stdout.splitlines() if "astronaut (synthetic)" in line)
    assert float(rows["Richardson-Lucy"][3]) > float(before[3]) + 4  # PSNR, dB
    assert float(rows["Richardson-Lucy"][4]) > float(before[4]) + 0.1  # SSIM
    assert "no sharp one to compare with" in " ".join(result.stdout.split())
    refused(
        place, "--output-dir", "nowhere", says="'nowhere' does not exist", command=lambda *a: run("demo", *a)
    )


def test_demo_looks_at_its_places_first(place, monkeypatch):
    pytest.importorskip("skimage")
    from fastdeblur.cli import demo as module

    def never(*arguments, **options):
        raise AssertionError("work has begun")

    monkeypatch.setattr(module, "_clock", never)
    (place / "fastdeblur-astronaut.png").mkdir()
    refused(
        place,
        says="--output-dir: fastdeblur-astronaut.png is a directory",
        command=lambda *a: run("demo", *a),
    )
    monkeypatch.setattr(os, "access", lambda path, mode: not ("locked" in str(path) and mode & os.W_OK))
    (place / "locked").mkdir()
    refused(place, "-o", "locked", says="'locked' cannot be written to", command=lambda *a: run("demo", *a))


def test_demo_names_the_file_that_cannot_be_written(place, monkeypatch):
    from fastdeblur.cli import demo as module
    from fastdeblur.cli import images

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images.os, "fsync", full)
    case = module.Case("x", ["before"], [np.zeros((9, 9), np.uint8)], [])
    with pytest.raises(WorkError, match=r"x\.png: cannot be written: No space left on device$"):
        module._write(case, place / "x.png")
    assert files(place) == ["photo.png"]


def test_demo_says_what_it_needs(place, monkeypatch):
    from fastdeblur.cli import demo

    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    refused(place, says='pip install "fastdeblur[demo]"', command=lambda *a: run("demo", *a))


def test_the_clocks_path():
    from fastdeblur.cli import clock

    kernel = clock.path_psf(clock.LENGTH, clock.HEIGHTS)
    assert kernel.sum() == pytest.approx(1)
    columns = kernel.sum(axis=0)
    assert (columns > 1e-9).sum() in (36, 37)
    level = clock.path_psf(10.0, (0.0,) * 5, (3, 15))
    np.testing.assert_allclose(level[1, 3:12], 0.1, atol=1e-3)
    np.testing.assert_allclose(level, level[::-1, ::-1], atol=1e-3)

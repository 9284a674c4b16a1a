"""`fastdeblur deblur` without --psf: the blur is found from the picture, and what was found is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
Image = pytest.importorskip("PIL.Image")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

from typer.testing import CliRunner  # noqa: E402

import fastdeblur  # noqa: E402
from fastdeblur import Deblurred, estimate  # noqa: E402
from fastdeblur import psf as generators  # noqa: E402
from fastdeblur.cli import unknown  # noqa: E402
from fastdeblur.cli.app import app  # noqa: E402

KERNEL = generators.motion(5, 0)


def deblur(*arguments):
    return CliRunner().invoke(app, ["deblur", *(str(each) for each in arguments)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a colour photo, its JPEG with metadata, and a small picture."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 200, (70, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png", dpi=(300, 300))
    exif = Image.Exif()
    exif[0x010E] = "a shaken hand"
    Image.fromarray(pixels).save("photo.jpg", quality=70, exif=exif, comment=b"kept")
    Image.fromarray(pixels[:50]).save("small.png")
    return tmp_path


def found(image, kind="motion", **fields):
    """What `fastdeblur.deblur` might answer: undone, here, means inverted in 0..1."""
    undone = kind not in ("sharp", "unknown")
    values = {
        "image": 1 - image if undone else image,
        "psf": KERNEL if undone else np.ones((1, 1)),
        "kind": kind,
        "parameters": {},
        "confidence": 0.87,
        "confidence_map": np.zeros(image.shape[:2], np.float32),
        "varies": False,
        "noise": 0.0,
        "method": "hyper-laplacian" if undone else "none",
        "assumed_noise": 0.0,
    }
    return Deblurred(**{**values, **fields})


@pytest.fixture
def answers(monkeypatch):
    """Answers of the library in turn, the last one again and again; and with what options it was asked."""
    asked = []

    def set_to(*fields):
        def invented(image, **options):
            asked.append(options)
            return found(np.asarray(image), **fields[min(len(asked), len(fields)) - 1])

        monkeypatch.setattr(fastdeblur, "deblur", invented, raising=False)
        return asked

    return set_to


def test_a_shaken_photo_becomes_sharper(place):
    data = pytest.importorskip("skimage.data")
    scene = (data.coins()[20:200, 20:220] / 255.0) ** 2.2
    kernel = generators.defocus(3)
    blurred = np.real(np.fft.ifft2(np.fft.fft2(scene) * np.fft.fft2(_rolled(kernel, scene.shape))))
    photo = np.rint(255 * np.clip(blurred, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    Image.fromarray(photo).save("blurred.png")
    result = deblur("blurred.png", "-o", "out.png", "--gamma", "2.2", "--kind", "defocus", "--threads", "1")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("blurred.png -> out.png  180x200 uint8  ")
    assert second.startswith("blurred.png: out of focus, radius 3.")
    assert second.endswith("; undone by hyper-laplacian")
    truth = np.rint(255 * scene ** (1 / 2.2))
    before, after = (
        np.mean((np.asarray(Image.open(n), float) - truth) ** 2) for n in ("blurred.png", "out.png")
    )
    assert after < 0.75 * before


def _rolled(kernel, shape):
    padded = np.zeros(shape)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    return np.roll(padded, [-(n // 2) for n in kernel.shape], (0, 1))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "sharp"}, "sharp (confidence 0.87), nothing to undo"),
        (
            {"kind": "sharp", "varies": True},
            "sharp in most parts (confidence 0.87), blurred in others, nothing undone",
        ),
        ({"kind": "unknown", "confidence": 0.0}, "no blur found that could be trusted, nothing undone"),
        (
            {"kind": "motion", "parameters": {"length": 20.53, "angle": 145.4}},
            "motion, length 20.5 px, angle 145.4°, confidence 0.87; undone by hyper-laplacian",
        ),
        (
            {"kind": "defocus", "parameters": {"radius": 3.0}, "varies": True},
            "out of focus, radius 3.0 px, confidence 0.87, not the same all over the frame; undone by hyper-laplacian",
        ),
        (
            {"kind": "gaussian", "parameters": {"sigma_major": 2.0, "sigma_minor": 1.0, "angle": 0.0}},
            "Gaussian blur, sigma major 2.0 px, sigma minor 1.0 px, angle 0.0°, confidence 0.87; undone by hyper-laplacian",
        ),
        ({"kind": "shake"}, "camera shake, kernel 1x5, confidence 0.87; undone by hyper-laplacian"),
    ],
)
def test_what_was_found_is_told(place, answers, fields, says):
    answers(fields)
    result = deblur("photo.png", "-o", "out.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1] == f"photo.png: {says}"
    assert deblur("photo.png", "-o", "quiet.png", "--quiet").output == ""


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_sharp_photo_stays_the_very_file(place, answers, name):
    answers({"kind": "sharp"})
    assert deblur(name, "-o", f"out{name[-4:]}").exit_code == 0
    assert (place / f"out{name[-4:]}").read_bytes() == (place / name).read_bytes()
    assert deblur(name, "-o", name, "--overwrite").exit_code == 0
    assert (place / f"out{name[-4:]}").read_bytes() == (place / name).read_bytes()


def test_a_sharp_photo_in_another_format_keeps_its_pixels(place, answers):
    answers({"kind": "sharp"})
    assert deblur("photo.png", "-o", "out.tif").exit_code == 0
    np.testing.assert_array_equal(tifffile.imread("out.tif"), np.asarray(Image.open("photo.png")))


def test_float32_holds_for_what_is_found_and_what_is_left(place, answers):
    """A sharp page keeps its numbers, and a sharp file is no copy any more; a deblurred page is not cut."""
    answers({"kind": "sharp"}, {"kind": "sharp"}, {"kind": "shake"})
    stack = np.random.default_rng(2).integers(2, 60000, (2, 66, 65), dtype=np.uint16)
    tifffile.imwrite("pages.tif", stack, photometric="minisblack")
    assert deblur("pages.tif", "-o", "a.tif", "--dtype", "float32").exit_code == 0
    assert deblur("pages.tif", "-o", "b.tif", "--dtype", "float32").exit_code == 0
    for name, expected in (("a.tif", stack), ("b.tif", 1 - stack.astype(np.float32))):
        written = tifffile.imread(name)
        assert written.dtype == np.float32
        np.testing.assert_array_equal(written, expected)


def test_metadata_colour_and_alpha_are_kept(place, answers):
    answers({"kind": "motion"})
    assert deblur("photo.jpg", "-o", "out.jpg").exit_code == 0
    with Image.open("out.jpg") as image:
        assert image.getexif()[0x010E] == "a shaken hand"
        assert image.info["comment"] == b"kept"
    pixels = np.random.default_rng(1).integers(0, 256, (64, 70, 4), dtype=np.uint8)
    pixels[:9, :9, 3] = 0
    Image.fromarray(pixels).save("alpha.png")
    assert deblur("alpha.png", "-o", "out.png", "--linear").exit_code == 0
    result = np.asarray(Image.open("out.png"))
    np.testing.assert_array_equal(result[..., 3], pixels[..., 3])
    np.testing.assert_array_equal(result[:9, :9], pixels[:9, :9])
    shown = pixels[..., 3] > 0
    np.testing.assert_array_equal(result[shown][:, :3], np.clip(1 - pixels[shown][:, :3].astype(int), 0, 255))


def test_options_reach_the_library(place, answers):
    asked = answers({"kind": "motion"})
    assert deblur("photo.png", "-o", "a.png").exit_code == 0
    options = ("--kind", "shake", "--quality", "fast", "--threads", "2")
    assert deblur("photo.png", "-o", "b.png", *options).exit_code == 0
    for given in asked:
        assert given.pop("callback") is None
        assert given.pop("full") is True
        assert given.pop("psf") is None
    assert asked == [
        {"kind": "auto", "quality": "best", "gamma": "none", "channel_axis": -1, "n_threads": 0},
        {"kind": "shake", "quality": "fast", "gamma": "none", "channel_axis": -1, "n_threads": 2},
    ]


@pytest.mark.parametrize("quality", ["best", "fast"])
def test_a_known_psf_is_undone_by_the_same_solver(place, quality):
    """Of any size: no blur has to be found. The light is the library's own, so that only rounding lies between."""
    kernel = generators.motion(9, 20)
    for name in ("photo.png", "small.png"):
        result = deblur(
            name, "-o", "out.png", "--overwrite", "--psf", "motion:9,20", "-m", "hyper-laplacian", "--quality", quality
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[1].startswith(f"{name}: noise ")
        assert result.stdout.endswith("% of white, undone by hyper-laplacian\n")
        pixels = np.asarray(Image.open(name))
        expected = fastdeblur.deblur(pixels, kernel, quality=quality, channel_axis=-1)
        assert np.abs(np.asarray(Image.open("out.png")).astype(int) - expected).max() <= 1
        assert np.abs(expected.astype(int) - pixels).mean() > 3


def test_a_psf_larger_than_the_picture_is_found_before_any_work(place):
    result = deblur("photo.png", "small.png", "-o", "new/", "--psf", "gaussian:20", "-m", "hyper-laplacian")
    assert result.exit_code == 2
    assert "psf: expected at most the image's size (70, 80), got shape" in result.stderr
    assert not (place / "new").exists()


def test_pages_and_many_files(place, answers):
    answers({"kind": "sharp"}, {"kind": "shake"}, {"kind": "sharp"})
    stack = np.random.default_rng(2).random((2, 66, 65)).astype(np.float32)
    tifffile.imwrite("pages.tif", stack, photometric="minisblack")
    result = deblur("pages.tif", "photo.png", "-o", "out/")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1] == "pages.tif: page 1: sharp (confidence 0.87), nothing to undo"
    assert lines[2].startswith("pages.tif: page 2: camera shake")
    assert lines[4].startswith("photo.png: sharp")
    written = tifffile.imread("out/pages.tif")
    np.testing.assert_array_equal(written[0], stack[0])
    np.testing.assert_allclose(written[1], 1 - stack[1])
    assert (place / "out/photo.png").read_bytes() == (place / "photo.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--method", "wiener"], "--method: needs --psf; without it the blur is found by --kind"),
        (["--balance", "1"], "--balance: needs --psf"),
        (["-n", "3"], "--num-iter: needs --psf"),
        (["--acceleration", "ogm"], "--acceleration: needs --psf"),
        (["--background", "0"], "--background: needs --psf"),
        (["--tol", "0.1"], "--tol: needs --psf"),
        (["--boundary", "zero"], "--boundary: needs --psf"),
        (["--volume"], "--volume: needs --psf"),
        (["--backend", "numpy"], "--backend: needs --psf"),
        (["--psf", "motion:3", "--kind", "motion"], "--kind: has no meaning with --psf"),
        (
            ["--psf", "motion:3", "--quality", "fast"],
            "--quality: needs --method hyper-laplacian, or no --psf",
        ),
        (["-m", "hyper-laplacian"], "--method: needs --psf"),
        *(
            (
                ["--psf", "motion:3", "-m", "hyper-laplacian", *option],
                f"{option[0]}: has no meaning for --method hyper-laplacian",
            )
            for option in (
                ["--kind", "motion"],
                ["--balance", "1"],
                ["--num-iter", "3"],
                ["--boundary", "zero"],
                ["--volume"],
                ["--backend", "numpy"],
                ["--device", "cpu"],
            )
        ),
        (["--gamma", "x"], "--gamma: expected auto, srgb, none or a number"),
    ],
)
def test_options_that_do_not_fit_are_refused(place, answers, options, says):
    asked = answers({})
    result = deblur("photo.png", "-o", "new/", *options)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not asked
    assert not (place / "new").exists()
    for words in (["--kind", "x"], ["--quality", "x"]):
        assert deblur("photo.png", "-o", "new/", *words).exit_code == 2


def test_all_inputs_are_checked_before_the_first_is_worked_on(place, answers):
    asked = answers({})
    tifffile.imwrite("nan.tif", np.full((70, 70), np.nan, np.float32))
    tifffile.imwrite("large.tif", np.full((70, 70), 1e35, np.float32))
    for name, says in (
        (
            "small.png",
            "IN: small.png: image: expected at least 64 x 64 pixels to find the blur in, got shape (50, 80, 3)",
        ),
        ("nan.tif", "IN: nan.tif: expected finite values"),
        ("large.tif", "IN: large.tif: image: expected values within"),
        ("none.png", "none.png: No such file"),
    ):
        result = deblur("photo.png", name, "-o", "new/")
        assert result.exit_code == 2
        assert says in result.stderr
        assert not asked
        assert not (place / "new").exists()


def test_an_output_that_is_there_is_not_replaced(place, answers):
    answers({"kind": "sharp"})
    (place / "old.png").write_bytes(b"old")
    result = deblur("photo.png", "-o", "old.png")
    assert result.exit_code == 2
    assert "old.png exists; --overwrite" in result.stderr
    assert (place / "old.png").read_bytes() == b"old"


def test_a_failure_while_copying_leaves_nothing(place, answers, monkeypatch):
    from fastdeblur.cli import images

    answers({"kind": "sharp"})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images.os, "fsync", full)
    result = deblur("photo.png", "-o", "out.png")
    assert result.exit_code == 1
    assert "out.png: cannot be written: No space left on device" in result.stderr
    assert not [p.name for p in place.iterdir() if "out.png" in p.name]


def test_the_bar_shows_the_search(terminal):
    from fastdeblur.cli import progress

    def state(iteration, size):
        return estimate.KernelProgress(iteration, 10, 1 + iteration // 5, 3, size, lambda: None)

    with progress.Bar(1, quiet=False) as bar:
        bar.begin("a.png", runs=1)
        task = bar._progress.tasks[0]
        see = bar.callback(searching=True)
        assert not see(state(5, (25, 25)))
        assert task.completed == pytest.approx(0.45)
        assert not see(state(2, (45, 45)))
        assert task.completed == pytest.approx(0.45)
        see(state(10, (45, 45)))
        assert task.completed == pytest.approx(0.9)
        bar.end()
        assert task.completed == 1
    assert "kernel 45x45, scale 3/3" in terminal.getvalue()
    with progress.Bar(1, quiet=True) as bar:
        assert bar.callback(searching=True) is None


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_ends_the_search_and_leaves_nothing(place):
    script = """
import sys
import numpy as np
from fastdeblur import estimate
from fastdeblur.estimate import kernel as _
module = sys.modules["fastdeblur.estimate.kernel"]
real = module._Search.run
def run(self, size):
    print("started", flush=True)
    while True:
        real(self, (13, 13))
module._Search.run = run
from fastdeblur.cli import main
sys.argv[1:] = "deblur coins.png -o out.png --kind shake".split()
main()
"""
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.coins()[:150, :150]).save("coins.png")
    before = sorted(p.name for p in place.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors.strip() == "fastdeblur: interrupted"
    assert sorted(p.name for p in place.iterdir()) == before


def test_help_says_what_happens_without_a_psf():
    text = deblur("--help").stdout
    for word in ("--kind", "--quality", "stays as it was"):
        assert word in text


def test_every_kind_has_a_name():
    assert set(unknown._NAMES) == {"motion", "defocus", "gaussian", "shake"}


def test_the_bar_counts_a_colour_photos_pages_not_its_channels(terminal):
    from fastdeblur.cli import progress

    state = estimate.KernelProgress(10, 10, 3, 3, (9, 9), lambda: None)
    with progress.Bar(files=1, quiet=False) as bar:
        bar.begin("a.tif", runs=2)
        shown = []
        for _ in range(2):
            bar.callback(searching=True)(state)
            shown.append(bar._progress.tasks[0].completed)
            bar.page()
            shown.append(bar._progress.tasks[0].completed)
    assert shown == pytest.approx([0.45, 0.5, 0.95, 1.0])


def test_a_thumbnail_page_stays_as_it_is(place, answers):
    pixels = np.random.default_rng(1).integers(40, 200, (70, 80), dtype=np.uint8)
    with tifffile.TiffWriter("two.tif") as file:
        file.write(pixels, photometric="minisblack")
        file.write(pixels[:20, :24], photometric="minisblack", subfiletype=1)
    answers({"kind": "motion"})
    result = deblur("two.tif", "-o", "out.tif")
    assert result.exit_code == 0, result.output
    assert "page 2: smaller than 64 x 64 pixels, left as it was" in result.stdout
    np.testing.assert_array_equal(tifffile.imread("out.tif", key=1), pixels[:20, :24])
    assert (tifffile.imread("out.tif", key=0) != pixels).any()


def test_what_alpha_makes_too_large_is_found_before_any_work(place, answers):
    pixels = np.full((70, 80, 4), 0.5, np.float32)
    pixels[:5, :, 3] = 1e-35
    tifffile.imwrite("thin.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    asked = answers({"kind": "motion"})
    result = deblur("photo.png", "thin.tif", "-o", "out/")
    assert result.exit_code == 2
    assert "thin.tif: image: expected values within" in result.stderr
    assert not asked
    assert not os.path.exists("out")

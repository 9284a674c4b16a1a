"""`fastdeblur psf`, and the specs that name PSFs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("typer")
tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

from typer.testing import CliRunner  # noqa: E402

from fastdeblur import psf  # noqa: E402
from fastdeblur.cli import draw, psfspec  # noqa: E402
from fastdeblur.cli.app import app  # noqa: E402
from fastdeblur.cli.failure import UsageError  # noqa: E402


def run(*arguments):
    return CliRunner().invoke(app, ["psf", *(str(each) for each in arguments)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPECS = {
    "gaussian:1,3,angle=30": lambda: psf.gaussian((1, 3), angle=30, ndim=2),
    "defocus:4,blades=6,rotation=15": lambda: psf.defocus(4, blades=6, rotation=15),
    "camera_shake:21,3,exposure=0.5": lambda: psf.camera_shake(size=21, seed=3, exposure=0.5),
    "camera_shake:size=21,seed=3": lambda: psf.camera_shake(size=21, seed=3),
    "airy:0.5,f_number=4,pixel_size=1.5,obstruction=0.2": lambda: psf.airy(
        0.5, f_number=4, pixel_size=1.5, obstruction=0.2
    ),
    "zernike:0.5,na=0.8,pixel_size=0.2,z4=0.1,z11=-0.05,truncation=0.1": lambda: psf.zernike(
        {4: 0.1, 11: -0.05}, 0.5, na=0.8, pixel_size=0.2, truncation=0.1
    ),
    "moffat:3,4.765": lambda: psf.moffat(3, 4.765),
    "moffat:alpha=2": lambda: psf.moffat(alpha=2),
    "kolmogorov:seeing=1.2,pixel_scale=0.4": lambda: psf.kolmogorov(seeing=1.2, pixel_scale=0.4),
    "kolmogorov:0.1,5e-7,pixel_scale=0.4": lambda: psf.kolmogorov(0.1, 5e-7, pixel_scale=0.4),
    "motion:5,1e+1+gaussian:1": lambda: psf.combine(psf.motion(5, 10), psf.gaussian(1)),
    "trajectory:path.csv": lambda: psf.trajectory([(0, 0), (3, 1), (4, 4)], [0, 1, 3]),
    "trajectory:path.npy,source=point,centre=false": lambda: psf.trajectory(
        [(0, 0), (3, 1)], source="point", centre=False
    ),
}


VOLUMES = {
    "gaussian:1,2,3": lambda: psf.gaussian((1, 2, 3), ndim=3),
    "born_wolf:3,9,7,wavelength=0.5,na=1.2,refractive_index=1.33,pixel_size=0.1,z_step=0.3,defocus=paraxial": (
        lambda: psf.born_wolf(
            (3, 9, 7),
            wavelength=0.5,
            na=1.2,
            refractive_index=1.33,
            pixel_size=0.1,
            z_step=0.3,
            defocus="paraxial",
        )
    ),
    "gibson_lanni:3,9,7,wavelength=0.5,na=1.2,ns=1.33,pixel_size=0.1,z_step=0.3,depth=2,axial_samples=2": (
        lambda: psf.gibson_lanni(
            (3, 9, 7), wavelength=0.5, na=1.2, ns=1.33, pixel_size=0.1, z_step=0.3, depth=2, axial_samples=2
        )
    ),
}


@pytest.mark.parametrize("spec", VOLUMES)
def test_specs_of_volumes(place, spec):
    np.testing.assert_array_equal(psfspec.parse(spec, 3), VOLUMES[spec]())


def test_a_volume_is_written(place):
    spec = "born_wolf:3,9,7,wavelength=0.5,na=1.2,refractive_index=1.33,pixel_size=0.1,z_step=0.3"
    result = run(spec, "-o", "k.npy", "-o", "k.tif")
    assert result.exit_code == 0, result.output
    assert ": 3x9x7, sum 1," in result.stdout
    assert np.load("k.npy").shape == tifffile.imread("k.tif").shape == (3, 9, 7)


def test_every_generator_has_a_spec():
    """What makes one PSF of numbers has one; the rest measures PSFs, changes them, or makes one for every row of a frame."""
    others = {"Beads", "Edge", "PSFReport", "check", "combine", "crop_energy", "edgetaper", "from_beads", "from_edge",
              "from_image", "otf2psf", "psf2otf", "resample", "rolling_shutter"}  # fmt: skip
    assert set(psfspec.FORMS_OF_KIND) == set(psf.__all__) - others


@pytest.mark.parametrize("spec", SPECS)
def test_specs(place, spec):
    (place / "path.csv").write_text("0, 0, 0\n3 1 1\n4;4;3\n")
    np.save("path.npy", np.array([[0.0, 0], [3, 1]]))
    np.testing.assert_array_equal(psfspec.parse(spec, 2), SPECS[spec]())


@pytest.mark.parametrize("kind", psfspec.FORMS_OF_KIND)
def test_every_kind_is_in_the_help(kind):
    assert f"{kind}:" in psfspec.FORMS


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            "airy:0.5,na=0.8",
            "SPEC: expected airy:WAVELENGTH,na=|f_number=,pixel_size=[,obstruction=] with pixel_size=",
        ),
        ("airy:na=0.8,pixel_size=1", "expected airy:WAVELENGTH"),
        ("airy:0.5,pixel_size=1", "na, f_number: expected one of the two, got neither"),
        ("airy:0.5,na=2,pixel_size=1", "na: expected at most the refractive index"),
        ("airy:0.5,colour=1", "'colour': expected airy:"),
        ("airy:0.5,na=x", "expected airy:"),
        ("airy:0.5,wavelength=1", "expected airy:"),
        ("airy:na=1,na=1", "'na'"),
        ("zernike:0.5,na=0.8,pixel_size=1,z0=1", "Noll's index"),
        ("zernike:0.5,z4=1", "with pixel_size="),
        ("defocus:3,6", "expected defocus:RADIUS"),
        ("defocus:3,blades=2", "blades: expected an integer >= 3"),
        ("defocus:3,blades=2.5", "expected defocus:RADIUS"),
        ("camera_shake:21,1,exposure=2", "exposure: expected values in (0, 1]"),
        ("kolmogorov:seeing=1", "with pixel_scale="),
        ("born_wolf:3,9,wavelength=0.5", "SPEC: expected born_wolf:SLICES,ROWS,COLUMNS,"),
        ("born_wolf:3,9,9,wavelength=0.5,na=1", "with refractive_index=, pixel_size=, z_step="),
        ("born_wolf:3,9,9.5,wavelength=0.5", "SPEC: expected born_wolf:SLICES,ROWS,COLUMNS,"),
        ("gibson_lanni:3,9,9,wavelength=0.5,na=1,pixel_size=0.1,z_step=0.2", "with ns="),
        ("trajectory:none.csv", "none.csv: cannot be read as a path: No such file"),
        ("trajectory:bad.csv", "bad.csv: cannot be read as a path"),
        ("trajectory:one.csv", "one.csv: expected columns x, y and perhaps time"),
        ("motion:3+defocus:-1", "radius: "),
        ("motion:", "expected motion:LENGTH"),
        ("nothing", "there is no file 'nothing'"),
    ],
)
def test_bad_specs_are_refused(place, spec, says):
    (place / "bad.csv").write_text("0 0\n1\n")
    (place / "one.csv").write_text("0\n1\n")
    result = run(spec, "-o", "x.npy")
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert says in result.stderr
    assert not (place / "x.npy").exists()


def test_a_volume_is_refused_where_two_axes_are_needed():
    with pytest.raises(UsageError, match="--psf: airy has two axes, but --volume needs three"):
        psfspec.parse("airy:0.5,na=0.8,pixel_size=1", 3)
    with pytest.raises(
        UsageError, match="expected gaussian, born_wolf, gibson_lanni or a file, got 'motion:5'"
    ):
        psfspec.parse("motion:5", 3)
    with pytest.raises(UsageError, match="motion has two axes: expected 1"):
        psfspec.parse("motion:5", 1)
    with pytest.raises(UsageError, match="--psf: born_wolf has three axes: expected 2"):
        psfspec.parse("born_wolf:3,9,9", 2)


def test_writes_arrays_and_pictures(place):
    kernel = psf.defocus(4, blades=5)
    result = run("defocus:4,blades=5", "-o", "k.npy", "-o", "k.tif", "-o", "k.png")
    assert result.exit_code == 0, result.output
    assert "x".join(map(str, kernel.shape)) in result.stdout
    np.testing.assert_array_equal(np.load("k.npy"), kernel)
    stored = tifffile.imread("k.tif")
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, kernel.astype(np.float32))
    picture = imagecodecs.png_decode((place / "k.png").read_bytes())
    assert picture.dtype == np.uint16
    assert picture.max() == 65535
    assert np.abs(picture / 65535 - kernel / kernel.max()).max() <= 1e-5
    for name in ("k.npy", "k.tif", "k.png"):  # and what was written can be used
        read = psfspec.parse(name, 2)
        assert np.abs(read / read.sum() - kernel).max() <= 1e-6


def test_eight_bits_and_an_enlarged_picture(place):
    assert run("motion:5", "-o", "k.png", "--bits", "8", "--zoom", "7").exit_code == 0
    picture = imagecodecs.png_decode((place / "k.png").read_bytes())
    assert picture.dtype == np.uint8
    assert picture.shape == (7, 35)


def test_an_enlarged_picture_is_read_as_it_was(place):
    from fastdeblur.cli import images, png

    assert run("motion:9,20", "-o", "k1.png").exit_code == 0
    assert run("motion:9,20", "-o", "k5.png", "--zoom", "5").exit_code == 0
    np.testing.assert_array_equal(psfspec.parse("k5.png", 2), psfspec.parse("k1.png", 2))
    enlarged = images.read(place / "k5.png")
    assert png.zoom_of(enlarged.metadata.native) == 5
    assert png.zoom_of(images.read(place / "k1.png").metadata.native) == 1
    for changed in (enlarged.pages[0].pixels[1:], enlarged.pages[0].pixels ^ np.eye(1, 45, 7, np.uint16)):
        enlarged.pages = [images.Page(np.ascontiguousarray(changed))]
        images.write(enlarged, place / "changed.png", overwrite=True)
        with pytest.raises(UsageError, match=r"^--psf: changed\.png: expected a picture enlarged 5 times"):
            psfspec.parse("changed.png", 2)


def test_signals_and_volumes(place):
    assert (
        run("gaussian:1", "--axes", "1", "-o", "k.npy", "-o", "k.png", "-o", "k.tif", "--draw").exit_code == 0
    )
    assert np.load("k.npy").shape == (11,)
    assert run("gaussian:1,2,2", "--axes", "3", "-o", "v.npy", "-o", "v.tif", "--draw").exit_code == 0
    assert tifffile.imread("v.tif").shape == np.load("v.npy").shape == (11, 21, 21)
    result = run("gaussian:1", "--axes", "3", "-o", "v.png")
    assert result.exit_code == 2
    assert "PNG holds one plane" in result.stderr


def test_draws_in_the_terminal(place):
    result = run("defocus:3", "--draw")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[3] == "**" + "@" * 10 + "**"
    assert lines[7].startswith("defocus:3: 7x7, sum 1")


def test_drawings():
    kernel = psf.gaussian(2.0)
    plain = draw.in_terminal(kernel, 80, colours=False).split("\n")
    assert len(plain) == 21
    assert plain[10][20:22] == "@@"
    coloured = draw.in_terminal(kernel, 80, colours=True).splitlines()
    assert len(coloured) == 11
    assert "48;5;255" in coloured[5] or "38;5;255" in coloured[5]
    assert all(line.endswith("\x1b[0m") for line in coloured)
    narrow = draw.in_terminal(kernel, 10, colours=False).split("\n")
    assert len(narrow) == 5
    assert max(map(len, narrow)) == 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "k.jpg"], "OUT: expected a name ending in .npy, .png, .tif, .tiff, got 'k.jpg'"),
        (["-o", "none/k.npy"], "OUT: the directory 'none' does not exist"),
        (["-o", "folder.npy"], "OUT: folder.npy is a directory"),
        (["-o", "old.npy"], "OUT: old.npy exists; --overwrite replaces it"),
        (["-o", "a.npy", "-o", "a.npy"], "OUT: expected different files"),
        (["-o", "k.png", "--bits", "12"], "--bits: expected 8 or 16, got 12"),
    ],
)
def test_bad_outputs_are_refused(place, options, says):
    (place / "old.npy").write_bytes(b"old")
    (place / "folder.npy").mkdir()
    result = run("motion:5", *options)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert (place / "old.npy").read_bytes() == b"old"
    assert sorted(p.name for p in place.iterdir()) == ["folder.npy", "old.npy"]


@pytest.mark.parametrize("name", ["k.npy", "k.tif"])
def test_a_disk_that_takes_no_more_is_told(place, name):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        result = run("gaussian:30", "-o", name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.exit_code == 1
    assert result.stderr == f"fastdeblur: {name}: cannot be written: File too large\n"
    assert not list(place.iterdir())


def test_overwrite_and_a_write_that_fails(place, monkeypatch):
    (place / "old.npy").write_bytes(b"old")
    assert run("motion:5", "-o", "old.npy", "--overwrite").exit_code == 0
    before = (place / "old.npy").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fail)
    result = run("motion:7", "-o", "old.npy", "--overwrite")
    assert result.exit_code == 1
    assert "old.npy: cannot be written: No space left on device" in result.stderr
    assert (place / "old.npy").read_bytes() == before
    assert [p.name for p in place.iterdir()] == ["old.npy"]

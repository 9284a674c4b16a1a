"""The command's files: dtype, colour, alpha and metadata survive, in every format and between them."""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
Image = pytest.importorskip("PIL.Image")
tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

from fastdeblur import _light  # noqa: E402
from fastdeblur.cli import exif, floats, images, tiffstack  # noqa: E402
from fastdeblur.cli.failure import UsageError, WorkError  # noqa: E402
from fastdeblur.cli.light import fill_hidden  # noqa: E402
from fastdeblur.cli.restore import Restorer, Settings, volume_order  # noqa: E402
from fastdeblur.cli.stack import Stack  # noqa: E402
from fastdeblur.errors import InvalidArgument  # noqa: E402

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"


@lru_cache(maxsize=1)  # it bears the time it was made
def icc_profile():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block():
    """An EXIF block with an Exif and a GPS directory; Pillow, and not its writer, reads it in these tests."""
    big = ">"
    photo = {
        0x829A: exif.Value(5, 1, struct.pack(big + "II", 1, 4)),  # exposure time
        0x9003: exif.Value(2, 20, b"2020:01:02 03:04:05\0"),
    }
    directory = {
        0x010F: exif.Value(2, 6, b"Maker\0"),
        0x0112: exif.Value(3, 1, struct.pack(big + "H", 6)),  # orientation
        0x8769: photo,
        0x8825: {0x0001: exif.Value(2, 2, b"N\0")},
    }
    return exif.pack_block(directory, big)


def read_exif(block):
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + block)
    return tags


def settings(**changes):
    values = {
        "method": "richardson-lucy",
        "balance": 0.01,
        "num_iter": 2,
        "boundary": None,
        "acceleration": None,
        "background": 0.0,
        "tol": None,
        "threads": 0,
        "backend": "numpy",
        "gamma": None,
    }
    return Settings(**{**values, **changes})


DELTA = np.ones((1, 1))


def through(source, target, psf=DELTA, **changes):
    """Read, deblur (with a delta: nothing should change), write, read."""
    picture = Restorer(settings(**changes), psf).pages(images.read(source))
    images.write(picture, target, overwrite=False)
    return images.read(target)


def random(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True, dtype=dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_png_keeps_every_value(tmp_path, dtype, samples):
    pixels = random((9, 7, samples), dtype)
    pixels = pixels[..., 0] if samples == 1 else pixels
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    result = through(tmp_path / "a.png", tmp_path / "b.png")
    # float32 light holds 16-bit values to half a step.
    np.testing.assert_array_equal(result.pages[0].pixels, pixels)
    assert result.pages[0].pixels.dtype == dtype


@pytest.mark.parametrize("gamma", [1.0, 2.2, "srgb"])
@pytest.mark.parametrize("bits", [8, 16])
def test_transfer_round_trip_is_exact_for_every_level(gamma, bits):
    levels = np.arange(2**bits, dtype=np.float32) / np.float32(2**bits - 1)
    back = _light.encode(_light.decode(levels, gamma), gamma)
    np.testing.assert_array_equal(np.rint(back * (2**bits - 1)), np.arange(2**bits))


def test_srgb_matches_the_standard():
    np.testing.assert_allclose(_light.decode_srgb(np.array([0.0, 0.5, 1.0])), [0, 0.21404114, 1], atol=1e-8)
    np.testing.assert_allclose(_light.encode_srgb(np.array([0.001, 0.18])), [0.01292, 0.46135612], atol=1e-8)


def test_png_chunks_are_kept(tmp_path):
    data = imagecodecs.png_encode(random((8, 8, 3), "uint16"))

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    extra = {
        b"gAMA": struct.pack(">I", 45455),
        b"cHRM": bytes(32),
        b"iCCP": b"p\0\0" + zlib.compress(icc_profile()),
        b"pHYs": struct.pack(">IIB", 3937, 3937, 1),
        b"tEXt": b"Comment\0hello",
        b"zTXt": b"Title\0\0" + zlib.compress(b"long"),
        b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + XMP,
        b"eXIf": exif_block(),
        b"tIME": b"\x07\xe4\x01\x02\x03\x04\x05",
    }
    (tmp_path / "a.png").write_bytes(data[:33] + b"".join(chunk(*each) for each in extra.items()) + data[33:])
    result = through(tmp_path / "a.png", tmp_path / "b.png")
    assert dict(result.metadata.native) == extra
    assert result.metadata.icc == icc_profile()
    assert result.metadata.xmp == XMP
    np.testing.assert_allclose(result.metadata.dpi, (100, 100), atol=0.01)
    with Image.open(tmp_path / "b.png") as image:
        assert image.getexif()[0x0112] == 6
        assert image.size == (8, 8)


def test_palette_png_becomes_rgb_or_rgba(tmp_path):
    colours = Image.fromarray(random((8, 8, 3), "uint8")).quantize(16)
    colours.save(tmp_path / "p.png")
    colours.save(tmp_path / "t.png", transparency=3)
    np.testing.assert_array_equal(
        through(tmp_path / "p.png", tmp_path / "p2.png").pages[0].pixels, np.array(colours.convert("RGB"))
    )
    assert through(tmp_path / "t.png", tmp_path / "t2.png").pages[0].pixels.shape == (8, 8, 4)


def test_png_gamma_chunk_is_followed(tmp_path):
    data = imagecodecs.png_encode(random((8, 8), "uint8"))
    for stored, expected in ((45455, "srgb"), (100_000, 1.0), (50_000, 2.0)):
        content = b"gAMA" + struct.pack(">I", stored)
        chunk = struct.pack(">I", 4) + content + struct.pack(">I", zlib.crc32(content))
        (tmp_path / "g.png").write_bytes(data[:33] + chunk + data[33:])
        assert images.read(tmp_path / "g.png").pages[0].gamma == expected


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_keeps_mode_and_metadata(tmp_path, mode):
    base = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8) * 2
    picture = Image.fromarray(base).convert(mode)
    picture.save(
        tmp_path / "a.jpg",
        quality=90,
        exif=b"Exif\0\0" + exif_block(),
        icc_profile=icc_profile(),
        xmp=XMP,
        comment=b"a comment",
        dpi=(300, 300),
        extra=b"\xff\xed" + struct.pack(">H", 2 + 20) + b"Photoshop 3.0\0" + b"123456",
    )
    result = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert result.pages[0].pixels.dtype == np.uint8
    assert result.pages[0].pixels.shape == np.array(picture).shape
    difference = result.pages[0].pixels.astype(float) - images.read(tmp_path / "a.jpg").pages[0].pixels
    assert np.abs(difference).max() <= 3
    metadata = result.metadata
    assert (metadata.icc, metadata.xmp, metadata.dpi) == (icc_profile(), XMP, (300, 300))
    assert metadata.exif == exif_block()
    assert metadata.native["comment"] == b"a comment"
    assert metadata.native["iptc"] == [b"Photoshop 3.0\0" + b"123456"]
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[0x0112] == 6  # the tag stays, and the pixels stay as they are stored
        if mode == "RGB":
            assert image.layer[0][1:3] == image.layer[1][1:3]  # 4:4:4


def segment(number, content):
    return struct.pack(">BBH", 0xFF, 0xE0 + number, len(content) + 2) + content


def jpeg_with(*segments, behind=b"", **options):
    buffer = io.BytesIO()
    Image.fromarray(random((16, 16), "uint8")).save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    after = 4 + int.from_bytes(data[4:6], "big")  # the JFIF segment
    return data[:after] + b"".join(segments) + data[after:] + behind


def test_xmp_of_several_segments_is_kept(tmp_path, capsys):
    name = b"A" * 32
    header = b"http://ns.adobe.com/xmp/extension/\0" + name
    text = b"x" * 100_000
    parts = [
        header + struct.pack(">II", len(text), at) + text[at : at + 60_000]
        for at in range(0, len(text), 60_000)
    ]
    first = b"<x xmpNote:HasExtendedXMP='" + name + b"'/>"
    (tmp_path / "a.jpg").write_bytes(jpeg_with(*(segment(1, part) for part in parts), xmp=first))
    result = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert result.notes == []
    with Image.open(tmp_path / "b.jpg") as image:
        found = [content for kind, content in image.applist if kind == "APP1"]
    assert found == [b"http://ns.adobe.com/xap/1.0/\0" + first, *parts]
    assert capsys.readouterr().err == ""
    result = through(tmp_path / "a.jpg", tmp_path / "b.png")
    assert result.metadata.xmp == first
    assert (
        "a.jpg: of its XMP, which takes several segments, only the first is kept" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (jpeg_with(), []),
        (jpeg_with(behind=bytes(100)), []),
        (jpeg_with(segment(13, b"Photoshop 3.0\0"), segment(12, b"Ducky\0"), comment=b"c"), []),
        (jpeg_with(segment(1, b"Exif\0\0" + jpeg_with())), []),  # pictures in segments are thumbnails
        (
            jpeg_with(behind=b"ftypmp42" + bytes(5) + b"v"),
            ["14 bytes behind the picture, such as the video of a motion photo, are not kept"],
        ),
        (
            jpeg_with(behind=bytes(6) + jpeg_with() + b"ftyp"),
            ["only the first of its pictures is kept", "4 bytes behind the picture, such as the video"],
        ),
        (jpeg_with(progressive=True, behind=b"\xff\xd8\xffwhat"), ["7 bytes behind"]),
        (
            jpeg_with(segment(11, b"JP\0\0box")),
            ["its JUMBF boxes (APP11), such as C2PA's content credentials"],
        ),
        (
            jpeg_with(segment(10, b"AROT"), segment(2, b"FPXR\0"), segment(1, b"FLIR\0")),
            [
                "what other programs or the camera's maker stored in its segments APP1, APP2, APP10 is not kept"
            ],
        ),
    ],
)
def test_what_a_jpeg_loses_is_told(tmp_path, data, says):
    (tmp_path / "a.jpg").write_bytes(data)
    notes = images.read(tmp_path / "a.jpg").notes
    assert len(notes) == len(says)
    for note, text in zip(notes, says, strict=True):
        assert note.startswith(f"{tmp_path / 'a.jpg'}: {text}")


def test_jpeg_of_four_inks_is_refused(tmp_path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(UsageError, match="CMYK"):
        images.read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("samples", [1, 3])
def test_tiff_keeps_every_value(tmp_path, dtype, samples):
    pixels = random((9, 17) if samples == 1 else (9, 17, 3), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb" if samples == 3 else "minisblack")
    # Wiener keeps negative numbers; a delta with balance 0 is the identity.
    result = through(tmp_path / "a.tif", tmp_path / "b.tif", method="wiener", balance=0.0)
    found = result.pages[0].pixels
    assert found.dtype == dtype
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(
            found, pixels, rtol=0, atol={"float16": 1e-3, "float32": 1e-6}.get(dtype, 1e-14)
        )
    else:
        np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"compression": "lzw", "predictor": 2}])
def test_tiff_keeps_tags_pages_and_layout(tmp_path, byteorder, bigtiff, layout):
    arrays = [random((20, 33), "uint16", seed) for seed in range(3)]
    arrays[2] = arrays[2][:11]
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=byteorder, bigtiff=bigtiff) as writer:
        for number, array in enumerate(arrays):
            writer.write(
                array,
                resolution=((300 + number, 1), (7, 2)),
                resolutionunit=3,
                description=f"page {number}",
                software="a program",
                datetime="2020:01:02 03:04:05",
                iccprofile=icc_profile(),
                metadata=None,
                extratags=[
                    (315, 2, 0, "An artist", True),
                    (65000, 12, 2, (1.5, -2.5), True),
                    (274, 3, 1, 6, True),
                ],
                **layout,
            )
    result = through(tmp_path / "a.tif", tmp_path / "b.tif")
    for page, array in zip(result.pages, arrays, strict=True):
        np.testing.assert_array_equal(page.pixels, array)
    with tifffile.TiffFile(tmp_path / "a.tif") as before, tifffile.TiffFile(tmp_path / "b.tif") as after:
        assert (after.byteorder, after.is_bigtiff) == (before.byteorder, before.is_bigtiff)
        for a, b in zip(before.pages, after.pages, strict=True):
            for code in (258, 259, 262, 270, 274, 282, 283, 296, 305, 306, 315, 317, 322, 323, 34675, 65000):
                assert (code in a.tags) == (code in b.tags), code
                if code in a.tags:
                    assert a.tags[code].value == b.tags[code].value, code


@pytest.mark.parametrize("associated", [False, True])
def test_tiff_alpha_is_kept(tmp_path, associated):
    alpha = random((12, 10, 1), "uint16") | 1
    colour = (random((12, 10, 3), "float64") * (alpha if associated else 65535)).astype(np.uint16)
    pixels = np.concatenate([colour, alpha], axis=-1)
    kind = "assocalpha" if associated else "unassalpha"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[kind])
    result = through(tmp_path / "a.tif", tmp_path / "b.tif", method="wiener", balance=0.0)
    np.testing.assert_array_equal(result.pages[0].pixels, pixels)
    assert result.pages[0].associated == associated


def test_tiff_bands_are_all_deblurred(tmp_path):
    from fastdeblur import wiener

    pixels = random((12, 10, 5), "float32")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    psf = np.ones((3, 3))
    result = through(tmp_path / "a.tif", tmp_path / "b.tif", psf=psf, method="wiener", balance=0.1)
    expected = wiener(pixels, psf, 0.1, channel_axis=-1, backend="numpy")
    np.testing.assert_array_equal(result.pages[0].pixels, expected)
    with pytest.raises(UsageError, match="5 samples a pixel"):
        images.check_fits(Restorer(settings(), psf).pages(_eight_bit_bands(tmp_path)), tmp_path / "x.png")


def _eight_bit_bands(folder):
    tifffile.imwrite(
        folder / "8.tif", random((12, 10, 5), "uint8"), photometric="minisblack", planarconfig="contig"
    )
    return images.read(folder / "8.tif")


@pytest.mark.parametrize("compression", ["jpeg", "webp", "zstd", "lzma", "packbits", "deflate", "jpeg2000"])
def test_tiff_compressions(tmp_path, compression):
    """Lossless ones stay; what was lossy is written without a further loss."""
    pixels = random((32, 48, 3), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression=compression)
    before = images.read(tmp_path / "a.tif").pages[0].pixels
    result = through(tmp_path / "a.tif", tmp_path / "b.tif")
    np.testing.assert_array_equal(result.pages[0].pixels, before)
    with tifffile.TiffFile(tmp_path / "a.tif") as a, tifffile.TiffFile(tmp_path / "b.tif") as b:
        lossy = compression in ("jpeg", "webp", "jpeg2000")
        assert b.pages[0].compression == (8 if lossy or compression == "deflate" else a.pages[0].compression)


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_permissions_stay(tmp_path):
    target = tmp_path / "x.bin"
    with images.replacing(target, overwrite=False):
        pass
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask
    target.chmod(0o640)
    with images.replacing(target, overwrite=True):
        pass
    assert target.stat().st_mode & 0o777 == 0o640


def test_tiff_planes_stored_apart(tmp_path):
    pixels = random((3, 12, 10), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    result = through(tmp_path / "a.tif", tmp_path / "b.tif")
    np.testing.assert_array_equal(result.pages[0].pixels, np.moveaxis(pixels, 0, -1))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), pixels)


def test_tiff_white_is_zero(tmp_path):
    pixels = random((12, 10), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    psf = np.ones((3, 3))
    result = through(tmp_path / "a.tif", tmp_path / "b.tif", psf=psf)
    tifffile.imwrite(tmp_path / "c.tif", 255 - pixels, photometric="minisblack")
    expected = through(tmp_path / "c.tif", tmp_path / "d.tif", psf=psf)
    np.testing.assert_array_equal(255 - result.pages[0].pixels, expected.pages[0].pixels)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages[0].photometric == 0


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped", "plain"])
def test_tiff_stacks_stay_what_they_are(tmp_path, kind):
    stack = random((4, 2, 12, 10) if kind in ("imagej", "ome") else (4, 12, 10), "uint16")
    name = "a.ome.tif" if kind == "ome" else "a.tif"
    options = {
        "imagej": {
            "imagej": True,
            "metadata": {"axes": "ZCYX", "spacing": 0.5, "unit": "um", "Labels": ["x"] * 8},
        },
        "ome": {"metadata": {"axes": "ZCYX", "PhysicalSizeX": 0.1}},
        "shaped": {},
        "plain": {"metadata": None},
    }[kind]
    tifffile.imwrite(tmp_path / name, stack, photometric="minisblack", **options)
    out = tmp_path / ("b.ome.tif" if kind == "ome" else "b.tif")
    result = through(tmp_path / name, out)
    assert len(result.pages) == (8 if kind in ("imagej", "ome") else 4)
    with tifffile.TiffFile(tmp_path / name) as before, tifffile.TiffFile(out) as after:
        np.testing.assert_array_equal(after.asarray(), stack)
        assert after.series[0].axes == before.series[0].axes
        assert after.pages[0].description == before.pages[0].description
        if kind == "imagej":
            assert after.imagej_metadata["spacing"] == 0.5
            assert after.imagej_metadata["Labels"] == before.imagej_metadata["Labels"]


def test_volume_runs_along_z(tmp_path):
    stack = random((2, 5, 12, 10), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    picture = images.read(tmp_path / "a.tif")
    assert volume_order(picture) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    tifffile.imwrite(tmp_path / "c.tif", stack.swapaxes(0, 1), imagej=True, metadata={"axes": "ZCYX"})
    assert volume_order(images.read(tmp_path / "c.tif")) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    from fastdeblur import psf, richardson_lucy

    kernel = psf.gaussian(1.0, ndim=3)
    result = Restorer(settings(), kernel).volume(picture)
    found = np.stack([page.pixels for page in result.pages[:5]])
    expected = richardson_lucy(stack[0], kernel, 2, backend="numpy")
    np.testing.assert_array_equal(found, np.rint(np.clip(expected, 0, 65535)).astype(np.uint16))


@pytest.mark.parametrize("gamma", [None, "srgb", 1.0])
def test_each_page_of_a_tiff_has_its_own_gamma(tmp_path, gamma):
    """A grey page is linear light and one in colour sRGB, whichever is first: as each of them alone."""
    pages = {"rgb": random((20, 16, 3), "uint8"), "minisblack": random((20, 16), "uint8")}
    kernel = np.ones((1, 5))
    alone = {}
    for name, pixels in pages.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric=name)
        result = through(tmp_path / f"{name}.tif", tmp_path / f"{name}2.tif", psf=kernel, gamma=gamma)
        alone[name] = result.pages[0].pixels
    for order in (list(pages), list(pages)[::-1]):
        source = tmp_path / f"{order[0]}_first.tif"
        with tifffile.TiffWriter(source) as writer:
            for name in order:
                writer.write(pages[name], photometric=name, metadata=None)
        result = through(source, tmp_path / f"{order[0]}_first2.tif", psf=kernel, gamma=gamma)
        for page, name in zip(result.pages, order, strict=True):
            np.testing.assert_array_equal(page.pixels, alone[name])


def test_a_volume_has_one_gamma(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for photometric in ("rgb", "minisblack"):  # of the latter the three samples are bands
            writer.write(
                random((9, 8, 3), "uint8"), photometric=photometric, planarconfig="contig", metadata=None
            )
    picture = images.read(tmp_path / "a.tif")
    picture.stacks = [Stack("Z", (2,), {(0,): 0, (1,): 1})]
    with pytest.raises(InvalidArgument, match="expected pages of one gamma in a volume"):
        Restorer(settings(), np.ones((1, 1, 1))).check(picture, volume=True)
    Restorer(settings(gamma=1.0), np.ones((1, 1, 1))).check(picture, volume=True)


KERNEL_3D = np.ones((3, 1, 1))


def write_pages(path, planes, description=None, **options):
    """A TIFF of these pages with nothing to say of them but the first one's description."""
    with tifffile.TiffWriter(path) as writer:
        for number, plane in enumerate(planes):
            text = description if number == 0 else None
            writer.write(plane, description=text, metadata=None, photometric="minisblack", **options)


def ome_xml(data, sizes, order="XYZCT", root="", extra="", pixels=""):
    """OME-XML of one image; `data` are its TiffData elements, `sizes` those of Z, C and T."""
    size = " ".join(f'Size{axis}="{n}"' for axis, n in zip("XYZCT", (12, 10, *sizes), strict=True))
    channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(sizes[1]))
    return (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{root}><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint16" {size}{pixels}>{channels}{data}</Pixels>'
        f"</Image>{extra}</OME>"
    )


def tiff_data(ifd, z=0, c=0, t=0, inner=""):
    return f'<TiffData IFD="{ifd}" FirstZ="{z}" FirstC="{c}" FirstT="{t}" PlaneCount="1">{inner}</TiffData>'


@pytest.mark.parametrize("kind", ["ome", "shaped"])
def test_each_series_is_a_volume_of_its_own(tmp_path, kind):
    """Two positions in a file, one of them dark and of another size: no light gets from one into the other."""
    dark, bright = np.zeros((3, 10, 12), np.uint16), random((4, 9, 12), "uint16")
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    with tifffile.TiffWriter(path) as writer:
        for series in (dark, bright):
            writer.write(series, metadata={"axes": "ZYX"}, photometric="minisblack")
    picture = images.read(path)
    assert volume_order(picture) == [[0, 1, 2], [3, 4, 5, 6]]
    result = Restorer(settings(), KERNEL_3D).volume(picture)
    assert not any(page.pixels.any() for page in result.pages[:3])
    tifffile.imwrite(tmp_path / "b.tif", bright, metadata={"axes": "ZYX"}, photometric="minisblack")
    alone = Restorer(settings(), KERNEL_3D).volume(images.read(tmp_path / "b.tif"))
    for page, expected in zip(result.pages[3:], alone.pages, strict=True):
        np.testing.assert_array_equal(page.pixels, expected.pixels)


def test_a_volume_of_a_series_is_refused_by_its_number(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for axes in ("ZYX", "CYX"):
            writer.write(random((3, 10, 12), "uint16"), metadata={"axes": axes}, photometric="minisblack")
        writer.write(random((10, 12), "uint16"), metadata={"axes": "YX"})
    picture = images.read(tmp_path / "a.ome.tif")
    with pytest.raises(ValueError, match=r"^series 2: .*metadata call them channels \(axis C\)"):
        volume_order(picture)
    del picture.stacks[1]
    with pytest.raises(ValueError, match=r"^series 2: expected several planes, got 1"):
        volume_order(picture)


@pytest.mark.parametrize("named_by", ["uuid", "name"])
def test_one_file_of_an_ome_set_has_its_own_volumes(tmp_path, monkeypatch, named_by):
    """A file for each time, of two channels: the planes are those of its own file, and no other is opened."""
    names = ["t0.ome.tif", "t1.ome.tif"]
    data = "".join(
        tiff_data(4 * c + z, z, c, t, f'<UUID FileName="{names[t]}">urn:uuid:{t}</UUID>')
        for t in range(2)
        for c in range(2)
        for z in range(4)
    )
    for number, name in enumerate(names):
        root = f' UUID="urn:uuid:{number}"' if named_by == "uuid" else ""
        write_pages(tmp_path / name, random((8, 10, 12), "uint16"), ome_xml(data, (4, 2, 2), root=root))
    real, opened = tifffile.TiffFile.__init__, []

    def spied(self, file, *arguments, **options):
        opened.append(Path(file).name)
        real(self, file, *arguments, **options)

    monkeypatch.setattr(tifffile.TiffFile, "__init__", spied)
    assert volume_order(images.read(tmp_path / names[1])) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert opened == names[1:]


def test_a_part_of_a_volume_is_refused(tmp_path):
    data = "".join(
        tiff_data(z % 2, z, inner=f'<UUID FileName="{name}">urn:uuid:{name}</UUID>')
        for z, name in enumerate("aabb")
    )
    xml = ome_xml(data, (4, 1, 1), root=' UUID="urn:uuid:a"')
    write_pages(tmp_path / "a", random((2, 10, 12), "uint16"), xml)
    with pytest.raises(ValueError, match="expected all 4 planes of each volume, got 2 of one"):
        volume_order(images.read(tmp_path / "a"))


def test_ome_pages_may_lie_in_any_order(tmp_path):
    """Times change quickest among the pages: each volume is put together by TiffData, and pages stay where they are."""
    data = "".join(tiff_data(2 * z + t, z=z, t=t) for z in range(3) for t in range(2))
    xml = ome_xml(data, (3, 1, 2))
    planes = random((6, 10, 12), "uint16")
    write_pages(tmp_path / "a.ome.tif", planes, xml)
    picture = images.read(tmp_path / "a.ome.tif")
    assert volume_order(picture) == [[0, 2, 4], [1, 3, 5]]
    images.write(Restorer(settings(), KERNEL_3D).volume(picture), tmp_path / "b.ome.tif", overwrite=False)
    for first in (0, 1):
        write_pages(tmp_path / f"{first}.tif", planes[first::2])
        alone = Restorer(settings(), KERNEL_3D).volume(images.read(tmp_path / f"{first}.tif"))
        expected = np.stack([page.pixels for page in alone.pages])
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / "b.ome.tif", key=range(first, 6, 2)), expected
        )
        assert (expected != planes[first::2]).any()
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert tif.pages[0].description == xml


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        (ome_xml(tiff_data(0) + tiff_data(1, z=1) + tiff_data(2, z=2), (3, 1, 1)), "leave out page 4"),
        (
            ome_xml("".join(tiff_data(min(z, 2), z=z) for z in range(4)), (4, 1, 1)),
            "put page 3 at 2 places",
        ),
        (ome_xml('<TiffData IFD="-1" PlaneCount="4"/>', (4, 1, 1)), "leave out page 1"),
        (ome_xml('<TiffData FirstZ="4"/>', (4, 1, 1)), "leave out page 1"),
        (
            ome_xml("<TiffData/>", (4, 1, 1), extra="<XML><ModuloAlongZ Type='angle'/></XML>"),
            "leave out page 1",
        ),
        ("<OME><BinaryOnly MetadataFile='a.companion.ome' UUID='urn:uuid:1'/></OME>", "leave out page 1"),
        ("<broken OME>", "leave out page 1"),
        (ome_xml("<TiffData/>", (4, 1, 1)).replace('SizeZ="4"', 'SizeZ="four"'), "leave out page 1"),
        (ome_xml("<TiffData/>", (0, 1, 1)), "leave out page 1"),
    ],
)
def test_ome_pages_without_one_place_make_no_volume(tmp_path, xml, says):
    write_pages(tmp_path / "a.ome.tif", random((4, 10, 12), "uint16"), xml)
    with pytest.raises(ValueError, match=f"its metadata {says}"):
        volume_order(images.read(tmp_path / "a.ome.tif"))


@pytest.mark.parametrize(
    ("data", "order", "expected"),
    [
        ("<TiffData/>", "XYZCT", [[0, 1, 2], [3, 4, 5]]),
        ("<TiffData/>", "XYCZT", [[0, 2, 4], [1, 3, 5]]),
        (
            '<TiffData IFD="3" PlaneCount="3"/><TiffData FirstC="1" PlaneCount="3"/>',
            "XYZCT",
            [[3, 4, 5], [0, 1, 2]],
        ),
    ],
)
def test_ome_planes_are_counted_in_their_order(tmp_path, data, order, expected):
    write_pages(tmp_path / "a.ome.tif", random((6, 10, 12), "uint16"), ome_xml(data, (3, 2, 1), order))
    assert volume_order(images.read(tmp_path / "a.ome.tif")) == expected


def test_ome_colour_is_one_plane(tmp_path):
    stack = random((4, 10, 12, 3), "uint8")
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    assert volume_order(images.read(tmp_path / "a.ome.tif")) == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("options", "shape", "says"),
    [
        ({"imagej": True, "metadata": {"axes": "CYX"}}, (3, 10, 12), "channels"),
        ({"imagej": True, "metadata": {"axes": "TYX"}}, (3, 10, 12), "times"),
        ({"imagej": True, "metadata": {"axes": "ZCYX"}}, (1, 3, 10, 12), "channels"),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, (3, 10, 12), None),
        ({"ome": True, "metadata": {"axes": "CYX"}}, (3, 10, 12), "channels"),
        ({"ome": True, "metadata": {"axes": "TCZYX"}}, (3, 1, 1, 10, 12), "times"),
        ({"ome": True, "metadata": {"axes": "ZYX"}}, (3, 10, 12), None),
        ({"metadata": {"axes": "TYX"}}, (3, 10, 12), "times"),
        ({"metadata": {"axes": "AYX"}}, (3, 10, 12), "angles"),
        ({"metadata": {"axes": "QYX"}}, (3, 10, 12), None),
        ({"metadata": {"axes": "IYX"}}, (3, 10, 12), None),
        ({}, (3, 10, 12), None),
        ({"metadata": None}, (3, 10, 12), None),
    ],
)
def test_a_lone_axis_is_the_depth_unless_it_is_named_otherwise(tmp_path, options, shape, says):
    tifffile.imwrite(tmp_path / "a.tif", random(shape, "uint16"), photometric="minisblack", **options)
    picture = images.read(tmp_path / "a.tif")
    if says is None:
        assert volume_order(picture) == [[0, 1, 2]]
        return
    with pytest.raises(
        ValueError, match=rf"expected pages along a depth \(axis Z\), .* call them {says} \(axis"
    ):
        volume_order(picture)


@pytest.mark.parametrize("times", [2, 3])
def test_a_makers_axes_are_followed_and_its_thumbnails_are_no_planes(tmp_path, times):
    """A Zeiss LSM file of two times and three depths, with a thumbnail behind each plane; a third time is only said."""
    info = np.zeros(1, np.dtype(tifffile.TIFF.CZ_LSMINFO).newbyteorder("<"))
    for name, value in {
        "MagicNumber": 67127628, "StructureSize": info.itemsize, "DimensionX": 12, "DimensionY": 10,
        "DimensionZ": 3, "DimensionChannels": 1, "DimensionTime": times, "DataType": 2, "ScanType": 6,
    }.items():  # fmt: skip
        info[name] = value
    with tifffile.TiffWriter(tmp_path / "a.lsm") as writer:
        for number in range(6):
            tag = [(34412, 1, info.nbytes, info.tobytes(), True)] if number == 0 else None
            plane, thumbnail = random((10, 12), "uint16"), random((4, 5, 3), "uint8")
            writer.write(plane, photometric="minisblack", metadata=None, extratags=tag)
            writer.write(thumbnail, photometric="rgb", metadata=None, subfiletype=1)
    picture = images.read(tmp_path / "a.lsm")
    assert len(picture.pages) == 12
    if times == 3:
        with pytest.raises(ValueError, match="leave out page 1"):
            volume_order(picture)
        return
    (stack,) = picture.stacks
    assert (stack.axes, stack.shape) == ("TZ", (2, 3))
    assert list(stack.pages.values()) == [0, 2, 4, 6, 8, 10]
    with pytest.raises(ValueError, match="leave out page 2"):
        volume_order(picture)


def metamorph(planes, distances, times):
    """A MetaMorph STK file: one directory, whose tags count the planes that lie behind its first strip."""
    count, (height, width) = len(planes), planes.shape[1:]
    uic2 = b"".join(
        struct.pack("<6I", distance, 1, 2459000, time, 2459000, time)
        for distance, time in zip(distances, times, strict=True)
    )
    at = 8 + planes.nbytes
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 3, 1, height), (279, 4, 1, planes[0].nbytes), (33628, 4, 1, 0), (33629, 5, count, 0),
    ]  # fmt: skip
    tail = at + 2 + 12 * len(entries) + 4
    entries[-2:] = [(33628, 4, 1, tail + len(uic2)), (33629, 5, count, tail)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0"
        + struct.pack("<I", at)
        + planes.tobytes()
        + directory
        + bytes(4)
        + uic2
        + struct.pack("<II", 2, 3)
    )


def test_every_plane_of_a_metamorph_file_becomes_a_page(tmp_path):
    planes = random((5, 10, 12), "uint16")
    path = tmp_path / "a.stk"
    path.write_bytes(metamorph(planes, [500] * 5, [0] * 5))
    picture = images.read(path)
    assert picture.notes == [
        f"{path}: its 5 planes become pages, and MetaMorph's tags (times, places, wavelengths) are not kept"
    ]
    assert volume_order(picture) == [[0, 1, 2, 3, 4]]
    result = through(path, tmp_path / "b.tif")
    np.testing.assert_array_equal(np.stack([page.pixels for page in result.pages]), planes)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:  # each page is one plane for other readers too
        assert not {33628, 33629} & {tag.code for tag in tif.pages[0].tags}
        assert len(tif.pages) == 5
        assert tif.asarray().shape == (5, 10, 12)
    path.write_bytes(metamorph(planes, [0] * 5, range(5)))
    with pytest.raises(ValueError, match="call them times"):
        volume_order(images.read(path))
    path.write_bytes(metamorph(planes[:1], [0], [0]))
    picture = images.read(path)
    assert len(picture.pages) == 1
    assert picture.notes == [f"{path}: MetaMorph's tags (times, places, wavelengths) are not kept"]


def test_a_metamorph_file_that_was_cut_is_told(tmp_path):
    planes = random((5, 10, 12), "uint16")
    data = bytearray(metamorph(planes, [500] * 5, [0] * 5))
    data[8 : 8 + planes.nbytes] = planes[:2].tobytes()
    struct.pack_into("<I", data, 4, 8 + planes[:2].nbytes)  # the directory and its tags have moved down
    lost = planes[2:].nbytes
    at = 8 + planes[:2].nbytes
    for entry in (9, 10):
        place = at + 2 + 12 * entry + 8
        struct.pack_into("<I", data, place, struct.unpack_from("<I", data, place)[0] - lost)
    (tmp_path / "cut.stk").write_bytes(data)
    with pytest.raises(UsageError, match=r"cut.stk: the TIFF (is truncated|cannot be decoded)"):
        images.read(tmp_path / "cut.stk")


def test_planes_behind_one_of_several_pages_are_told(tmp_path):
    """They cannot be told from the next page's; none may be lost without a word."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(2):
            writer.write(random((2, 10, 12), "uint16"), photometric="minisblack", truncate=True)
    with pytest.raises(UsageError, match="2 planes lie behind page 1 without pages of their own"):
        images.read(tmp_path / "a.tif")


@pytest.mark.parametrize(("planes", "held"), [(5, 5), (5, 3)])
def test_planes_that_only_a_maker_knows_of_are_told(planes, held):
    """Of a format that tifffile finds more planes in than it has pages, where they are indeed in the file."""
    handle = SimpleNamespace(size=8 + held * 240)
    page = SimpleNamespace(
        shape=(10, 12),
        index=0,
        nbytes=240,
        compression=1,
        dataoffsets=(8,),
        parent=SimpleNamespace(filehandle=handle),
    )

    class Series(list):
        size, kind, is_truncated, keyframe = planes * 120, "maker", False, page

    if held == planes:
        with pytest.raises(
            images.UnreadableError, match=r"5 planes lie behind page 1 .* not supported for maker"
        ):
            tiffstack.planes_behind([Series([page])], [page])
    else:  # an acquisition that was meant to be longer
        assert tiffstack.planes_behind([Series([page])], [page]) == 1


def test_volumetric_pages_are_refused(tmp_path):
    """Their depth would be taken for rows."""
    stack = random((8, 32, 48), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, tile=(8, 16, 16), volumetric=True, photometric="minisblack")
    with pytest.raises(UsageError, match=r"a page of 8 planes \(ImageDepth\) is not supported"):
        images.read(tmp_path / "a.tif")


@pytest.mark.parametrize("target", ["png", "jpg", "tif"])
@pytest.mark.parametrize("source", ["png", "jpg", "tif"])
def test_metadata_moves_between_formats(tmp_path, source, target):
    base = np.repeat(np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)[..., None] * 2, 3, axis=2)
    picture = Image.fromarray(base)
    options = {"exif": b"Exif\0\0" + exif_block(), "icc_profile": icc_profile(), "dpi": (150, 150)}
    first, second = tmp_path / f"a.{source}", tmp_path / f"b.{target}"
    if source == "tif":
        # From a JPEG, by the code under test; the block read here was written by Pillow.
        picture.save(tmp_path / "seed.jpg", xmp=XMP, **options)
        through(tmp_path / "seed.jpg", first)
    elif source == "jpg":
        picture.save(first, xmp=XMP, **options)
    else:
        from PIL import PngImagePlugin

        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        picture.save(first, pnginfo=texts, **options)
    result = through(first, second)
    metadata = result.metadata
    assert metadata.icc == icc_profile()
    assert metadata.xmp == XMP
    np.testing.assert_allclose(metadata.dpi, (150, 150), atol=0.02)
    tags = read_exif(metadata.exif)
    assert tags[0x0112] == 6
    assert tags[0x010F] == "Maker"
    assert tags.get_ifd(0x8769)[0x829A] == 0.25
    assert tags.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
    assert tags.get_ifd(0x8825)[0x0001] == "N"
    with Image.open(second) as image:  # another reader finds them too
        assert image.getexif().get_ifd(0x8769)[0x829A] == 0.25
        assert image.getexif()[0x0112] == 6


def test_exif_directories_survive_a_change_of_byte_order():
    directory, order = exif.parse_block(exif_block())
    other = ">" if order == "<" else "<"
    again, found = exif.parse_block(exif.pack_block(exif.reordered(directory, order, other), other))
    assert found == other
    assert exif.reordered(again, other, order) == directory


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"II*\0\xff\0\0\0", b"MM\0*\0\0\0\x08\0\x01" + b"\xff" * 12, b"xx" * 20]
)
def test_damaged_exif_is_told(block):
    try:
        exif.parse_block(block)
    except exif.DamagedError:
        return
    assert block.startswith(b"MM")  # a tag of no known type is skipped


def test_an_alpha_edge_does_not_bleed(tmp_path):
    """The colour under transparent pixels has no influence on the visible ones."""
    colour = random((24, 24, 3), "uint8")
    alpha = np.full((24, 24, 1), 255, np.uint8)
    alpha[:, :10] = 0
    psf = np.ones((5, 5))
    for method in ("wiener", "richardson-lucy"):
        results = []
        for hidden in (0, 255):
            pixels = np.concatenate([colour, alpha], axis=-1)
            pixels[:, :10, :3] = hidden
            name = tmp_path / f"{method}{hidden}.png"
            name.write_bytes(imagecodecs.png_encode(pixels))
            result = through(name, tmp_path / f"{method}{hidden}-out.png", psf=psf, method=method)
            results.append(result.pages[0].pixels)
            np.testing.assert_array_equal(results[-1][..., 3:], alpha)
            np.testing.assert_array_equal(results[-1][:, :10], pixels[:, :10])
        np.testing.assert_array_equal(results[0][:, 10:], results[1][:, 10:])


def test_hidden_colour_is_continued_smoothly():
    light = np.zeros((9, 9), np.float32)
    visible = np.zeros((9, 9), np.float32)
    light[2:4, 2:5], visible[2:4, 2:5] = 0.75, 1.0
    np.testing.assert_allclose(fill_hidden(light, visible), 0.75)


def test_values_are_rounded_and_cut_only_when_written(tmp_path):
    """A bright point on black overshoots; 8-bit files must not wrap around, floats keep all of it."""
    point = np.full((15, 15), 40, np.uint8)
    point[6:9, 6:9] = 250
    tifffile.imwrite(tmp_path / "a.tif", point)
    tifffile.imwrite(tmp_path / "f.tif", point.astype(np.float32))
    psf = np.ones((3, 3))
    options = {"psf": psf, "method": "wiener", "balance": 1e-3}
    whole = through(tmp_path / "f.tif", tmp_path / "g.tif", **options).pages[0].pixels
    assert whole.max() > 255
    assert whole.min() < 0
    cut = through(tmp_path / "a.tif", tmp_path / "b.tif", **options).pages[0].pixels
    np.testing.assert_array_equal(cut, np.rint(np.clip(whole, 0, 255)))


def test_what_is_cut_at_the_top_is_counted(tmp_path):
    """Of the values that were below it; hidden ones are kept, and in a MINISWHITE file the top is at the bottom."""
    pixels = np.full((15, 15, 2), 40, np.uint8)
    pixels[6:9, 6:9, 0], pixels[0, 0, 0] = 250, 255
    pixels[..., 1], pixels[-1, :, 1] = 255, 0
    options = {"method": "wiener", "balance": 1e-3, "gamma": 1.0}
    tifffile.imwrite(tmp_path / "f.tif", pixels[..., 0].astype(np.float32))
    whole = Restorer(settings(**options), np.ones((3, 3))).pages(images.read(tmp_path / "f.tif")).pages[0]
    beyond = np.rint(whole.pixels) > 255
    beyond[0, 0] = False
    assert beyond.sum() > 0
    assert whole.cut == (0, 0)
    for name, values, photometric in (
        ("black.tif", pixels[..., 0], "minisblack"),
        ("white.tif", 255 - pixels[..., 0], "miniswhite"),
    ):
        tifffile.imwrite(tmp_path / name, values, photometric=photometric)
        (page,) = Restorer(settings(**options), np.ones((3, 3))).pages(images.read(tmp_path / name)).pages
        assert page.cut == (beyond.sum(), 15 * 15 - 1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    (page,) = Restorer(settings(**options), np.ones((3, 3))).pages(images.read(tmp_path / "a.png")).pages
    assert page.cut[1] == 15 * 14 - 1


@pytest.mark.parametrize(("cut", "says"), [((0, 0), False), ((1, 1000), False), ((2, 1000), True)])
def test_a_share_that_is_cut_is_told_from_a_thousandth_on(cut, says):
    page = images.Page(np.zeros((2, 2), np.uint8), cut=cut)
    note = floats.cut_note(images.Picture(Path("a.png"), "PNG", [page]))
    assert (note is not None) == says
    if note:
        assert note == (
            "a.png: 2 values (0.20%) became brighter than uint8 holds, and were cut; "
            "--dtype float32 keeps them, in a TIFF"
        )


@pytest.mark.parametrize("gamma", [1.0, "srgb"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float16", "float64"])
def test_as_float32_keeps_the_files_numbers(tmp_path, dtype, gamma):
    """And a result is what the integers are rounded and cut from."""
    pixels = random((12, 10), dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, compression="lzw", predictor=2 if pixels.dtype.kind in "iu" else 3
    )
    picture = images.read(tmp_path / "a.tif")
    wide = floats.as_float32(picture)
    images.write(wide, tmp_path / "b.tif", overwrite=False)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), pixels.astype(np.float32))
    if pixels.dtype.kind in "iu":
        worker = Restorer(settings(gamma=gamma, num_iter=5), np.ones((3, 3)))
        whole, cut = worker.pages(wide).pages[0].pixels, worker.pages(picture).pages[0].pixels
        limits = np.iinfo(dtype)
        assert whole.max() > limits.max
        np.testing.assert_allclose(
            cut, np.clip(whole.astype(float), limits.min, limits.max), atol=0.51, rtol=1e-5
        )


def test_ome_metadata_follow_the_dtype(tmp_path):
    xml = ome_xml("<TiffData/>", (3, 1, 1), pixels=' SignificantBits="12"')
    write_pages(tmp_path / "a.ome.tif", random((3, 10, 12), "uint16"), xml)
    wide = floats.as_float32(images.read(tmp_path / "a.ome.tif"))
    images.write(wide, tmp_path / "b.ome.tif", overwrite=False)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert tif.ome_metadata == xml.replace('"uint16"', '"float"').replace(' SignificantBits="12"', "")
        assert tif.series[0].axes == "ZYX"
    assert volume_order(images.read(tmp_path / "b.ome.tif")) == [[0, 1, 2]]
    xml = "<OME><BinaryOnly MetadataFile='a.companion.ome' UUID='urn:uuid:1'/></OME>"
    write_pages(tmp_path / "c.ome.tif", random((3, 10, 12), "uint16"), xml)
    with pytest.raises(UsageError, match=r"--dtype: .*c.ome.tif: its OME metadata are in another file"):
        floats.as_float32(images.read(tmp_path / "c.ome.tif"))


def test_light_is_what_gets_blurred(tmp_path):
    """Deblurring a PNG is decoding, deblurring, encoding."""
    from fastdeblur import wiener

    pixels = random((20, 22), "uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    psf = np.ones((3, 3))
    light = _light.decode_srgb(pixels.astype(np.float32) / 255)
    expected = np.clip(_light.encode_srgb(wiener(light, psf, 0.1, backend="numpy")), 0, 1)
    found = through(tmp_path / "a.png", tmp_path / "b.png", psf=psf, method="wiener", balance=0.1)
    np.testing.assert_array_equal(found.pages[0].pixels, np.rint(expected * 255))
    plain = np.clip(wiener(pixels, psf, 0.1, backend="numpy"), 0, 255)
    found = through(tmp_path / "a.png", tmp_path / "c.png", psf=psf, method="wiener", balance=0.1, gamma=1.0)
    np.testing.assert_array_equal(found.pages[0].pixels, np.rint(plain))


def encoded(format_, pixels=None):
    buffer = io.BytesIO()
    pixels = random((40, 40, 3), "uint8") if pixels is None else pixels
    if format_ == "TIFF":
        tifffile.imwrite(buffer, pixels, photometric="rgb")
    else:
        Image.fromarray(pixels).save(buffer, format_)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.97])
def test_truncated_files_are_told(tmp_path, format_, share):
    data = encoded(format_)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match=r"^IN: .*cut: "):
        images.read(path)


def stack_file(kind):
    """A TIFF of five pages, as the program of that name lays it out."""
    stack, file = random((5, 10, 12), "float32"), io.BytesIO()
    if kind.startswith("pillow"):
        first, *others = [Image.fromarray(plane) for plane in stack]
        options = {"compression": "tiff_lzw"} if kind == "pillow-lzw" else {}
        first.save(file, "TIFF", save_all=True, append_images=others, **options)
    else:
        options = {
            "imagej": {"imagej": True},
            "imagej-deflate": {"imagej": True, "compression": "deflate"},
            "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
            "shaped": {},
            "shaped-deflate": {"compression": "deflate"},
            "bigtiff": {"bigtiff": True},
            "plain": {"metadata": None},
        }[kind]
        tifffile.imwrite(file, stack, photometric="minisblack", **options)
    return file.getvalue(), stack


@pytest.mark.parametrize(
    "kind", ["imagej", "ome", "shaped", "shaped-deflate", "bigtiff", "plain", "pillow", "pillow-lzw"]
)
def test_a_stack_without_its_last_pages_is_told(tmp_path, kind):
    """Wherever the file is cut: tifffile takes the pages that it finds for all there are."""
    data, stack = stack_file(kind)
    path = tmp_path / "cut.tif"
    read = []
    for size in range(len(data), 8, -13):
        path.write_bytes(data[:size])
        try:
            picture = images.read(path)
        except UsageError as error:
            assert re.search(r"cut.tif: the TIFF (is truncated|cannot be decoded)", str(error))  # noqa: PT017
        else:  # nothing but padding is missing
            read.append(size)
            for page, plane in zip(picture.pages, stack, strict=True):
                np.testing.assert_array_equal(page.pixels, plane)
    assert read[0] == len(data)
    assert read[-1] > len(data) - 30


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("imagej", 3),
        ("imagej-deflate", 3),
        ("imagej-deflate", 1),
        ("ome", 3),
        ("ome", 1),
        ("shaped", 3),
        ("shaped-deflate", 1),
    ],
)
def test_a_stack_whose_writer_was_interrupted_is_told(tmp_path, kind, held):
    """The chain of pages ends as it should, but the metadata promise more."""
    data, _ = stack_file(kind)
    path = tmp_path / "short.tif"
    path.write_bytes(data)
    with tifffile.TiffFile(path) as tif:
        last = tif.pages[held - 1].aspage() if hasattr(tif.pages[held - 1], "aspage") else tif.pages[held - 1]
        end = last.offset + 2 + 12 * len(last.tags)
    path.write_bytes(data[:end] + bytes(4) + data[end + 4 :])
    with pytest.raises(UsageError, match=f"truncated: its metadata say 5 planes, but it holds {held}"):
        images.read(path)


@pytest.mark.parametrize("rows", [10, 3])
def test_planes_behind_a_lone_page_that_are_not_there_are_told(tmp_path, rows):
    stack = random((5, 10, 12), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", truncate=True, rowsperstrip=rows)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 1
        assert len(tif.pages[0].dataoffsets) == math.ceil(10 / rows)
    for page, plane in zip(images.read(tmp_path / "a.tif").pages, stack, strict=True):
        np.testing.assert_array_equal(page.pixels, plane)
    data = (tmp_path / "a.tif").read_bytes()
    end = data.index(stack.tobytes()) + stack.nbytes
    for lost in (1, 200, 700):
        (tmp_path / "cut.tif").write_bytes(data[: end - lost])
        with pytest.raises(UsageError, match="the TIFF is truncated"):
            images.read(tmp_path / "cut.tif")


def test_one_file_of_an_ome_set_is_whole(tmp_path):
    """OME's metadata speak of the whole set; the other planes are in files of other UUIDs."""
    stack = random((2, 10, 12), "uint16")
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        xml = tif.ome_metadata
    uuid = re.search(r'UUID="([^"]+)"', xml)[1]
    sets = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z % 2}" PlaneCount="1"><UUID FileName="{name}">{which}</UUID></TiffData>'
        for z, (name, which) in enumerate([("a.ome.tif", uuid)] * 2 + [("b.ome.tif", "urn:uuid:other")] * 2)
    )
    xml = re.sub(r"<TiffData.*?(/>|</TiffData>)", sets, xml, count=1).replace('SizeZ="2"', 'SizeZ="4"')
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stack, description=xml.encode(), metadata=None, photometric="minisblack"
    )
    assert len(images.read(tmp_path / "a.ome.tif").pages) == 2


def test_a_tiff_is_read_once_for_its_exif_directories(tmp_path, monkeypatch):
    """Not once for each page that points to one."""
    from fastdeblur.cli import tiff

    Image.new("L", (9, 9)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif_block())
    picture = images.read(tmp_path / "a.jpg")
    picture.pages = picture.pages * 5
    images.write(picture, tmp_path / "a.tif", overwrite=False)
    real, reads = tiff._whole_file, []
    monkeypatch.setattr(tiff, "_whole_file", lambda tif: reads.append(tif) or real(tif))
    pages = images.read(tmp_path / "a.tif").pages
    assert len(pages) == 5
    assert all(page.native.directories for page in pages)
    assert len(reads) == 1


def test_a_chain_of_pages_in_a_circle_is_told(tmp_path):
    data, _ = stack_file("plain")
    path = tmp_path / "circle.tif"
    path.write_bytes(data)
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0], tif.pages[-1].aspage()
        end = last.offset + 2 + 12 * len(last.tags)
    path.write_bytes(data[:end] + struct.pack("<I", first.offset) + data[end + 4 :])
    with pytest.raises(UsageError, match="runs in a circle"):
        images.read(path)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF"])
def test_damaged_files_never_crash(tmp_path, format_):
    data = encoded(format_)
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 400), 4):
            damaged[at] = rng.integers(256)
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        try:
            assert images.read(path, 10_000).pages
        except UsageError as error:
            assert str(error).startswith("IN: ")  # noqa: PT017


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF"])
def test_bombs_are_refused(tmp_path, format_):
    path = tmp_path / "large"
    path.write_bytes(encoded(format_))
    with pytest.raises(UsageError, match=r"40 x 40 pixels, more than --max-pixels 1599"):
        images.read(path, 1599)
    assert images.read(path, 1600).pages
    assert images.read(path, 0).pages


@pytest.mark.parametrize("mode", ["png", "tif"])
def test_one_bit_is_refused(tmp_path, mode):
    Image.new("1", (8, 8)).save(tmp_path / f"a.{mode}")
    with pytest.raises(UsageError, match="1-bit"):
        images.read(tmp_path / f"a.{mode}")


@pytest.mark.parametrize("what", ["palette", "cielab", "complex"])
def test_tiffs_that_are_not_light_are_refused(tmp_path, what):
    path = tmp_path / "a.tif"
    if what == "palette":
        Image.fromarray(random((8, 8, 3), "uint8")).quantize(4).save(path)
    elif what == "cielab":
        tifffile.imwrite(path, random((8, 8, 3), "uint8"), photometric="cielab")
    else:
        tifffile.imwrite(path, np.zeros((8, 8), np.complex64))
    with pytest.raises(UsageError, match="not supported"):
        images.read(path)


@pytest.mark.parametrize(
    ("shape", "dtype", "target", "rule"),
    [
        ((8, 8), "float32", "x.png", "PNG holds uint8 or uint16"),
        ((8, 8), "int16", "x.png", "PNG holds uint8 or uint16"),
        ((8, 8), "uint16", "x.jpg", "JPEG holds uint8"),
        ((3, 8, 8), "uint8", "x.png", "holds one page"),
        ((8, 8), "uint8", "x.bmp", "expected a name ending in"),
        ((8, 8), "uint8", "x", "expected a name ending in"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, shape, dtype, target, rule):
    tifffile.imwrite(tmp_path / "a.tif", random(shape, dtype), photometric="minisblack")
    with pytest.raises(UsageError, match=f"^OUT: .*{rule}"):
        images.check_fits(images.read(tmp_path / "a.tif"), Path(tmp_path / target))


def test_jpeg_holds_no_alpha(tmp_path):
    Image.new("RGBA", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="alpha"):
        images.check_fits(images.read(tmp_path / "a.png"), tmp_path / "x.jpg")


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    picture = images.read(tmp_path / "a.png")
    (tmp_path / "out").mkdir()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(imagecodecs, "png_encode", fail)
    with pytest.raises(WorkError, match=r"x\.png: cannot be written: No space left"):
        images.write(picture, tmp_path / "out" / "x.png", overwrite=False)
    assert not list((tmp_path / "out").iterdir())


def test_a_disk_that_takes_no_more_of_a_tiff_is_told(tmp_path):
    resource = pytest.importorskip("resource")
    tifffile.imwrite(
        tmp_path / "a.tif", random((200, 200), "uint16")
    )  # NumPy writes it, as it is not compressed
    picture = images.read(tmp_path / "a.tif")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(
            WorkError, match=r"x\.tif: cannot be written: the disk took only \d+ of 40000 values"
        ):
            images.write(picture, tmp_path / "x.tif", overwrite=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "x.png"
    target.write_bytes(b"old")

    def interrupted():
        with images.replacing(target, overwrite=True) as temporary:
            temporary.write_bytes(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(FileExistsError), images.replacing(target, overwrite=False):
        pass
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]

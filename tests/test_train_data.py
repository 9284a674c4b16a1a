"""Training pairs: a function of seed and step, blurred as they say, in the layouts of the usual data sets."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from scipy.signal import convolve2d  # noqa: E402

from fastdeblur import InvalidArgument, _light  # noqa: E402
from fastdeblur.train.config import Data, Degradation, PSFs, parse_config  # noqa: E402
from fastdeblur.train.data.folders import Images, attitude, image_files, read_image  # noqa: E402
from fastdeblur.train.data.paired import LAYOUTS, Pair, Paired, read_pair  # noqa: E402
from fastdeblur.train.data.psfs import draw_psfs  # noqa: E402
from fastdeblur.train.data.synthetic import Synthetic, as_jpeg, border, convolve_valid  # noqa: E402
from fastdeblur.train.sources import batches, training_source, validation_batches  # noqa: E402

from training import config, photo, write_photos  # noqa: E402

FIELDS = ("blurred", "sharp", "psf", "noise")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder / "photos", range(3))
    write_photos(folder / "other", range(5, 7))
    return folder


def source(folder, channels=3, psfs=None, seed=1, **how):
    images = Images(image_files(folder / "photos"), channels, 80)
    return Synthetic(images, psfs or (PSFs(sizes=(5, 9)),), Degradation(**how), crop=24, batch=3, seed=seed)


def equal(a, b):
    pairs = [(getattr(a, name), getattr(b, name)) for name in FIELDS]
    return all(x is y is None or torch.equal(x, y) for x, y in pairs)


def test_a_batch_is_a_function_of_seed_and_step(folder):
    how = {"noise": (0.01, 0.02), "jpeg": 0.5, "saturated": 0.5, "gamma": "srgb", "reduced": 0.5}
    a, b, other = (source(folder, seed=seed, **how) for seed in (1, 1, 2))
    assert equal(a[7], b[7])
    assert not equal(a[7], a[8])
    assert not equal(a[7], other[7])


def test_workers_make_the_same_batches(folder):
    """But for rounding: a worker has one thread, and PyTorch's transforms depend on their number."""
    made = source(folder)
    ahead = list(batches(made, 3, 7, 2))
    assert len(ahead) == 4
    for k, batch in enumerate(ahead, 3):
        for name in FIELDS:
            torch.testing.assert_close(getattr(batch, name), getattr(made[k], name), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_units_and_types(folder, channels):
    batch = source(folder, channels, noise=(0.01, 0.01))[0]
    assert batch.blurred.shape == batch.sharp.shape == (3, channels, 24, 24)
    assert batch.blurred.dtype == batch.sharp.dtype == batch.psf.dtype == batch.noise.dtype == torch.float32
    assert batch.psf.shape[1] == batch.psf.shape[2]
    assert batch.psf.shape[1] in (5, 7, 9)
    assert batch.sharp.min() >= 0
    assert batch.sharp.max() <= 1
    torch.testing.assert_close(batch.psf.sum(dim=(1, 2)), torch.ones(3))
    torch.testing.assert_close(batch.noise, torch.full((3,), 0.01))


def test_a_pair_is_a_convolution(folder):
    """Of the whole sharp crop, from its inside, where the margin's light does not reach."""
    batch = source(folder, 1, noise=(0.0, 0.0))[4]
    for blurred, sharp, kernel in zip(batch.blurred[:, 0], batch.sharp[:, 0], batch.psf, strict=True):
        wanted = convolve2d(sharp.numpy(), kernel.numpy(), "valid")
        radius = len(kernel) // 2
        found = blurred.numpy()[radius:-radius, radius:-radius]
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_gamma_blurs_light(folder):
    batch = source(folder, 1, noise=(0.0, 0.0), gamma="srgb")[4]
    light = _light.decode_srgb(batch.sharp.numpy())
    for blurred, sharp, kernel in zip(batch.blurred[:, 0], light[:, 0], batch.psf, strict=True):
        wanted = _light.encode_srgb(convolve2d(sharp, kernel.numpy(), "valid"))
        radius = len(kernel) // 2
        np.testing.assert_allclose(blurred.numpy()[radius:-radius, radius:-radius], wanted, atol=1e-5)


def test_a_share_of_pairs_is_blurred_in_light(folder):
    how = {"noise": (0.0, 0.0), "gamma": "srgb"}
    light, plain, mixed = (source(folder, 1, linear=share, **how) for share in (1.0, 0.0, 0.5))
    kinds = set()
    for step in range(4):
        batch = mixed[step]
        for blurred, sharp, kernel in zip(batch.blurred[:, 0], batch.sharp[:, 0], batch.psf, strict=True):
            radius = len(kernel) // 2
            inner = slice(radius, -radius)
            values, kernel = sharp.numpy(), kernel.numpy()
            as_they_are = convolve2d(values, kernel, "valid")
            as_light = _light.encode_srgb(convolve2d(_light.decode_srgb(values), kernel, "valid"))
            far = [abs(blurred.numpy()[inner, inner] - wanted).max() for wanted in (as_they_are, as_light)]
            assert min(far) < 1e-5
            kinds.add(int(np.argmin(far)))
    assert kinds == {0, 1}
    assert equal(plain[2], source(folder, 1, noise=(0.0, 0.0))[2])
    assert not equal(plain[2], light[2])


def test_blur_that_varies(folder):
    """Each pixel lies between what the pair's own kernel and the other one make of it, and both ends occur."""
    same, varied = (source(folder, 1, noise=(0.0, 0.0), varying=share) for share in (0.0, 1.0))
    changed = 0
    for step in range(4):
        batch = varied[step]
        n = len(batch.psf)
        for k in range(n):
            size = len(batch.psf[k])
            none = np.zeros((size, size))
            none[size // 2, size // 2] = 1
            sharp, blurred = batch.sharp[k, 0].numpy(), batch.blurred[k, 0].numpy()
            inner = slice(size // 2, -(size // 2))
            own, other, kept = (
                convolve2d(sharp, kernel, "valid")
                for kernel in (batch.psf[k].numpy(), batch.psf[(k + 1) % n].numpy(), none)
            )
            found = blurred[inner, inner]

            def between(end, own=own, found=found):
                low, high = np.minimum(own, end), np.maximum(own, end)
                return ((found >= low - 2e-6) & (found <= high + 2e-6)).all()

            assert between(other) or between(kept)
            changed += abs(found - own).max() > 1e-3
    assert changed > 6
    assert torch.equal(same[0].psf, varied[0].psf)
    assert torch.equal(same[0].sharp, varied[0].sharp)


def test_border_has_two_sides():
    rng = np.random.default_rng(0)
    made = [border(rng, 32) for _ in range(50)]
    assert all(share.shape == (32, 32) and share.dtype == np.float32 for share in made)
    assert min(share.min() for share in made) < 1e-3
    assert max(share.max() for share in made) > 1 - 1e-3
    steepest = [max(abs(np.diff(share, axis=axis)).max() for axis in (0, 1)) for share in made]
    assert min(steepest) < 0.05
    assert max(steepest) > 0.3


def test_saturation_is_clipped_and_loses_light(folder):
    plain = source(folder, 1, noise=(0.0, 0.0))
    lifted = source(folder, 1, noise=(0.0, 0.0), saturated=1.0)
    changed = [(lifted[k].blurred - plain[k].blurred).max() for k in range(4)]
    assert max(changed) > 0.01
    assert max(lifted[k].blurred.max() for k in range(4)) <= 1


def test_noise_is_as_strong_as_it_says(folder):
    clean, noisy = source(folder, noise=(0.0, 0.0)), source(folder, noise=(0.02, 0.05))
    for k in range(3):
        batch = noisy[k]
        assert ((batch.noise >= 0.02) & (batch.noise <= 0.05)).all()
        deviation = (batch.blurred - clean[k].blurred).flatten(1).std(dim=1)
        torch.testing.assert_close(deviation, batch.noise, rtol=0.1, atol=0)


def test_reduced_crops_are_means_of_four_pixels(tmp_path):
    pixels = np.indices((96, 96)).sum(axis=0).astype(np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "ramp.png")
    steps = [
        (made := source(tmp_path, 1, reduced=share)[0].sharp).diff(dim=-1).abs().mean() for share in (0, 1)
    ]
    assert made.shape[-1] == 24
    torch.testing.assert_close(steps[1], 2 * steps[0], rtol=1e-4, atol=0)


def test_jpeg_is_that_of_pillow():
    image = photo(1, 40, 48).transpose(2, 0, 1).astype(np.float32) / 255
    found = as_jpeg(image, 60)
    assert found.shape == image.shape
    assert 0 < abs(found - image).mean() < 0.1
    assert abs(as_jpeg(image, 95) - image).mean() < abs(found - image).mean()
    assert as_jpeg(image[:1], 60).shape == (1, 40, 48)


def test_convolve_valid_is_direct_summation():
    rng = np.random.default_rng(0)
    images, kernels = rng.random((2, 3, 11, 14)), rng.random((2, 5, 3))
    found = convolve_valid(torch.from_numpy(images), torch.from_numpy(kernels)).numpy()
    for n in range(2):
        for c in range(3):
            np.testing.assert_allclose(found[n, c], convolve2d(images[n, c], kernels[n], "valid"), atol=1e-12)


@pytest.mark.parametrize("kind", range(4), ids=["camera_shake", "motion", "gaussian", "defocus"])
@pytest.mark.parametrize("size", [3, 5, 9, 31])
def test_each_kind_of_kernel_fits_its_frame(kind, size):
    shares = tuple(float(k == kind) for k in range(4))
    for seed in range(20):
        kernels = draw_psfs([PSFs(sizes=(size, size), shares=shares)], np.random.default_rng(seed), 2)
        assert kernels.shape == (2, size, size)
        assert kernels.min() >= 0
        np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1, rtol=1e-5)
        place = np.arange(size) - size // 2
        np.testing.assert_allclose((kernels.sum(axis=2) * place).sum(axis=1), 0, atol=0.05)


def test_of_several_kinds_of_blur_each_batch_has_one_by_their_weights():
    some = (PSFs(weight=3, sizes=(5, 7)), PSFs(sizes=(11, 13), shares=(0.0, 1.0, 0.0, 0.0)))
    sizes = [draw_psfs(some, np.random.default_rng(seed), 2).shape[-1] for seed in range(400)]
    assert set(sizes) == {5, 7, 11, 13}
    assert abs(sum(size < 9 for size in sizes) / 400 - 0.75) < 0.07
    alone = draw_psfs(some[:1], np.random.default_rng(7), 2)  # one is not drawn
    np.testing.assert_array_equal(
        alone, draw_psfs([PSFs(weight=9, sizes=(5, 7))], np.random.default_rng(7), 2)
    )


def test_the_eight_attitudes_differ():
    array = np.arange(6).reshape(2, 3, 1)
    made = {attitude(array, k).tobytes() + bytes(attitude(array, k).shape) for k in range(8)}
    assert len(made) == 8


def test_images_are_found_in_order_and_hidden_ones_left(tmp_path):
    write_photos(tmp_path / "b", [2, 1])
    write_photos(tmp_path / "a", [3])
    (tmp_path / "a" / "._x.png").write_bytes(b"no image")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    assert [p.relative_to(tmp_path).as_posix() for p in image_files(tmp_path)] == [
        "a/003.png",
        "b/001.png",
        "b/002.png",
    ]


def test_a_broken_image_is_an_error(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(InvalidArgument, match=r"data: expected images, got .*x\.png"):
        read_image(tmp_path / "x.png", 3)


def test_photos_that_are_left_out_are_told_of(tmp_path):
    write_photos(tmp_path / "photos", range(3))
    write_photos(tmp_path / "photos", range(3, 5), height=70)
    with pytest.warns(
        UserWarning, match="data.folders: 2 of 5 photos are left out, with fewer than 100 pixels"
    ):
        training_source(parse_config(config(data__crop=92)), tmp_path, 3)


def test_too_small_images_are_an_error(folder):
    with pytest.raises(InvalidArgument, match="at least 500 pixels on each side, got none among 3 files"):
        Images(image_files(folder / "photos"), 3, 500)


# ------------------------------------------------------------------------------------------------------- pairs


def lay_out(folder, layout):
    names = {
        "gopro": ("s1/blur/{}.png", "s1/sharp/{}.png"),
        "realblur": ("scene/blur/blur_{}.png", "scene/gt/gt_{}.png"),
        "suffix": ("{}_blur.png", "{}_sharp.png"),
    }[layout]
    for k in range(3):
        for name, value in zip(names, (2 * k, 2 * k + 1), strict=True):
            path = folder / name.format(k)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 44, 3), value, np.uint8)).save(path)
    return [tuple(folder / name.format(k) for name in names) for k in range(3)]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_layouts(tmp_path, layout):
    wanted = lay_out(tmp_path, layout)
    assert [(p.blurred, p.sharp) for p in LAYOUTS[layout](tmp_path)] == wanted
    wanted[1][1].unlink()  # a photo without its other half is no pair
    assert [p.blurred for p in LAYOUTS[layout](tmp_path)] == [wanted[0][0], wanted[2][0]]


def test_realblurs_lists(tmp_path):
    pairs = lay_out(tmp_path, "realblur")
    lines = [f"{s.relative_to(tmp_path)} {b.relative_to(tmp_path)} extra" for b, s in pairs[1:]]
    (tmp_path / "RealBlur_J_train_list.txt").write_text("\n".join(lines) + "\n\n")
    assert [(p.blurred, p.sharp) for p in LAYOUTS["realblur"](tmp_path)] == pairs[1:]
    pairs[2][0].unlink()
    with pytest.raises(
        InvalidArgument, match=r"expected the files of each line of RealBlur_J_train_list.txt, got 'scene"
    ):
        LAYOUTS["realblur"](tmp_path)


def test_each_round_takes_every_pair_once_and_halves_belong_together(tmp_path):
    lay_out(tmp_path, "suffix")
    made = Paired(LAYOUTS["suffix"](tmp_path), channels=3, crop=16, batch=2, seed=5)
    batches = [made[k] for k in range(3)]
    seen = torch.cat([b.blurred[:, 0, 0, 0] for b in batches]) * 255
    sharp = torch.cat([b.sharp[:, 0, 0, 0] for b in batches]) * 255
    torch.testing.assert_close(sharp, seen + 1)
    assert sorted(seen[:3].tolist()) == sorted(seen[3:].tolist()) == pytest.approx([0, 2, 4])
    assert batches[0].psf is None
    assert equal(made[2], batches[2])


def test_pairs_crop_both_at_the_same_place(tmp_path):
    for name in ("a_blur.png", "a_sharp.png"):
        Image.fromarray(photo(1)).save(tmp_path / name)
    batch = Paired(LAYOUTS["suffix"](tmp_path), channels=1, crop=16, batch=4, seed=0)[0]
    assert torch.equal(batch.blurred, batch.sharp)
    assert batch.blurred.shape == (4, 1, 16, 16)


def test_pairs_of_two_sizes_or_smaller_than_the_crop_are_errors(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a_blur.png")
    Image.new("RGB", (30, 21)).save(tmp_path / "a_sharp.png")
    with pytest.raises(InvalidArgument, match=r"pairs of one size, got \(20, 30\) in .* and \(21, 30\)"):
        read_pair(Pair(tmp_path / "a_blur.png", tmp_path / "a_sharp.png"), 3)
    Image.new("RGB", (30, 20)).save(tmp_path / "a_sharp.png")
    with pytest.raises(InvalidArgument, match=r"data.crop: expected at most 20 for .*, got 24"):
        Paired(LAYOUTS["suffix"](tmp_path), channels=3, crop=24, batch=1, seed=0)[0]


# ----------------------------------------------------------------------------------------------------- sources


def test_validation_is_always_the_same_whatever_the_seed(folder):
    a, b = (validation_batches(parse_config(config(seed=s)), folder, 3) for s in (1, 2))
    assert len(a) == 2
    assert all(equal(x, y) for x, y in zip(a, b, strict=True))
    assert a[0].blurred.shape == (1, 3, 48, 48)
    assert validation_batches(parse_config(config(validation__folders=[])), folder, 3) == []


def test_validation_of_pairs(tmp_path):
    lay_out(tmp_path, "gopro")
    plan = config(data__kind="paired", data__folders=["."], validation__folders=["."], validation__crop=32)
    (first, second) = validation_batches(parse_config(plan), tmp_path, 3)
    assert first.blurred.shape == (1, 3, 32, 32)
    assert (first.blurred.max() * 255, second.sharp.max() * 255) == (0, 3)
    assert isinstance(training_source(parse_config(plan), tmp_path, 3), Paired)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__folders": ["nowhere"]}, "data.folders: expected existing folders, got .*nowhere"),
        ({"data__folders": ["empty"]}, "data.folders: expected images in each folder, got none in .*empty"),
        (
            {"data__folders": ["photos"], "data__kind": "paired"},
            "data.folders: expected pairs in the layout 'gopro'",
        ),
        ({"data__crop": 200}, "expected images of at least 208 pixels"),
        ({"data__psf": [{"sizes": [5, 121]}, {}]}, "expected images of at least 152 pixels"),
    ],
)
def test_data_that_does_not_fit_is_an_error(folder, changes, message):
    (folder / "empty").mkdir(exist_ok=True)
    with pytest.raises(InvalidArgument, match=message):
        training_source(parse_config(config(**changes)), folder, 3)


def test_defaults_of_the_data_section():
    assert Data(("x",)).psf == (PSFs(),)

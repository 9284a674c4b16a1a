"""Richardson-Lucy: maximum-likelihood deblurring under Poisson noise, by multiplicative corrections."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdeblur._arrays import DeviceArray
from fastdeblur._checks import (
    AnyArray,
    answer,
    as_array,
    as_choice,
    as_count,
    as_image,
    as_number,
    as_out,
    names_memory_errors,
    require_finite,
    require_nonnegative,
    result_dtype,
    user_level,
)
from fastdeblur._geometry import Frame
from fastdeblur._problem import Problem, as_boundary
from fastdeblur.backends import Plane
from fastdeblur.errors import InvalidArgument, PrecisionWarning
from fastdeblur.ops import Ops, recipe

# Scene pixels that send less than this fraction of their light into the observed frame are not estimated: dividing by so
# little would amplify rounding, and they matter to the frame by no more than that fraction. What only weak weights see is as weak,
# down to what the transforms' rounding leaves of it. Where a PSF has negative values, H^T W is small by cancellation too while the
# correction is not, and what is amplified then grows with every iteration. The cancelled part is at most the PSF's negative sum: no
# pixel is estimated whose H^T W is less than twice that, and where weights are as small, that is no bound but a refusal.
SIGMA = 1e-4
_MOST_SIGMA = 0.5
_LEAST_SIGMA = {"float32": 1e-6, "float64": 1e-12}

# Of the largest weight; in float32 a star beside a thousand times its weight comes out right to some per mille, beside ten thousand
# times to some per cent.
_WEAK, _FEW = 1e-3, 0.01

# Momentum may take a pixel down to this fraction of its last estimate. Without it pixels fall to 0, where multiplication leaves
# them; at 0.5 the likelihood still wavers on stars over a black sky, at 0.9 it costs iterations.
FLOOR = 0.75


class Iteration:
    """What a callback sees after an iteration."""

    __slots__ = ("_estimate", "change", "iteration", "num_iter", "plane")

    def __init__(
        self,
        iteration: int,
        num_iter: int,
        change: float,
        plane: tuple[int, ...],
        estimate: Callable[[], NDArray[Any]],
    ):
        self.iteration = iteration
        """Iterations done, from 1."""
        self.num_iter = num_iter
        """Iterations asked for."""
        self.change = change
        """|x_k - x_{k-1}| / |x_k|, Euclidean norms."""
        self.plane = plane
        """Position of the image among batch axes and channels, () for a single image."""
        self._estimate = estimate

    def estimate(self) -> NDArray[Any]:
        """A copy of the present estimate, in the frame, an array of the result's kind; only inside the callback, whose iteration it
        shows.

        Raises RuntimeError once the callback has returned: the estimate goes on changing.
        """
        return self._estimate()

    def _end(self) -> None:
        self._estimate = _over


def _over() -> NDArray[Any]:
    raise RuntimeError("estimate: its iteration is over; expected the call from inside the callback")


Callback = Callable[[Iteration], Any]


@names_memory_errors
def richardson_lucy(
    image: ArrayLike,
    psf: ArrayLike,
    num_iter: int = 30,
    *,
    boundary: str = "unknown",
    acceleration: str | None = None,
    background: float = 0.0,
    weights: ArrayLike | None = None,
    init: ArrayLike | None = None,
    tol: float | None = None,
    callback: Callback | None = None,
    channel_axis: int | None = None,
    out: Any = None,
    n_threads: int = 0,
    backend: str = "auto",
    device: str | None = None,
) -> NDArray[Any]:
    """Deblur by Richardson-Lucy, x <- x H^T(W y / (H x + background)) / (H^T W).

    The estimate stays non-negative, and (without background, on a periodic image) keeps the image's total flux. Noise is
    amplified by late iterations: ``num_iter`` is the regularisation parameter.

    Parameters
    ----------
    image : array, (..., W), (..., H, W) or (..., D, H, W)
        Blurred image in linear light, >= 0, any real dtype, any unit. It has as many spatial axes as the PSF; further leading axes
        are a batch. One in a CUDA device's memory is taken as ``wiener`` takes it, with ``weights``, ``init`` and ``out`` on
        that device.
    psf : array, (w,), (h, w) or (d, h, w)
        Point-spread function, origin at ``shape // 2``, normalised here to sum 1. With ``channel_axis``, a PSF with as many
        axes as the image holds one PSF per channel along that axis; of its other axes the last three are space, those before
        them a batch's, of length 1.
    num_iter : int >= 0
        Number of iterations.
    boundary : "unknown", "reflect", "edge", "zero" or "periodic"
        "unknown" assumes nothing: the scene goes on outside the frame and is estimated there as far as it shines into it, so that
        borders neither ring nor glow. "zero" assumes darkness outside (right for an object on a black ground), "periodic" the
        opposite side; "reflect" and "edge" extend the data as ``wiener`` does.
    acceleration : None, "ogm" or "biggs-andrews"
        Extrapolate between iterations, which reaches the same likelihood in several times fewer of them (ask for fewer: noise is
        amplified sooner as well). "ogm" uses the optimized gradient method's momentum: about 12 iterations do the work of 50, 18
        that of 100. "biggs-andrews" measures its step as in their paper: about 16 and 23.
    background : float >= 0
        Constant light that did not pass through the blur (camera offset, dark current), in the image's unit.
    weights : array, >= 0, shape of the image or of its spatial axes, optional
        Trust per pixel, 1 / variance say: 0 leaves a dead, saturated or missing pixel out (it may then hold anything, NaN too).
        Only their ratios matter: up to a thousand in float32, beyond which a ``PrecisionWarning`` is given, and 1e8 in float64.
        On a device, weights of which some are 0 are taken for a mask: those below 1e-4 of the largest see nothing.
    init : array, >= 0, shape of the image, optional
        First estimate, a former result say. A pixel that is 0 stays 0. Default: the mean of the image, everywhere.
    tol : float >= 0, optional
        Stop when |x_k - x_{k-1}| / |x_k| falls below it.
    callback : callable, optional
        Called after every iteration with an ``Iteration``: iteration, num_iter, change, plane, estimate() (a copy, to be taken
        before the callback returns). Raising StopIteration ends the present image's iterations with the present estimate, any
        other exception ends the call; what it returns is ignored.
    channel_axis : int, optional
        Axis of independent channels, None for none.
    out : array, optional
        Where to put the result, in the image's memory: shape of the image, dtype of the result, no memory shared with the inputs.
    n_threads : int
        0 for as many as OpenMP would use.
    backend : "auto", "native", "numba", "numpy", "cuda" or "cupy"
        "auto" takes the best that can, where the image is; a named one never falls back.
    device : "cpu", "cuda" or "cuda:1" (and so on), optional
        Where to compute. None: where the image is, for one in host memory where ``set_device`` says, which is the CPU unless it was
        called. Device memory is never given up for the CPU's unasked.

    Returns
    -------
    array
        Shape and unit of the image, >= 0; float64 for a float64 image, else float32. In host memory for an image that is there,
        else an array of the image's library on its device.

    Raises
    ------
    InvalidArgument
        An argument breaks its rule; the message names argument, rule and value. NaN, infinity and negative values are refused
        where ``weights`` do not exclude them.
    Unsupported
        The named backend cannot run.
    DeviceError
        The device cannot be used, or failed while working.
    OutOfMemory
        The memory cannot be had, on the host or on the device.

    References
    ----------
    W. H. Richardson, J. Opt. Soc. Am. 62:55, 1972, doi:10.1364/JOSA.62.000055
    L. B. Lucy, Astron. J. 79:745, 1974, doi:10.1086/111605
    M. Bertero, P. Boccacci, Astron. Astrophys. 437:369, 2005, doi:10.1051/0004-6361:20052717 (unknown boundary)
    D. S. C. Biggs, M. Andrews, Appl. Opt. 36:1766, 1997, doi:10.1364/AO.36.001766 (acceleration)
    D. Kim, J. A. Fessler, Math. Program. 159:81, 2016, doi:10.1007/s10107-015-0949-3 (the optimized gradient method)
    """
    array = as_image(image)
    boundary = as_boundary(boundary, "richardson_lucy")
    as_count(num_iter, "num_iter")
    problem = Problem(
        array.shape,
        psf,
        result_dtype(array.dtype),
        channel_axis=channel_axis,
        n_threads=n_threads,
        backend=backend,
        device=device,
    )
    result: NDArray[Any] = run(
        problem,
        array,
        boundary,
        out,
        num_iter=num_iter,
        acceleration=acceleration,
        background=background,
        weights=weights,
        init=init,
        tol=tol,
        callback=callback,
    )
    return result


@dataclass(frozen=True)
class RichardsonLucyParams:
    num_iter: int
    acceleration: str  # "", "biggs-andrews" or "ogm"
    background: float
    tol: float  # 0: never stop by it
    callback: Callback | None

    @property
    def watched(self) -> bool:
        """Whether anything can end the iterations early, or look at them."""
        return self.callback is not None or self.tol > 0

    def goes_on(
        self, plane: Plane, iteration: int, change: float, estimate: Callable[[], NDArray[Any]]
    ) -> bool:
        """Tell the callback, and say whether to go on."""
        if self.callback is not None:
            state = Iteration(iteration, self.num_iter, change, plane.position, estimate)
            try:
                self.callback(state)  # its answer means nothing: a progress bar's update may well return True
            except StopIteration:
                return False
            finally:
                state._end()
        return not change < self.tol


def run(
    problem: Problem,
    image: AnyArray,
    boundary: str,
    out: Any,
    *,
    num_iter: int,
    acceleration: str | None,
    background: float,
    weights: ArrayLike | None,
    init: ArrayLike | None,
    tol: float | None,
    callback: Callback | None,
) -> Any:
    """Check what is left to check, then compute; image has the problem's shape."""
    if callback is not None and not callable(callback):
        raise InvalidArgument(f"callback: expected a callable, got {type(callback).__name__}")
    params = RichardsonLucyParams(
        # Cut to what the core can count; nobody lives to see the difference.
        min(as_count(num_iter, "num_iter"), 1 << 62),
        as_acceleration(acceleration),
        as_number(background, "background", dtype=problem.dtype),
        0.0 if tol is None else as_number(tol, "tol"),
        callback,
    )
    if isinstance(image, DeviceArray):
        problem.backend("richardson_lucy", boundary, image)  # before anything is made on the device
    # First: what cannot be held must not be looked through.
    made = as_out(None, image.shape, problem.dtype, image) if out is None else None
    mask = None if weights is None else _as_weights(weights, problem, image)
    start = None if init is None else _as_init(init, problem, image, problem.frame(boundary).pixels)
    result = made
    if result is None:
        result = as_out(out, image.shape, problem.dtype, image, weights=mask, init=start)
    options = {"acceleration": params.acceleration, "weights": mask is not None}
    planes = _with_sigma(problem.planes(image, result, mask, start), problem)
    problem.run("richardson_lucy", boundary, params, planes, options)
    return answer(result, out)


def _with_sigma(planes: list[Plane], problem: Problem) -> list[Plane]:
    """The planes, each with the least H^T W that it is divided by."""
    ranges: dict[int, _Range] = {}  # of weights that several planes share
    for plane in planes:
        if id(plane.weights) not in ranges:
            ranges[id(plane.weights)] = _Range.of(plane.weights)
    _warn_of_weak(list(ranges.values()), problem.dtype)
    lowest = [ranges[id(plane.weights)].lowest for plane in planes]
    return [
        p._replace(sigma=_sigma(low, problem.negative[p.psf], problem.dtype))
        for p, low in zip(planes, lowest, strict=True)
    ]


def _sigma(lowest: float, negative: float, dtype: np.dtype[Any]) -> float:
    if negative > 0 and lowest < min(1.0, 4 * negative):
        raise InvalidArgument(
            f"psf: expected no negative values beside weights as small as {lowest:.2g} of the largest, got "
            f"{100 * negative:.2g} % of its sum: cut it at 0, or use weights of 0 and 1"
        )
    return max(SIGMA * lowest, _LEAST_SIGMA[dtype.name], min(2 * negative, _MOST_SIGMA))


@dataclass(frozen=True)
class _Range:
    """Of an image's weights: the smallest positive one, up to 1; how many are positive, and how many of them below _WEAK."""

    lowest: float = 1.0
    positive: int = 0
    weak: int = 0

    @staticmethod
    def of(weights: AnyArray | None) -> _Range:
        if weights is None:
            return _Range()
        if isinstance(
            weights, DeviceArray
        ):  # of the smallest alone, which may be 0: then they are taken for a mask
            least = float(weights.library.extremes(weights, tuple(range(weights.ndim)), "weights")[0].min())
            return _Range(min(1.0, least) if least > 0 else 1.0)
        lowest, positive, weak = 1.0, 0, 0
        piece: Any
        # Piece by piece: a plan allocates nothing that grows with the image.
        for piece in np.nditer(weights, ("external_loop", "buffered"), buffersize=1 << 13):
            above = piece > 0
            lowest = min(lowest, float(np.where(above, piece, 1).min()))
            positive += int(np.count_nonzero(above))
            weak += int(np.count_nonzero(above & (piece < _WEAK)))
        return _Range(lowest, positive, weak)


def _warn_of_weak(ranges: list[_Range], dtype: np.dtype[Any]) -> None:
    positive, weak = (sum(getattr(r, name) for r in ranges) for name in ("positive", "weak"))
    if dtype == np.float64 or weak <= _FEW * positive:
        return
    warnings.warn(
        f"weights: {100 * weak / positive:.2g} % of the positive ones are below {_WEAK:g} of the largest, which float32 can hardly "
        "tell from 0 beside it: expected a float64 image (dtype, for a Deconvolver) or a smaller range",
        PrecisionWarning,
        stacklevel=user_level(),
    )


def as_acceleration(value: Any) -> str:
    return "" if value is None else as_choice(value, "acceleration", ("biggs-andrews", "ogm"))


def _as_weights(weights: ArrayLike, problem: Problem, image: AnyArray) -> AnyArray:
    array: Any = as_array(weights, "weights", image)
    layout = problem.layout
    shapes = dict.fromkeys((layout.shape, layout.spatial))  # one where the image is a single plane
    if array.shape not in shapes:
        raise InvalidArgument(f"weights: expected shape {' or '.join(map(str, shapes))}, got {array.shape}")
    space = tuple(range(-len(layout.spatial), 0))
    per_image = layout.view(array) if array.shape == layout.shape else array
    if isinstance(array, DeviceArray):
        return _as_device_weights(array, per_image, space, problem)
    require_finite(array, "weights")
    require_nonnegative(array, "weights")
    largest = per_image.max(axis=space, keepdims=True)
    _require_some(largest)
    if (largest == 1).all():
        converted: NDArray[Any] = array.astype(problem.dtype, copy=False)
        return converted
    # Only the ratios matter, but SIGMA and the dtype's range are absolute.
    scaled = np.empty(array.shape, problem.dtype)
    view = layout.view(scaled) if array.shape == layout.shape else scaled
    np.divide(per_image, largest.astype(np.float64), out=view, casting="same_kind")
    return scaled


def _require_some(largest: NDArray[Any]) -> None:
    if not largest.all():
        raise InvalidArgument("weights: expected at least one positive value per image, got all zeros")


def _as_device_weights(
    array: DeviceArray, per_image: DeviceArray, space: tuple[int, ...], problem: Problem
) -> DeviceArray:
    """As for host arrays, looked through and divided on the device."""
    lowest, largest = array.library.extremes(per_image, space, "weights")
    _require_within(array, "weights", lowest, largest, math.inf)
    _require_some(largest)
    if (largest == 1).all():
        return array
    scaled = array.new(array.shape, problem.dtype)
    view = problem.layout.view(scaled) if array.shape == problem.layout.shape else scaled
    array.library.divide(per_image, largest, view, "weights")
    return scaled


def _require_within(
    array: DeviceArray, name: str, lowest: NDArray[Any], largest: NDArray[Any], limit: float
) -> None:
    limit = min(limit, float(np.finfo(np.float64).max))
    if (lowest >= 0).all() and (largest <= limit).all():  # false for NaN
        return
    host = array.library.to_host(array, name)  # to say where
    require_finite(host, name, limit=limit)
    require_nonnegative(host, name)


def _as_init(init: ArrayLike, problem: Problem, image: AnyArray, grid_pixels: int) -> AnyArray:
    array = as_array(init, "init", image)
    if array.shape != problem.layout.shape:
        raise InvalidArgument(f"init: expected shape {problem.layout.shape}, got {array.shape}")
    limit = float(np.finfo(problem.dtype).max) / grid_pixels
    if isinstance(array, DeviceArray):
        extremes = array.library.extremes(array, tuple(range(array.ndim)), "init")
        _require_within(array, "init", *extremes, limit)
        return array
    require_finite(array, "init", limit=limit)
    require_nonnegative(array, "init")
    return array.astype(problem.dtype, copy=False)


def check(plane: Plane, frame: Frame, dtype: np.dtype[Any]) -> None:
    """What only a look at every pixel can tell."""
    limit = float(np.finfo(dtype).max) / frame.pixels
    with np.errstate(invalid="ignore"):
        if float(plane.image.min()) >= 0 and float(plane.image.max()) <= limit:  # false for NaN
            return  # without a mask to make
    used = None if plane.weights is None else plane.weights > 0
    require_finite(plane.image, "image", used, limit=limit)
    require_nonnegative(plane.image, "image", used)


@recipe("richardson_lucy", check, lowest=0.0)
def solve(params: RichardsonLucyParams, plane: Plane, otf: Any, frame: Frame, ops: Ops) -> Any:
    """The specification. All images but the data are on the grid; W and W y are 0 where nothing was observed."""
    data = plane.image
    if plane.weights is not None:  # W y; what has no weight is 0, whatever it was
        data = ops.weighted(data, plane.weights)

    def blur(x: Any) -> Any:
        return ops.irfft(ops.multiply(ops.rfft(x), otf), frame)

    def adjoint(x: Any) -> Any:
        return ops.irfft(ops.multiply_conj(ops.rfft(x), otf), frame)

    observed: Any = None
    if plane.weights is not None:
        observed = ops.extend(plane.weights, frame)
    elif not frame.fills_grid:
        observed = ops.extend(ops.flat(1.0, frame), frame)
    # W y, weighted before the extension: a pixel left out must not fade into it as darkness.
    y = ops.extend(data, frame)
    norm = None if observed is None else adjoint(observed)  # H^T 1 = 1 on a grid that is observed all over
    mean = ops.total(data) / (math.prod(frame.shape) if plane.weights is None else ops.total(plane.weights))
    floor = denominator_floor(mean, ops.dtype)
    x = first_estimate(plane, mean, params.background, frame, ops)

    z, x_before, g, g_before = x, x, None, None
    momentum = ogm_momentum()
    for k in range(1, params.num_iter + 1):
        ratio = ops.ratio(y, blur(z), params.background, floor)
        x_before, x = x, ops.scaled(z, adjoint(ratio), norm, plane.sigma)
        if params.watched:
            estimate = partial(ops.copied, ops.crop(x, frame), plane.out)
            if not params.goes_on(plane, k, relative_change(ops, x, x_before), estimate):
                break
        if params.acceleration == "ogm":
            z = ops.momentum(x, x_before, z, *next(momentum), FLOOR)
        elif params.acceleration == "biggs-andrews":
            g, g_before = ops.subtract(x, z), g
            z = ops.extrapolate(x, x_before, extrapolation_step(ops, g, g_before))
        else:
            z = x
    return ops.crop(x, frame)


def ogm_momentum() -> Iterator[tuple[float, float]]:
    """The optimized gradient method's weights of x_k - x_{k-1} and x_k - z_k (Kim and Fessler 2016, algorithm OGM1')."""
    t = 1.0
    while True:
        t_next = (1.0 + math.sqrt(1.0 + 4.0 * t * t)) / 2.0
        yield (t - 1.0) / t_next, t / t_next
        t = t_next


def denominator_floor(mean: float, dtype: Any) -> float:
    """What H x + background is kept above: the rounding of the transforms, which may make it 0 or negative."""
    limits = np.finfo(dtype)
    return max(float(limits.eps) * mean, float(limits.tiny))


def first_estimate(plane: Plane, mean: float, background: float, frame: Frame, ops: Ops) -> Any:
    """init where given (its border continues outside an unknown boundary), else a flat image of the data's mean."""
    around = "edge" if frame.boundary == "unknown" else frame.boundary
    if plane.init is not None:
        return ops.extend(plane.init, frame, around)
    level = max(mean - background, 1e-3 * mean)
    if frame.boundary == "zero":
        return ops.extend(ops.flat(level, frame), frame)
    return ops.constant(level, frame)


def extrapolation_step(ops: Ops, g: Any, g_before: Any) -> float:
    """a = <g_k, g_{k-1}> / |g_{k-1}|^2 in [0, 1] (Biggs and Andrews 1997, eq. 14)."""
    if g_before is None:
        return 0.0
    square = ops.dot(g_before, g_before)
    return min(max(ops.dot(g, g_before) / square, 0.0), 1.0) if square > 0 else 0.0


def relative_change(ops: Ops, x: Any, x_before: Any) -> float:
    difference = ops.subtract(x, x_before)
    size = ops.dot(x, x)
    return math.sqrt(ops.dot(difference, difference) / size) if size > 0 else 0.0

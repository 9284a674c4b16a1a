"""Speeds on a GPU against the copy bandwidth and against the same computations in CuPy, torch and cuCIM.

    python benchmarks/gpu_speed.py --out benchmarks/results

Device-resident float32 unless a case says otherwise. A time is the median over rounds in which the sides take turns (A B, B A),
each turn a few calls with a wait for the device at its end, after a warm-up. The bound of a case is the fewest bytes that its
passes move, over the bandwidth of a device-to-device copy (read + written) measured in the same run. Results are written after
each case.
``--dry`` rehearses the same code with stand-ins for CuPy and the core, on tiny images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import fastdeblur
from fastdeblur import Deconvolver

Call = Callable[[], object]


class Bench:
    """Races the sides of a case, and keeps what came out in a file."""

    def __init__(self, path: Path, record: dict[str, Any], seconds: float, wait: Call):
        self.path, self.record, self.seconds, self.wait = path, record, seconds, wait

    def save(self) -> None:
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")
        beside.replace(self.path)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """A failure is a line in the record, and no reason to stop."""
        try:
            yield
        except Exception as error:
            self.record["failures"].append(f"{what}: {type(error).__name__}: {error}"[:400])
            print(self.record["failures"][-1], flush=True)

    def once(self, call: Call, count: int) -> float:
        """Seconds for one of a few calls, the wait for the device shared by them."""
        self.wait()
        begin = time.perf_counter()
        for _ in range(count):
            call()
        self.wait()
        return (time.perf_counter() - begin) / count

    def race(self, sides: dict[str, Call], calls: int = 0) -> dict[str, list[float]]:
        """Seconds per call of each side, round by round; a side that cannot is left out, with its reason in the record."""
        able: dict[str, int] = {}
        for name, call in sides.items():
            with self.noting(name):
                self.once(call, 1)
                able[name] = calls or max(1, min(50, int(0.01 / max(self.once(call, 1), 1e-6))))
        times: dict[str, list[float]] = {name: [] for name in able}
        end = time.perf_counter() + self.seconds
        order = list(able)
        while order and (len(times[order[0]]) < 4 or len(times[order[0]]) % 2 or time.perf_counter() < end):
            for name in order:
                times[name].append(self.once(sides[name], able[name]))
            order.reverse()
            if len(times[order[0]]) >= 200:
                break
        return times

    def case(self, name: str, sides: dict[str, Call], *, bound: float | None = None, **more: Any) -> None:
        """bound: seconds; scale: what one call counts for, frames or iterations."""
        scale = more.get("scale", 1)
        found = {side: statistics.median(t) / scale for side, t in self.race(sides).items()}
        entry: dict[str, Any] = {
            "case": name,
            "milliseconds": {k: round(1e3 * v, 5) for k, v in found.items()},
            **more,
        }
        ours = found.get("cuda")
        if ours:
            entry["times_faster"] = {k: round(v / ours, 3) for k, v in found.items() if k != "cuda"}
            if bound:
                entry["bound_milliseconds"] = round(1e3 * bound / scale, 5)
                entry["share_of_bound"] = round(bound / scale / ours, 3)
        self.record["cases"].append(entry)
        print(json.dumps(entry), flush=True)
        self.save()


def copy_bandwidth(cupy: Any, bench: Bench, megabytes: int) -> float:
    """Bytes per second, read + written."""
    source = cupy.full((megabytes << 18,), 1.5, np.float32)
    target = cupy.empty((megabytes << 18,), np.float32)

    def copy() -> None:
        target[...] = source

    return 2 * 4 * (megabytes << 18) / statistics.median(bench.race({"copy": copy})["copy"])


def blur(shape: tuple[int, ...]) -> np.ndarray:
    axes = np.ix_(*(np.exp(-0.5 * ((np.arange(n) - n // 2) / (0.2 * n)) ** 2) for n in shape))
    product = np.ones(())
    for axis in axes:
        product = product * axis
    return product / product.sum()


def scene(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.2, 1.0, shape).astype(np.float32)


def half_spectrum(shape: tuple[int, ...]) -> int:
    """Bytes in complex64."""
    return 8 * int(np.prod(shape[:-1])) * (shape[-1] // 2 + 1)


def transfer(psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    grid = np.zeros(shape, np.float32)
    grid[tuple(slice(k) for k in psf.shape)] = psf
    grid = np.roll(grid, [-(k // 2) for k in psf.shape], range(psf.ndim))
    return np.fft.rfftn(grid).astype(np.complex64)


def wiener(cupy: Any, bench: Bench, bandwidth: float, shape: tuple[int, ...]) -> None:
    """Plan ready, result into an array that is there. Bound: image and spectrum once in and once out in each of three passes."""
    psf = blur((15, 15))
    image, out = cupy.asarray(scene(shape)), cupy.empty(shape, np.float32)
    plan = Deconvolver(shape, psf, boundary="periodic")
    otf = transfer(psf, shape)
    filtered = cupy.asarray((otf.conj() / (np.abs(otf) ** 2 + 0.01)).astype(np.complex64))
    axes = tuple(range(len(shape)))

    def peer() -> Any:
        return cupy.fft.irfftn(cupy.fft.rfftn(image) * filtered, shape, axes)

    sides: dict[str, Call] = {
        "cuda": lambda: plan.wiener(image, 0.01, reg="identity", out=out),
        "CuPy rfft2-multiply-irfft2, plan cached": peer,
    }
    sides |= torch_wiener(bench, image, filtered, shape)
    recipe = Deconvolver(shape, psf, boundary="periodic", backend="cupy")
    sides["cupy backend"] = lambda: recipe.wiener(image, 0.01, reg="identity", out=out)
    spectrum = half_spectrum(shape)
    moved = 2 * image.size * 4 + 4 * spectrum
    bench.case(f"wiener {'x'.join(map(str, shape))}, periodic", sides, bound=moved / bandwidth)


def torch_wiener(bench: Bench, image: Any, filtered: Any, shape: tuple[int, ...]) -> dict[str, Call]:
    if bench.record["dry"]:
        return {}
    try:
        import torch

        image, filtered = (torch.as_tensor(a, device="cuda") for a in (image, filtered))
    except Exception as error:
        bench.record["failures"].append(f"torch: {type(error).__name__}: {error}"[:400])
        return {}
    return {"torch rfft2-multiply-irfft2": lambda: torch.fft.irfftn(torch.fft.rfftn(image) * filtered, shape)}


def wiener_batch(cupy: Any, bench: Bench, bandwidth: float, frames: int, height: int, width: int) -> None:
    """Frames of RGB as they come from a camera, channels last, default boundary."""
    shape = (frames, height, width, 3)
    psf = blur((15, 15))
    image, out = cupy.asarray(scene(shape)), cupy.empty(shape, np.float32)
    plan = Deconvolver(shape, psf, channel_axis=-1)
    moved = frames * 3 * (2 * 4 * height * width + 4 * half_spectrum((height + 28, width + 28)))
    bench.case(
        f"wiener {frames} x {height}x{width} RGB, edge, per frame",
        {"cuda": lambda: plan.wiener(image, 0.01, out=out)},
        bound=moved / bandwidth,
        scale=frames,
    )


def richardson_lucy(
    cupy: Any, bench: Bench, bandwidth: float, shape: tuple[int, ...], iterations: int
) -> None:
    """Per iteration, plan ready. Bound: columns S + H in, S out; rows S + Y in, S out; columns; rows S + X in, S + X out."""
    psf = blur((15,) * len(shape) if len(shape) == 2 else (9,) * len(shape))
    image, out = cupy.asarray(scene(shape)), cupy.empty(shape, np.float32)
    plan = Deconvolver(shape, psf, boundary="periodic")
    otf = cupy.asarray(transfer(psf, shape))
    axes = tuple(range(len(shape)))
    multiply = cupy.ElementwiseKernel(
        "complex64 a, complex64 b", "complex64 out", "out = a * b", "bench_multiply"
    )
    adjoint = cupy.ElementwiseKernel(
        "complex64 a, complex64 b", "complex64 out", "out = a * conj(b)", "bench_adjoint"
    )
    ratio = cupy.ElementwiseKernel(
        "float32 y, float32 model", "float32 out", "out = y / (model < 1e-6f ? 1e-6f : model)", "bench_ratio"
    )
    update = cupy.ElementwiseKernel(
        "float32 x, float32 factor",
        "float32 out",
        "float v = x * factor; out = v < 0 ? 0 : v",
        "bench_update",
    )

    def loop() -> Any:
        x = cupy.full(shape, 0.6, np.float32)
        for _ in range(iterations):
            model = cupy.fft.irfftn(multiply(cupy.fft.rfftn(x), otf), shape, axes)
            back = cupy.fft.irfftn(adjoint(cupy.fft.rfftn(ratio(image, model)), otf), shape, axes)
            x = update(x, back)
        return x

    sides: dict[str, Call] = {
        "cuda": lambda: plan.richardson_lucy(image, iterations, out=out),
        "CuPy loop, plans cached, fused kernels": loop,
    }
    recipe = Deconvolver(shape, psf, boundary="periodic", backend="cupy")
    sides["cupy backend"] = lambda: recipe.richardson_lucy(image, iterations, out=out)
    sides |= cucim(bench, cupy, image, psf, iterations)
    spectrum, pixels = half_spectrum(shape), 4 * int(np.prod(shape))
    middle = 2 * 2 * spectrum * 2 if len(shape) == 3 else 0  # the middle axis, forth and back, twice
    moved = 2 * (3 * spectrum) + (2 * spectrum + pixels) + (2 * spectrum + 2 * pixels) + middle
    bench.case(
        f"richardson_lucy {'x'.join(map(str, shape))}, periodic, per iteration of {iterations}",
        sides,
        bound=iterations * moved / bandwidth,
        scale=iterations,
    )


def cucim(bench: Bench, cupy: Any, image: Any, psf: np.ndarray, iterations: int) -> dict[str, Call]:
    try:
        from cucim.skimage import restoration
    except ImportError as error:
        bench.record["failures"].append(f"cuCIM: {error}"[:200])
        return {}
    kernel = cupy.asarray(psf.astype(np.float32))
    return {"cuCIM": lambda: restoration.richardson_lucy(image, kernel, iterations, clip=False)}


def stream_of_frames(cupy: Any, bench: Bench, height: int, width: int) -> None:
    """NumPy in, NumPy out, per frame. What the bus allows is the larger of the copy in and the copy out: they overlap where a call
    has several frames; of a single one the copy out can only follow."""
    psf = blur((15, 15))
    for dtype, count in itertools.product((np.float32, np.uint8), (1, 8)):
        shape = (height, width, 3) if count == 1 else (count, height, width, 3)
        frame = np.broadcast_to((255 * scene((height, width, 3))).astype(dtype), shape)
        frames = [frame.copy() for _ in range(2 if count == 1 else 1)]
        out = np.empty(shape, np.float32)
        plan = Deconvolver(shape, psf, channel_axis=-1, device="cuda")
        turns = itertools.cycle(frames)

        def restore(
            plan: Deconvolver = plan, turns: Iterator[np.ndarray] = turns, out: np.ndarray = out
        ) -> None:
            plan.wiener(next(turns), 0.01, out=out)

        bus = bench.record["bus_bytes_per_second"]
        bound = max(frames[0].nbytes / bus["in"], out.nbytes / bus["out"]) if bus else None
        bench.case(
            f"wiener {height}x{width} RGB {np.dtype(dtype)}, NumPy in and out, {count} frame{'s' * (count > 1)} a call",
            {"cuda": restore},
            bound=bound,
            scale=count,
        )


def bus_bandwidth(cupy: Any, bench: Bench, megabytes: int) -> dict[str, float]:
    """Pinned memory to the device and back, each alone."""
    if bench.record["dry"]:
        return {}
    size = megabytes << 18
    host = np.frombuffer(cupy.cuda.alloc_pinned_memory(4 * size), np.float32, size)
    host[...] = 1
    device = cupy.empty((size,), np.float32)
    sides: dict[str, Call] = {"in": lambda: device.set(host), "out": lambda: device.get(out=host)}
    return {name: 4 * size / statistics.median(t) for name, t in bench.race(sides).items()}


def accuracy(cupy: Any, bench: Bench, shape: tuple[int, ...]) -> None:
    """Relative L2 distance of the float32 results from the float64 reference, on the GPU and on the CPU."""
    image, psf = scene(shape), blur((9, 9))
    found = {}
    for method, parameter in (("wiener", 0.01), ("richardson_lucy", 30)):
        function = getattr(fastdeblur, method)
        reference = function(image.astype(np.float64), psf, parameter, backend="numpy")
        for backend in ("cuda", "cupy", "native"):
            try:
                result = function(image, psf, parameter, backend=backend)
            except Exception as error:
                bench.record["failures"].append(f"accuracy, {backend}: {type(error).__name__}: {error}"[:400])
                continue
            found[f"{method} {backend}"] = float(
                np.linalg.norm(result - reference) / np.linalg.norm(reference)
            )
    bench.record["accuracy"] = {"shape": shape, "relative_l2_from_float64": found}
    print(json.dumps(bench.record["accuracy"]), flush=True)
    bench.save()


def about(core: Any) -> dict[str, Any]:
    versions = {"python": platform.python_version(), "fastdeblur": fastdeblur.__version__}
    for name in ("numpy", "cupy-cuda13x", "torch", "cucim-cu13"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    device = {k: v for k, v in core.devices()[0].items() if k != "free"}
    return {"device": device, "commit": os.environ.get("FASTDEBLUR_COMMIT", "unknown"), "versions": versions}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "results")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case's rounds")
    parser.add_argument("--dry", action="store_true", help="stand-ins instead of a GPU, tiny images")
    options = parser.parse_args()
    dry = options.dry
    with ExitStack() as stack:
        if dry:
            sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
            import standin_cuda
            import standin_cupy

            cupy = stack.enter_context(standin_cupy.installed())
            stack.enter_context(standin_cuda.installed())
        else:
            import cupy
        from fastdeblur.backends import cuda

        if reason := cuda.why_not_cuda():
            print(f"the CUDA core cannot compute: {reason}", file=sys.stderr)
            return 1
        record = {**about(cuda.core()), "dry": dry, "failures": [], "cases": []}
        name = "-".join(record["device"]["name"].lower().split())
        path = options.out / f"gpu-speed-{'dry' if dry else name}.json"
        wait = cupy.cuda.Device(0).synchronize
        bench = Bench(path, record, 0.01 if dry else options.seconds, wait)
        bench.save()
        n = 32 if dry else 1  # sizes are divided by it
        bandwidth = copy_bandwidth(cupy, bench, 1 if dry else 1024)
        record["copy_bytes_per_second"] = bandwidth
        record["bus_bytes_per_second"] = bus_bandwidth(cupy, bench, 256)
        print(f"copy {bandwidth / 1e9:.0f} GB/s, bus {record['bus_bytes_per_second']}", flush=True)
        steps: list[tuple[str, Call]] = [
            ("accuracy", lambda: accuracy(cupy, bench, (512 // n, 768 // n))),
            ("wiener", lambda: wiener(cupy, bench, bandwidth, (4096 // n, 4096 // n))),
            ("rl 2-D", lambda: richardson_lucy(cupy, bench, bandwidth, (2048 // n, 2048 // n), 20)),
            ("rl 3-D", lambda: richardson_lucy(cupy, bench, bandwidth, (max(256 // n, 10),) * 3, 20)),
            ("batch", lambda: wiener_batch(cupy, bench, bandwidth, 8, 2160 // n, 3840 // n)),
            ("stream", lambda: stream_of_frames(cupy, bench, 2160 // n, 3840 // n)),
            ("small", lambda: wiener(cupy, bench, bandwidth, (256 // (n // 4 or 1), 256 // (n // 4 or 1)))),
        ]
        for what, run in steps:
            with bench.noting(what):
                run()
        bench.save()
        print(path)
        return 1 if dry and record["failures"] and any("cuCIM" not in f for f in record["failures"]) else 0


if __name__ == "__main__":
    sys.exit(main())

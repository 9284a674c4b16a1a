"""The shipped networks on a GPU: how far from the CPU's engine, and how fast beside PyTorch's float16, channels last.

    python benchmarks/gpu_nets.py --out benchmarks/results

Parity: the relative L2 distance from the CPU's float32 results, in every precision, on an odd frame and a large one; one that is
too large is a failure. Times: of frames of 1080 x 1920 pixels on the device, medians of rounds in which the sides take turns, each
with a wait for the device at its end; PyTorch runs the modules of `nets_speed.py`, and for `dwdn-s`, whose Wiener filters it
lacks, only what comes after them. Results are written after each network. ``--dry`` rehearses without a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import fastdeblur
from fastdeblur import nets
from gpu_speed import Bench, about

Call = Callable[[], object]

# Relative L2 distance from float32 that each precision may have.
ALLOWED = {"float16": 5e-3, "bfloat16": 5e-3, "float32": 1e-4}
NOISE = 0.01


def scene(channels: int, height: int, width: int) -> np.ndarray:
    """Smooth waves with a little noise, (C, H, W) in 0..1; of one channel, (H, W)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    planes = [0.5 + 0.3 * np.sin(x / (7 + k)) * np.cos(y / (11 + k)) for k in range(channels)]
    image = np.clip(np.stack(planes) + rng.normal(0, NOISE, (channels, height, width)), 0, 1)
    return image.astype(np.float32) if channels > 1 else image[0].astype(np.float32)


def options(model: nets.Model) -> dict[str, Any]:
    given: dict[str, Any] = {"channel_axis": 0 if model.channels > 1 else None}
    if model.takes_psf:
        given["psf"] = fastdeblur.psf.motion(9, 30)
    if model.takes_noise:
        given["noise"] = NOISE
    return given


def parity(name: str, sizes: list[tuple[int, int]]) -> dict[str, float]:
    model = nets.load(name)
    found: dict[str, float] = {}
    for height, width in sizes:
        image = scene(model.channels, height, width)
        expected = model(image, device="cpu", **options(model))
        for precision in ALLOWED:
            result = model(image, device="cuda", precision=precision, **options(model))
            away = float(np.linalg.norm(result - expected) / np.linalg.norm(expected))
            found[precision] = max(found.get(precision, 0.0), away)
    return found


def in_torch(name: str, height: int, width: int) -> tuple[Any, Any]:
    """The module and its input, float16 and channels last on the device."""
    import torch

    from nets_speed import Tail, network

    module = network(name)
    channels = module.channels
    if module.takes_psf:
        channels = module.features.out_channels
        module = Tail(module)
    module = module.half().cuda().to(memory_format=torch.channels_last)
    given = torch.rand(1, channels, height, width, dtype=torch.float16, device="cuda")
    return module, given.to(memory_format=torch.channels_last)


def times(name: str, bench: Bench, cupy: Any, height: int, width: int, dry: bool) -> dict[str, float]:
    model = nets.load(name)
    image = scene(model.channels, height, width)
    there = cupy.asarray(image)
    out = cupy.empty(image.shape, np.float32)
    sides: dict[str, Call] = {
        "float16": lambda: model(there, out=out, **options(model)),
        "bfloat16": lambda: model(there, out=out, precision="bfloat16", **options(model)),
        "float16, from and to host memory": lambda: model(image, device="cuda", **options(model)),
    }
    if not dry:
        with bench.noting(f"{name}: torch"):
            import torch

            module, given = in_torch(name, height, width)

            def run() -> object:
                with torch.inference_mode():
                    return module(given)

            sides["torch"] = run
    return {side: 1e3 * statistics.median(seconds) for side, seconds in bench.race(sides).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "results")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each network's rounds")
    parser.add_argument("--dry", action="store_true", help="stand-ins instead of a GPU, tiny frames")
    given = parser.parse_args()
    dry = given.dry
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
        record = {**about(cuda.core()), "dry": dry, "failures": [], "networks": {}}
        device = "-".join(record["device"]["name"].lower().split())
        path = given.out / f"gpu-nets-{'dry' if dry else device}.json"
        bench = Bench(path, record, 0.01 if dry else given.seconds, cupy.cuda.Device(0).synchronize)
        sizes = [(37, 53), (40, 64) if dry else (540, 960)]
        height, width = (24, 32) if dry else (1080, 1920)
        for name in nets.available():
            row: dict[str, Any] = {"frame": (height, width)}
            record["networks"][name] = row
            with bench.noting(f"{name}: parity"):
                row["relative_l2"] = parity(name, sizes)
                for precision, away in row["relative_l2"].items():
                    if not away <= ALLOWED[precision]:
                        record["failures"].append(f"{name}: {away:.1e} from the CPU in {precision}")
            with bench.noting(f"{name}: times"):
                row["milliseconds"] = times(name, bench, cupy, height, width, dry)
            print(json.dumps({name: row}), flush=True)
            bench.save()
        for failure in record["failures"]:
            print(failure)
        print(path)
        return 1 if any("torch" not in failure for failure in record["failures"]) else 0


if __name__ == "__main__":
    sys.exit(main())

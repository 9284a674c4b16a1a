"""The networks' speed beside ONNX Runtime, OpenVINO and PyTorch on the same weights, and the memory of a run.

    python benchmarks/nets_speed.py [--save] [--memory] [--limits] [srcnn ...]

needs torch, onnx, onnxruntime and openvino. Times are medians of interleaved rounds in one process, two threads each;
memory is what a run adds to a fresh process's peak.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import fastdeblur
from fastdeblur import nets
from fastdeblur.errors import OutOfMemory
from fastdeblur.train import models
from fastdeblur.train.config import load_config
from machine import describe
from threads import THREADS

CONFIGS = Path(fastdeblur.__file__).parent / "train" / "configs"
NAMES = ("srcnn", "deblurgan", "nafnet-s", "dwdn-s")
HEIGHT, WIDTH = 1080, 1920
ENGINES = ("fastdeblur", "onnxruntime", "openvino", "torch")
NOISE = 0.01


class Tail(torch.nn.Module):
    """What comes after the Wiener filters of `dwdn`, which no peer has: they get its features ready-made."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        n = self.network
        return n.plain(found) + n.ending(n.body(n.intro(found)))


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    module = models.make(load_config(CONFIGS / f"{name}-cpu.toml").model).eval()
    for p in module.parameters():  # none is 0, or whole branches would vanish
        if p.abs().max() == 0:
            torch.nn.init.normal_(p, std=0.01)
    return module


def image(name: str) -> np.ndarray:
    channels = network(name).channels
    return np.random.default_rng(0).random((1, channels, HEIGHT, WIDTH), dtype=np.float32)


def prepare(name: str, engine: str) -> Callable[[], np.ndarray]:
    """A call that runs the network once."""
    module, x = network(name), image(name)
    psf = module.takes_psf
    if psf and engine != "fastdeblur":
        with torch.no_grad():
            blur = torch.from_numpy(fastdeblur.psf.motion(21, 30)).float()[None]
            x = module.wiener(module.features(torch.from_numpy(x)), blur, torch.tensor([NOISE])).numpy()
        module = Tail(module)
    if engine == "fastdeblur":
        example = [torch.rand(1, x.shape[1], 64, 64)]
        if psf:
            example += [torch.full((1, 15, 15), 1 / 225), torch.full((1,), NOISE)]
        with tempfile.TemporaryDirectory() as folder:
            model = nets.from_torch(
                module,
                tuple(example),
                Path(folder) / "x.safetensors",
                name=name,
                multiple_of=module.multiple_of,
            )
        blur, out = fastdeblur.psf.motion(21, 30), np.empty(x.shape[1:], np.float32)
        options = {"psf": blur, "noise": NOISE} if psf else {}
        axis = None if model.channels == 1 else 0
        plain, target = (x[0], out) if axis == 0 else (x[0, 0], out[0])
        return lambda: model(plain, channel_axis=axis, out=target, n_threads=THREADS, **options)
    if engine == "torch":
        torch.set_num_threads(THREADS)
        channels_last = module.to(memory_format=torch.channels_last)
        tensor = torch.from_numpy(x).to(memory_format=torch.channels_last)

        def run() -> np.ndarray:
            with torch.inference_mode():
                return channels_last(tensor).numpy()

        return run
    if engine == "onnxruntime":
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "x.onnx")
            torch.onnx.export(module, (torch.from_numpy(x),), path, dynamo=False, input_names=["x"])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = THREADS
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": x})[0]
    import openvino

    model = openvino.convert_model(module, example_input=torch.from_numpy(x), input=[x.shape])
    compiled = openvino.Core().compile_model(
        model, "CPU", {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32"}
    )
    request = compiled.create_infer_request()
    return lambda: request.infer([x])[0]


def peak(name: str, engine: str) -> int:
    """Bytes that a run adds to the peak of a process that has everything prepared."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import nets_speed; "
        f"nets_speed.print_peak({name!r}, {engine!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def print_peak(name: str, engine: str) -> None:
    call = prepare(name, engine)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = _status("VmRSS")
    call()
    print((_status("VmHWM") - before) * 1024)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def measure(name: str, rounds: int) -> dict[str, dict[str, float]]:
    calls = {engine: prepare(name, engine) for engine in ENGINES}
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for call in calls.values():
        call()
    for k in range(rounds):
        for engine in ENGINES if k % 2 == 0 else ENGINES[::-1]:
            begin = time.perf_counter()
            calls[engine]()
            times[engine].append(time.perf_counter() - begin)
    return {engine: {"seconds": statistics.median(t), "best": min(t)} for engine, t in times.items()}


def limited(name: str, rounds: int) -> dict[str, float]:
    """Seconds of the shipped network by the bytes that it may take, from none (0) to the least that does."""
    model, x = nets.load(name), image(name)[0]
    options = {"n_threads": THREADS, "backend": "native"}
    if model.takes_psf:
        options |= {"psf": np.ones((15, 15)) / 225, "noise": NOISE}
    plane = x if model.channels > 1 else x[0]
    axis = 0 if model.channels > 1 else None
    try:
        model(plane, channel_axis=axis, max_memory=1, **options)
        raise AssertionError("a byte is enough")
    except OutOfMemory as error:
        least = int(re.findall(r"at least (\d+)", str(error))[0])
    free = model.summary((HEIGHT, WIDTH), n_threads=THREADS).memory
    limits = [0, *(int(free * share) for share in (0.75, 0.5, 0.33, 0.2) if free * share > least), least]
    found: dict[str, float] = {}
    for limit in limits:
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            model(plane, channel_axis=axis, max_memory=limit or None, **options)
            times.append(time.perf_counter() - begin)
        found[str(limit)] = statistics.median(times)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--memory", action="store_true", help="measure the peaks as well")
    parser.add_argument("--limits", action="store_true", help="measure what less memory costs instead")
    arguments = parser.parse_args()
    if arguments.limits:
        costs = {name: limited(name, arguments.rounds) for name in arguments.names}
        for name, times in costs.items():
            free = times["0"]
            print(name, *(f"{int(n) / 1e6:.0f} MB: {t / free:.2f}" for n, t in times.items()), sep=", ")
        if arguments.save:
            save("nets-limits.json", costs)
        return
    rows = {}
    for name in arguments.names:
        row = measure(name, arguments.rounds)
        if arguments.memory:
            for engine in ENGINES:
                row[engine]["peak"] = peak(name, engine)
        rows[name] = row
        best = min(v["seconds"] for engine, v in row.items() if engine != "fastdeblur")
        print(
            name,
            *(
                f"{engine} {1e3 * v['seconds']:.0f} ms"
                + (f" {v['peak'] / 1e6:.0f} MB" if "peak" in v else "")
                for engine, v in row.items()
            ),
            f"ratio to the best {row['fastdeblur']['seconds'] / best:.2f}",
            sep=", ",
            flush=True,
        )
    if arguments.save:
        save("nets-speed.json", rows)


def save(file: str, rows: object) -> None:
    path = Path(__file__).parent / "results" / file
    result = {"machine": describe(), "frame": [HEIGHT, WIDTH], "threads": THREADS, "networks": rows}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a run leaves: a model file, and a card that says where it comes from."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from fastdeblur import nets
from fastdeblur.train import models
from fastdeblur.train.config import Config, PSFs
from fastdeblur.train.run import Run

_PSF_SIZE = 15  # of the example that the network is traced with


def export(run: Run) -> nets.Model:
    """Write NAME.safetensors (float16) and NAME.md into the run's folder.

    Raises
    ------
    Unsupported
        The network has a layer that the model file has not.
    InvalidArgument
        The file's network and PyTorch's differ in what they compute.
    """
    config = run.config
    network = run.finished_network()
    side = 16 * network.multiple_of
    example = [torch.rand(1, network.channels, side, side)]
    takes_psf = models.takes_psf(config.model)
    if takes_psf:
        example += [torch.full((1, _PSF_SIZE, _PSF_SIZE), 1 / _PSF_SIZE**2), torch.full((1,), 0.01)]
    path = run.out / f"{config.name}.safetensors"
    model = nets.from_torch(
        network,
        tuple(example),
        path,
        name=config.name,
        description=config.description,
        scale=network.scale,
        offset=network.offset,
        out_scale=1 / network.scale,
        out_offset=-network.offset / network.scale,
        multiple_of=network.multiple_of,
        # A known PSF blurs light; without one the network takes a photo's numbers as they are.
        light="linear" if takes_psf else "srgb",
        dtype="float16",
    )
    card = path.with_suffix(".md")
    part = card.with_name(card.name + ".part")
    part.write_text(card_text(run, model.summary().parameters), encoding="utf-8")
    part.replace(card)
    return model


def card_text(run: Run, parameters: int) -> str:
    """The card, as Markdown."""
    config = run.config
    data, plan = config.data, config.optimiser
    lines = [f"# {config.name}", "", config.description, ""]
    shape = ", ".join(f"{name} {_shown(value)}" for name, value in config.model.items() if name != "kind")
    lines.append(
        f"- Network: `{config.model['kind']}`{f', {shape}' if shape else ''}; {parameters:,} parameters."
    )
    photos = config.card.data or f"Photos in {', '.join(data.folders)}."
    lines.append(f"- Data: {photos} {_pairs(config)}")
    terms = ", ".join(
        f"{name} {getattr(config.loss, name):g}"
        for name in ("psnr", "l1", "charbonnier", "frequency", "perceptual", "adversarial")
        if getattr(config.loss, name)
    )
    begun = f", begun with the weights of `{Path(config.start).name}`" if config.start else ""
    lines.append(
        f"- Training: {run.step:,} steps of {data.batch} crops of {data.crop} x {data.crop} pixels, loss {terms}, AdamW at "
        f"{plan.rate:g} with a cosine, moving average of the weights{begun}; {run.seconds / 60:.0f} minutes on {_machine(run)}."
    )
    if run.score is not None:
        psnr, ssim = (
            [run.score[f"{name}_{which}"] for which in ("blurred", "restored")] for name in ("psnr", "ssim")
        )
        lines.append(
            f"- Score on {len(run.pairs)} pairs made in the same way from other photos: PSNR {psnr[0]:.2f} dB blurred, "
            f"{psnr[1]:.2f} dB restored; SSIM {ssim[0]:.3f} and {ssim[1]:.3f}."
        )
    if config.card.licence:
        lines.append(f"- Licence: {config.card.licence}")
    if config.card.limits:
        lines.append(f"- Limits: {config.card.limits}")
    return "\n".join(lines) + "\n"


def _pairs(config: Config) -> str:
    data = config.data
    if data.kind == "paired":
        return f"Pairs of blurred and sharp photos in the layout {data.layout!r}."
    how = data.degradation
    kernels = _kernels(data.psf[0])
    if len(data.psf) > 1:
        whole = sum(psfs.weight for psfs in data.psf)
        kernels = "; ".join(
            f"in {psfs.weight / whole:.0%} of the batches {_kernels(psfs)}" for psfs in data.psf
        )
    as_they_are = "on the values as they are"
    if how.gamma == 1 or how.linear == 0:
        light = as_they_are
    else:
        light = f"in linear light (gamma {how.gamma})"
        if how.linear < 1:
            light = f"{light} in {how.linear:.0%} and {as_they_are} in the others"
    return (
        f"Blurred on the fly {light}: {kernels}; Gaussian noise of "
        f"{how.noise[0]:.1%} to {how.noise[1]:.1%} of white; saturated highlights in {how.saturated:.0%}, JPEG in {how.jpeg:.0%}"
        + (f", blur that varies over the frame in {how.varying:.0%}." if how.varying else ".")
    )


def _kernels(psfs: PSFs) -> str:
    kinds = ("camera shake", "linear motion", "Gaussian", "defocus")
    whole = sum(psfs.shares)
    shares = ", ".join(
        f"{share / whole:.0%} {kind}" for kind, share in zip(kinds, psfs.shares, strict=True) if share
    )
    return f"kernels of {psfs.sizes[0]} to {psfs.sizes[1]} pixels, {shares}"


def _shown(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _machine(run: Run) -> str:
    if run.device.type == "cuda":
        return torch.cuda.get_device_name(run.device)
    threads = torch.get_num_threads()
    return f"{threads} {'core' if threads == 1 else 'cores'} of {_processor()}, PyTorch {torch.__version__.partition('+')[0]}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({os.cpu_count()} in all)"
    return platform.processor() or platform.machine()

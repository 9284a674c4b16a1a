"""A training run: steps, validation, checkpoints, and at its end a model file."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdeblur.errors import InvalidArgument
from fastdeblur.train import checkpoint, metrics, models
from fastdeblur.train.adversary import Adversary
from fastdeblur.train.average import Average
from fastdeblur.train.config import Config
from fastdeblur.train.data.batch import Batch
from fastdeblur.train.losses import Content
from fastdeblur.train.schedule import learning_rate
from fastdeblur.train.sheet import write_sheet
from fastdeblur.train.sources import batches, training_source, validation_batches
from fastdeblur.train.start import begin_with

STATE = "state.pt"
HISTORY = "history.json"


@dataclass(frozen=True)
class Progress:
    """After a step. Means since the last report: loss, and PSNR in decibel before and after; score: of the last validation."""

    step: int
    steps: int
    seconds: float
    loss: float
    psnr_blurred: float
    psnr_restored: float
    score: dict[str, float] | None


class Run:
    """A run in a folder; where the folder has a checkpoint, the run goes on from there.

    On one machine's CPU, a run that was killed and goes on gives the very weights of one that was not: all that is random comes
    from the seed and the step's number.

    Parameters
    ----------
    config : what to train, and on what.
    root : relative folders in the configuration are below it.
    out : checkpoints (state.pt), history.json, sample sheets and the model file.
    device : "cpu", "cuda" or "auto".
    """

    def __init__(self, config: Config, root: Path, out: Path, device: str = "auto") -> None:
        self.config = config
        self.out = out
        self.device = _device(device, config.precision)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        network: Any = models.make(config.model)
        state = checkpoint.load(out / STATE, config.identity())
        if config.start and state is None:
            begin_with(network, config.start, root)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        if models.takes_psf(config.model) and config.data.kind == "paired":
            raise InvalidArgument(
                "data.kind: expected 'synthetic' for a network that takes a PSF, got 'paired'"
            )
        if config.data.crop % self.network.multiple_of:
            raise InvalidArgument(
                f"data.crop: expected a multiple of {self.network.multiple_of} for this network, got {config.data.crop}"
            )
        self.content = Content(config.loss, root).to(self.device)
        self.adversary = (
            Adversary(config.loss, network.channels, config.seed, self.device)
            if config.loss.adversarial
            else None
        )
        plan = config.optimiser
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=plan.rate,
            betas=(plan.betas[0], plan.betas[1]),
            weight_decay=plan.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self.average = Average(self.network, plan.average)
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.score: dict[str, float] | None = None
        self.source = training_source(config, root, network.channels)
        self.pairs = validation_batches(config, root, network.channels)
        if state is not None:
            self._restore(state)

    def train(self, on_step: Callable[[Progress], None] | None = None) -> None:
        """All steps that are left. Whatever ends it early, an exception of ``on_step`` or a kill, costs the steps since the last
        checkpoint only.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        steps = self.config.optimiser.steps
        validates = self.config.validation.every
        began, before = time.monotonic(), self.seconds
        seen: list[tuple[float, float, float]] = []
        for batch in batches(self.source, self.step, steps, self.config.data.workers):
            seen.append(self._learn(batch.to(self.device)))
            self.step += 1
            self.seconds = before + time.monotonic() - began
            last = self.step == steps
            if self.pairs and (self.step % validates == 0 or last):
                self.score = self.validate()
            if self.step % self.config.checkpoint_every == 0 or last:
                self._note(seen)
                seen = []
                self._save()
            if on_step is not None:
                loss, blurred, restored = np.mean(seen or [self._last], axis=0).tolist()
                on_step(Progress(self.step, steps, self.seconds, loss, blurred, restored, self.score))

    def _learn(self, batch: Batch) -> tuple[float, float, float]:
        """One step; its loss, and the batch's mean PSNR before and after."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config.optimiser)
        self.network.train()
        found = self._restored(batch)
        if self.adversary is not None:
            self.adversary.learn(found, batch.sharp, self.step)
        loss = self.content(found, batch.sharp)
        if self.adversary is not None:
            loss = loss + self.adversary.term(found)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.average.update(self.network, self.step)
        with torch.no_grad():
            figures = torch.stack(
                [loss.detach(), _psnr(batch.blurred, batch.sharp), _psnr(found, batch.sharp)]
            )
        value, blurred, restored = figures.tolist()
        if not math.isfinite(value) and not self.scaler.is_enabled():
            raise InvalidArgument(
                f"optimiser.rate: the loss became {value} in step {self.step + 1}; expected a rate with which training converges, "
                f"got {self.config.optimiser.rate!r}"
            )
        self._last = (value, blurred, restored)
        return self._last

    def _restored(self, batch: Batch) -> Tensor:
        """The network's result in 0..1, float32."""
        network = self.network
        x = batch.blurred * network.scale + network.offset
        precision = getattr(torch, self.config.precision)
        with torch.autocast(self.device.type, dtype=precision, enabled=precision is not torch.float32):
            found = network(x, batch.psf, batch.noise) if network.takes_psf else network(x)
        result: Tensor = (found.float() - network.offset) / network.scale
        return result

    def validate(self) -> dict[str, float]:
        """Mean PSNR and SSIM of the averaged weights over the validation pairs, before and after; writes a sample sheet."""
        own = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.state)
        self.network.eval()
        rows, triples = [], []
        try:
            with torch.no_grad():
                for pair in self.pairs:
                    m = self.network.multiple_of
                    height, width = (n // m * m for n in pair.blurred.shape[-2:])
                    pair = Batch(
                        pair.blurred[..., :height, :width],
                        pair.sharp[..., :height, :width],
                        pair.psf,
                        pair.noise,
                    )
                    found = self._restored(pair.to(self.device)).clamp(0, 1).cpu()
                    images = [
                        t[0].permute(1, 2, 0).numpy() for t in (pair.blurred.clamp(0, 1), found, pair.sharp)
                    ]
                    rows.append([f(a, images[2]) for f in (metrics.psnr, metrics.ssim) for a in images[:2]])
                    triples.append(images)
        finally:
            self.network.load_state_dict(own)
        names = ("psnr_blurred", "psnr_restored", "ssim_blurred", "ssim_restored")
        score = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
        write_sheet(triples[:6], self.out / f"samples-{self.step:06d}.png")
        return score

    def finished_network(self) -> Any:
        """A network with the averaged weights, on the CPU, for evaluation."""
        network: Any = models.make(self.config.model)
        network.load_state_dict({name: value.cpu() for name, value in self.average.state.items()})
        return network.eval()

    def _note(self, seen: list[tuple[float, float, float]]) -> None:
        loss, blurred, restored = np.mean(seen, axis=0).tolist()
        self.history.append(
            {
                "step": self.step,
                "seconds": round(self.seconds, 1),
                "loss": loss,
                "psnr_blurred": blurred,
                "psnr_restored": restored,
                "validation": self.score,
            }
        )

    def _save(self) -> None:
        state = {
            "identity": self.config.identity(),
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average.state,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "adversary": None if self.adversary is None else self.adversary.state(),
            "history": self.history,
            "score": self.score,
        }
        checkpoint.save(state, self.out / STATE)
        part = self.out / (HISTORY + ".part")
        part.write_text(json.dumps(self.history, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.out / HISTORY)

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.state = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if self.adversary is not None:
            self.adversary.restore(state["adversary"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.history, self.score = state["history"], state["score"]


def _device(name: str, precision: str) -> torch.device:
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise InvalidArgument("device: expected 'cpu', since PyTorch finds no CUDA device, got 'cuda'")
    device = torch.device("cuda" if cuda and name != "cpu" else "cpu")
    if precision == "float16" and device.type == "cpu":
        raise InvalidArgument("precision: expected 'float32' or 'bfloat16' on a CPU, got 'float16'")
    return device


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the batch's images."""
    return -10 * torch.log10(((a.float() - b) ** 2).mean(dim=(1, 2, 3)) + 1e-12).mean()

"""A training run's configuration: a TOML file, checked whole before any work."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from fastdeblur.errors import InvalidArgument, Unsupported
from fastdeblur.train.rules import (
    Rule,
    count,
    either,
    file_name,
    known_keys,
    number,
    one_of,
    several,
    span,
    text,
    wrong,
)

T = TypeVar("T")

PSF_KINDS = ("camera_shake", "motion", "gaussian", "defocus")
LAYOUTS = ("gopro", "realblur", "suffix")
_share = number(0, 1)
_MOST_PROCESSORS = 1024  # of any machine; PyTorch dies of many more threads


def key(rule: Rule, default: Any = ...) -> Any:
    """A field that TOML may set; without a default it must."""
    metadata = {"rule": rule}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def _by_kind(key: str, value: Any) -> tuple[float, ...]:
    found: tuple[float, ...] = several(number(0))(key, value)
    if len(found) != len(PSF_KINDS):
        raise wrong(key, f"{len(PSF_KINDS)} values", value)
    if sum(found) <= 0:
        raise wrong(key, "a sum > 0", value)
    return found


@dataclass(frozen=True)
class PSFs:
    """[data.psf], or several [[data.psf]]: the blurs of synthetic pairs.

    Of several, each batch has one, drawn by their weights. It also has one odd size of kernel, and each pair a kernel of its own.
    """

    weight: float = key(number(0, above=True), 1.0)
    sizes: tuple[int, int] = key(span(count(3)), (9, 21))
    shares: tuple[float, ...] = key(_by_kind, (1.0, 0.0, 0.0, 0.0))
    anxiety: tuple[float, float] = key(span(number(0, 1, above=True)), (0.005, 0.005))
    exposure: tuple[float, float] = key(span(number(0, 1, above=True)), (1.0, 1.0))


@dataclass(frozen=True)
class Degradation:
    """[data.degradation]: what happens to a synthetic pair besides blur.

    noise : [least, most] standard deviation of Gaussian noise for values in 0..1, drawn evenly in the logarithm; a least of 0 draws
        evenly.
    gamma : "srgb" or an exponent: the blur acts on linear light. 1 blurs the values as they are.
    linear : share of pairs for which ``gamma`` holds; the others are blurred as they are.
    varying : share of pairs whose blur differs over the frame: it goes over into another's or, in one of three, into none,
        gradually as when a camera rolls, or at an edge as of something that moves. Not for networks that take a PSF.
    saturated : share of pairs in which highlights are lifted above white before the blur and clipped after it.
    jpeg : share of pairs stored as JPEG, at a quality in ``jpeg_quality``.
    reduced : share of crops taken at twice the size and averaged 2x2, which leaves less of the camera's own blur and compression.
    """

    noise: tuple[float, float] = key(span(number(0, 1)), (0.0, 0.02))
    gamma: float | str = key(either(number(0, above=True), "srgb"), 1.0)
    linear: float = key(_share, 1.0)
    varying: float = key(_share, 0.0)
    saturated: float = key(_share, 0.0)
    jpeg: float = key(_share, 0.0)
    jpeg_quality: tuple[int, int] = key(span(count(1)), (70, 95))
    reduced: float = key(_share, 0.0)


@dataclass(frozen=True)
class Data:
    """[data]. kind "synthetic" blurs the photos in ``folders``; "paired" reads blurred and sharp ones, laid out as ``layout``.

    workers : processes that make batches ahead of the training; 0 makes them in its own.
    """

    folders: tuple[str, ...] = key(several(text, least=1))
    kind: str = key(one_of("synthetic", "paired"), "synthetic")
    layout: str = key(one_of(*LAYOUTS), "gopro")
    crop: int = key(count(8), 128)
    batch: int = key(count(1), 8)
    workers: int = key(count(0, maximum=_MOST_PROCESSORS), 0)
    psf: tuple[PSFs, ...] = field(default=(PSFs(),), metadata={"sections": PSFs})
    degradation: Degradation = field(default_factory=Degradation, metadata={"section": Degradation})


@dataclass(frozen=True)
class Optimiser:
    """[optimiser]: AdamW under a cosine from ``rate`` down to ``last_rate`` of it after ``warmup`` steps of linear rise.

    clip : the gradient's largest norm. average : decay of the moving average of the weights, which is what validation sees and
    export writes.
    """

    steps: int = key(count(1))
    rate: float = key(number(0, above=True), 1e-3)
    last_rate: float = key(_share, 1e-3)
    warmup: int = key(count(0), 50)
    betas: tuple[float, ...] = key(several(number(0, 1), least=2), (0.9, 0.99))
    weight_decay: float = key(number(0), 0.0)
    clip: float = key(number(0, above=True), 5.0)
    average: float = key(_share, 0.998)


@dataclass(frozen=True)
class Loss:
    """[loss]: weights of the terms, see `losses`.

    vgg16 : file of VGG16's weights as torchvision names them, for ``perceptual``, below the folder of the data unless absolute.
    critic_steps : of the critic for each step of the network, with ``adversarial``; critic_rate : its learning rate.
    """

    psnr: float = key(number(0), 0.0)
    l1: float = key(number(0), 0.0)
    charbonnier: float = key(number(0), 0.0)
    frequency: float = key(number(0), 0.0)
    perceptual: float = key(number(0), 0.0)
    vgg16: str = key(text, "")
    adversarial: float = key(number(0), 0.0)
    critic_steps: int = key(count(1), 1)
    critic_rate: float = key(number(0, above=True), 1e-4)
    critic_width: int = key(count(1), 32)


@dataclass(frozen=True)
class Validation:
    """[validation]: photos that are never trained on, blurred as the training's are (or paired, as the training's are).

    every : steps between validations. images : how many pairs. crop : their size at most.
    Without folders there is none.
    """

    folders: tuple[str, ...] = key(several(text), ())
    every: int = key(count(1), 500)
    images: int = key(count(1), 12)
    crop: int = key(count(16), 256)


@dataclass(frozen=True)
class Card:
    """[card]: what the network's card says besides what the run knows itself.

    data : of the photos: which, from where, on which terms. licence : of the weights. limits : what the network is not for.
    """

    data: str = key(text, "")
    licence: str = key(text, "")
    limits: str = key(text, "")


@dataclass(frozen=True)
class Config:
    """All of a run.

    model : "kind" (see `models.MODELS`) and that model's own arguments. start : a model file, or the name of a network that comes
    with the library, whose weights the run begins with; it must be of the same model.
    """

    name: str = key(file_name)
    model: Mapping[str, Any] = key(lambda key, value: value)
    description: str = key(text, "")
    seed: int = key(count(0), 0)
    start: str = key(text, "")
    threads: int = key(count(0, maximum=_MOST_PROCESSORS), 1)
    precision: str = key(one_of("float32", "bfloat16", "float16"), "float32")
    checkpoint_every: int = key(count(1), 100)
    data: Data = field(default_factory=lambda: Data(()), metadata={"section": Data})
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(1), metadata={"section": Optimiser})
    loss: Loss = field(default_factory=Loss, metadata={"section": Loss})
    validation: Validation = field(default_factory=Validation, metadata={"section": Validation})
    card: Card = field(default_factory=Card, metadata={"section": Card})

    def identity(self) -> str:
        """What a run must keep to go on from a checkpoint, as JSON: all that decides what is computed.

        The number of steps may change, so that a run can be cut short or made longer, which changes the learning rate from there
        on.
        """
        everything = as_data(self)
        for name in ("validation", "checkpoint_every", "description", "card"):
            del everything[name]
        del everything["optimiser"]["steps"], everything["data"]["workers"]
        if not everything["start"]:
            del everything["start"]
        if len(psfs := everything["data"]["psf"]) == 1:
            (everything["data"]["psf"],) = psfs
            del psfs[0]["weight"]
        return json.dumps(everything, sort_keys=True)


def load_config(path: Path) -> Config:
    """Read and check a configuration file.

    Raises
    ------
    InvalidArgument
        The file is not TOML, or a key is unknown, missing or breaks its rule; the message names key, rule and value.
    OSError
        The file cannot be read.
    """
    return parse_config(_parse_toml(path))


def parse_config(values: Mapping[str, Any]) -> Config:
    """Check a configuration given as nested dicts."""
    from fastdeblur.train.models import check_model, takes_psf

    config = _section(Config, "", values)
    check_model(config.model)
    _check_together(config)
    if config.data.degradation.varying and takes_psf(config.model):
        raise wrong(
            "data.degradation.varying", "0 for a network that takes a PSF", config.data.degradation.varying
        )
    return config


def as_data(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: as_data(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {name: as_data(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_data(item) for item in value]
    return value


def _parse_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise Unsupported(
                "configurations need tomli before Python 3.11: pip install 'fastdeblur[train]'"
            ) from error
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"config: expected a TOML file, got {path} ({error})") from error


def _section(kind: type[T], where: str, values: Any) -> T:
    if not isinstance(values, Mapping):
        raise wrong(where.rstrip(".") or "config", "a table", values)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    known_keys(where, list(values), list(known))
    found: dict[str, Any] = {}
    for name, f in known.items():
        section, sections = f.metadata.get("section"), f.metadata.get("sections")
        if sections is not None:
            if name in values:
                found[name] = _sections(sections, f"{where}{name}", values[name])
        elif section is not None:
            if name in values or _must_be_given(section):
                found[name] = _section(section, f"{where}{name}.", values.get(name, {}))
        elif name in values:
            found[name] = f.metadata["rule"](where + name, values[name])
        elif _must_be_given_field(f):
            raise InvalidArgument(f"{where}{name}: expected a value, got none")
    return kind(**found)


def _sections(kind: type[T], where: str, values: Any) -> tuple[T, ...]:
    """One table, or a list of them."""
    if not isinstance(values, list):
        return (_section(kind, f"{where}.", values),)
    if not values:
        raise wrong(where, "a table, or a list of at least 1", values)
    return tuple(_section(kind, f"{where}[{k}].", value) for k, value in enumerate(values))


def _must_be_given_field(f: Any) -> bool:
    from dataclasses import MISSING

    return f.default is MISSING and f.default_factory is MISSING


def _must_be_given(section: Any) -> bool:
    return any("rule" in f.metadata and _must_be_given_field(f) for f in fields(section))


def _check_together(config: Config) -> None:
    """The rules that bind several keys."""
    data, loss, optimiser = config.data, config.loss, config.optimiser
    terms = (loss.psnr, loss.l1, loss.charbonnier, loss.frequency, loss.perceptual)
    if not any(terms):
        raise InvalidArgument(
            "loss: expected a weight > 0 for one of psnr, l1, charbonnier, frequency, perceptual, got none"
        )
    if loss.perceptual and not loss.vgg16:
        raise InvalidArgument(
            "loss.vgg16: expected the file of VGG16's weights, since loss.perceptual > 0, got none"
        )
    if len(optimiser.betas) != 2:
        raise wrong("optimiser.betas", "2 values", list(optimiser.betas))
    if max(optimiser.betas) >= 1:
        raise wrong("optimiser.betas", "numbers < 1", list(optimiser.betas))
    if data.degradation.jpeg_quality[1] > 100:
        raise wrong("data.degradation.jpeg_quality", "at most 100", list(data.degradation.jpeg_quality))
    if optimiser.warmup >= optimiser.steps:
        raise wrong("optimiser.warmup", f"fewer than optimiser.steps ({optimiser.steps})", optimiser.warmup)

"""Whole runs: resumed anywhere to the same end, better than their input, exported as files that compute the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("typer")

from typer.testing import CliRunner  # noqa: E402

from fastdeblur import InvalidArgument, nets, train  # noqa: E402
from fastdeblur.cli.app import app  # noqa: E402
from fastdeblur.train import checkpoint, export, models, parse_config  # noqa: E402
from fastdeblur.train.run import HISTORY, STATE, Run  # noqa: E402

from training import config, write_photos  # noqa: E402

MODELS = {
    "srcnn": {"kind": "srcnn", "widths": [8, 4]},
    "deblurgan": {"kind": "deblurgan", "width": 4, "blocks": 1},
    "nafnet": {"kind": "nafnet", "width": 4, "down": [1, 0], "middle": 1, "up": [0, 1], "window": 24},
    "dwdn": {"kind": "dwdn", "width": 4, "down": [0], "middle": 1, "up": [1]},
}
ADVERSARIAL = {"loss": {"charbonnier": 1.0, "frequency": 0.1, "adversarial": 1e-3, "critic_width": 4}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_photos(folder / "photos", range(8))
    write_photos(folder / "other", range(20, 24))
    return folder


class KilledError(Exception):
    pass


def kill_at(step):
    def on_step(progress):
        if progress.step == step:
            raise KilledError

    return on_step


def same(a, b):
    weights = [run.average.state | run.network.state_dict() for run in (a, b)]
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    "changes",
    [{}, {"model": MODELS["deblurgan"], **ADVERSARIAL}, {"model": MODELS["dwdn"]}],
    ids=["nafnet", "adversarial", "dwdn"],
)
def test_a_killed_run_ends_as_one_that_was_not(root, tmp_path, changes):
    plan = parse_config(config(**changes))
    whole = Run(plan, root, tmp_path / "whole", "cpu")
    whole.train()
    for step in (3, 6, 9):  # before, after and well after a checkpoint; checkpoints are at 4, 8 and 10
        run = Run(plan, root, tmp_path / "cut", "cpu")
        assert run.step == {3: 0, 6: 0, 9: 4}[step]
        with pytest.raises(KilledError):
            run.train(kill_at(step))
    last = Run(plan, root, tmp_path / "cut", "cpu")
    assert last.step == 8
    last.train()
    assert same(last, whole)
    assert last.score == whole.score
    assert [row["step"] for row in last.history] == [4, 8, 10]
    assert json.loads((tmp_path / "cut" / HISTORY).read_text()) == last.history


def test_a_finished_run_has_nothing_left_to_do(root, tmp_path):
    plan = parse_config(config())
    first, second = (Run(plan, root, tmp_path, "cpu") for _ in range(2))
    first.train()
    second = Run(plan, root, tmp_path, "cpu")
    second.train(kill_at(second.step))
    assert same(first, second)


def test_a_checkpoint_is_whole_or_not_there(root, tmp_path, monkeypatch):
    plan = parse_config(config())
    with pytest.raises(KilledError):
        Run(plan, root, tmp_path, "cpu").train(kill_at(5))
    before = (tmp_path / STATE).read_bytes()

    def broken(state, file):
        file.write(b"half")
        raise KilledError

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(KilledError):
        Run(plan, root, tmp_path, "cpu").train()
    monkeypatch.undo()
    assert (tmp_path / STATE).read_bytes() == before
    Run(plan, root, tmp_path, "cpu").train()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a checkpoint in .*, got a file that cannot be read"),
        (b"nonsense" * 99, "cannot be read"),
    ],
)
def test_a_broken_checkpoint_is_an_error(root, tmp_path, content, message):
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(InvalidArgument, match=message):
        Run(parse_config(config()), root, tmp_path, "cpu")


def test_a_checkpoint_of_another_format_or_configuration_is_an_error(root, tmp_path):
    plan = parse_config(config())
    with pytest.raises(KilledError):
        Run(plan, root, tmp_path, "cpu").train(kill_at(4))
    with pytest.raises(InvalidArgument, match=r"config: expected the configuration that .* was trained with"):
        Run(parse_config(config(seed=9)), root, tmp_path, "cpu")
    longer = Run(parse_config(config(optimiser__steps=12)), root, tmp_path, "cpu")
    assert longer.step == 4
    state = checkpoint.load(tmp_path / STATE, plan.identity())
    torch.save(state | {"format": 99}, tmp_path / STATE)
    with pytest.raises(InvalidArgument, match=r"expected a checkpoint of format 1 in .*, got another"):
        Run(plan, root, tmp_path, "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"kind": "deblurgan"}, "data__crop": 30},
            "data.crop: expected a multiple of 4 for this network, got 30",
        ),
        (
            {"model": MODELS["dwdn"], "data__kind": "paired"},
            "data.kind: expected 'synthetic' for a network that takes a PSF",
        ),
        ({"precision": "float16"}, "precision: expected 'float32' or 'bfloat16' on a CPU, got 'float16'"),
    ],
)
def test_what_does_not_fit_together_is_an_error(root, tmp_path, changes, message):
    with pytest.raises(InvalidArgument, match=message):
        Run(parse_config(config(**changes)), root, tmp_path, "cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(root, tmp_path):
    with pytest.raises(InvalidArgument, match="device: expected 'cpu', since PyTorch finds no CUDA device"):
        Run(parse_config(config()), root, tmp_path, "cuda")


def test_a_loss_that_is_no_number_ends_the_run(root, tmp_path):
    plan = parse_config(config(optimiser__rate=1e30, optimiser__clip=1e30))
    with pytest.raises(
        InvalidArgument, match=r"optimiser.rate: the loss became (nan|inf|-inf) in step \d+; expected a rate"
    ):
        Run(plan, root, tmp_path, "cpu").train()


def test_half_precision_trains(root, tmp_path):
    run = Run(parse_config(config(precision="bfloat16", model=MODELS["dwdn"])), root, tmp_path, "cpu")
    run.train()
    assert run.score["psnr_restored"] > 5


@pytest.mark.parametrize("kind", list(MODELS))
def test_a_fresh_network_returns_its_input_or_the_wiener_filters_result(kind):
    torch.manual_seed(0)
    network = models.make(MODELS[kind]).eval()
    x = torch.rand(2, network.channels, 16, 24)
    with torch.no_grad():
        if network.takes_psf:
            psf = torch.rand(2, 5, 5)
            found = network(x, psf, torch.tensor([0.01, 0.02]))
            assert torch.allclose(
                found, network.wiener(network.features(x), psf, torch.tensor([0.01, 0.02]))[:, :1], atol=1e-6
            )
        else:
            assert torch.equal(network(x), x)


@pytest.mark.parametrize("kind", list(MODELS))
def test_the_exported_file_computes_the_same(root, tmp_path, kind):
    changes = ADVERSARIAL if kind == "deblurgan" else {}
    plan = parse_config(
        config(name=f"a-{kind}", model=MODELS[kind], card={"licence": "CC0", "limits": "None."}, **changes)
    )
    model = train.train(plan, tmp_path, data=root, device="cpu")
    loaded = nets.load(tmp_path / f"a-{kind}.safetensors")
    run = Run(plan, root, tmp_path, "cpu")
    network = run.finished_network()
    rng = np.random.default_rng(0)
    image = rng.random((network.channels, 40, 52), dtype=np.float32)
    given = {"psf": rng.random((7, 5)), "noise": 0.02} if network.takes_psf else {}
    found = loaded(image, channel_axis=0, backend="numpy", **given)
    assert np.array_equal(found, model(image, channel_axis=0, backend="numpy", **given))
    with torch.no_grad():
        extra = (torch.from_numpy(given["psf"]).float(), 0.02) if given else ()
        wanted = network(torch.from_numpy(image)[None] * network.scale + network.offset, *extra)[0].numpy()
    wanted = (wanted - network.offset) / network.scale
    # The file's weights have 11 significant bits.
    assert np.linalg.norm(found - wanted) < 2e-3 * np.linalg.norm(wanted)
    for part in (
        f"# a-{kind}",
        "10 steps of 4 crops of 32 x 32 pixels",
        "- Licence: CC0",
        "- Limits: None.",
        "2 pairs",
    ):
        assert part in loaded.card


@pytest.mark.parametrize("kind", list(MODELS))
def test_a_run_begins_with_a_file_s_weights(root, tmp_path, kind):
    changes = ADVERSARIAL if kind == "deblurgan" else {}
    plan = config(name="first", model=MODELS[kind], **changes)
    train.train(parse_config(plan), tmp_path / "first", data=root, device="cpu")
    trained = Run(parse_config(plan), root, tmp_path / "first", "cpu").finished_network()
    more = parse_config({**plan, "start": str(tmp_path / "first" / "first.safetensors"), "seed": 8})
    run = Run(more, root, tmp_path / "more", "cpu")
    x = torch.rand(1, run.network.channels, 32, 40)
    given = (torch.rand(1, 5, 5), torch.tensor([0.01])) if run.network.takes_psf else ()
    fresh = models.make(MODELS[kind]).eval()
    with torch.no_grad():
        found, wanted, other = (network.eval()(x, *given) for network in (run.network, trained, fresh))
    assert torch.linalg.norm(found - wanted) < 2e-3 * torch.linalg.norm(wanted)
    assert torch.linalg.norm(found - wanted) < 0.5 * torch.linalg.norm(found - other)
    with pytest.raises(KilledError):
        run.train(kill_at(5))
    (tmp_path / "first" / "first.safetensors").unlink()  # a checkpoint needs it no more
    run = Run(more, root, tmp_path / "more", "cpu")
    assert run.step == 4
    run.train()
    assert "begun with the weights of `" in export.card_text(run, 1)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("nowhere", "start: expected a network or a file .*, got 'nowhere' .*expected one of deblurgan, "),
        ("photos/000.png", "start: expected a network or a file"),
        (
            "nafnet-s",
            "start: expected a network of the model's shape, got 'nafnet-s' with intro.weight of 16 x 3 x 3 x 3",
        ),
        ("srcnn", "start: expected a network of the model's shape, got 'srcnn' with"),
    ],
)
def test_weights_that_are_not_there_or_do_not_fit_are_an_error(root, tmp_path, start, message):
    with pytest.raises(InvalidArgument, match=message):
        Run(parse_config(config(start=start)), root, tmp_path, "cpu")
    assert not (tmp_path / STATE).exists()


def test_sample_sheets_show_every_pair(root, tmp_path):
    Run(parse_config(config()), root, tmp_path, "cpu").train()
    sheets = sorted(tmp_path.glob("*.png"))
    assert [sheet.name for sheet in sheets] == ["samples-000005.png", "samples-000010.png"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.size == (3 * 48 + 2 * 4, 2 * 48 + 4)


def write_toml(path, values, prefix=""):
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    lines = [f"[{prefix}]"] if prefix else []
    lines += [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    with path.open("a") as file:
        file.write("\n".join(lines) + "\n")
    for name, value in values.items():
        if isinstance(value, dict):
            write_toml(path, value, f"{prefix}.{name}".lstrip("."))


def test_the_command_trains_a_network_that_beats_its_input(root, tmp_path):
    plan = config(
        model={"kind": "nafnet", "width": 12, "down": [1], "middle": 1, "up": [0], "window": 64},
        data__degradation={"noise": [0.05, 0.08]},
        optimiser={"steps": 100, "rate": 3e-3, "warmup": 10, "average": 0.95},
        validation__every=50,
        validation__images=4,
        checkpoint_every=50,
    )
    write_toml(tmp_path / "plan.toml", plan)
    arguments = [
        "train",
        "--config",
        str(tmp_path / "plan.toml"),
        "-o",
        str(tmp_path / "out"),
        "--data",
        str(root),
    ]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "step 100: validation" in result.stderr
    assert "small.safetensors: A test" in result.stdout
    score = json.loads((tmp_path / "out" / HISTORY).read_text())[-1]["validation"]
    assert score["psnr_restored"] > score["psnr_blurred"] + 1.0
    assert score["ssim_restored"] > score["ssim_blurred"]

    # The network that is left is the one that was measured, on photos of any size.
    model = nets.load(tmp_path / "out" / "small.safetensors")
    run = Run(parse_config(plan), root, tmp_path / "out", "cpu")
    gains = []
    for pair in run.pairs:
        blurred, sharp = pair.blurred[0].numpy(), pair.sharp[0].numpy()
        found = np.clip(model(blurred, channel_axis=0), 0, 1)
        gains.append(
            10 * np.log10(((np.clip(blurred, 0, 1) - sharp) ** 2).mean() / ((found - sharp) ** 2).mean())
        )
    assert np.mean(gains) == pytest.approx(score["psnr_restored"] - score["psnr_blurred"], abs=0.02)


def test_the_command_names_what_is_wrong(tmp_path):
    result = CliRunner().invoke(app, ["train", "--config", "nothing"])
    assert result.exit_code == 2
    assert "--config: expected a TOML file or one of deblurgan-cpu" in result.stderr
    write_toml(tmp_path / "plan.toml", config(data__crop=1))
    result = CliRunner().invoke(
        app, ["train", "--config", str(tmp_path / "plan.toml"), "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 2
    assert "data.crop: expected an integer >= 8, got 1" in result.stderr
    assert not (tmp_path / "out").exists()

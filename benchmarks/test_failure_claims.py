"""The arithmetic of `failure_claims.py` and of the files that results are kept in; no photos, no seconds to speak of."""

import json

import numpy as np
import pytest

import failure_cases
import failure_claims
import results_file


def test_a_crossing_lies_between_the_errors_around_it():
    assert failure_claims.crossing([0, 2, 4], [3, 1, -1], 0) == pytest.approx(3)
    assert failure_claims.crossing([0, 2, 4], [3, 1, -1], 2) == pytest.approx(1)
    assert failure_claims.crossing([0, 2, 4], [0, 1, 2], 0) == 0
    assert failure_claims.crossing([0, 2, 4], [3, 2, 1], 0) is None


def test_a_line_turned_round_ends_where_it_began():
    assert failure_claims.line_end(10, 180) == pytest.approx(10)
    assert failure_claims.line_end(20, 1) == pytest.approx(10 * np.pi / 180, rel=1e-4)


@pytest.mark.parametrize("snr", [0, 10, 40])
def test_snr_is_a_ratio_of_variances(snr):
    rng = np.random.default_rng(0)
    blurred = rng.uniform(size=(300, 300)).astype(np.float32)
    noise = failure_cases.noise_sigma(blurred, snr) * rng.standard_normal(blurred.shape)
    assert 10 * np.log10(blurred.var() / noise.var()) == pytest.approx(snr, abs=0.1)


def test_scores_leave_the_border_out():
    truth = np.full((failure_cases.SIDE,) * 2, 0.5, np.float32)
    image = truth + np.float32(0.1)
    image[: failure_cases.BORDER] = 9
    assert failure_cases.psnr(image, truth) == pytest.approx(20, abs=1e-4)
    assert failure_cases.ssim(truth, truth) == pytest.approx(1)


def test_every_solver_is_best_with_the_true_kernel(monkeypatch):
    monkeypatch.setattr(failure_cases, "SIDE", 96)
    monkeypatch.setattr(failure_cases, "BORDER", 16)
    monkeypatch.setattr(failure_cases, "ANGLE_ERRORS", (0, 45))
    monkeypatch.setattr(failure_cases, "LENGTH_ERRORS", (8,))
    scene = np.kron(np.random.default_rng(5).uniform(0.1, 0.9, (40, 40)), np.ones((4, 4))).astype(np.float32)
    monkeypatch.setattr(failure_cases, "photo", lambda name: scene)
    exact, *wrong = failure_cases.wrong_kernels("scene", 11, 40)
    for solver in failure_cases.SOLVERS:
        for row in wrong:
            assert exact[f"{solver}, best"][0] > row[f"{solver}, best"][0] >= row[f"{solver}, kept"][0]


def test_results_are_the_same_on_fewer_lines(tmp_path):
    results = {
        "schema": results_file.SCHEMA,
        "a": [1, -2.5, 1e-7],
        "b": [],
        "c": ["x [", {"d": [[1, 2], [3]]}],
    }
    path = tmp_path / "results.json"
    results_file.save(results, path)
    assert results_file.load(path) == results
    assert "[1, -2.5, 1e-07]" in path.read_text(encoding="utf-8")
    assert len(path.read_text(encoding="utf-8")) < len(json.dumps(results, indent=1))
    assert not list(tmp_path.glob("*.part"))

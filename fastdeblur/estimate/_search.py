"""The blur of a family under which the spectrum is most likely: a scan on coarse cells, then a finer and finer search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from fastdeblur.estimate import _transfer
from fastdeblur.estimate._likelihood import SpectrumFit
from fastdeblur.estimate._periodogram import Cells, Float64Array, FloatArray

Transfer = Callable[[Cells, Float64Array], FloatArray]


@dataclass(frozen=True)
class Found:
    """The best blur of a family: its parameters, the cost in nats, and the fit (beta, ln N)."""

    parameters: Float64Array
    cost: float
    theta: Float64Array


def scan(
    fit: SpectrumFit, transfer: Transfer, batches: Iterable[Float64Array]
) -> tuple[Float64Array, Float64Array]:
    """The parameters of all batches, (n, k), and their costs, best first.

    Batches of one size, in an order in which neighbours are alike: each starts from the fit of the one before.
    """
    theta = None
    costs, parameters = [], []
    for batch in batches:
        h = transfer(fit.cells, batch)
        cost, theta = fit.fit(h, theta, 4 if theta is None else 2)
        costs.append(cost)
        parameters.append(batch)
    cost, parameter = np.concatenate(costs), np.concatenate(parameters)
    order = np.argsort(cost, kind="stable")
    return parameter[order], cost[order]


def refine(
    fit: SpectrumFit,
    transfer: Transfer,
    seeds: Float64Array,
    steps: Float64Array,
    *,
    rounds: int,
    keep: int,
    limit: Callable[[Float64Array], Float64Array],
) -> list[Found]:
    """Compares each seed with its neighbours in all directions, keeps the best, halves the steps; best first.

    steps: (k,), of the parameters. limit: brings parameters into their range.
    """
    offsets = np.array(list(product((0.0, -1.0, 1.0), repeat=seeds.shape[1])))
    best = seeds
    cost = np.empty(0)
    theta = np.empty((0, 0))
    for r in range(rounds):
        around = limit((best[:, None, :] + steps * offsets[None]).reshape(-1, seeds.shape[1]))
        cost, theta = fit.fit(transfer(fit.cells, around))
        count = keep if r == rounds - 1 else max(keep, best.shape[0] // 2)
        order = np.argsort(cost, kind="stable")[:count]
        best, cost, theta = around[order], cost[order], theta[order]
        if r > 0:
            steps = steps / 2
    return [Found(*found) for found in zip(best, cost.tolist(), theta, strict=True)]


def unblurred(fit: SpectrumFit) -> Found:
    """The fit without any blur."""
    parameters = np.zeros((1, 1))
    cost, theta = fit.fit(_transfer.none(fit.cells, parameters), steps=8)
    return Found(parameters[0], float(cost[0]), theta[0])

"""The learning rate of each step."""

from __future__ import annotations

import math

from fastdeblur.train.config import Optimiser


def learning_rate(step: int, plan: Optimiser) -> float:
    """Of step 0, 1, ...: a linear rise, then half a cosine. Source: Loshchilov and Hutter 2017, arXiv:1608.03983."""
    if step < plan.warmup:
        return plan.rate * (step + 1) / plan.warmup
    done = min((step - plan.warmup) / (plan.steps - plan.warmup), 1.0)
    return plan.rate * (plan.last_rate + (1 - plan.last_rate) * 0.5 * (1 + math.cos(math.pi * done)))

"""The critic's part of the training against it: a WGAN with gradient penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdeblur.train.config import Loss
from fastdeblur.train.models.deblurgan import Critic, gradient_penalty

_PENALTY = 10.0  # the authors' weight of the gradient penalty


class Adversary:
    """Source: Gulrajani et al. 2017, arXiv:1704.00028; Kupyn et al. 2018, doi:10.1109/CVPR.2018.00854."""

    def __init__(self, plan: Loss, channels: int, seed: int, device: torch.device) -> None:
        self.plan = plan
        self.seed = seed
        critic: Any = Critic(plan.critic_width, channels)
        self.critic = critic.to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.critic.parameters(), lr=plan.critic_rate, betas=(0.5, 0.9))

    def learn(self, found: Tensor, sharp: Tensor, step: int) -> None:
        """The critic's own steps on a batch."""
        found = found.detach().float()
        rng = np.random.default_rng([self.seed, step, 1])
        for _ in range(self.plan.critic_steps):
            mix = torch.from_numpy(rng.random((len(sharp), 1, 1, 1), dtype=np.float32)).to(sharp.device)
            loss = self.critic(found).mean() - self.critic(sharp).mean()
            loss = loss + _PENALTY * gradient_penalty(self.critic, sharp, found, mix)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()

    def term(self, found: Tensor) -> Tensor:
        """What the network adds to its loss: weight times minus the critic's score."""
        return -self.plan.adversarial * self.critic(found).mean()

    def state(self) -> dict[str, Any]:
        return {"critic": self.critic.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.critic.load_state_dict(state["critic"])
        self.optimiser.load_state_dict(state["optimiser"])

"""Devices of one machine, each with a process of its own, brought together by Lightning Fabric.

Only such a process imports this: lightning-fabric is an optional extra, and sets environment variables.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed

from napari_hrpn.training.flat_tensors import fill, flattened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

_LONGEST_WAIT = timedelta(days=7)
"""Whoever watches the reports may take their time; a device that died is noticed by the parent process."""


class FabricTeam:
    """One device of several."""

    def __init__(self, devices: Sequence[str], rank: int, port: int) -> None:
        self.rank, self.size, self._device = rank, len(devices), devices[rank]
        os.environ |= {
            "LOCAL_RANK": str(rank),
            "NODE_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.strategies.ddp import DDPStrategy

        for name in ("lightning_fabric", "lightning_utilities"):
            logging.getLogger(name).setLevel(logging.WARNING)
        kind = devices[0].split(":")[0]
        # the processes are there already: with LOCAL_RANK set, `launch` starts none
        Fabric(
            accelerator=kind,
            devices=self.size if kind == "cpu" else [int(device.split(":")[1]) for device in devices],
            strategy=DDPStrategy(timeout=_LONGEST_WAIT),
            plugins=LightningEnvironment(),
        ).launch()

    def sum(self, numbers: Tensor) -> Tensor:
        """See `ProcessGroup`."""
        summed = numbers.to(self._device, copy=True)
        # not Fabric's own, which lets all processes wait for each other before every sum
        distributed.all_reduce(summed)
        return summed

    def unite(self, *networks: nn.Module) -> None:
        """See `ProcessGroup`."""
        learnt = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
        for weight in learnt:
            if weight.grad is None:
                # a device without a patch of a small batch has learnt nothing
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in learnt if weight.grad is not None]
        statistics = [b for network in networks for b in network.buffers() if b.is_floating_point()]
        flat = flattened([*gradients, *statistics])
        distributed.all_reduce(flat)
        flat[sum(gradient.numel() for gradient in gradients) :] /= self.size
        fill([*gradients, *statistics], flat)

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """See `ProcessGroup`."""
        own = torch.tensor(numbers, dtype=torch.float64) * (self.rank == 0)
        return tuple(self.sum(own).tolist())

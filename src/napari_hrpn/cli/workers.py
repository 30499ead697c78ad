"""``--workers`` and ``--scheduler``: which processes share the work of a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.cli.messages import CommandError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from distributed import Client


@dataclass(frozen=True)
class Workers:
    """Which processes work."""

    count: int | None  # Processes to start on this machine
    scheduler: str | None  # Address of one that runs already

    def __post_init__(self) -> None:
        if self.count is not None and self.scheduler is not None:
            msg = "--workers starts processes and --scheduler takes those that run already; give one of them."
            raise CommandError(msg)

    @property
    def wanted(self) -> bool:
        """Whether anything but this process is to work."""
        return self.count is not None or self.scheduler is not None

    def connected(self, device: str) -> AbstractContextManager[Client]:
        """Start or find them."""
        from napari_hrpn.inference.cluster import cluster_workers, local_workers

        if self.scheduler is not None:
            return cluster_workers(self.scheduler)
        return local_workers(self.count or 1, device)

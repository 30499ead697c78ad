"""Choice of processors, which are found off the GUI thread.

Nothing of Qt or napari is touched here, and torch is imported inside a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_hrpn.inference import Device

_GIGABYTE = 1e9


def find_devices() -> tuple[Device, ...]:
    """Load what is slow to load, and look for processors."""
    import zarr

    from napari_hrpn.inference import list_devices

    # threads of zarr serve the GUI thread too, so they must not be started by one of low priority
    zarr.array(np.zeros(1))[:]
    return list_devices()


def device_choices(devices: tuple[Device, ...]) -> list[tuple[str, str]]:
    """Processors to choose from, the fastest by itself first."""
    best = f"Automatic: {devices[0].title}" if devices else "Automatic"
    free = [(f"{device.title}: {device.free_bytes / _GIGABYTE:.1f} GB free", device.name) for device in devices]
    return [(best, "auto"), *free]

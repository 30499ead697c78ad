"""Synthetic tumours with a known best possible prediction, for the demo, for tests and for checks against leakage."""

from napari_hrpn.phantom.phantom_slide import Phantom, phantom_slide, r2_ceiling
from napari_hrpn.phantom.settings import PHANTOM_PRESETS, PhantomError, PhantomSettings

__all__ = ["PHANTOM_PRESETS", "Phantom", "PhantomError", "PhantomSettings", "phantom_slide", "r2_ceiling"]

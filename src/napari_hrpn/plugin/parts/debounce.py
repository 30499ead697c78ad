"""What is done once for all that changes in a moment."""

from napari_hrpn.plugin.background import soon as soon

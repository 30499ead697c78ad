"""Quality of a slide's imaging for prediction and training; `slide_quality` checks all of it."""

from napari_hrpn.analysis.quality.channel_shift import ChannelShift
from napari_hrpn.analysis.quality.cross_talk import CrossTalk
from napari_hrpn.analysis.quality.findings import Finding
from napari_hrpn.analysis.quality.grey_levels import GreyLevels
from napari_hrpn.analysis.quality.slide_quality import SlideQuality, slide_quality
from napari_hrpn.analysis.quality.stitching import Stitching

__all__ = [
    "ChannelShift",
    "CrossTalk",
    "Finding",
    "GreyLevels",
    "SlideQuality",
    "Stitching",
    "slide_quality",
]

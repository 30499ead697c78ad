"""Files in, slides out: `open_slide` is the one door."""

from napari_hrpn.slides.contrast import contrast_limits
from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.identity import slide_identity
from napari_hrpn.slides.open_slide import list_series, open_slide
from napari_hrpn.slides.planes import SeriesInfo
from napari_hrpn.slides.pyramid import coarser_levels, halve
from napari_hrpn.slides.roles import ChannelRoles, find_channel, guess_roles
from napari_hrpn.slides.slide import Slide

__all__ = [
    "ChannelRoles",
    "SeriesInfo",
    "Slide",
    "SlideError",
    "SlideWarning",
    "coarser_levels",
    "contrast_limits",
    "find_channel",
    "guess_roles",
    "halve",
    "list_series",
    "open_slide",
    "slide_identity",
]

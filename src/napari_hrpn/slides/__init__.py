"""Files in, slides out: `open_slide` is the one door."""

from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.slide import Slide

__all__ = ["Slide", "SlideError", "SlideWarning"]

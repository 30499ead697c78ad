"""The error of analyses that compare no images; its message is for the user."""

from __future__ import annotations

from napari_hrpn.core.errors import AnalysisError as AnalysisError


def check_length(what: str, length_um: float, pixel_um: tuple[float, float], most_px: int) -> None:
    """Refuse a length that takes more pixels than any right pixel size would make it."""
    if length_um > most_px * min(pixel_um):
        msg = (
            f"{what} of {length_um:g} µm takes more than {most_px} pixels of {min(pixel_um):.3g} µm; expected larger "
            "pixels, so check whether the slide's pixel size is right"
        )
        raise AnalysisError(msg)

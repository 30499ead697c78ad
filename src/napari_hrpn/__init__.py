"""Predict where a nanoprobe goes in a tumour, from its nuclei and vessels, on whole slides.

Importing this package is cheap: names are looked up when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_hrpn.slides import Slide, open_slide

__all__ = ["Slide", "__version__", "open_slide"]


def __getattr__(name: str) -> object:
    if name in {"Slide", "open_slide"}:
        return getattr(import_module("napari_hrpn.slides"), name)
    if name == "__version__":
        return import_module("importlib.metadata").version("napari-hrpn")
    msg = f"module 'napari_hrpn' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)

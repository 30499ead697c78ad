"""Reader of slides that are dropped on napari or opened with it; `open_slide` recognises the format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari

    from napari_hrpn.plugin.viewer import LayerData
    from napari_hrpn.slides import Location, Slide

_MOST_SERIES = 4


def get_reader(path: str | list[str]) -> Callable[[Any], list[Any]] | None:
    """Return the reader of a path whose name is that of a slide; nothing is opened."""
    paths = [path] if isinstance(path, str | Path) else path
    return read_slides if paths and all(_looks_like_a_slide(one) for one in paths) else None


def read_slides(path: str | Sequence[str]) -> list[Any]:
    """Read one or several slides as layers."""
    from napari import current_viewer
    from napari.utils.notifications import show_error

    from napari_hrpn.slides import SlideError, as_location

    viewer = current_viewer()
    layers: list[Any] = []
    for one in [path] if isinstance(path, str | Path) else path:
        try:
            layers += _layers_of_file(as_location(one), viewer)
        except SlideError as error:
            if viewer is None:
                raise
            # napari would show an exception as a traceback, or ask the user for another plugin
            show_error(str(error))
    return layers or [(None,)]


def _layers_of_file(path: Location, viewer: napari.Viewer | None) -> list[LayerData]:
    from napari_hrpn.plugin.viewer import slide_title
    from napari_hrpn.slides import list_series, open_slide

    series = list_series(path)
    layers: list[LayerData] = []
    for info in series[:_MOST_SERIES]:
        slide = open_slide(path, series=info.index)
        title = slide_title(slide)
        if len(series) > 1:
            title = f"{title} {info.name or f'image {info.index}'}"
        layers += _shown(slide, viewer, title, visible=not layers)
    if len(series) > _MOST_SERIES:
        _warn_of_more(path, len(series))
    return layers


def _shown(slide: Slide, viewer: napari.Viewer | None, title: str, *, visible: bool) -> list[LayerData]:
    """Layers of a slide; in a viewer, levels that are not stored are built in the background."""
    from napari_hrpn.plugin.viewer import make_room, settle_soon, shown_layers, slide_layers, widen_slider
    from napari_hrpn.slides import prediction_record

    if viewer is None:
        return slide_layers(slide, title=title, visible=visible)
    viewer.layers.events.inserted.connect(widen_slider)
    layers = shown_layers(viewer, slide, title=title, visible=visible)
    if visible and prediction_record(slide.source) is None:
        make_room(viewer, slide)
    settle_soon(viewer)
    return [*layers, *_calibrated(slide, title)]


def _calibrated(slide: Slide, title: str) -> list[LayerData]:
    """The calibrated prediction as a hidden layer, if the slide is a prediction that was calibrated."""
    from napari.utils.notifications import show_warning

    from napari_hrpn.analysis import AnalysisError, saved_calibration
    from napari_hrpn.plugin.viewer import calibrated_layer
    from napari_hrpn.slides import SlideError

    try:
        calibration = saved_calibration(slide)
    except (AnalysisError, SlideError) as error:
        show_warning(str(error))
        return []
    if calibration is None:
        return []
    data, attributes, kind = calibrated_layer(slide, calibration, title=title)
    return [(data, {**attributes, "visible": False}, kind)]


def _warn_of_more(path: Location, count: int) -> None:
    import warnings

    from napari_hrpn.slides import SlideWarning

    warnings.warn(
        f"{path.name} holds {count} images and the first {_MOST_SERIES} are opened: "
        f"in a script, `napari_hrpn.open_slide(path, series={_MOST_SERIES})` opens the next one.",
        SlideWarning,
        stacklevel=2,
    )


def _looks_like_a_slide(words: str | Path) -> bool:
    from napari_hrpn.slides.formats import FILE_SUFFIXES, FOLDER_SUFFIXES
    from napari_hrpn.slides.location import ZARR_METADATA, is_address

    path = Path(words)
    name = path.name.lower()
    if name in ZARR_METADATA:
        return True
    if is_address(words):
        return name.endswith(FOLDER_SUFFIXES)
    if not path.is_dir():
        return name.endswith(FILE_SUFFIXES)
    return (
        name.endswith(FOLDER_SUFFIXES) or any((path / known).is_file() for known in ZARR_METADATA) or _holds_tiffs(path)
    )


def _holds_tiffs(folder: Path) -> bool:
    from napari_hrpn.slides.formats import STAIN_SUFFIXES

    try:
        return any(child.suffix.lower() in STAIN_SUFFIXES for child in folder.iterdir())
    except OSError:
        return False

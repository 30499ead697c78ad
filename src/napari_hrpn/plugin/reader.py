"""Readers of slides and of annotations (GeoJSON, ROIs of ImageJ) that are dropped on napari or opened with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari

    from napari_hrpn.plugin.viewer import LayerData
    from napari_hrpn.slides import Location, Slide

_MOST_SERIES = 4
_GEOJSON = (".geojson", ".geojson.gz")
_IMAGEJ = (".roi", ".zip")


def get_reader(path: str | list[str]) -> Callable[[Any], list[Any]] | None:
    """Return the reader of a path whose name is that of a slide; nothing is opened."""
    paths = [path] if isinstance(path, str | Path) else path
    return read_slides if paths and all(_looks_like_a_slide(one) for one in paths) else None


def read_slides(path: str | Sequence[str]) -> list[Any]:
    """Read one or several slides as layers."""
    return _read(path, _layers_of_file)


def get_region_reader(path: str | list[str]) -> Callable[[Any], list[Any]] | None:
    """Return the reader of annotations, if all paths are named as such and ZIP files have ROIs of ImageJ."""
    paths = [path] if isinstance(path, str | Path) else path
    return read_annotations if paths and all(_looks_like_annotations(Path(one)) for one in paths) else None


def read_annotations(path: str | Sequence[str]) -> list[Any]:
    """Read the annotations of one or several files as Shapes layers on the active slide."""
    return _read(path, _layers_of_annotations)


def _read(
    path: str | Sequence[str], layers_of: Callable[[Location, napari.Viewer | None], list[LayerData]]
) -> list[Any]:
    from napari import current_viewer
    from napari.utils.notifications import show_error

    from napari_hrpn.slides import SlideError, as_location

    viewer = current_viewer()
    layers: list[Any] = []
    for one in [path] if isinstance(path, str | Path) else path:
        try:
            layers += layers_of(as_location(one), viewer)
        except SlideError as error:
            if viewer is None:
                raise
            # napari would show an exception as a traceback, or ask the user for another plugin
            show_error(str(error))
    return layers or [(None,)]


def _layers_of_file(path: Location, viewer: napari.Viewer | None) -> list[LayerData]:
    from napari_hrpn.plugin.viewer import slide_title
    from napari_hrpn.plugin.viewer.label_layers import label_layers
    from napari_hrpn.slides import list_series, open_slide

    series = list_series(path)
    layers: list[LayerData] = []
    for info in series[:_MOST_SERIES]:
        slide = open_slide(path, series=info.index)
        title = slide_title(slide)
        if len(series) > 1:
            title = f"{title} {info.name or f'image {info.index}'}"
        layers += _shown(slide, viewer, title, visible=not layers)
        layers += label_layers(slide, title)
    if len(series) > _MOST_SERIES:
        _warn_of_more(path, len(series))
    return layers


def _layers_of_annotations(path: Location, viewer: napari.Viewer | None) -> list[LayerData]:
    from napari.utils.notifications import show_info

    from napari_hrpn.plugin.viewer import active_slide_layer, slide_of
    from napari_hrpn.plugin.viewer.annotation_layers import annotation_layer
    from napari_hrpn.slides import local_path, read_geojson, warn_of_parts_beyond
    from napari_hrpn.slides.imagej_rois import read_imagej_rois

    file = local_path(path)
    is_imagej = file.suffix.lower() in _IMAGEJ
    annotations = read_imagej_rois(file) if is_imagej else read_geojson(file, everything=True)
    image = None if viewer is None else active_slide_layer(viewer)
    slide = None if image is None else slide_of(image)
    shown = [one for one in annotations if one.rings]
    if slide is not None:
        warn_of_parts_beyond(shown, slide.shape, file.name)
    elif viewer is not None:
        show_info(
            f"No slide is open, so {file.name} is shown in pixels: to place it in µm, open its slide and then the file "
            "again."
        )
    if len(shown) < len(annotations):
        number = len(annotations) - len(shown)
        what = "An object" if number == 1 else f"{number} objects"
        show_info(f"{what} of {file.name} without area: not shown, but saved with its layer.")
    title = file.name.removesuffix(".gz").removesuffix(".geojson") if not is_imagej else file.stem
    return [annotation_layer(annotations, title, slide, image)]


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


def _looks_like_annotations(path: Path) -> bool:
    from napari_hrpn.slides.imagej_rois import holds_rois

    name = path.name.lower()
    return name.endswith((*_GEOJSON, ".roi")) or (name.endswith(".zip") and holds_rois(path))


def _holds_tiffs(folder: Path) -> bool:
    from napari_hrpn.slides.formats import STAIN_SUFFIXES

    try:
        return any(child.suffix.lower() in STAIN_SUFFIXES for child in folder.iterdir())
    except OSError:
        return False

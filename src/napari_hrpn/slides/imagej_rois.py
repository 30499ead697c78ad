"""ImageJ and Fiji ROIs: a file of one (.roi) or of those of the ROI Manager (.zip), read by roifile (extra `fiji`).

Areas of ImageJ have the same coordinates as those of QuPath: the first pixel reaches from 0 to 1.
"""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError, reading_errors, warn
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.polygons import ellipse, nested
from napari_hrpn.slides.region import Annotation

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from roifile import ImagejRoi

_LARGEST_BYTES = 2**28
_AREAS = ("POLYGON", "RECT", "OVAL", "FREEHAND", "TRACED")
_FEWEST_POINTS = 3


def read_imagej_rois(path: str | os.PathLike[str]) -> tuple[Annotation, ...]:
    """Read regions of ImageJ; points, lines and texts are left out with a `SlideWarning`."""
    checked = user_path(path)
    if importlib.util.find_spec("roifile") is None:
        raise SlideError(
            f"{checked.name} has ROIs of ImageJ, and reading them needs roifile, which is not installed: "
            "pip install 'napari-hrpn[fiji]'."
        )
    from roifile import ImagejRoi

    with reading_errors(f"{checked.name} cannot be read as ROIs of ImageJ"):
        rois = [(name, ImagejRoi.frombytes(data)) for name, data in _members(checked)]
        found = [_annotation(roi, name) for name, roi in rois]
    regions = tuple(one for one in found if one.rings)
    if not regions:
        msg = f"{checked.name} has no area among its {len(found)} ROIs, expected at least one: draw a region in Fiji."
        raise SlideError(msg)
    if len(regions) < len(found):
        left_out = len(found) - len(regions)
        warn(f"{checked.name} has {left_out} ROIs that are points, lines, texts or empty: they are left out.")
    return regions


def holds_rois(path: Path) -> bool:
    """Whether a ZIP file has ROIs of ImageJ by the names in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(".roi") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _members(path: Path) -> list[tuple[str, bytes]]:
    """Names and contents of the ROIs in a file."""
    if path.suffix.lower() != ".zip":
        with path.open("rb") as file:
            return [(path.stem, _checked(file.read(_LARGEST_BYTES + 1), path))]
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [one for one in archive.infolist() if one.filename.lower().endswith(".roi")]
            if sum(one.file_size for one in inside) > _LARGEST_BYTES:
                raise SlideError(f"{path.name} unpacks to more than 268 MB, expected ROIs of ImageJ: save fewer ROIs.")
            # no more is unpacked of a member than the size that it is said to have
            return [(Path(one.filename).stem, _checked(archive.read(one), path)) for one in inside]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SlideError(f"{path.name} is damaged or no ZIP file ({error}): save the ROIs again in Fiji.") from error


def _checked(data: bytes, path: Path) -> bytes:
    if not data.startswith(b"Iout") or len(data) > _LARGEST_BYTES:
        raise SlideError(f"{path.name} holds no ROI of ImageJ, expected one in the format .roi: save it again in Fiji.")
    return data


def _annotation(roi: ImagejRoi, file_name: str) -> Annotation:
    # texts and images have the outlines of rectangles
    is_area = roi.roitype.name in _AREAS and roi.subtype.name not in ("TEXT", "IMAGE", "ARROW")
    rings = [ring for ring in _outlines(roi) if len(ring) >= _FEWEST_POINTS] if is_area else []
    return Annotation(printable(roi.name or file_name), "include", nested(rings))


def _outlines(roi: ImagejRoi) -> list[NDArray[np.float64]]:
    """Outlines of a ROI, without the first point repeated, as y and x."""
    if roi.roitype.name in ("RECT", "OVAL") and not roi.composite:
        x, y, width, height = roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top
        if roi.subpixelrect:
            x, y, width, height = roi.xd, roi.yd, roi.widthd, roi.heightd
        if roi.roitype.name == "OVAL":
            half_width, half_height = np.array([0, width / 2]), np.array([height / 2, 0])
            return [ellipse(np.array([y, x]) + half_height + half_width, half_width, half_height)]
        return [np.array([(0, 0), (0, 1), (1, 1), (1, 0)], float) * (height, width) + (y, x)]
    found = [np.asarray(points, np.float64).reshape(-1, 2)[:, ::-1] for points in roi.coordinates(multi=True)]
    if not all(np.isfinite(ring).all() for ring in found):
        raise SlideError(f"The ROI {printable(roi.name)} has a point that is not finite: draw it again in Fiji.")
    return [ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring for ring in found]

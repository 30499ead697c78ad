"""A small phantom tumour on disk with predictions of it, to be evaluated."""

from dataclasses import dataclass, replace
from pathlib import Path

import dask.array as da
import numpy as np
from scipy import ndimage

from napari_hrpn.core import drive
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.slides import Annotation, Slide, coarser_levels, write_geojson, write_ome_tiff

HEIGHT, WIDTH = 416, 512
PIXEL_UM = 1.2
TISSUE = slice(32, 400), slice(16, 450)
ROI = slice(40, 340), slice(60, 420)


@dataclass(frozen=True)
class EvaluatedSlide:
    """Files, and the pixels in them."""

    folder: Path
    real: Path
    good: Path
    poor: Path
    mask: Path
    rois: Path
    y: np.ndarray
    p: np.ndarray

    @property
    def words(self) -> list[str]:
        """What the command is told of the slide and its better prediction."""
        return [str(self.real), str(self.good), "--mask", str(self.mask), "--roi", str(self.rois)]


def write_slide(pixels: np.ndarray, names: tuple[str, ...], path: Path, pixel_um: float | None = PIXEL_UM) -> Path:
    """Write an image of shape (c, y, x)."""
    finest = da.from_array(pixels, chunks=(1, 256, 256), name=False)
    size = None if pixel_um is None else (pixel_um, pixel_um)
    drive(write_ome_tiff(Slide((finest, *coarser_levels(finest)), names, size, Path("made-up")), path))
    return path


def box(rows: slice, columns: slice, name: str) -> Annotation:
    """A rectangle of whole pixels as an annotation."""
    corners = [(y, x) for y, x in ((0, 0), (0, 1), (1, 1), (1, 0))]
    ends = ((rows.start, rows.stop), (columns.start, columns.stop))
    return Annotation(name, "include", ((np.array([[ends[0][y], ends[1][x]] for y, x in corners], float),),))


def evaluated_slide(folder: Path, seed: int = 1) -> EvaluatedSlide:
    """Make a slide, a good and a poor prediction, a mask of the tissue and two regions."""
    settings = replace(PHANTOM_PRESETS["tiny"], has_outline=False, pixel_size_um=PIXEL_UM)
    pixels = np.asarray(phantom_slide(settings, size=(HEIGHT, WIDTH), seed=seed).slide.levels[0].compute())
    y, noise = pixels[2], np.random.default_rng(seed).normal(0, 2, pixels[2].shape)
    p = np.clip(0.8 * ndimage.gaussian_filter(y.astype(float), 1) + 3 + noise, 0, 255).astype(np.uint8)
    poor = ndimage.gaussian_filter(pixels[1].astype(np.float32), 4)
    mask = np.zeros(y.shape, np.uint8)
    mask[TISSUE] = 1
    np.save(folder / "mask.npy", mask)
    write_geojson([box(*ROI, "centre"), box(slice(8, 20), slice(8, 30), "")], folder / "rois.geojson")
    return EvaluatedSlide(
        folder,
        write_slide(pixels, ("DAPI", "CD31", "QD"), folder / "slide.ome.tif"),
        write_slide(p[None], ("predicted QD",), folder / "slide.good.ome.tif"),
        write_slide(poor[None], ("predicted QD",), folder / "slide.poor.ome.tif"),
        folder / "mask.npy",
        folder / "rois.geojson",
        y,
        p,
    )

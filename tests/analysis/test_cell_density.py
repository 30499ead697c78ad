import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import peak_local_max

from napari_hrpn.analysis import AnalysisError, CellSettings, cell_density
from napari_hrpn.analysis.tissue import strip_filter
from napari_hrpn.core import drive
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.phantom.nuclei import nuclei_within
from napari_hrpn.phantom.sampling import Bounds
from napari_hrpn.phantom.tissue import LONGEST_UM, TissueShape, vessels_within
from napari_hrpn.slides import RegionMask
from support.vessel_slides import slide_of


def spots(seed: int = 0) -> np.ndarray:
    image = np.zeros((200, 240))
    image[10::20, 15::20] = 1
    smooth = ndimage.gaussian_filter(image, 3) * 5000
    return (smooth + 10 + np.random.default_rng(seed).normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8)


def test_separate_spots_are_counted() -> None:
    found = drive(cell_density(slide_of(spots()), 0))
    assert found.n == 10 * 12
    assert found.density_per_mm2 == pytest.approx(120 / 0.048)


def test_only_the_tissue_counts() -> None:
    left = RegionMask(np.array([[True, False]]), (200.0, 120.0))
    found = drive(cell_density(slide_of(spots()), 0, left))
    assert (found.n, found.tissue_mm2) == (60, 0.024)
    nowhere = RegionMask(np.zeros((1, 1), bool), (200.0, 240.0))
    assert drive(cell_density(slide_of(spots()), 0, nowhere)).reason == "there is no tissue"


def test_peaks_are_those_of_scikit_image_whatever_the_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(1).integers(0, 65_536, (150, 130), np.uint16)
    settings = CellSettings(smoothing_um=0.3, separation_um=4.0, threshold=30_000)
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 0.3, mode="nearest")
    rows, columns = np.mgrid[-4:5, -4:5]
    near = np.hypot(rows, columns) <= 4
    expected = peak_local_max(smooth, threshold_abs=30_000, footprint=near, exclude_border=False)
    monkeypatch.setattr(strip_filter, "STRIP_ROWS", (23, 23))
    assert drive(cell_density(slide_of(image), 0, settings=settings)).n == len(expected) > 100


def test_plateau_is_one_cell() -> None:
    image = np.zeros((40, 40), np.uint8)
    image[10:13, 10:13] = 100
    settings = CellSettings(smoothing_um=1e-3, threshold=50)
    assert drive(cell_density(slide_of(image), 0, settings=settings)).n == 1


@pytest.mark.parametrize(("density", "low", "high"), [(1500.0, 0.93, 1.05), (5000.0, 0.82, 0.97)])
def test_nuclei_of_a_phantom_are_nearly_all_counted(density: float, low: float, high: float) -> None:
    settings = replace(PHANTOM_PRESETS["tumour"], has_outline=False, pixel_size_um=0.5488)
    settings = replace(settings, nucleus_density_per_mm2=density)
    extent_um = 1024 * settings.pixel_size_um
    tissue, bounds = TissueShape(settings, (extent_um, extent_um), 5), Bounds(0, 0, extent_um, extent_um)
    vessels = vessels_within(bounds.grown(LONGEST_UM), settings, tissue)
    truth = len(nuclei_within(bounds, settings, tissue, vessels).brightness)
    image = phantom_slide(settings, size=1024, seed=5).slide.levels[0][0].compute()
    found = drive(cell_density(slide_of(image, settings.pixel_size_um), 0))
    assert low * truth < found.n < high * truth


def test_pixels_that_show_no_cells_give_no_number() -> None:
    found = drive(cell_density(slide_of(spots(), 4.0), 0))
    assert math.isnan(found.density_per_mm2)
    assert "too large for cells" in found.reason


def test_settings_say_what_is_wrong() -> None:
    with pytest.raises(AnalysisError, match="separation_um is 0"):
        CellSettings(separation_um=0)

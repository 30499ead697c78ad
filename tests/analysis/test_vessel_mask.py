from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects

from napari_hrpn.analysis import AnalysisError, VesselSettings, edited_vessel_mask, vessel_mask
from napari_hrpn.analysis.tissue import strip_filter
from napari_hrpn.core import Progress, drive
from napari_hrpn.slides import RegionMask
from support.vessel_slides import discs, slide_of

PLAIN = VesselSettings(smoothing_um=0.0, closing_um=0.0, smallest_um2=0.0, largest_lumen_um2=0.0)
CENTRES = np.array([[60, 70], [60, 200], [180, 120], [250, 250]])


def stained(radius: float = 9.0, seed: int = 0, dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    truth = discs((300, 320), CENTRES, radius)
    noise = np.random.default_rng(seed).normal(0, 4, truth.shape)
    return (20 + 100 * truth + noise).clip(0, 255).astype(dtype), truth


def test_drawn_vessels_are_found() -> None:
    image, truth = stained()
    found = drive(vessel_mask(slide_of(image), 0))
    assert found.objects.count == len(CENTRES)
    assert (found.mask ^ truth).sum() < 0.03 * truth.sum()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_threshold_is_otsus_of_the_tissue(dtype: type) -> None:
    image, truth = stained(dtype=dtype)
    found = drive(vessel_mask(slide_of(image), 0, settings=PLAIN))
    assert found.threshold == threshold_otsu(image)
    np.testing.assert_array_equal(found.mask, image > found.threshold)
    half = RegionMask(np.array([[True, False]]), (300.0, 160.0))
    left = drive(vessel_mask(slide_of(image), 0, half, PLAIN))
    assert left.threshold == threshold_otsu(image[:, :160])
    assert not left.mask[:, 160:].any()
    assert (left.mask[:, :160] == truth[:, :160]).all()


def test_floating_point_and_stated_levels() -> None:
    image, truth = stained()
    found = drive(vessel_mask(slide_of(image / 1000 - 5), 0, settings=PLAIN))
    assert found.threshold == pytest.approx(threshold_otsu(image) / 1000 - 5, abs=0.001)
    np.testing.assert_array_equal(found.mask, truth)
    stated = drive(vessel_mask(slide_of(image), 0, settings=replace(PLAIN, threshold=110.0)))
    np.testing.assert_array_equal(stated.mask, image > 110)


@pytest.mark.parametrize(("smoothing_um", "closing_um"), [(1.3, 2.0), (0.0, 4.0)])
def test_result_is_that_of_one_piece(monkeypatch: pytest.MonkeyPatch, smoothing_um: float, closing_um: float) -> None:
    noise = np.random.default_rng(3).random((230, 170))
    image = (ndimage.gaussian_filter(noise, 2) * 1000 % 250).astype(np.uint8)
    settings = VesselSettings(smoothing_um=smoothing_um, closing_um=closing_um, largest_lumen_um2=0)
    whole = drive(vessel_mask(slide_of(image), 0, settings=settings))
    monkeypatch.setattr(strip_filter, "STRIP_ROWS", (17, 17))
    strips = drive(vessel_mask(slide_of(image, chunk=31), 0, settings=settings))
    assert strips.threshold == whole.threshold
    np.testing.assert_array_equal(strips.mask, whole.mask)
    assert 0.05 < whole.fraction < 0.95


def test_lumens_are_filled_but_not_the_tissue_between_vessels() -> None:
    truth = discs((300, 320), CENTRES[:1], 12) & ~discs((300, 320), CENTRES[:1], 8)
    truth |= discs((300, 320), np.array([[200, 200]]), 70) & ~discs((300, 320), np.array([[200, 200]]), 66)
    settings = replace(PLAIN, largest_lumen_um2=1000)
    found = drive(vessel_mask(slide_of(truth.astype(np.uint8) * 90), 0, settings=settings)).mask
    assert found[60, 70]
    assert not found[200, 200]
    np.testing.assert_array_equal(found, truth | discs(truth.shape, CENTRES[:1], 8))


def test_hole_at_the_border_is_not_a_lumen() -> None:
    image = np.zeros((60, 60), np.uint8)
    image[0:20, 20:40] = 90
    image[0:15, 25:35] = 0
    found = drive(vessel_mask(slide_of(image), 0, settings=replace(PLAIN, largest_lumen_um2=1000)))
    np.testing.assert_array_equal(found.mask, image > 0)


def test_gaps_in_a_wall_are_closed_before_lumens_are_filled() -> None:
    ring = discs((80, 80), np.array([[40, 40]]), 14) & ~discs((80, 80), np.array([[40, 40]]), 9)
    ring[39:41, 40:] = False
    settings = VesselSettings(smoothing_um=0, closing_um=2, largest_lumen_um2=1000)
    assert drive(vessel_mask(slide_of(ring.astype(np.uint8) * 90), 0, settings=settings)).mask[40, 40]
    open_ring = replace(settings, closing_um=0.0)
    assert not drive(vessel_mask(slide_of(ring.astype(np.uint8) * 90), 0, settings=open_ring)).mask[40, 40]


@pytest.mark.parametrize("pixel_um", [(1.0, 1.0), (0.5, 2.0)])
def test_dust_is_removed_by_its_area_in_square_micrometres(pixel_um: tuple[float, float]) -> None:
    image = (np.random.default_rng(5).random((90, 110)) < 0.2).astype(np.uint8)
    settings = replace(PLAIN, smallest_um2=6.0, threshold=0.5, pixel_um=max(pixel_um))
    found = drive(vessel_mask(slide_of(image, pixel_um), 0, settings=settings))
    np.testing.assert_array_equal(found.mask, remove_small_objects(image > 0, max_size=5, connectivity=2))


def test_works_at_the_level_of_the_settings_and_reads_each_chunk_twice() -> None:
    reads: list[tuple[int, ...]] = []
    image, _ = stained()

    def read(block_id: tuple[int, ...]) -> np.ndarray:
        reads.append(block_id)
        return image[None, block_id[1] * 100 : block_id[1] * 100 + 100]

    level = da.map_blocks(read, chunks=((1,), (100,) * 3, (320,)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    fine = slide_of(np.zeros((1200, 1280), np.uint8), 0.25)
    made_up = replace(fine, levels=(fine.levels[0], level))
    found = drive(vessel_mask(made_up, 0))
    assert found.mask.shape == (300, 320)
    assert found.pixel_um == (1.0, 1.0)
    assert sorted(reads) == sorted([(0, row, 0) for row in range(3)] * 2)


@pytest.mark.parametrize("grey", [0, 77])
def test_slide_without_contrast_has_no_vessel(grey: int) -> None:
    found = drive(vessel_mask(slide_of(np.full((90, 80), grey, np.uint8)), 0))
    assert not found.mask.any()
    assert found.objects.count == 0


def test_reports_count_up_to_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strip_filter, "STRIP_ROWS", (100, 100))
    slide = slide_of(stained()[0])
    assert list(vessel_mask(slide, 0)) == [Progress(i, 6) for i in range(1, 7)]
    assert list(vessel_mask(slide, 0, settings=VesselSettings(threshold=60))) == [Progress(i, 3) for i in (1, 2, 3)]


def test_edited_mask_takes_its_place() -> None:
    slide = slide_of(np.zeros((301, 200), np.uint8), 0.5)
    labels = np.zeros((76, 50), np.int32)
    labels[10:20, 10:20] = 7
    labels[10:20, 20:25] = 8
    edited = edited_vessel_mask(labels, slide)
    assert edited.objects.count == 1
    assert edited.pixel_um == pytest.approx((0.5 * 301 / 76, 2.0))
    np.testing.assert_array_equal(edited.mask, labels > 0)


@pytest.mark.parametrize("shape", [(400, 200), (40, 100), (40,)])
def test_edited_mask_that_cannot_be_of_the_slide_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AnalysisError, match=r"the vessel mask .*; expected"):
        edited_vessel_mask(np.zeros(shape, np.uint8), slide_of(np.zeros((300, 200), np.uint8)))


def test_slide_without_a_pixel_size_is_refused() -> None:
    with pytest.raises(AnalysisError, match="has no pixel size"):
        drive(vessel_mask(slide_of(stained()[0], None), 0))


@pytest.mark.parametrize("settings", [VesselSettings(), VesselSettings(threshold=60.0)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused(settings: VesselSettings, value: float) -> None:
    image = stained()[0].astype(np.float32)
    image[5, 5] = value
    with pytest.raises(AnalysisError, match="not finite"):
        drive(vessel_mask(slide_of(image), 0, settings=settings))


@pytest.mark.parametrize("wrong", [{"pixel_um": 0.0}, {"smoothing_um": -1.0}, {"smallest_um2": float("nan")}])
def test_settings_say_what_is_wrong(wrong: dict[str, float]) -> None:
    with pytest.raises(AnalysisError, match=r" is .* µm²?; expected"):
        VesselSettings(**wrong)


def test_real_vessels_are_brighter_than_the_rest(shared_data: Path) -> None:
    from napari_hrpn.slides import open_slide

    slide = open_slide(shared_data / "dextran" / "fov01.ome.tif")
    found = drive(vessel_mask(slide, 1))
    image = slide.levels[0][1].compute()
    assert 0.02 < found.fraction < 0.1
    assert image[found.mask].mean() > 5 * image[~found.mask].mean()

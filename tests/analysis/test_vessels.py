import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from skimage.morphology import skeletonize

from napari_hrpn.analysis import VesselSettings, measure_vessels, vessel_mask
from napari_hrpn.analysis.tissue import vessels
from napari_hrpn.core import drive
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.phantom.sampling import Bounds
from napari_hrpn.phantom.tissue import TissueShape, vessels_within
from napari_hrpn.slides import RegionMask
from support.vessel_slides import discs, drawn_mask, slide_of


def capsule(length: float, radius: float, degrees: float, size: int = 300) -> np.ndarray:
    """A vessel along its section: a line of a length, as thick as twice the radius."""
    y, x = np.mgrid[:size, :size] - size / 2 + 0.3
    along_y, along_x = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    along = np.clip(y * along_y + x * along_x, -length / 2, length / 2)
    return np.hypot(y - along * along_y, x - along * along_x) <= radius


def line_of_chain(pixel_um: tuple[float, float]) -> float:
    """Length of a line over that of its chain of pixels, on average over directions tried one by one."""
    angles = np.linspace(0, math.pi / 2, 20_001)
    steps = np.stack([np.sin(angles) / pixel_um[0], np.cos(angles) / pixel_um[1]])
    diagonal = steps.min(axis=0)
    return 1 / float((np.hypot(*pixel_um) * diagonal + np.array(pixel_um) @ (steps - diagonal)).mean())


def measured(mask: np.ndarray, image: np.ndarray | None = None, pixel_um: tuple[float, float] = (1.0, 1.0)):
    stain = np.zeros(mask.shape, np.uint8) if image is None else image
    return drive(measure_vessels(slide_of(stain, pixel_um), 0, drawn_mask(mask, pixel_um)))


def test_density_and_area_fraction_of_a_drawn_image() -> None:
    centres = np.array([[y, x] for y in range(50, 1000, 100) for x in range(50, 1000, 100)])
    mask = discs((1000, 1000), centres, 6.0)
    table = measured(mask)
    assert (table.n, table.tissue_mm2, table.density_per_mm2) == (100, 1.0, 100.0)
    assert table.area_fraction == mask.mean()
    assert table.area_fraction == pytest.approx(100 * math.pi * 36 / 1e6, rel=0.01)
    assert {row.equivalent_diameter_um for row in table.vessels} == {2 * math.sqrt(mask.sum() / 100 / math.pi)}
    np.testing.assert_allclose([(row.centroid_y_px, row.centroid_x_px) for row in table.vessels], centres)


def test_only_vessels_in_the_tissue_count() -> None:
    mask = discs((200, 400), np.array([[100, 50], [100, 150], [100, 320]]), 8.0)
    tissue = RegionMask(np.array([[True, False]]), (200.0, 200.0))
    table = drive(measure_vessels(slide_of(np.zeros((200, 400), np.uint8)), 0, drawn_mask(mask), tissue))
    assert [row.label for row in table.vessels] == [1, 2]
    assert (table.tissue_mm2, table.density_per_mm2) == (0.04, 50.0)
    nowhere = RegionMask(np.zeros((1, 1), bool), (200.0, 400.0))
    empty = drive(measure_vessels(slide_of(np.zeros((200, 400), np.uint8)), 0, drawn_mask(mask), nowhere))
    assert math.isnan(empty.density_per_mm2)
    assert empty.reason == "there is no tissue"


def test_ring_in_annular_tissue_has_its_area_and_length() -> None:
    """Its centroid lies in the hole of the tissue, so it is no vessel that counts, but its pixels are there."""
    y, x = np.ogrid[:300, :300]
    far = np.hypot(y - 149.5, x - 149.5)
    mask, tissue = (far > 95) & (far < 100), RegionMask((far > 40) & (far < 140), (1.0, 1.0))
    table = drive(measure_vessels(slide_of(np.zeros(mask.shape, np.uint8)), None, drawn_mask(mask), tissue))
    assert (table.n, table.density_per_mm2) == (0, 0.0)
    assert table.area_fraction == (mask & tissue.mask).sum() / tissue.mask.sum()
    assert table.length_density_mm_per_mm2 * table.tissue_mm2 == pytest.approx(2 * math.pi * 97.5 / 1000, rel=0.02)


def test_half_of_a_vessel_that_a_region_cuts_counts() -> None:
    mask = np.zeros((100, 200), bool)
    mask[50:54, 20:180] = True
    left = RegionMask(np.arange(200)[None] < 90, (100.0, 1.0))
    table = drive(measure_vessels(slide_of(np.zeros(mask.shape, np.uint8)), None, drawn_mask(mask), left))
    assert table.n == 0
    assert table.area_fraction == 4 * 70 / 9000
    assert table.length_density_mm_per_mm2 * 9 == pytest.approx(0.948 * 70, abs=2)


@pytest.mark.parametrize("tile_px", [29, 1024])
def test_parts_of_the_tissue_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch, tile_px: int) -> None:
    """Against pixels and steps counted one by one; regions with holes, on another grid, cut vessels anywhere."""
    mask = capsule(80, 5, 33, 100) | capsule(80, 3, 110, 100)
    parts = np.random.default_rng(0).integers(0, 3, (20, 25))
    monkeypatch.setattr(vessels, "TILE_PX", tile_px)
    size = (2.0, 0.5)
    slide, drawn = slide_of(np.zeros(mask.shape, np.uint8), size), drawn_mask(mask, size)
    tables = [
        drive(measure_vessels(slide, None, drawn, tissue))
        for tissue in (None, *(RegionMask(parts == part, (5.0, 4.0)) for part in range(3)))
    ]
    there = np.kron(parts, np.ones((5, 4)))
    assert [table.area_fraction for table in tables[1:]] == [mask[there == part].mean() for part in range(3)]
    lengths = [table.length_density_mm_per_mm2 * table.tissue_mm2 for table in tables]
    assert lengths[0] == pytest.approx(sum(lengths[1:]), rel=1e-12)
    assert lengths[0] == pytest.approx(tables[0].vessels[0].length_um / 1000, rel=1e-12)
    line = skeletonize(mask)
    expected = 0.0
    for y, x in np.argwhere(line & (there == 1)):
        for down, right in itertools.product((-1, 0, 1), (-1, 0, 1)):
            if (
                (down or right)
                and line[y + down, x + right]
                and not (down and right and (line[y + down, x] or line[y, x + right]))
            ):
                expected += math.hypot(down * 2.0, right * 0.5) / 2
    assert 1000 * lengths[2] == pytest.approx(line_of_chain(size) * expected, rel=1e-5)


def test_vessels_cut_by_the_border_make_the_density_too_high_by_what_the_docs_say() -> None:
    """Discs of radius r in a square of side L: by 4 r / L, and the corners."""
    side, radius, margin, fields = 60, 6, 10, 250
    centres = np.random.default_rng(0).uniform(-margin, side + margin, (fields, 2))
    found = sum(measured(discs((side, side), centre[None] - 0.5, radius)).n for centre in centres)
    whole = fields * side**2 / (side + 2 * margin) ** 2
    assert found / whole == pytest.approx(1 + 4 * radius / side + math.pi * (radius / side) ** 2, rel=0.07)


@pytest.mark.parametrize("radius", [1.5, 3.0, 6.0, 15.0])
def test_lengths_and_widths_are_right_on_average_over_directions(radius: float) -> None:
    rows = [measured(capsule(160, radius, degrees)).vessels for degrees in range(0, 180, 10)]
    assert all(len(row) == 1 for row in rows)
    # the middle line of a capsule reaches somewhat into its round ends
    length = np.mean([row[0].length_um for row in rows])
    assert 160 * 0.98 < length < 160 + 2 * radius
    assert all(row[0].length_um > 0.92 * 160 for row in rows)
    np.testing.assert_allclose([row[0].mean_diameter_um for row in rows], 2 * radius, atol=1.0)


def test_round_cross_section_has_next_to_no_length() -> None:
    (row,) = measured(discs((60, 60), np.array([[30, 30]]), 9)).vessels
    assert row.length_um < 2
    assert row.mean_diameter_um == pytest.approx(row.equivalent_diameter_um, abs=1)


def test_anisotropic_pixels_are_measured_in_micrometres() -> None:
    mask = np.zeros((60, 200), bool)
    mask[10:50, 20] = mask[5, 100:150] = True
    mask[np.arange(20, 40), np.arange(120, 140)] = True
    across, down, diagonal = measured(mask, pixel_um=(2.0, 0.5)).vessels
    assert (down.area_um2, across.area_um2, diagonal.area_um2) == (40, 50, 20)
    factor = line_of_chain((2.0, 0.5))
    assert down.length_um == pytest.approx(factor * 39 * 2, rel=1e-5)
    assert across.length_um == pytest.approx(factor * 49 * 0.5, rel=1e-5)
    assert diagonal.length_um == pytest.approx(factor * 19 * math.hypot(2, 0.5), rel=1e-5)


def test_lengths_are_right_on_average_over_directions_of_anisotropic_pixels() -> None:
    assert line_of_chain((1.0, 1.0)) == pytest.approx(0.948, abs=0.0005)
    fine = [capsule(160, 3, degrees, 300) for degrees in range(0, 180, 10)]
    rows = [measured(mask[:, ::3], pixel_um=(1.0, 3.0)).vessels for mask in fine]
    length = np.mean([sum(vessel.length_um for vessel in row) for row in rows])
    assert length == pytest.approx(160, rel=0.03)


def test_crossing_vessels_count_no_step_twice() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:51, 30] = mask[30, 10:51] = True
    (row,) = measured(mask).vessels
    assert row.length_um == pytest.approx(0.948 * 80, rel=1e-4)


def test_stain_is_averaged_at_the_finest_level_that_the_mask_resolves() -> None:
    fine = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[4:9, 10:15] = mask[30:33, 2:30] = True
    slide = slide_of(fine, 0.3)
    drawn = drawn_mask(mask, 0.96, 3.2)
    table = drive(measure_vessels(slide, 0, drawn))
    level = slide.levels[1][0].compute()
    rows = np.minimum((np.arange(64) / 1.6).astype(int), 39)
    labels = drawn.objects.painted(slice(0, 40), slice(0, 40))[np.ix_(rows, rows)]
    assert [row.stain_mean for row in table.vessels] == [level[labels == label].mean() for label in (1, 2)]


def test_table_is_the_same_for_any_tile_size(monkeypatch: pytest.MonkeyPatch) -> None:
    phantom = phantom_slide("tiny", size=512, seed=2)
    mask = drive(vessel_mask(phantom.slide, 1, settings=VesselSettings(pixel_um=0.6)))
    whole = drive(measure_vessels(phantom.slide, 1, mask))
    assert whole.n > 2
    monkeypatch.setattr(vessels, "TILE_PX", 37)
    assert drive(measure_vessels(phantom.slide, 1, mask)) == whole


def test_long_vessels_are_the_same_for_any_tile_size(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = capsule(250, 7, 33) | capsule(250, 4, 110)
    stain = np.random.default_rng(0).integers(0, 65_536, mask.shape, np.uint16)
    whole = measured(mask, stain)
    monkeypatch.setattr(vessels, "TILE_PX", 41)
    monkeypatch.setattr(vessels, "WIDEST_UM", 40.0)
    assert measured(mask, stain) == whole


def test_phantom_has_the_density_that_it_was_made_with() -> None:
    settings = replace(PHANTOM_PRESETS["tumour"], has_outline=False, pixel_size_um=1.0, nucleus_density_per_mm2=0.0)
    extent_um = 1024 * settings.pixel_size_um
    inner = Bounds(0, 0, extent_um, extent_um)
    truth = vessels_within(inner, settings, TissueShape(settings, (extent_um, extent_um), 4))
    phantom = phantom_slide(settings, size=1024, seed=4)
    image = phantom.slide.levels[0][1].compute()
    slide = slide_of(image, settings.pixel_size_um)
    table = drive(measure_vessels(slide, 0, drive(vessel_mask(slide, 0))))
    mm2 = (extent_um / 1000) ** 2
    assert table.density_per_mm2 == pytest.approx(len(truth.radius_um) / mm2, rel=0.1)
    outer = truth.radius_um + settings.vessel_wall_um
    area = (math.pi * outer**2 + 4 * outer * truth.half_length_um).sum() / 1e6 / mm2
    assert table.area_fraction == pytest.approx(area, rel=0.15)


def test_mask_without_vessels_gives_an_empty_table() -> None:
    table = measured(np.zeros((50, 60), bool))
    assert (table.n, table.density_per_mm2, table.area_fraction, table.vessels) == (0, 0.0, 0.0, ())


def test_without_a_stain_nothing_is_read_and_there_is_no_mean() -> None:
    mask = discs((200, 400), np.array([[100, 50], [100, 150]]), 8.0)
    slide = slide_of(np.ones((200, 400), np.uint8))
    stained, drawn = (drive(measure_vessels(slide, channel, drawn_mask(mask))) for channel in (0, None))
    assert [replace(row, stain_mean=1.0) for row in drawn.vessels] == list(stained.vessels)
    assert all(math.isnan(row.stain_mean) for row in drawn.vessels)

import numpy as np
import pytest
from scipy import ndimage

from napari_hrpn.analysis import (
    AnalysisError,
    PenetrationSettings,
    ProbeImage,
    core_and_periphery,
    distance_bands,
    slide_penetration,
)
from napari_hrpn.core import drive
from napari_hrpn.slides import RegionMask
from support.vessel_slides import discs, drawn_mask, edge_distance, slide_of

SHAPE = (130, 150)
CENTRES = np.array([[20, 30], [70, 80], [66, 110], [110, 20]])
SETTINGS = PenetrationSettings(periphery_um=15.0)


@pytest.fixture
def tissue() -> RegionMask:
    return RegionMask(discs(SHAPE, np.array([[60, 70]]), 55), (1.0, 1.0))


@pytest.mark.parametrize("tile_px", [37, 1024])
def test_bands_are_those_of_the_distances(monkeypatch: pytest.MonkeyPatch, tissue: RegionMask, tile_px: int) -> None:
    monkeypatch.setattr("napari_hrpn.analysis.tissue.tissue_mask.TILE_PX", tile_px)
    mask = discs(SHAPE, CENTRES, 4)
    found = drive(distance_bands(drawn_mask(mask), tissue))
    distance = edge_distance(mask)
    expected = np.select([distance == 0, distance <= 10, distance <= 30, distance <= 60], [0, 1, 2, 3], 4)
    np.testing.assert_array_equal(found.labels, np.where(tissue.mask, expected, 0))
    assert found.names == ("0 to 10 µm", "10 to 30 µm", "30 to 60 µm", "more than 60 µm")
    assert found.downsample == (1.0, 1.0)


def test_core_and_periphery_part_at_their_distance_from_the_edge(tissue: RegionMask) -> None:
    found = core_and_periphery(slide_of(np.zeros(SHAPE, np.uint8)), tissue, SETTINGS)
    depth = ndimage.distance_transform_edt(tissue.mask)
    np.testing.assert_array_equal(found.labels, np.where(tissue.mask, 1 + (depth < 15), 0))
    assert found.names == ("core", "periphery, 15 µm")


def test_they_hold_the_pixels_that_are_measured(tissue: RegionMask) -> None:
    mask = discs(SHAPE, CENTRES, 4)
    slide = slide_of(np.ones(SHAPE, np.uint8))
    measured = drive(slide_penetration(drawn_mask(mask), [ProbeImage("probe", slide)], tissue, SETTINGS))
    bands = drive(distance_bands(drawn_mask(mask), tissue, SETTINGS)).labels
    edge = core_and_periphery(slide, tissue, SETTINGS).labels
    whole, *parts = measured.profiles
    assert [int((bands == label).sum()) for label in (1, 2, 3, 4)] == [band.n for band in whole.bands]
    assert [int(((edge == label) & ~mask).sum()) for label in (1, 2)] == [part.n for part in parts]


@pytest.mark.parametrize("everywhere", [None, RegionMask(np.ones((5, 5), bool), (26.0, 30.0))])
def test_tissue_without_an_edge_is_refused(everywhere: RegionMask | None) -> None:
    with pytest.raises(AnalysisError, match="no core and no periphery; expected tissue with an edge"):
        core_and_periphery(slide_of(np.zeros(SHAPE, np.uint8)), everywhere)

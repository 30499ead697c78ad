import math
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_hrpn.analysis import (
    AnalysisError,
    PenetrationSettings,
    ProbeImage,
    glass_levels,
    penetration,
    slide_penetration,
    vessel_mask,
)
from napari_hrpn.analysis.scan import block_scan
from napari_hrpn.core import drive
from napari_hrpn.phantom import phantom_slide
from napari_hrpn.phantom.sampling import Bounds
from napari_hrpn.phantom.tissue import LONGEST_UM, TissueShape, inside_vessels, vessels_within
from napari_hrpn.slides import RegionMask, Slide
from support.vessel_slides import PLAIN_TRANSPORT, discs, drawn_mask, edge_distance, slide_of

CENTRES = np.array([[20, 30], [70, 80], [66, 110], [110, 20]])


def scene(factor: int = 3, chunk: int = 512) -> tuple[np.ndarray, Slide, Slide]:
    """A vessel mask, and a real and a predicted image `factor` times as fine."""
    mask = discs((130, 150), CENTRES, 4)
    generator = np.random.default_rng(0)
    fine = np.kron(ndimage.distance_transform_edt(~mask), np.ones((factor, factor)))
    real = generator.poisson(4000 * np.exp(-fine / 30)).astype(np.uint16)
    return mask, slide_of(real, 1 / factor, chunk), slide_of((real // 3).astype(np.uint8), 1 / factor, chunk)


def test_slide_equals_the_array() -> None:
    mask, real, predicted = scene()
    images = [ProbeImage("real", real), ProbeImage("predicted", predicted)]
    found = drive(slide_penetration(drawn_mask(mask, 1.0, 3), images))
    distance = np.kron(edge_distance(mask), np.ones((3, 3)))
    arrays = {"real": real.levels[0][0].compute(), "predicted": predicted.levels[0][0].compute()}
    assert found.profiles == penetration(distance, arrays, pixel_um=(1.0, 1.0))


@pytest.mark.parametrize("chunk", [50, 111])
def test_result_is_the_same_for_any_tile_size(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    # chunks of 50 px cut through pixels of the mask
    mask, *slides = scene()
    images = [ProbeImage(name, slide) for name, slide in zip(("real", "predicted"), slides, strict=True)]
    cut = [ProbeImage(image.name, slide) for image, slide in zip(images, scene(chunk=chunk)[1:], strict=True)]
    tissue = RegionMask(discs((65, 75), np.array([[30, 35]]), 28), (6.0, 6.0))
    settings = PenetrationSettings(furthest_um=60, beyond_um=(10.0,), periphery_um=12.0)
    vessels = drawn_mask(mask, 1.0, 3)
    whole = drive(slide_penetration(vessels, images, tissue, settings))
    monkeypatch.setattr(block_scan, "BLOCK_EDGE", chunk)
    monkeypatch.setattr(block_scan, "BLOCK_PX", chunk**2)
    assert drive(slide_penetration(vessels, cut, tissue, settings)) == whole
    assert len(list(slide_penetration(vessels, cut, tissue, settings))) > 10


def test_core_and_periphery_part_at_their_distance_from_the_edge() -> None:
    mask, real, _ = scene()
    inside = discs((130, 150), np.array([[60, 70]]), 55)
    found = drive(
        slide_penetration(
            drawn_mask(mask, 1.0, 3),
            [ProbeImage("real", real)],
            RegionMask(inside, (3.0, 3.0)),
            PenetrationSettings(periphery_um=15.0),
        )
    )
    depth = ndimage.distance_transform_edt(inside)
    values, distance = real.levels[0][0].compute(), edge_distance(mask)
    areas = {"tissue": inside, "core": depth >= 15, "periphery": (depth < 15) & inside}
    assert [profile.area for profile in found.profiles] == list(areas)
    for profile, area in zip(found.profiles, areas.values(), strict=True):
        large = np.ones((3, 3))
        (expected,) = penetration(np.kron(distance, large), {"real": values}, np.kron(area, large).astype(bool))
        assert profile.shells == expected.shells


def test_tissue_that_fills_the_slide_has_no_edge() -> None:
    mask, real, _ = scene()
    everywhere = RegionMask(np.ones((5, 5), bool), (78.0, 90.0))
    found = drive(slide_penetration(drawn_mask(mask, 1.0, 3), [ProbeImage("real", real)], everywhere))
    assert [profile.area for profile in found.profiles] == ["tissue"]


def test_probe_near_a_vessel_is_that_of_the_pixels_nearest_to_it() -> None:
    mask, real, predicted = scene(1)
    images = [ProbeImage("real", real), ProbeImage("predicted", predicted)]
    found = drive(slide_penetration(drawn_mask(mask), images))
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    row, column = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    distance = edge_distance(mask)
    assert len(found.vessels) == 2 * len(CENTRES) * 3
    for item in found.vessels:
        near = (labels[row, column] == item.label) & (distance > 0) & (distance <= item.within_um)
        image = (real if item.image == "real" else predicted).levels[0][0].compute()
        assert (item.n, item.mean) == (near.sum(), image[near].mean(dtype=np.float64))


def test_anisotropic_pixels_are_measured_in_micrometres() -> None:
    mask, size = discs((130, 150), CENTRES, 4), (0.8, 2.0)
    image = np.random.default_rng(1).integers(0, 256, mask.shape, np.uint8)
    found = drive(slide_penetration(drawn_mask(mask, size), [ProbeImage("probe", slide_of(image, size))]))
    assert found.profiles == penetration(edge_distance(mask, size), {"probe": image}, pixel_um=size)


def test_slide_without_vessels_has_all_signal_far_away() -> None:
    _, real, _ = scene()
    found = drive(slide_penetration(drawn_mask(np.zeros((130, 150), bool), 1.0, 3), [ProbeImage("real", real)]))
    assert found.profiles[0].shells[-1].share == 1
    assert math.isnan(found.profiles[0].d50_um)
    assert found.vessels == ()


def test_only_the_tissue_is_read() -> None:
    mask, real, _ = scene()
    nowhere = RegionMask(np.zeros((5, 5), bool), (78.0, 90.0))
    unread = real.levels[0].map_blocks(lambda block: 1 / 0, dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16))
    slide = Slide((unread,), ("probe",), real.pixel_size_um, Path("made-up"))
    (profile, *_) = drive(slide_penetration(drawn_mask(mask, 1.0, 3), [ProbeImage("real", slide)], nowhere)).profiles
    assert profile.reason == "there is no pixel outside vessels"


def test_background_is_the_median_of_the_glass_where_there_is_enough() -> None:
    image = np.full((600, 600), 7, np.uint16)
    image[:, :60] = np.arange(600)[:, None] % 5 + 20
    images = [ProbeImage("real", slide_of(image)), ProbeImage("predicted", slide_of(image / 100))]
    glass = np.zeros((60, 60), bool)
    glass[:, :6] = True
    found = glass_levels(images, RegionMask(glass, (10.0, 10.0)))
    assert found == {"real": pytest.approx(22, abs=1), "predicted": pytest.approx(0.22, abs=0.01)}
    glass[:, 1:] = False
    assert glass_levels(images, RegionMask(glass, (10.0, 10.0))) == {}
    assert glass_levels(images, None) == {}


def test_images_that_do_not_belong_together_are_refused() -> None:
    mask, real, _ = scene()
    other = slide_of(np.zeros((10, 10), np.uint8))
    for images in ([], [ProbeImage("a", real), ProbeImage("b", other)], [ProbeImage("a", real), ProbeImage("a", real)]):
        with pytest.raises(AnalysisError, match="expected one or more of one size, with different names"):
            next(slide_penetration(drawn_mask(mask, 1.0, 3), images))


@pytest.fixture(scope="module")
def phantom() -> tuple[Slide, Slide, np.ndarray]:
    """A phantom whose vessels are far apart, its probe without noise, and which pixels lie in vessels."""
    size, seed = 1280, 1
    made = phantom_slide(PLAIN_TRANSPORT, size=size, seed=seed)
    noise_free = slide_of(made.noise_free_probe.compute())
    tissue = TissueShape(PLAIN_TRANSPORT, (float(size), float(size)), seed)
    vessels = vessels_within(Bounds(0, 0, size, size).grown(LONGEST_UM), PLAIN_TRANSPORT, tissue)
    pixels = np.stack(np.mgrid[:size, :size], -1).reshape(-1, 2) + 0.5
    inside = inside_vessels(pixels, vessels, PLAIN_TRANSPORT.vessel_wall_um).reshape(size, size)
    return slide_of(made.slide.levels[0].compute()), noise_free, inside


def test_profile_of_a_phantom_is_its_numerical_truth(phantom: tuple[Slide, Slide, np.ndarray]) -> None:
    """Measured vessels and noisy probe, against the vessels that were drawn and the probe without noise."""
    slide, noise_free, inside = phantom
    offset = PLAIN_TRANSPORT.offset_grey
    vessels = drive(vessel_mask(slide, 1))
    found = drive(slide_penetration(vessels, [ProbeImage("probe", slide, 2)], background={"probe": offset}))
    distance = edge_distance(inside)
    (truth,) = penetration(distance, {"probe": noise_free.levels[0][0].compute()}, background={"probe": offset})
    means = np.array([[shell.mean for shell in profile.shells[:25]] for profile in (*found.profiles, truth)])
    np.testing.assert_allclose(means[0], means[1], rtol=0.05)
    assert found.profiles[0].d50_um == pytest.approx(truth.d50_um, rel=0.05)


def test_phantom_shows_its_lambda(phantom: tuple[Slide, Slide, np.ndarray]) -> None:
    """At 25 vessels/mm2 and lambda 30 µm, 1/e is 26.8 µm where no unseen vessel beyond the border is near."""
    slide, noise_free, _ = phantom
    inner = np.zeros((64, 64), bool)
    inner[8:-8, 8:-8] = True
    found = drive(
        slide_penetration(
            drive(vessel_mask(slide, 1)),
            [ProbeImage("noisy", slide, 2), ProbeImage("noise-free", noise_free)],
            RegionMask(inner, (20.0, 20.0)),
            background=dict.fromkeys(("noisy", "noise-free"), PLAIN_TRANSPORT.offset_grey),
        )
    )
    for profile in found.profiles:
        if profile.area == "tissue":
            assert profile.decay_um == pytest.approx(26.8, rel=0.05)

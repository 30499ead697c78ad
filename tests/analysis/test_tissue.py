from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from napari_hrpn.analysis import TissueSettings, tissue_mask
from napari_hrpn.analysis.tissue import tissue_mask as tissue_module
from napari_hrpn.core import Box
from napari_hrpn.slides import RegionMask, Slide, coarser_levels, open_slide

PIXEL_UM = 1.0


def slide(nuclei: np.ndarray, pixel_um: float | None = PIXEL_UM) -> Slide:
    finest = da.from_array(np.stack([nuclei, np.zeros_like(nuclei)]), chunks=(1, 512, 512))
    size = None if pixel_um is None else (pixel_um, pixel_um)
    return Slide((finest, *coarser_levels(finest, smallest=100)), ("DAPI", "CD31"), size, Path("made-up"))


def disc(size: int, radius: float, centre: tuple[float, float]) -> np.ndarray:
    y, x = np.ogrid[:size, :size]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def nuclei_in(region: np.ndarray, seed: int = 0) -> np.ndarray:
    """Small bright spots, one in 15 x 15 px, on a noisy background."""
    generator = np.random.default_rng(seed)
    spots = np.zeros(region.shape)
    spots[5::15, 7::15] = 1
    spots = ndimage.gaussian_filter(spots * region, 3) * 2000
    return (spots + 10 + generator.normal(0, 2, region.shape)).clip(0, 255).astype(np.uint8)


def upsampled(tissue: RegionMask, size: int) -> np.ndarray:
    return tissue.within(slice(0, size), slice(0, size))


def test_mask_covers_the_tissue_and_leaves_out_the_glass() -> None:
    region = disc(1601, 500, (700, 800))
    found = upsampled(tissue_mask(slide(nuclei_in(region)), 0), 1601)
    assert (found & region).sum() > 0.999 * region.sum()
    far = ~disc(1601, 500 + 100, (700, 800))
    assert not (found & far).any()


def test_brightness_and_offset_do_not_matter() -> None:
    image = nuclei_in(disc(1200, 400, (600, 600)))
    one = tissue_mask(slide(image), 0)
    other = tissue_mask(slide((image.astype(np.uint16) * 100 + 3000).astype(np.uint16)), 0)
    assert (one.mask == other.mask).mean() > 0.995


def test_holes_are_filled_and_dust_is_removed() -> None:
    region = disc(1600, 500, (600, 600)) & ~disc(1600, 100, (600, 600))
    image = nuclei_in(region)
    image[1400:1420, 1400:1420] = 255
    found = upsampled(tissue_mask(slide(image), 0), 1600)
    assert found[600, 600]
    assert not found[1350:1480, 1350:1480].any()


def test_slide_full_of_tissue_is_tissue_nearly_everywhere() -> None:
    assert tissue_mask(slide(nuclei_in(np.ones((900, 900), bool))), 0).fraction > 0.95


@pytest.mark.parametrize("grey", [0, 77])
def test_slide_without_contrast_is_all_tissue(grey: int) -> None:
    assert tissue_mask(slide(np.full((600, 700), grey, np.uint8)), 0).mask.all()


def test_slide_with_nothing_but_dust_is_all_tissue() -> None:
    image = np.zeros((1000, 1000), np.uint8)
    image[::60, ::60] = 255
    settings = TissueSettings(smoothing_um=4, pixel_um=1, threshold=0.5)
    assert tissue_mask(slide(image), 0, settings).mask.all()


def test_what_is_no_number_is_background() -> None:
    region = disc(801, 250, (350, 400))
    image = nuclei_in(region).astype(np.float32)
    image[~disc(801, 300, (350, 400))] = np.nan
    image[300:310, 300:310], image[320, 320] = np.inf, -1e30
    found = upsampled(tissue_mask(slide(image), 0), 801)
    assert (found & region).sum() > 0.999 * region.sum()
    assert not (found & ~disc(801, 350, (350, 400))).any()


@pytest.mark.parametrize("pixel_um", [1e-300, 1e-9, 0.0002744, 1e4, 1e300])
def test_no_pixel_size_makes_it_long_or_large(pixel_um: float) -> None:
    image = nuclei_in(disc(400, 150, (200, 200)))
    assert tissue_mask(slide(image, pixel_um), 0).mask.any()


def test_of_a_slide_with_coarse_pixels_no_more_than_a_bounded_level_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tissue_module, "MOST_PX", 60_000)
    coarse = slide(nuclei_in(disc(400, 150, (200, 200))), 500.0)
    assert tissue_mask(coarse, 0).mask.shape == coarse.levels[1].shape[1:]


def test_looks_at_a_coarse_level_only() -> None:
    coarse = nuclei_in(np.ones((512, 512), bool))[None]

    def never(block_id: tuple[int, ...]) -> np.ndarray:
        raise AssertionError(f"the full level was read at {block_id}")

    finest = da.map_blocks(
        never, chunks=((1,), (512,) * 4, (512,) * 4), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    levels = (finest, da.from_array(coarse, chunks=(1, 512, 512)))
    made_up = Slide(levels, ("DAPI",), (2.0, 2.0), Path("made-up"), stored_levels=2)
    assert tissue_mask(made_up, 0).mask.shape == coarse.shape[1:]


@pytest.mark.parametrize("factor", [4.0, 3.9])
def test_meets_is_true_wherever_a_pixel_within_is_tissue(factor: float) -> None:
    generator = np.random.default_rng(1)
    tissue = RegionMask(generator.random((25, 25)) < 0.02, (factor, factor))
    size = int(25 * factor)
    full = tissue.within(slice(0, size), slice(0, size))
    for y0, x0 in generator.integers(0, size - 1, (200, 2)):
        y1, x1 = (int(start + generator.integers(1, size - start + 1)) for start in (y0, x0))
        if full[y0:y1, x0:x1].any():
            assert tissue.meets(Box(y0, y1, x0, x1))


def test_meets_is_false_where_no_tissue_is_near() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2, 3] = True
    tissue = RegionMask(mask, (8.0, 8.0))
    assert tissue.meets(Box(16, 17, 24, 25))
    assert not tissue.meets(Box(24, 80, 0, 80))
    assert not tissue.meets(Box(0, 16, 0, 80))
    assert not tissue.meets(Box(-32, 0, -32, 0))


def test_real_section_is_found(shared_data: Path) -> None:
    slide = open_slide(shared_data / "merck" / "z0708.ome.tif")
    found = tissue_mask(slide, 0)
    (image,) = (level[0].compute() for level in slide.levels if level.shape[1:] == found.mask.shape)
    bright = image > np.percentile(image, 97)
    assert (found.mask & bright).sum() > 0.99 * bright.sum()
    assert 0.05 < found.fraction < 0.9

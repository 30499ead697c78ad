from itertools import combinations
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from napari_hrpn.phantom import phantom_slide
from napari_hrpn.slides import RegionMask, Slide, coarser_levels, open_slide
from napari_hrpn.training.entries import SlideEntry, Split, TrainingSlide, split_slides
from napari_hrpn.training.pixel_checks import near_copies


def tissue(seed: int, shape: tuple[int, int] = (700, 900)) -> np.ndarray:
    """Blurred noise under the light of a camera, as cells of very different tumours are."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 6)
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return (noise / noise.std() * 20 + 100) * np.exp(-(y**2) - x**2)


def as_slide(nuclei: np.ndarray, name: str = "a", pixel_um: float | None = 0.5, **more: object) -> TrainingSlide:
    finest = da.from_array(nuclei.clip(0, 255).astype(np.uint8)[None], chunks=(1, 512, 512))
    size = None if pixel_um is None else (pixel_um, pixel_um)
    slide = Slide((finest, *coarser_levels(finest, 256)), ("DAPI",), size, Path(f"{name}.tif"))
    return TrainingSlide(SlideEntry(slide.source), slide, (0,), 0, **more)


def compared(one: TrainingSlide, other: TrainingSlide) -> tuple[str, ...]:
    return near_copies(Split((one,), (), (other,), ""))


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, 15, image.shape)


def test_copy_is_found_with_its_name_and_side() -> None:
    image = tissue(0)
    (warning,) = compared(as_slide(noisy(image, 1)), as_slide(noisy(image, 2) * 0.5 + 30, "b"))
    assert warning.startswith("a.tif (training) and b.tif (test) show the same tissue")
    assert "over 100%" in warning


@pytest.mark.parametrize("seed", range(4))
def test_fields_that_overlap_by_a_quarter_are_found(seed: int) -> None:
    large = tissue(seed, (1100, 1300))
    down, right = np.random.default_rng(seed).integers(200, 300, 2)
    one, other = large[:600, :700], large[down : down + 600, right : right + 700]
    assert len(compared(as_slide(noisy(one, 1)), as_slide(noisy(other, 2), "b"))) == 1


def test_field_cut_from_a_slide_is_found() -> None:
    large = tissue(5, (2000, 1800))
    assert len(compared(as_slide(large), as_slide(noisy(large[500:1100, 900:1500], 1), "b"))) == 1


def test_the_same_tissue_with_pixels_of_another_size_is_found() -> None:
    image = tissue(0)
    coarser = ndimage.zoom(image, 0.6, order=1)
    assert len(compared(as_slide(image), as_slide(coarser, "b", pixel_um=0.5 / 0.6))) == 1


def test_slides_without_a_pixel_size_are_taken_for_alike() -> None:
    image = tissue(0)
    assert len(compared(as_slide(image, pixel_um=None), as_slide(noisy(image, 1), "b", pixel_um=3.0))) == 1


def test_different_tissue_under_the_same_light_is_no_copy() -> None:
    slides = [as_slide(tissue(seed)) for seed in range(6)]
    assert all(compared(one, other) == () for one, other in combinations(slides, 2))


def test_outlines_that_are_alike_are_no_copy() -> None:
    y, x = np.ogrid[:700, :900]
    outline = (y - 350) ** 2 + (x - 450) ** 2 < 300**2
    one, other = (as_slide((40 + tissue(seed)) * outline) for seed in (1, 2))
    assert compared(one, other) == ()


@pytest.mark.parametrize("image", [np.zeros((300, 400)), np.full((300, 400), 200.0)], ids=["black", "white"])
def test_empty_slides_are_no_copies(image: np.ndarray) -> None:
    assert compared(as_slide(image), as_slide(image, "b")) == ()
    assert compared(as_slide(image), as_slide(tissue(0), "b")) == ()


def test_slides_too_small_to_tell_are_left_alone() -> None:
    image = tissue(0)[:20, :20]
    assert compared(as_slide(image), as_slide(image, "b")) == ()


def test_sides_are_compared_and_slides_of_one_side_are_not() -> None:
    slides = [as_slide(tissue(0), name) for name in "abc"]
    assert near_copies(Split(tuple(slides), (), (), "")) == ()
    assert len(near_copies(Split((slides[0],), (slides[1],), (slides[2],), ""))) == 3


def test_parts_of_one_slide_are_not_compared() -> None:
    # both halves show the same, which two slides would be warned of
    half = tissue(0, (400, 500))
    twice = np.concatenate([half, half], axis=1)
    assert near_copies(split_slides([as_slide(twice)])) == ()


def test_only_what_is_used_of_a_slide_counts() -> None:
    image = tissue(0, (600, 1200))
    left, right = np.zeros((2, 60, 120), bool)
    left[:, :55], right[:, 65:] = True, True
    regions = [RegionMask(mask, (10.0, 10.0)) for mask in (left, right)]
    one, other = (as_slide(noisy(image, seed), "ab"[seed], regions=part) for seed, part in enumerate(regions))
    assert compared(one, other) == ()
    assert len(compared(one, as_slide(image, "c"))) == 1


def test_fine_levels_of_a_large_slide_are_not_read() -> None:
    coarse = tissue(0, (512, 512)).clip(0, 255).astype(np.uint8)[None]

    def never(block_id: tuple[int, ...]) -> np.ndarray:
        raise AssertionError(f"the full level was read at {block_id}")

    finest = da.map_blocks(
        never, chunks=((1,), (512,) * 16, (512,) * 16), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    levels = (finest, da.from_array(coarse, chunks=(1, 512, 512)))
    slides = [Slide(levels, ("DAPI",), (0.25, 0.25), Path(name), stored_levels=2) for name in "ab"]
    one, other = (TrainingSlide(SlideEntry(slide.source), slide, (0,), 0) for slide in slides)
    assert len(compared(one, other)) == 1


def test_independent_phantoms_are_no_copies() -> None:
    slides = [phantom_slide("tiny", size=512, seed=seed).slide for seed in range(3)]
    made = [TrainingSlide(SlideEntry(slide.source), slide, (0, 1), 2) for slide in slides]
    assert near_copies(Split((made[0],), (made[1],), (made[2],), "")) == ()


def real(path: Path) -> TrainingSlide:
    slide = open_slide(path)
    return TrainingSlide(SlideEntry(path), slide, (0, 1), 2)


def test_only_the_real_fields_that_overlap_are_found(shared_data: Path) -> None:
    fields = [real(shared_data / "dextran" / f"fov0{number}.ome.tif") for number in range(1, 9)]
    found = [warning for one, other in combinations(fields, 2) for warning in compared(one, other)]
    (warning,) = found
    assert "fov01" in warning
    assert "fov02" in warning


def test_neighbouring_real_planes_are_found_but_not_their_opposite_parts(shared_data: Path) -> None:
    planes = [real(shared_data / "merck" / f"{name}.ome.tif") for name in ("z0701", "z0708")]
    assert len(compared(*planes)) == 1
    cut = [split_slides([plane]) for plane in planes]
    assert compared(cut[0].train[0], cut[1].validation[0]) == ()
    assert len(compared(cut[0].train[0], cut[1].train[0])) == 1

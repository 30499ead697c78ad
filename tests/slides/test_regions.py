import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.draw import polygon2mask

from napari_hrpn.core import Box
from napari_hrpn.slides import (
    Annotation,
    RegionMask,
    SlideError,
    SlideWarning,
    read_regions,
    region_mask,
    write_geojson,
)
from napari_hrpn.slides import included as without_excluded

SQUARE = np.array([(10.0, 20.0), (10.0, 60.0), (50.0, 60.0), (50.0, 20.0)])


def included(*rings: np.ndarray, kind: str = "include") -> Annotation:
    return Annotation("region", kind, (rings,))


def everywhere(regions: RegionMask, shape: tuple[int, int]) -> np.ndarray:
    return regions.within(slice(0, shape[0]), slice(0, shape[1]))


def random_mask(shape: tuple[int, int], downsample: tuple[float, float], seed: int = 0) -> RegionMask:
    return RegionMask(np.random.default_rng(seed).random(shape) < 0.3, downsample)


def test_square_covers_the_pixels_whose_centres_are_inside() -> None:
    expected = np.zeros((100, 120), bool)
    expected[10:50, 20:60] = True
    np.testing.assert_array_equal(region_mask([included(SQUARE)], (100, 120)).mask, expected)


@pytest.mark.parametrize("seed", range(5))
def test_any_polygon_is_filled_as_scikit_image_fills_it(seed: int) -> None:
    ring = np.random.default_rng(seed).uniform(-20, 120, (11, 2))
    found = region_mask([included(ring)], (97, 80)).mask
    # scikit-image counts from the centre of the first pixel
    np.testing.assert_array_equal(found, polygon2mask((97, 80), ring - 0.5))


def test_regions_that_share_an_edge_neither_overlap_nor_leave_a_gap() -> None:
    corners = np.random.default_rng(3).uniform(0, 100, (2, 2))
    top, bottom = (np.array([(y, 0), (corners[0, 0], 33), (corners[1, 0], 71), (y, 100)]) for y in (0.0, 100.0))
    one, other = (region_mask([included(part)], (100, 100)).mask for part in (top, bottom))
    assert (one ^ other)[:, 34:70].all()


def test_holes_are_outside_and_an_island_in_a_hole_is_inside() -> None:
    hole, island = SQUARE * 0.5 + (15, 20), SQUARE * 0.1 + (27, 36)
    mask = region_mask([included(SQUARE, hole, island)], (100, 120)).mask
    assert mask.sum() == 40 * 40 - 20 * 20 + 4 * 4
    assert mask[29, 39]
    assert not mask[22, 32]


def test_regions_are_united_and_exclusions_taken_away_whatever_their_order() -> None:
    other, excluded = included(SQUARE + 20), included(SQUARE + 10, kind="exclude")
    mask = region_mask([excluded, included(SQUARE), other], (100, 120)).mask
    inside = np.zeros_like(mask)
    inside[10:50, 20:60] = inside[30:70, 40:80] = True
    inside[20:60, 30:70] = False
    np.testing.assert_array_equal(mask, inside)


def test_each_region_without_what_is_excluded_has_the_pixels_of_all_of_them() -> None:
    far = included(SQUARE * 0.1 + 90, kind="exclude")
    drawn = [included(SQUARE + 10, kind="exclude"), included(SQUARE), far, included(SQUARE + 20, SQUARE * 0.5 + 40)]
    regions = without_excluded(drawn)
    assert [len(each.excluded) for each in regions] == [1, 1]
    masks = [each.within(slice(0, 100), slice(5, 120)) for each in regions]
    np.testing.assert_array_equal(masks[0] | masks[1], region_mask(drawn, (100, 120)).mask[:, 5:])


def test_what_reaches_beyond_the_slide_is_said(tmp_path: Path) -> None:
    path = tmp_path / "drawn.geojson"
    write_geojson([included(SQUARE), included(SQUARE + 30)], path)
    with pytest.warns(SlideWarning, match=r"1 outline of drawn.geojson reaches beyond the slide of 70 x 60 px"):
        read_regions(path, (60, 70))


@pytest.mark.parametrize("name", ["mask.jpg", "mask.npz", "mask", "mask.zarr"])
def test_labels_of_another_kind_are_refused_with_the_kinds_there_are(tmp_path: Path, name: str) -> None:
    if name == "mask.zarr":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0 no text")
    with pytest.raises(SlideError, match=r"nor a label image of a known kind .*\.tif, \.tiff, \.png, \.npy"):
        read_regions(tmp_path / name, (50, 60))


def test_geojson_of_any_ending_is_read(tmp_path: Path) -> None:
    write_geojson([included(SQUARE)], tmp_path / "drawn.txt")
    assert read_regions(tmp_path / "drawn.txt", (100, 120)).mask.sum() == 40 * 40


def test_with_exclusions_alone_all_else_is_included() -> None:
    mask = region_mask([included(SQUARE, kind="exclude")], (100, 120)).mask
    assert mask.sum() == 100 * 120 - 40 * 40


def test_large_slide_has_a_coarse_mask_with_the_same_area() -> None:
    regions = region_mask([included(SQUARE * 1000)], (100_000, 90_000))
    assert max(regions.mask.shape) == 4096
    assert regions.fraction == pytest.approx(40_000 * 40_000 / 9e9, rel=1e-3)
    assert astuple(regions.bounds((100_000, 90_000))) == pytest.approx((10_000, 50_000, 20_000, 60_000), abs=25)


def test_small_slide_has_a_mask_of_its_own_size() -> None:
    regions = region_mask([included(SQUARE)], (101, 120))
    assert (regions.mask.shape, regions.downsample) == ((101, 120), (1.0, 1.0))


def test_region_partly_outside_is_clipped() -> None:
    assert region_mask([included(SQUARE - 30)], (100, 120)).mask.sum() == 20 * 30


@pytest.mark.parametrize("shift", [(0, 200), (200, 0), (-60, 0), (0, -70)])
def test_region_outside_the_slide_is_refused_by_name(shift: tuple[int, int]) -> None:
    with pytest.raises(SlideError, match=r"Annotation 2 \(region\) of a.json lies outside the slide of 120 x 100 px"):
        region_mask([included(SQUARE), included(SQUARE + shift)], (100, 120), source="a.json")


@pytest.mark.parametrize(
    "annotations",
    [
        [included(SQUARE), included(SQUARE, kind="exclude")],
        [included(SQUARE * 1e-3 + 30)],
        [included(SQUARE * 5 - (100, 150), kind="exclude")],
        [included(np.array([(10.0, 10.0), (20.0, 20.0), (30.0, 30.0)]))],
    ],
    ids=["all excluded", "smaller than a pixel", "everything excluded", "without area"],
)
def test_regions_without_a_pixel_are_refused(annotations: list[Annotation]) -> None:
    with pytest.raises(SlideError, match=r"The regions of a\.json cover no pixel"):
        region_mask(annotations, (100, 120), source="a.json")


@pytest.mark.parametrize("factor", [1.0, 4.0, 3.7])
def test_share_is_the_mean_of_the_pixels_inside_the_slide(factor: float) -> None:
    regions = random_mask((30, 25), (factor, factor * 2))
    height, width = 30 * factor, 25 * factor * 2
    fine = np.repeat(np.repeat(regions.mask, 37, axis=0), 74, axis=1)
    random = np.random.default_rng(1)
    for y0, x0 in random.integers(-10, int(height) - 1, (40, 2)):
        y1, x1 = int(y0 + random.integers(11, 60)), int(x0 + random.integers(11, 60))
        rows, columns = (
            # every pixel of the mask is 37 x 74 pieces, of which those with their centre inside are counted
            (np.arange(size) + 0.5) / size * full
            for size, full in zip(fine.shape, (height, width), strict=True)
        )
        part = fine[(rows > y0) & (rows < y1)][:, (columns > x0) & (columns < x1)]
        if part.size > 500:
            assert regions.share(Box(y0, y1, x0, x1)) == pytest.approx(part.mean(), abs=0.03)


def test_share_beside_the_slide_is_zero_and_of_all_of_it_the_fraction() -> None:
    regions = random_mask((30, 25), (4.0, 4.0))
    for rows in ((-50, 0), (200, 300), (5, 5)):
        assert regions.share(Box(*rows, 0, 10)) == 0
    assert regions.share(Box(-9, 999, -9, 999)) == pytest.approx(regions.fraction)


def test_intersection_is_inside_both_at_the_finer_level() -> None:
    coarse, fine = random_mask((10, 12), (8.0, 8.0)), random_mask((40, 48), (2.0, 2.0), seed=1)
    both = coarse.intersected(fine)
    assert both.downsample == (2.0, 2.0)
    expected = everywhere(coarse, (80, 96)) & everywhere(fine, (80, 96))
    np.testing.assert_array_equal(everywhere(both, (80, 96)), expected)
    np.testing.assert_array_equal(fine.intersected(coarse).mask, both.mask)


def test_bounds_hold_all_of_it_and_no_more() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 7] = True
    assert RegionMask(mask, (8.0, 4.0)).bounds((80, 40)) == Box(16, 40, 28, 32)
    assert RegionMask(np.zeros((10, 10), bool), (8.0, 4.0)).bounds((80, 40)) == Box(0, 0, 0, 0)


def test_digest_tells_masks_apart() -> None:
    one = random_mask((8, 16), (2.0, 2.0))
    assert one.digest == RegionMask(one.mask.copy(), (2.0, 2.0)).digest
    reshaped = RegionMask(one.mask.reshape(16, 8), (2.0, 2.0))
    flipped = RegionMask(one.mask ^ (np.arange(16) == 3), (2.0, 2.0))
    moved = RegionMask(one.mask, (2.0, 3.0))
    assert len({one.digest, reshaped.digest, flipped.digest, moved.digest}) == 4


def test_geojson_is_read_for_the_slide(tmp_path: Path) -> None:
    polygon = {"type": "Polygon", "coordinates": [[[20, 10], [60, 10], [60, 50], [20, 50], [20, 10]]]}
    path = tmp_path / "drawn.geojson"
    path.write_text(json.dumps({"type": "Feature", "geometry": polygon, "properties": {}}))
    np.testing.assert_array_equal(read_regions(path, (100, 120)).mask, region_mask([included(SQUARE)], (100, 120)).mask)


LABELS = np.kron(np.random.default_rng(5).integers(0, 3, (5, 6)), np.ones((10, 10), int)).astype(np.uint8)


def save(path: Path, labels: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, labels)
    elif path.suffix == ".png":
        Image.fromarray(labels).save(path)
    else:
        tifffile.imwrite(path, labels)
    return path


@pytest.mark.parametrize("name", ["labels.tif", "labels.PNG", "labels.npy"])
def test_labels_are_spread_over_the_whole_slide(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name.lower(), LABELS).rename(tmp_path / name)
    regions = read_regions(path, (500, 600))
    assert regions.downsample == (10.0, 10.0)
    np.testing.assert_array_equal(everywhere(regions, (500, 600)), np.kron(LABELS, np.ones((10, 10))) != 0)


def test_labels_finer_than_the_slide_are_thinned_to_its_pixels(tmp_path: Path) -> None:
    regions = read_regions(save(tmp_path / "labels.npy", LABELS), (25, 30))
    np.testing.assert_array_equal(regions.mask, LABELS[1::2, 1::2] != 0)


@pytest.mark.parametrize("dtype", [bool, np.int32, np.uint16, np.float32])
def test_labels_may_have_any_type_and_nan_is_no_label(tmp_path: Path, dtype: type) -> None:
    labels = LABELS.astype(dtype)
    if dtype is np.float32:
        labels[labels == 0] = np.nan
    regions = read_regions(save(tmp_path / "labels.npy", labels), (50, 60))
    np.testing.assert_array_equal(regions.mask, LABELS != 0)


def test_numbers_of_a_palette_are_labels_whatever_their_colours(tmp_path: Path) -> None:
    indexed = Image.frombytes("P", LABELS.shape[::-1], LABELS.tobytes())
    indexed.putpalette([255, 255, 255, 0, 0, 0, 10, 10, 10])
    indexed.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_regions(tmp_path / "labels.png", (50, 60)).mask, LABELS != 0)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_opacity_of_a_picture_is_no_label(tmp_path: Path, channels: int) -> None:
    colours = np.repeat(LABELS[..., None], channels, axis=2)
    if channels != 3:
        colours[..., -1] = 255
    Image.fromarray(colours).save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_regions(tmp_path / "labels.png", (50, 60)).mask, LABELS != 0)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.ones((50, 80), np.uint8), "is 80 x 50 px, expected the proportions of the slide, 60 x 50 px"),
        (np.zeros((50, 60), np.uint8), "cover no pixel"),
        (np.ones((2, 50, 60), np.uint8), "holds 2 x 50 x 60 values"),
        (np.full((50, 60), "a"), "of type"),
        (np.ones((0, 60), np.uint8), "holds 0 x 60 values"),
    ],
)
def test_labels_that_fit_no_slide_are_refused(tmp_path: Path, labels: np.ndarray, sentence: str) -> None:
    with pytest.raises(SlideError, match=sentence):
        read_regions(save(tmp_path / "labels.npy", labels), (50, 60))


def test_slide_given_for_its_labels_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "slide.ome.tif", np.ones((4, 50, 60), np.uint8), metadata={"axes": "CYX"})
    with pytest.raises(SlideError, match="has 4 channels, expected a label image with one"):
        read_regions(tmp_path / "slide.ome.tif", (50, 60))


@pytest.mark.parametrize("name", ["labels.tif", "labels.png", "labels.npy", "labels.geojson"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 30, b"\x93NUMPY\x01\x00"])
def test_files_that_are_missing_or_broken_are_refused_in_a_sentence(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match="labels") as refused:
        read_regions(tmp_path / name, (50, 60))
    assert "\n" not in str(refused.value)

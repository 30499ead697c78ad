import math
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis import AnalysisError, Heterogeneity, gini, heterogeneity, morans_i, slide_heterogeneity
from napari_hrpn.analysis.counts.patch_sums import no_patch_sums, update_patches
from napari_hrpn.analysis.scan import block_scan
from napari_hrpn.core import drive
from napari_hrpn.slides import RegionMask, Slide


def random_image(height: int = 100, width: int = 130, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(4).integers(0, np.iinfo(dtype).max, (2, height, width)).astype(dtype)


def measured(image: np.ndarray, patch_px: int, mask: np.ndarray | None = None, **options: object) -> Heterogeneity:
    sums = no_patch_sums(image.shape[1:], len(image), image.dtype, patch_px)
    return heterogeneity(update_patches(sums, image, (0, 0), mask), ["A", "B"][: len(image)], **options)


def on_slide(image: np.ndarray) -> Slide:
    return Slide((da.from_array(image, chunks=(1, 37, 41)),), ("A", "B"), None, Path("made-up"))


def finished(steps) -> tuple[list, Heterogeneity]:
    reports = []
    return reports, drive(steps, reports.append)


def test_numbers_of_patches_are_those_counted_by_hand() -> None:
    image = np.array([[[1, 2, 5, 5], [3, 4, 5, 9], [0, 0, 7, 7]]], np.uint8)
    mask = np.ones((3, 4), bool)
    mask[2, 3] = False
    sums = update_patches(no_patch_sums((3, 4), 1, image.dtype, 2, thresholds=[5]), image, (0, 0), mask)
    found = heterogeneity(sums, ["A"], minimum_tissue=1.0, permutations=0)
    assert found.totals.tolist() == [[[10, 24], [0, 7]]]
    assert found.pixels.tolist() == [[4, 4], [2, 1]]
    assert found.means.tolist() == [[[2.5, 6.0], [0.0, 7.0]]]
    assert found.tissue_fraction.tolist() == [[1.0, 1.0], [1.0, 0.5]]
    assert found.positive_fractions.tolist() == [[[0.0, 1.0], [0.0, 1.0]]]
    assert found.enough.tolist() == [[True, True], [False, False]]
    assert found.channels[0].n == 2
    assert found.channels[0].cv == pytest.approx(math.sqrt(2) * 1.75 / 4.25)
    assert found.channels[0].gini == pytest.approx(3.5 / (4 * 4.25))


@pytest.mark.parametrize(("height", "width"), [(7, 64), (31, 33), (100, 130)])
def test_any_tiles_in_any_order_give_the_same_sums(height: int, width: int) -> None:
    image = random_image()
    mask = np.random.default_rng(1).random(image.shape[1:]) < 0.7
    whole = update_patches(no_patch_sums((100, 130), 2, image.dtype, 32, [9000, 30000]), image, (0, 0), mask)
    corners = [(y, x) for y in range(0, 100, height) for x in range(0, 130, width)]
    parts = [no_patch_sums((100, 130), 2, image.dtype, 32, [9000, 30000])] * 2
    for count, (y, x) in enumerate(reversed(corners)):
        part = (slice(y, y + height), slice(x, x + width))
        parts[count % 2] = update_patches(parts[count % 2], image[:, *part], (y, x), mask[part])
    tiled = parts[0] + parts[1]
    for name in ("pixels", "totals", "positive"):
        assert np.array_equal(getattr(tiled, name), getattr(whole, name))
    assert whole.totals.sum() == image[:, mask].sum(dtype=np.int64)


def small_blocks(monkeypatch: pytest.MonkeyPatch, edge: int) -> None:
    monkeypatch.setattr(block_scan, "BLOCK_EDGE", edge)
    monkeypatch.setattr(block_scan, "BLOCK_PX", edge**2)


@pytest.mark.parametrize("patch_px", [16, 50, 4096])
def test_slide_and_array_give_the_same(patch_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 64)
    image = random_image()
    tissue = RegionMask(np.random.default_rng(2).random((25, 33)) < 0.6, (4.0, 130 / 33))
    mask = tissue.within(slice(0, 100), slice(0, 130))
    reports, of_slide = finished(slide_heterogeneity(on_slide(image), tissue=tissue, patch_px=patch_px))
    of_array = measured(image, patch_px, mask)
    assert reports[-1].done == reports[-1].total == len(reports)
    assert np.array_equal(of_slide.totals, of_array.totals)
    assert repr(of_slide.channels) == repr(of_array.channels)


def test_chosen_channels_and_blocks_without_tissue(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 32)
    image = random_image(64, 64)
    image[:, :32, :32] = 0
    tissue = RegionMask(np.array([[False, True], [True, True]]), (32.0, 32.0))
    _, found = finished(slide_heterogeneity(on_slide(image), [1], tissue, patch_px=32))
    assert [channel.channel for channel in found.channels] == ["B"]
    assert found.pixels.tolist() == [[0, 1024], [1024, 1024]]
    assert math.isnan(found.means[0, 0, 0])
    assert found.channels[0].n == 3
    assert found.totals[0].sum() == image[1].sum(dtype=np.int64)


def test_floating_point_masked_out_may_be_nan() -> None:
    image = np.full((1, 4, 4), 0.5, np.float32)
    image[0, 0, 0] = np.nan
    mask = np.isfinite(image[0])
    assert measured(image, 2, mask).totals.tolist() == [[[1.5, 2.0], [2.0, 2.0]]]
    with pytest.raises(AnalysisError, match="not finite"):
        measured(image, 2)


def test_spread_against_definitions() -> None:
    image = random_image(96, 128)
    found = measured(image, 32)
    for channel, name in enumerate("AB"):
        means = image[channel].reshape(3, 32, 4, 32).mean(axis=(1, 3))
        spread = found.channels[channel]
        assert (spread.channel, spread.n, spread.reason) == (name, 12, "")
        assert spread.cv == pytest.approx(means.std(ddof=1) / means.mean())
        assert spread.gini == pytest.approx(gini_by_pairs(means.ravel()))
        assert spread.moran_rook == morans_i(found.means[channel])
        assert spread.moran_queen == morans_i(found.means[channel], neighbours="queen")


def test_background_is_taken_off() -> None:
    image = np.repeat(np.repeat(np.array([[[10, 20], [30, 5]]], np.uint8), 4, axis=1), 4, axis=2)
    found = measured(image, 4, backgrounds=[10]).channels[0]
    assert found.mean == pytest.approx(7.5)
    assert found.gini == pytest.approx(gini_by_pairs(np.array([0, 10, 20, 0])))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((1, 8, 8), np.uint8), "brighter"),
        (np.ones((1, 4, 4), np.uint8), "one patch"),
        (np.ones((1, 1, 1), np.uint8), "enough tissue"),
    ],
)
def test_what_does_not_exist_has_a_reason(image: np.ndarray, reason: str) -> None:
    found = measured(image, 4).channels[0]
    assert math.isnan(found.cv)
    assert reason in found.reason
    assert math.isnan(found.moran_rook.i)
    assert found.moran_rook.reason


def gini_by_pairs(values: np.ndarray) -> float:
    return np.abs(values[:, None] - values[None]).sum() / (2 * len(values) ** 2 * values.mean())


@pytest.mark.parametrize("seed", range(3))
def test_gini_is_its_definition(seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(size=50)
    assert gini(values) == pytest.approx(gini_by_pairs(values))
    assert gini(values * 7) == pytest.approx(gini(values))


@pytest.mark.parametrize("values", [[], [0, 0], [1, -1, 5]])
def test_gini_of_nothing_to_share_is_nan(values: list[float]) -> None:
    assert math.isnan(gini(values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minimum_tissue": 0.0}, "smallest share"),
        ({"backgrounds": [1.0, 2.0, 3.0]}, "backgrounds"),
        ({"patch_px": 0}, "no pixel"),
        ({"thresholds": [1.0]}, "thresholds"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(AnalysisError, match=words):
        finished(slide_heterogeneity(on_slide(random_image(8, 8)), **change))
    sums = no_patch_sums((8, 8), 1, np.dtype(np.uint8), 4)
    with pytest.raises(AnalysisError, match="grid"):
        sums + no_patch_sums((8, 8), 1, np.dtype(np.uint8), 2)

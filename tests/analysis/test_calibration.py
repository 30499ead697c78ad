"""Calibration by regions: the line by its definition, all refusals, tiles, and what it does to the rest of a slide."""

import json
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import r2_score

from napari_hrpn.analysis import (
    AnalysisError,
    ProbeImage,
    calibrate_prediction,
    calibrated,
    calibration_facts,
    calibration_path,
    save_calibration,
    saved_calibration,
)
from napari_hrpn.analysis.counts.moments import AgreementSums, update
from napari_hrpn.analysis.statistics.calibration import calibration_line
from napari_hrpn.core import drive
from napari_hrpn.slides import FinishedTiles, RegionMask, Slide, SlideError, in_all, included, open_slide, read_geojson
from support.evaluated_slides import box, write_slide

SIDE = 60
CORNERS = [(10, 20), (120, 40), (60, 150), (200, 200), (230, 90)]
BOXES = [np.s_[y : y + SIDE, x : x + SIDE] for y, x in CORNERS]


def field(random: np.random.Generator, sigma: float, size: int = 320) -> np.ndarray:
    smooth = ndimage.gaussian_filter(random.standard_normal((size, size)), sigma, mode="wrap")
    return smooth / smooth.std()


def images(seed: int, gain: float = 1.6, offset: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """A probe and a prediction of it that would be unbiased but for the gain and the offset of the camera."""
    random = np.random.default_rng(seed)
    truth = 300 * np.exp(0.6 * field(random, 6))
    predicted = truth * np.exp(0.15 * field(random, 20)) + 40 * field(random, 3)
    slope, intercept = np.polyfit(predicted.ravel(), truth.ravel(), 1)
    return gain * truth + offset, slope * predicted + intercept


def sums_of(real: np.ndarray, predicted: np.ndarray, boxes: list = BOXES) -> list[AgreementSums]:
    return [update(AgreementSums(), real[part], predicted[part]) for part in boxes]


def line_by_hand(real: list[np.ndarray], predicted: list[np.ndarray]) -> np.ndarray:
    """Slope and offset from the pixels themselves."""

    def fitted(keep: list[int]) -> np.ndarray:
        x, y = (np.concatenate([image[k] for k in keep]) for image in (predicted, real))
        return np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), y, rcond=None)[0]

    every = list(range(len(real)))
    at = np.concatenate(predicted).mean()

    def departures(line: np.ndarray) -> np.ndarray:
        return np.array([line[0] - 1, line[0] * at + line[1] - at])

    full = departures(fitted(every))
    without = np.array([departures(fitted([k for k in every if k != left])) for left in every])
    variance = (len(every) - 1) / len(every) * ((without - full) ** 2).sum(axis=0)
    slope, height = full * np.maximum(0, 1 - variance / full**2)
    return np.array([1 + slope, at + height - (1 + slope) * at])


@pytest.mark.parametrize("number", [3, 5])
def test_line_and_its_test_are_those_of_the_pixels(number: int) -> None:
    real, predicted = images(2)
    y, p = ([image[part].ravel() for part in BOXES[:number]] for image in (real, predicted))
    found = calibration_line(sums_of(real, predicted, BOXES[:number]))
    assert [found.slope, found.offset] == pytest.approx(line_by_hand(y, p), rel=1e-9)
    plain = np.polyfit(np.concatenate(p), np.concatenate(y), 1)
    assert [found.least_squares_slope, found.least_squares_offset] == pytest.approx(plain, rel=1e-9)
    calibrated = []
    for left in range(number):
        slope, offset = line_by_hand(*([one for k, one in enumerate(image) if k != left] for image in (y, p)))
        calibrated.append(slope * p[left] + offset)
    every = np.concatenate(y)
    assert found.r2_before == pytest.approx(r2_score(every, np.concatenate(p)), rel=1e-9)
    assert found.r2_after == pytest.approx(r2_score(every, np.concatenate(calibrated)), rel=1e-9)
    gains = [((a - b) ** 2).sum() - ((a - c) ** 2).sum() for a, b, c in zip(y, p, calibrated, strict=True)]
    error = np.sqrt(number * np.var(gains, ddof=1)) / (every.size * every.var())
    assert found.r2_rise_se == pytest.approx(error, rel=1e-9)
    assert 0 < found.height_kept < 1


def test_order_of_regions_does_not_matter_and_agreeing_regions_are_not_shrunk() -> None:
    sums = sums_of(*images(2))
    assert calibration_line(sums[::-1]) == calibration_line(sums)
    predicted = np.random.default_rng(0).integers(0, 200, (320, 320))
    exact = calibration_line(sums_of(2 * predicted + 7, predicted))
    assert (exact.slope, exact.offset, exact.slope_kept, exact.height_kept, exact.r2_after) == (2, 7, 1, 1, 1)


def test_gain_of_both_images_is_a_gain_of_the_offset() -> None:
    real, predicted = images(2)
    # powers of two are exact
    found, times = (calibration_line(sums_of(k * real, k * predicted)) for k in (1, 4))
    assert times == replace(found, offset=4 * found.offset, least_squares_offset=4 * found.least_squares_offset)


def test_with_the_right_gain_it_is_mostly_refused_and_with_a_wrong_one_the_rest_of_the_slide_gains() -> None:
    """Twelve slides each; the rest is everything but the regions."""
    rest = np.ones((320, 320), bool)
    for part in BOXES:
        rest[part] = False
    refused, rises = 0, []
    for seed in range(12):
        try:
            calibration_line(sums_of(*images(seed, 1, 0)))
        except AnalysisError:
            refused += 1
        real, predicted = images(seed)
        line = calibration_line(sums_of(real, predicted))
        calibrated = line.offset + line.slope * predicted
        rises.append(r2_score(real[rest], calibrated[rest]) - r2_score(real[rest], predicted[rest]))
    assert refused >= 9
    assert min(rises) > 0.3


def test_refusals_of_the_line() -> None:
    real, predicted = images(2)
    for number, words in ((0, "0 regions have"), (1, "1 region has"), (2, "2 regions have")):
        with pytest.raises(AnalysisError, match=f"{words} pixels.*expected 3 or more"):
            calibration_line(sums_of(real, predicted, BOXES[:number]))
    with pytest.raises(AnalysisError, match="one grey level"):
        calibration_line(sums_of(np.full_like(real, 9), predicted))
    with pytest.raises(AnalysisError, match=r"does not rise with the prediction.*expected a slope above 0"):
        calibration_line(sums_of(-real, predicted))
    with pytest.raises(AnalysisError, match=r"R2 of regions that are left out is 1\.000 as predicted"):
        calibration_line(sums_of(real, real))


def test_a_calibration_that_predicts_worse_than_a_constant_is_refused() -> None:
    """The camera's offset is found, but the regions differ by more than the prediction knows."""
    random = np.random.default_rng(1)
    predicted = random.normal(200, 5, (320, 320))
    levels = np.zeros_like(predicted)
    for part, level in zip(BOXES, (0, 60, 120, 180, 240), strict=True):
        levels[part] = level
    real = predicted + levels + 1000
    y, p = ([image[part].ravel() for part in BOXES] for image in (real, predicted))
    calibrated = []
    for left in range(5):
        slope, offset = line_by_hand(*([one for k, one in enumerate(image) if k != left] for image in (y, p)))
        calibrated.append(slope * p[left] + offset)
    every = np.concatenate(y)
    before, after = (r2_score(every, np.concatenate(pixels)) for pixels in (p, calibrated))
    assert before < after - 1 < after < 0
    numbers = f"is {before:.3f} as predicted and {after:.3f} calibrated by the others; expected more than 0"
    with pytest.raises(AnalysisError, match=numbers):
        calibration_line(sums_of(real, predicted))
    # as soon as it predicts better than a constant, it is accepted
    assert calibration_line(sums_of(predicted + levels / 40 + 1000, predicted)).r2_after > 0


def slide_of(pixels: np.ndarray, name: str, chunk: int = 128) -> Slide:
    return Slide((da.from_array(pixels[None], chunks=(1, chunk, chunk), name=False),), ("QD",), None, Path(name))


def pair_of(real: np.ndarray, predicted: np.ndarray, chunk: int = 128) -> tuple[ProbeImage, ProbeImage]:
    return ProbeImage("real", slide_of(real, "a.tif", chunk)), ProbeImage("HRPN", slide_of(predicted, "b.tif", chunk))


REGIONS = [box(*part, f"field {k}") for k, part in enumerate(BOXES)]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_tiles_do_not_matter_and_outside_of_the_regions_the_probe_is_not_used(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, predicted = (image.astype(dtype) for image in images(2))
    whole = drive(calibrate_prediction(*pair_of(real, predicted), REGIONS))
    assert whole.line == calibration_line(sums_of(real, predicted))
    monkeypatch.setattr("napari_hrpn.analysis.scan.block_scan.BLOCK_EDGE", 32)
    monkeypatch.setattr("napari_hrpn.analysis.scan.block_scan.BLOCK_PX", 32**2)
    elsewhere = np.ones(real.shape, bool)
    for part in BOXES:
        elsewhere[part] = False
    junk = real.copy()
    junk[elsewhere] = np.nan if dtype == "float32" else 60_000
    tiled = drive(calibrate_prediction(*pair_of(junk, predicted, 32), REGIONS))
    # sums of integers are exact; those of floating point are rounded once for each tile
    assert tiled.line.slope == pytest.approx(whole.line.slope, rel=0 if dtype == "uint16" else 1e-12)
    assert tiled.line.offset == pytest.approx(whole.line.offset, rel=0 if dtype == "uint16" else 1e-12)
    assert (tiled.pixels, tiled.regions_range) == ((SIDE**2,) * 5, whole.regions_range)
    if dtype == "uint16":
        inside = np.concatenate([predicted[part].ravel() for part in BOXES])
        expected = [np.percentile(pixels, (5, 95), method="inverted_cdf") for pixels in (inside, predicted)]
        assert [list(whole.regions_range), list(whole.tissue_range)] == [one.tolist() for one in expected]
        low, high = np.maximum(*np.array(expected)[:, 0]), np.minimum(*np.array(expected)[:, 1])
        assert whole.covered == (high - low) / np.ptp(expected[1])


def test_regions_that_cover_less_than_half_of_the_range_on_the_tissue_are_refused() -> None:
    real, predicted = images(2)
    step = np.where(np.arange(320) < 300, 0, 5000)[:, None]
    pair = pair_of(real + step, predicted + step)
    tissue = np.arange(320)[:, None] + np.zeros(320) >= 250
    with pytest.raises(AnalysisError, match=r"so the regions cover \d+% of its range; expected 50% or more"):
        drive(calibrate_prediction(*pair, REGIONS, RegionMask(tissue, (1.0, 1.0))))
    drive(calibrate_prediction(*pair, REGIONS, RegionMask(~tissue, (1.0, 1.0))))


def test_other_refusals_of_a_slide() -> None:
    pair = pair_of(*images(2))
    with pytest.raises(AnalysisError, match="field 1 and again overlap; expected regions that share no pixel"):
        drive(calibrate_prediction(*pair, [*REGIONS, box(slice(170, 190), slice(90, 110), "again")]))
    beyond = [*REGIONS[:2], box(slice(400, 500), slice(0, 60), "beyond")]
    with pytest.raises(AnalysisError, match="2 regions have pixels"):
        drive(calibrate_prediction(*pair, beyond))
    with pytest.raises(AnalysisError, match="2 regions have pixels"):
        next(calibrate_prediction(*pair, REGIONS[:2]))
    smaller = replace(pair[1], slide=slide_of(np.ones((9, 9)), "c.tif"))
    with pytest.raises(AnalysisError, match="expected one size"):
        drive(calibrate_prediction(pair[0], smaller, REGIONS))


@pytest.fixture
def on_disk(tmp_path: Path) -> tuple[ProbeImage, ProbeImage]:
    real, predicted = (image.astype(np.uint16) for image in images(2))
    files = [
        write_slide(image[None], ("QD",), tmp_path / name)
        for image, name in ((real, "t.ome.tif"), (predicted, "p.ome.tif"))
    ]
    return ProbeImage("real", open_slide(files[0])), ProbeImage("HRPN", open_slide(files[1]))


def test_a_calibration_is_kept_beside_its_prediction_and_never_replaced_unasked(
    on_disk: tuple[ProbeImage, ProbeImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, prediction = on_disk
    before = prediction.slide.source.read_bytes()
    assert saved_calibration(prediction.slide) is None
    hole = replace(box(slice(240, 250), slice(95, 120), ""), kind="exclude")
    holed = included([*REGIONS, hole])
    found = drive(calibrate_prediction(real, prediction, holed))
    assert found.pixels[4] == SIDE**2 - 10 * 25
    path = save_calibration(found, prediction.slide.source)
    assert path == calibration_path(prediction.slide.source)
    assert path.name == "p.ome.tif.calibration.json"
    assert sorted(one.name for one in path.parent.iterdir()) == ["p.ome.tif", path.name, "t.ome.tif"]
    assert prediction.slide.source.read_bytes() == before
    read = saved_calibration(prediction.slide)
    assert read.line == found.line
    assert calibration_facts(read) == json.loads(path.read_text("utf-8"))["calibration"] == calibration_facts(found)
    assert [region.name for region in read.regions] == [f"field {k}" for k in range(5)]
    assert [one.within(slice(0, 320), slice(0, 320)).sum() for one in read.regions] == list(found.pixels)
    # QuPath can open it
    assert len(included(read_geojson(path))) == 5
    text = path.read_bytes()
    with pytest.raises(AnalysisError, match="exists already"):
        save_calibration(found, prediction.slide.source)
    monkeypatch.setattr("napari_hrpn.core.files.json.dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_calibration(found, prediction.slide.source, overwrite=True)
    assert path.read_bytes() == text
    assert len(list(path.parent.iterdir())) == 3


def test_a_calibrated_prediction_is_computed_when_it_is_read_and_leaves_out_the_regions(
    on_disk: tuple[ProbeImage, ProbeImage],
) -> None:
    real, prediction = on_disk
    found = drive(calibrate_prediction(real, prediction, REGIONS))
    slide = calibrated(prediction.slide, found)
    assert (slide.shape, slide.channel_names) == (prediction.slide.shape, ("QD",))
    for level, before in zip(slide.levels, prediction.slide.levels, strict=True):
        expected = found.line.offset + found.line.slope * np.asarray(before).astype(float)
        np.testing.assert_allclose(np.asarray(level), expected, rtol=1e-6)
    everywhere = slice(0, 320), slice(0, 320)
    measured = slide.finished.within(*everywhere)
    regions = np.logical_or.reduce([one.within(*everywhere) for one in REGIONS])
    assert not (measured & regions).any()
    # no more than the squares that a region meets are lost
    assert measured[~ndimage.binary_dilation(regions, np.ones((15, 15)))].all()
    assert slide.finished.words.startswith("5 regions in which p.ome.tif was calibrated (real = ")
    assert slide.finished.words.endswith(f"+ {found.line.slope:.6g} x predicted) are left out")


def test_the_standard_deviation_is_multiplied_by_the_slope(on_disk: tuple[ProbeImage, ProbeImage]) -> None:
    real, prediction = on_disk
    found = drive(calibrate_prediction(real, prediction, REGIONS))
    found = replace(found, line=replace(found.line, slope=1.7))
    sd = np.random.default_rng(0).uniform(0, 9, prediction.slide.shape).astype(np.float32)
    pixels = np.stack([np.asarray(prediction.slide.levels[0][0]).astype(np.float32), sd, sd])
    for names in (("QD", "sd"), ("QD", "sd", "unlike")):
        levels = (da.from_array(pixels[: len(names)], chunks=(2, 100, 100), name=False),)
        slide = calibrated(replace(prediction.slide, levels=levels, channel_names=names), found)
        assert slide.channel_names == ("QD", "sd")
        line = np.array([found.line.offset, 0])[:, None, None] + found.line.slope * pixels[:2].astype(float)
        np.testing.assert_allclose(np.asarray(slide.levels[0]), line, rtol=1e-6)


def test_a_calibration_of_other_pixels_or_a_damaged_one_is_refused(on_disk: tuple[ProbeImage, ProbeImage]) -> None:
    real, prediction = on_disk
    path = save_calibration(drive(calibrate_prediction(real, prediction, REGIONS)), prediction.slide.source)
    whole = json.loads(path.read_text("utf-8"))
    steep, endless, falling = ({**whole["calibration"], "slope": value} for value in ("steep", float("inf"), -1.0))
    damaged = [("{", "cannot be read"), ("[]", "other than"), ("{}", "is no calibration or is damaged")]
    damaged += [
        (json.dumps({**whole, "calibration": one}), "calibration or is damaged") for one in (steep, endless, falling)
    ]
    # as after an edit of the outlines: pixels that were calibrated would be compared
    damaged += [(json.dumps({**whole, "features": whole["features"][1:]}), "other regions than it was fitted in")]
    for text, words in damaged:
        path.write_text(text)
        with pytest.raises((AnalysisError, SlideError), match=words):
            saved_calibration(prediction.slide)
    path.write_text(json.dumps(whole))
    assert saved_calibration(prediction.slide).line.slope == whole["calibration"]["slope"]
    pixels = np.asarray(prediction.slide.levels[0].compute())
    write_slide(pixels + np.uint16(1), ("QD",), path.with_name("new.ome.tif")).replace(prediction.slide.source)
    with pytest.raises(AnalysisError, match=r"belongs to other pixels than those of p\.ome\.tif now; calibrate"):
        saved_calibration(open_slide(prediction.slide.source))


def test_what_a_calibration_leaves_out_is_combined_with_unfinished_tiles() -> None:
    random = np.random.default_rng(0)
    fine = FinishedTiles(random.random((125, 120)) > 0.3, cell_px=8, left_out="regions are left out")
    tiles = FinishedTiles(np.array([[True, False], [True, True]]))
    both = in_all([tiles, None, fine])
    everywhere = slice(0, 1000), slice(0, 960)
    expected = np.kron(fine.cells, np.ones((8, 8), bool)) & tiles.within(*everywhere)
    assert np.array_equal(both.within(*everywhere), expected)
    # a coarse pixel counts where every fine pixel under it does, at the edge of the slide too
    coarse = both.within(slice(0, 250), slice(0, 240), (4.0, 4.0))
    assert np.array_equal(coarse, expected.reshape(250, 4, 240, 4).all(axis=(1, 3)))
    part = both.cut(slice(100, 300), slice(40, 400))
    assert np.array_equal(part.within(slice(0, 200), slice(0, 360)), expected[100:300, 40:400])
    assert both.words == "regions are left out; elsewhere, only tiles that all predictions have are measured"
    assert in_all([fine, fine]).words == "regions are left out"
    assert fine.facts == {"left_out": "regions are left out", "digest": fine.digest}


def test_the_calibration_of_a_folder_lies_beside_it_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "p.ome.zarr"
    (folder / "0").mkdir(parents=True)
    for there, name in ((folder, "."), (folder / "0", "..")):
        monkeypatch.chdir(there)
        assert calibration_path(Path(name)) == tmp_path / "p.ome.zarr.calibration.json"
    with pytest.raises(AnalysisError, match="is the root of the disk"):
        calibration_path(Path(folder.anchor))

"""Order, cancelling, going on, running out of memory, and what a user is told."""

import threading
import warnings
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from napari_hrpn.core import Box, drive
from napari_hrpn.inference import (
    PredictionError,
    PredictionSettings,
    PredictionStore,
    PredictionWarning,
    predict_slide,
)
from napari_hrpn.inference.plan import make_plan
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.models import IntensityScaling
from napari_hrpn.slides import Slide, SlideError, SlideWarning, open_slide
from support.predictions import lively_checkpoint, make_slide, save_slide

PLAIN = PredictionSettings(device="cpu", skip_blank=False, core=512)


def in_memory(image: np.ndarray, folder: Path) -> Slide:
    finest = da.from_array(image, chunks=(1, 512, 512), name=False)
    return Slide((finest,), ("DAPI", "AF488", "QD"), (0.5, 0.5), folder / "none")


def pixels(path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlideWarning)
        return np.asarray(open_slide(path).levels[0][0])


def test_reports_count_up_to_the_total_and_the_sum_fits(source, tmp_path):
    slide = make_slide(1100, 700, source)
    steps = predict_slide(slide, lively_checkpoint(), tmp_path / "out.ome.zarr", PLAIN)
    reports = []
    summary = drive(steps, reports.append)
    assert [report.finished for report in reports] == list(range(1, 7))
    assert {report.total for report in reports} == {6}
    assert reports[-1].seconds_left == 0
    assert summary.complete
    assert summary.pixels_kept == 1100 * 700
    assert summary.pixels_run > summary.pixels_kept
    assert min(summary.seconds_reading, summary.seconds_computing, summary.seconds_writing) > 0


def test_a_reported_tile_is_on_disk(source, tmp_path):
    slide = make_slide(1100, 700, source)
    for report in predict_slide(slide, lively_checkpoint(), tmp_path / "out.ome.zarr", PLAIN):
        assert PredictionStore(tmp_path / "out.ome.zarr").finished(report.tile.core)


def test_tiles_nearest_to_the_focus_come_first(source, tmp_path):
    slide = make_slide(1536, 1536, source)
    reports = predict_slide(slide, lively_checkpoint(), tmp_path / "o.ome.zarr", PLAIN, focus=lambda: (1300.0, 200.0))
    order = [report.tile.core for report in reports]
    distances = [core.distance_to(1300, 200) for core in order]
    assert order[0] == Box(1024, 1536, 0, 512)
    assert distances == sorted(distances)


def test_stopping_keeps_finished_tiles_and_the_same_call_goes_on(source, tmp_path):
    slide, checkpoint = make_slide(1536, 1536, source), lively_checkpoint()
    whole, parts, stop = tmp_path / "whole.ome.zarr", tmp_path / "parts.ome.zarr", threading.Event()
    drive(predict_slide(slide, checkpoint, whole, PLAIN))
    done = 0
    for report in predict_slide(slide, checkpoint, parts, PLAIN, stop=stop):
        done = report.finished
        if done == 3:
            stop.set()
    assert 3 <= done < 9
    assert not PredictionStore(parts).complete
    rest = list(predict_slide(slide, checkpoint, parts, PLAIN))
    assert len(rest) == 9 - done
    np.testing.assert_array_equal(pixels(parts), pixels(whole))


def test_a_stop_gives_up_the_tile_that_is_being_computed(source, tmp_path, monkeypatch):
    stop, begun = threading.Event(), []

    def run(self, pixels, crop, scale):
        begun.append(scale(pixels))
        stop.set()
        return scale(pixels)

    monkeypatch.setattr(Predictor, "run", run)
    slide = make_slide(600, 1100, source)
    report = drive(predict_slide(slide, lively_checkpoint(), tmp_path / "out.ome.zarr", PLAIN, stop=stop))
    assert (len(begun), report.finished) == (1, 0)


@pytest.mark.parametrize(
    ("largest", "watched", "expected"), [(None, True, 1024), (512, True, 512), (None, False, 2048)]
)
def test_cores_are_smaller_where_somebody_waits_for_the_first_tile(largest, watched, expected, source, tmp_path):
    settings = replace(PLAIN, core=None, memory_gb=8, largest_core=largest)
    slide, checkpoint = make_slide(1100, 600, source), lively_checkpoint()
    arguments = [Predictor(checkpoint)], tmp_path / "out.ome.zarr", settings, None
    plan = make_plan(slide, [checkpoint], *arguments, is_watched=watched)
    assert plan.grid.core == expected
    assert "largest_core" not in plan.request


def test_an_unfinished_prediction_says_so_when_it_is_opened(source, tmp_path):
    slide, path = make_slide(1100, 600, source), tmp_path / "out.ome.zarr"
    drive(predict_slide(slide, lively_checkpoint(), path, replace(PLAIN, region=Box(0, 9, 0, 9))))
    with pytest.warns(SlideWarning, match="not finished"):
        open_slide(path)
    drive(predict_slide(slide, lively_checkpoint(), path, PLAIN))
    open_slide(path)


def test_closing_the_generator_ends_its_threads_and_keeps_what_is_done(source, tmp_path):
    slide, path = make_slide(1536, 1536, source), tmp_path / "out.ome.zarr"
    steps = predict_slide(slide, lively_checkpoint(), path, PLAIN)
    first = next(steps)
    steps.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("napari-hrpn")]
    assert PredictionStore(path).finished(first.tile.core)


def test_out_of_memory_halves_the_core_and_goes_on(source, tmp_path, monkeypatch):
    slide, checkpoint = make_slide(1100, 1100, source), lively_checkpoint()
    drive(predict_slide(slide, checkpoint, tmp_path / "small.ome.zarr", PLAIN))
    run, sizes = Predictor.run, []

    def starved(self, tile, crop, scale):
        sizes.append(tile.shape[1])
        if tile.shape[1] > 512 + 2 * crop:
            raise torch.OutOfMemoryError
        return run(self, tile, crop, scale)

    monkeypatch.setattr(Predictor, "run", starved)
    report = drive(predict_slide(slide, checkpoint, tmp_path / "large.ome.zarr", replace(PLAIN, core=2048)))
    assert report.complete
    assert [size for size in sizes if size > 600].__len__() <= 2
    np.testing.assert_allclose(pixels(tmp_path / "large.ome.zarr"), pixels(tmp_path / "small.ome.zarr"), atol=1e-3)


@pytest.mark.parametrize("always", [True, False], ids=["too large a tile", "too many at once"])
def test_a_tile_that_cannot_be_made_ready_ahead_is_tried_again_when_its_turn_comes(
    always, source, tmp_path, monkeypatch
):
    slide, checkpoint = make_slide(1100, 1100, source), lively_checkpoint()
    drive(predict_slide(slide, checkpoint, tmp_path / "small.ome.zarr", PLAIN))
    ready, failed = Predictor.ready, []

    def starved(self, tile, scale):
        if max(tile.shape) > 1100 and (always or not failed):
            failed.append(tile.shape)
            raise MemoryError
        return ready(self, tile, scale)

    monkeypatch.setattr(Predictor, "ready", starved)
    report = drive(predict_slide(slide, checkpoint, tmp_path / "large.ome.zarr", replace(PLAIN, core=2048)))
    assert report.complete
    assert len(failed) == (2 if always else 1)
    np.testing.assert_allclose(pixels(tmp_path / "large.ome.zarr"), pixels(tmp_path / "small.ome.zarr"), atol=1e-3)


def test_memory_that_does_not_suffice_for_the_smallest_tile_is_said(source, tmp_path, monkeypatch):
    def starved(*_):
        raise MemoryError

    monkeypatch.setattr(Predictor, "run", starved)
    with pytest.raises(PredictionError, match="does not fit into the memory"):
        drive(predict_slide(make_slide(600, 600, source), lively_checkpoint(), tmp_path / "o.ome.zarr", PLAIN))


def test_other_errors_of_the_network_are_not_taken_for_memory(source, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(Predictor, "run", broken)
    with pytest.raises(RuntimeError, match="something else"):
        drive(predict_slide(make_slide(600, 600, source), lively_checkpoint(), tmp_path / "o.ome.zarr", PLAIN))


class BreaksLater:
    """Pixels that cannot be read beyond some row, as of a file with a damaged end."""

    def __init__(self, image: np.ndarray, row: int) -> None:
        self.image, self.row = image, row
        self.shape, self.dtype, self.ndim = image.shape, image.dtype, image.ndim

    def __getitem__(self, key):
        if key[1].stop > self.row:
            msg = "the file ends early."
            raise SlideError(msg)
        return self.image[key]


def test_a_slide_that_breaks_while_read_stops_without_marking_that_tile(source, tmp_path):
    good = make_slide(1536, 600, source)
    image = good.levels[0].compute()
    broken = da.from_array(BreaksLater(image, 1024), chunks=(1, 512, 600), asarray=False, meta=image[:0], name=False)
    slide = replace(good, levels=(broken, *(da.from_array(level.compute(), name=False) for level in good.levels[1:])))
    path, told = tmp_path / "out.ome.zarr", []
    with pytest.raises(SlideError, match="ends early"):
        told.extend(predict_slide(slide, lively_checkpoint(), path, PLAIN))
    store = PredictionStore(path)
    assert store.finished(Box(0, 512, 0, 512))
    assert not store.finished(Box(1024, 1536, 0, 512))
    assert not store.complete


def test_a_region_computes_only_the_tiles_that_meet_it(source, tmp_path):
    slide, path = make_slide(1536, 1536, source), tmp_path / "out.ome.zarr"
    region = replace(PLAIN, region=Box(600, 700, 600, 1100))
    report = drive(predict_slide(slide, lively_checkpoint(), path, region))
    assert report.total == 2
    assert not report.complete
    assert drive(predict_slide(slide, lively_checkpoint(), path, PLAIN)).complete


@pytest.mark.parametrize("change", ["checkpoint", "slide", "settings", "pixel size"])
def test_what_was_made_otherwise_is_neither_mixed_nor_overwritten_unasked(change, source, tmp_path):
    slide, checkpoint, path = make_slide(600, 600, source), lively_checkpoint(), tmp_path / "out.ome.zarr"
    drive(predict_slide(slide, checkpoint, path, PLAIN))
    before = pixels(path)
    other = {"slide": slide, "checkpoint": checkpoint, "settings": PLAIN}
    if change == "checkpoint":
        other["checkpoint"] = lively_checkpoint(2)
    elif change == "slide":
        source.write_bytes(b"another")
    elif change == "pixel size":
        other["slide"] = slide.with_pixel_size(0.51)
    else:
        other["settings"] = replace(PLAIN, padding="zero")
    arguments = (other["slide"], other["checkpoint"], path, other["settings"])
    with pytest.raises(PredictionError, match="overwrite"):
        drive(predict_slide(*arguments))
    np.testing.assert_array_equal(pixels(path), before)
    assert drive(predict_slide(*arguments, overwrite=True)).complete


def test_a_slide_that_changes_is_noticed_at_the_end_and_when_it_is_gone_on_with(tmp_path):
    path, image = tmp_path / "slide.ome.zarr", np.zeros((3, 600, 1100), np.uint8)
    image[:, 50:, 50:] = np.random.default_rng(0).integers(20, 200, (3, 550, 1050))
    slide = save_slide(in_memory(image, tmp_path), path)

    store, checkpoint = tmp_path / "out.ome.zarr", lively_checkpoint()
    steps = predict_slide(slide, checkpoint, store, PLAIN)
    next(steps)
    # the metadata, by whose time and size a slide is known, stay as they are
    zarr.open_group(path, mode="r+")["0"][:, 300:] = 9
    with pytest.raises(PredictionError, match=r"slide\.ome\.zarr was changed while it was predicted"):
        drive(steps)
    assert not any(PredictionStore(store).finished(core) for core in (Box(0, 512, 0, 512), Box(512, 600, 1024, 1100)))
    with pytest.raises(PredictionError, match="another slide, or from this one before it changed"):
        drive(predict_slide(open_slide(path), checkpoint, store, PLAIN))


def test_an_output_in_the_slide_is_refused_at_once(tmp_path):
    slide = save_slide(make_slide(300, 200, tmp_path / "none"), tmp_path / "slide.ome.zarr")
    for store in (slide.source / "out.ome.zarr", slide.source, tmp_path):
        with pytest.raises(PredictionError, match="would lie on or in"):
            drive(predict_slide(slide, lively_checkpoint(), store, PLAIN))
    assert len(list(slide.source.iterdir())) == 2


def test_a_slide_of_far_too_small_pixels_is_not_resampled(source, tmp_path):
    slide = make_slide(300, 200, source, pixel_size_um=(0.0005, 0.0005))
    with pytest.raises(SlideError, match=r"0\.0005 x 0\.0005 µm, more than 16 times as small or large as the 0\.5 µm"):
        drive(predict_slide(slide, lively_checkpoint(), tmp_path / "out", replace(PLAIN, resample=True)))


def test_what_is_no_prediction_is_never_replaced(source, tmp_path):
    path = tmp_path / "precious"
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")
    with pytest.raises(PredictionError, match="not a prediction"):
        drive(predict_slide(make_slide(64, 64, source), lively_checkpoint(), path, PLAIN, overwrite=True))
    assert (path / "thesis.txt").read_text() == "years of work"


def test_a_resumed_run_takes_the_core_of_the_first(source, tmp_path):
    slide, path = make_slide(1100, 1100, source), tmp_path / "out.ome.zarr"
    stop = threading.Event()
    for _ in predict_slide(slide, lively_checkpoint(), path, PLAIN, stop=stop):
        stop.set()
    report = drive(predict_slide(slide, lively_checkpoint(), path, replace(PLAIN, core=None)))
    assert report.core == 512
    assert report.complete


@pytest.mark.parametrize("pixel_size_um", [(0.54, 0.54), (0.5, 0.46), None])
def test_another_pixel_size_is_warned_about(pixel_size_um, source, tmp_path):
    slide = make_slide(100, 100, source, pixel_size_um=pixel_size_um)
    with pytest.warns(PredictionWarning, match="trained at 0.5 µm"):
        drive(predict_slide(slide, lively_checkpoint(), tmp_path / "out.ome.zarr", PLAIN))


def test_a_pixel_size_within_tolerance_is_not(source, tmp_path):
    slide = make_slide(100, 100, source, pixel_size_um=(0.52, 0.48))
    assert drive(predict_slide(slide, lively_checkpoint(), tmp_path / "out.ome.zarr", PLAIN)).complete


def test_intensities_outside_the_card_are_warned_about(source, tmp_path):
    checkpoint = lively_checkpoint(input_ranges=((0.0, 20_000.0), (0.0, 200.0)))
    with pytest.warns(PredictionWarning, match="bright nuclei have grey level"):
        drive(predict_slide(make_slide(100, 100, source), checkpoint, tmp_path / "out.ome.zarr", PLAIN))


def test_percentile_scaling_cancels_exposure_and_bit_depth(source, tmp_path):
    slide = make_slide(300, 200, source)
    brighter = replace(slide, levels=tuple(level.astype(np.uint16) * 37 + 500 for level in slide.levels))
    checkpoint = lively_checkpoint(scaling=IntensityScaling("percentile", target_scale=20))
    for name, each in (("a", slide), ("b", brighter)):
        drive(predict_slide(each, checkpoint, tmp_path / f"{name}.ome.zarr", PLAIN))
    first, second = pixels(tmp_path / "a.ome.zarr"), pixels(tmp_path / "b.ome.zarr")
    assert np.abs(first - second).max() <= 1e-4 * np.ptp(first)


def test_channels_are_found_by_role_and_can_be_chosen(source, tmp_path):
    slide, checkpoint = make_slide(200, 200, source), lively_checkpoint()
    swapped = replace(slide, channel_names=("a", "b", "c"))
    with pytest.raises(PredictionError, match="none is known to show nuclei"):
        drive(predict_slide(swapped, checkpoint, tmp_path / "x.ome.zarr", PLAIN))
    with pytest.raises(PredictionError, match="expected one for each"):
        drive(predict_slide(slide, checkpoint, tmp_path / "x.ome.zarr", PLAIN, roles={"nuclei": 1, "vessels": 1}))
    drive(predict_slide(slide, checkpoint, tmp_path / "a.ome.zarr", PLAIN))
    drive(predict_slide(swapped, checkpoint, tmp_path / "b.ome.zarr", PLAIN, roles={"nuclei": 0, "vessels": 1}))
    np.testing.assert_array_equal(pixels(tmp_path / "a.ome.zarr"), pixels(tmp_path / "b.ome.zarr"))


@pytest.mark.parametrize(
    "wrong", [{"core": 500}, {"core": 0}, {"halo": -1}, {"precision": "fp8"}, {"memory_gb": 0}, {"padding": "wrap"}]
)
def test_settings_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(PredictionError, match=next(iter(wrong)).split("_")[0]):
        PredictionSettings(**wrong)


def test_a_device_that_is_not_there_is_named(source, tmp_path):
    with pytest.raises(PredictionError, match="cuda:99"):
        drive(
            predict_slide(
                make_slide(64, 64, source), lively_checkpoint(), tmp_path / "o", replace(PLAIN, device="cuda:99")
            )
        )


def test_the_memory_budget_decides_the_core(source, tmp_path):
    slide, cores = make_slide(2100, 64, source), []
    for memory_gb in (0.01, 0.9):
        settings = replace(PLAIN, core=None, memory_gb=memory_gb)
        cores.append(drive(predict_slide(slide, lively_checkpoint(), tmp_path / str(memory_gb), settings)).core)
    assert cores[0] == 512
    assert cores[1] > 512


def test_a_slide_resampled_to_much_finer_pixels_stays_within_the_memory_budget(source, tmp_path, monkeypatch):
    slide, checkpoint = make_slide(96, 96, source, pixel_size_um=(4.0, 4.0)), lively_checkpoint()
    run, seen = Predictor.run, []

    def watched(self, tile, crop, scale):
        seen.append(self.bytes_for(*tile.shape[1:]))
        return run(self, tile, crop, scale)

    monkeypatch.setattr(Predictor, "run", watched)
    plain = replace(PLAIN, resample=True)
    for name, memory_gb in (("whole", 8.0), ("pieces", 0.14)):
        drive(predict_slide(slide, checkpoint, tmp_path / name, replace(plain, memory_gb=memory_gb)))
        if name == "whole":
            assert len(seen) == 1
            seen.clear()
    assert len(seen) == 4
    assert max(seen) < 0.14e9
    whole, pieces = pixels(tmp_path / "whole"), pixels(tmp_path / "pieces")
    np.testing.assert_allclose(pieces, whole, atol=1e-5 * np.ptp(whole))


@pytest.mark.filterwarnings("ignore:.* only emulates bf16")
def test_bf16_errs_little(source, tmp_path):
    slide, checkpoint = make_slide(300, 300, source), lively_checkpoint()
    drive(predict_slide(slide, checkpoint, tmp_path / "a.ome.zarr", PLAIN))
    drive(predict_slide(slide, checkpoint, tmp_path / "b.ome.zarr", replace(PLAIN, precision="bf16")))
    exact, rough = pixels(tmp_path / "a.ome.zarr"), pixels(tmp_path / "b.ome.zarr")
    assert 0 < np.abs(exact - rough).mean() < 0.02 * np.ptp(exact)

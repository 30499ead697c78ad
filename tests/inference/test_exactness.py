"""Tiled equals whole: the promise of the engine, against one run of the plain network on the padded slide."""

from dataclasses import replace
from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
import torch

from napari_hrpn.inference import (
    PredictionError,
    PredictionSettings,
    PredictionStore,
    PredictionWarning,
    predict_slide,
)
from napari_hrpn.models import GANDA, Checkpoint, GANDASettings, halo_for
from napari_hrpn.slides import Slide, coarser_levels, halve, open_slide
from support.predictions import lively_checkpoint, make_slide, one_shot

PLAIN = PredictionSettings(device="cpu", skip_blank=False, core=512)
FILLED = replace(PLAIN, skip_blank=True)


def run(
    slide: Slide, checkpoint: Checkpoint, path, settings: PredictionSettings = PLAIN, **options: object
) -> np.ndarray:
    for _ in predict_slide(slide, checkpoint, path, settings, **options):
        pass
    return np.asarray(open_slide(path).levels[0][0])


@pytest.mark.parametrize(("height", "width"), [(700, 533), (513, 1025), (97, 61), (512, 512)])
def test_tiled_equals_one_shot_for_sizes_that_are_no_multiple_of_anything(height, width, source, tmp_path):
    slide, checkpoint = make_slide(height, width, source), lively_checkpoint(2)
    expected = one_shot(slide, checkpoint, halo=64)
    tiled = run(slide, checkpoint, tmp_path / "out.ome.zarr")
    assert np.abs(tiled - expected).max() <= 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_tiled_equals_one_shot_for_every_branch_count(branches, source, tmp_path):
    slide, checkpoint = make_slide(600, 540, source), lively_checkpoint(branches)
    expected = one_shot(slide, checkpoint, halo=192)
    tiled = run(slide, checkpoint, tmp_path / "out.ome.zarr")
    assert np.abs(tiled - expected).max() <= 1e-5 * np.ptp(expected)


def test_too_small_a_halo_shows_so_the_test_above_can_fail(source, tmp_path):
    slide, checkpoint = make_slide(600, 540, source), lively_checkpoint(3)
    expected = one_shot(slide, checkpoint, halo=192)
    tiled = run(slide, checkpoint, tmp_path / "out.ome.zarr", replace(PLAIN, halo=16))
    assert np.abs(tiled - expected).max() > 1e-3 * np.ptp(expected)


def lively_ganda() -> Checkpoint:
    """Random weights that pass every layer's signal on, the last ones small so that tanh does not saturate."""
    torch.manual_seed(7)
    network = GANDA(GANDASettings(channels=(6, 8, 10, 12, 14)))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    torch.nn.init.normal_(network.last.weight, std=0.03)
    return Checkpoint(network.settings, network.state_dict(), lively_checkpoint().card)


@pytest.mark.parametrize(("height", "width"), [(700, 533), (513, 1025), (97, 61)])
def test_tiled_equals_one_shot_for_ganda_with_the_halo_that_is_measured(height, width, source, tmp_path):
    slide, checkpoint = make_slide(height, width, source), lively_ganda()
    expected = one_shot(slide, checkpoint, halo_for(checkpoint.network(), 2, 16))
    tiled = run(slide, checkpoint, tmp_path / "out.ome.zarr")
    assert np.ptp(expected) > 1
    assert np.abs(tiled - expected).max() <= 1e-5 * np.ptp(expected)


def test_a_smaller_halo_than_is_measured_shows_for_ganda(source, tmp_path):
    slide, checkpoint = make_slide(600, 540, source), lively_ganda()
    expected = one_shot(slide, checkpoint, halo=64)
    tiled = run(slide, checkpoint, tmp_path / "out.ome.zarr", replace(PLAIN, halo=32))
    assert np.abs(tiled - expected).max() > 1e-3 * np.ptp(expected)


def test_zero_padding_is_grey_level_zero_beyond_the_border(source, tmp_path):
    slide, checkpoint = make_slide(300, 200, source), lively_checkpoint(2)
    expected = one_shot(slide, checkpoint, halo=64, mode="constant")
    tiled = run(slide, checkpoint, tmp_path / "out.ome.zarr", replace(PLAIN, padding="zero"))
    assert np.abs(tiled - expected).max() <= 1e-5 * np.ptp(expected)


def test_core_sizes_agree(source, tmp_path):
    slide, checkpoint = make_slide(1100, 1030, source), lively_checkpoint(2)
    small = run(slide, checkpoint, tmp_path / "small.ome.zarr")
    large = run(slide, checkpoint, tmp_path / "large.ome.zarr", replace(PLAIN, core=1024))
    assert np.abs(small - large).max() <= 1e-5 * np.ptp(large)


def test_coarser_levels_are_the_means_of_the_finest(source, tmp_path):
    slide = make_slide(1100, 1030, source)
    run(slide, lively_checkpoint(), tmp_path / "out.ome.zarr")
    levels = [np.asarray(level) for level in open_slide(tmp_path / "out.ome.zarr").levels]
    assert len(levels) > 1
    for finer, coarser in pairwise(levels):
        np.testing.assert_array_equal(halve(finer), coarser)


def test_the_probes_integer_type_is_rounded_and_clipped(source, tmp_path):
    slide, checkpoint = make_slide(300, 200, source), lively_checkpoint(2)
    floats = run(slide, checkpoint, tmp_path / "float.ome.zarr")
    integers = run(slide, checkpoint, tmp_path / "integer.ome.zarr", replace(PLAIN, output="probe"))
    assert integers.dtype == np.uint8
    np.testing.assert_array_equal(integers, np.clip(np.rint(floats), 0, 255))


@pytest.mark.parametrize("slide_um", [(1.0, 1.0), (0.3, 0.3), (0.7, 0.45)])
def test_resampled_tiles_agree_whatever_the_core(slide_um, source, tmp_path):
    slide, checkpoint = make_slide(560, 530, source, pixel_size_um=slide_um), lively_checkpoint(2)
    small = run(slide, checkpoint, tmp_path / "small.ome.zarr", replace(PLAIN, resample=True))
    large = run(slide, checkpoint, tmp_path / "large.ome.zarr", replace(PLAIN, resample=True, core=2048))
    assert small.shape == slide.shape
    assert np.abs(small - large).max() <= 1e-5 * np.ptp(large)


def test_resampling_shows_the_network_what_it_was_trained_on(source, tmp_path):
    """A slide at half the resolution predicts, resampled, about what the full resolution predicts."""
    fine = make_slide(800, 800, source)
    coarse_pixels = fine.levels[1]
    coarse = replace(fine, levels=(coarse_pixels,), pixel_size_um=(1.0, 1.0))
    checkpoint = lively_checkpoint(1)
    expected = halve(run(fine, checkpoint, tmp_path / "fine.ome.zarr"))
    resampled = run(coarse, checkpoint, tmp_path / "resampled.ome.zarr", replace(PLAIN, resample=True))
    with pytest.warns(UserWarning, match="pixels of 1 µm"):
        plain = run(coarse, checkpoint, tmp_path / "plain.ome.zarr")
    agreement = [np.corrcoef(expected.ravel(), each.ravel())[0, 1] for each in (resampled, plain)]
    assert agreement[0] > 0.9
    assert agreement[0] > agreement[1]


def test_blank_tiles_are_filled_with_the_answer_to_the_background(source, tmp_path):
    slide, checkpoint = make_slide(600, 1700, source, blank=1200), lively_checkpoint(2)
    full = run(slide, checkpoint, tmp_path / "full.ome.zarr")
    reports = list(predict_slide(slide, checkpoint, tmp_path / "skipped.ome.zarr", replace(PLAIN, skip_blank=True)))
    skipped = np.asarray(open_slide(tmp_path / "skipped.ome.zarr").levels[0][0])
    computed = {(report.tile.core.y0, report.tile.core.x0): report.pixels for report in reports}
    assert [computed[0, x] for x in (0, 512, 1024, 1536)] == [0, 0, 512 * 512, 512 * 164]
    np.testing.assert_array_equal(skipped[:, 1024:], full[:, 1024:])
    assert np.abs(skipped - full)[:, :900].max() <= 1e-5 * np.ptp(full)


def test_what_is_blank_does_not_depend_on_the_core(source, tmp_path):
    slide, checkpoint = make_slide(1100, 1700, source, blank=1000), lively_checkpoint(2)
    small, *larger = (
        run(slide, checkpoint, tmp_path / f"{edge}.ome.zarr", replace(PLAIN, core=edge, skip_blank=True))
        for edge in (512, 1024, 2048)
    )
    full = run(slide, checkpoint, tmp_path / "full.ome.zarr")
    for large in larger:
        assert np.abs(large - small).max() <= 1e-5 * np.ptp(full)
        glass = np.all(large == large[0, 0], axis=0)
        assert 768 <= np.argmin(glass) <= 1000
        assert np.argmin(glass) % 256 == 0
        assert np.abs(large - full)[:, np.argmin(glass) :].max() <= 1e-5 * np.ptp(full)


def test_the_store_lies_on_the_slide(source, tmp_path):
    slide = make_slide(333, 257, source, pixel_size_um=(0.5, 0.49))
    run(slide, lively_checkpoint(), tmp_path / "out.ome.zarr")
    predicted = open_slide(tmp_path / "out.ome.zarr")
    assert predicted.shape == slide.shape
    assert predicted.pixel_size_um == pytest.approx(slide.pixel_size_um)
    assert PredictionStore(tmp_path / "out.ome.zarr").complete


def as_floats(slide: Slide, change=lambda pixels: None) -> Slide:
    pixels = slide.levels[0].compute().astype(np.float32)
    change(pixels)
    finest = da.from_array(pixels, chunks=(1, 512, 512), name=False)
    return replace(slide, levels=(finest, *coarser_levels(finest)))


@pytest.mark.parametrize("resample", [False, True])
def test_a_pixel_that_is_no_number_is_background_and_nothing_beyond_the_halo_changes(resample, source, tmp_path):
    size = (0.4, 0.4) if resample else (0.5, 0.5)
    slide, glass = make_slide(600, 700, source, pixel_size_um=size, blank=200), 5.0

    def spoil(pixels, values=(np.nan, np.inf, 1e30)):
        pixels[0, 300, 400], pixels[0, 301, 401], pixels[1, 310, 390] = values

    settings = replace(PLAIN, resample=resample)
    good, filled = (as_floats(slide, change) for change in (lambda p: None, lambda p: spoil(p, (glass,) * 3)))
    expected, alike = (
        run(each, lively_checkpoint(), tmp_path / name, settings) for each, name in ((good, "good"), (filled, "filled"))
    )
    with pytest.warns(PredictionWarning, match="2 pixels of DAPI and 1 pixel of AF488"):
        found = run(as_floats(slide, spoil), lively_checkpoint(), tmp_path / "bad", settings)
    np.testing.assert_array_equal(found, alike)
    near = np.zeros(found.shape, bool)
    near[300 - 64 : 311 + 64, 390 - 64 : 402 + 64] = True
    np.testing.assert_array_equal(found[~near], expected[~near])
    assert np.abs(found - expected)[near].max() > 0


def test_a_mosaic_with_no_numbers_outside_the_tissue_is_filled_there_and_a_channel_of_none_is_refused(source, tmp_path):
    slide = make_slide(1024, 1536, source)

    def outside(pixels):
        pixels[:, :, 500:] = np.nan

    def empty(pixels):
        pixels[1] = np.nan

    with pytest.warns(PredictionWarning, match="hold no number"):
        found = run(as_floats(slide, outside), lively_checkpoint(), tmp_path / "out", FILLED)
    assert np.isfinite(found).all()
    assert np.ptp(found[:, 1024:]) == 0 < np.ptp(found[:, :400])
    with pytest.raises(PredictionError, match=r"AF488 of slide\.tif holds no number"):
        run(as_floats(slide, empty), lively_checkpoint(), tmp_path / "none", FILLED)

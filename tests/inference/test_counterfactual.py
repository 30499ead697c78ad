"""A prediction with an edited vessel stain is the one of the edited slide, computed only where the edit reaches."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis.tissue.vessel_edit import VesselEdit
from napari_hrpn.core import Box
from napari_hrpn.inference import CounterfactualNetwork, PredictionError, PredictionSettings, predict_slide
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.models import IntensityScaling
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import open_slide
from support.predictions import lively_checkpoint, make_slide

PLAIN = PredictionSettings(device="cpu", skip_blank=False)
EDIT_BOX = Box(301, 322, 410, 437)


def edit_of(slide, box=EDIT_BOX):
    shape = (box.height, box.width)
    pixels = np.random.default_rng(5).integers(0, 250, shape).astype(slide.dtype)
    return VesselEdit(box, pixels, np.ones(shape, bool))


def edited_slide(slide, edit):
    """Another slide in memory with the edit in its vessel channel."""
    pixels = slide.levels[0].compute()
    pixels[1][edit.box.slices] = edit.pixels
    return replace(slide, levels=(da.from_array(pixels, chunks=(1, 512, 512), name=False),))


def predicted(slide, checkpoint, path, settings):
    for _ in predict_slide(slide, checkpoint, path, settings):
        pass
    return np.asarray(open_slide(path).levels[0][0])


@pytest.mark.parametrize(("size_um", "resample"), [(0.5, False), (0.37, True), (0.8, True)])
def test_the_difference_is_that_of_two_whole_predictions(size_um, resample, source, tmp_path):
    slide = make_slide(700, 760, source, pixel_size_um=(size_um, size_um))
    checkpoint, settings = lively_checkpoint(1), replace(PLAIN, resample=resample)
    edit = edit_of(slide)
    whole = predicted(edited_slide(slide, edit), checkpoint, tmp_path / "edited.zarr", settings)
    whole = whole - predicted(slide, checkpoint, tmp_path / "as_is.zarr", settings)
    box, difference = CounterfactualNetwork(slide, checkpoint, tmp_path / "out", settings).difference(edit)
    assert box.area < 0.7 * np.prod(slide.shape)
    assert np.abs(difference).max() > 1
    np.testing.assert_allclose(difference, whole[box.slices], atol=1e-4 * np.ptp(whole))
    whole[box.slices] = 0
    assert np.abs(whole).max() <= 1e-4


@pytest.mark.parametrize("size_um", [1.0, 0.7])
def test_the_window_holds_the_reach_of_the_distance_input(size_um, source, tmp_path):
    slide = make_slide(700, 760, source, pixel_size_um=(size_um, size_um))
    near = VesselDistance(reach_um=10.0, step_um=0.4, smoothing_um=0.6)
    checkpoint = lively_checkpoint(
        in_channels=3,
        input_roles=("nuclei", "vessels", "distance"),
        scaling=IntensityScaling("fixed", (10, 10, 0), (50, 50, near.steps), target_scale=20.0),
        pixel_size_um=1.0,
        resamples=True,
        distance=near,
    )
    network, edit = CounterfactualNetwork(slide, checkpoint, tmp_path / "out", PLAIN), edit_of(slide)
    everything = Box(0, slide.shape[0], 0, slide.shape[1])
    whole = network.predicted(everything, edit) - network.predicted(everything)
    box, difference = network.difference(edit)
    assert box != everything
    np.testing.assert_allclose(difference, whole[box.slices], atol=1e-5 * np.ptp(whole))
    whole[box.slices] = 0
    assert np.abs(whole).max() <= 1e-5


def test_an_edit_that_changes_nothing_makes_no_difference(source, tmp_path):
    slide = make_slide(700, 760, source)
    same = slide.levels[0][1][EDIT_BOX.slices].compute()
    edit = replace(edit_of(slide), pixels=same)
    _, difference = CounterfactualNetwork(slide, lively_checkpoint(1), tmp_path / "out", PLAIN).difference(edit)
    assert np.abs(difference).max() <= 1e-6


def test_memory_that_runs_out_is_answered_with_smaller_pieces(source, tmp_path, monkeypatch):
    slide = make_slide(700, 760, source)
    network = CounterfactualNetwork(slide, lively_checkpoint(1), tmp_path / "out", PLAIN)
    edit, box, ready, failed = edit_of(slide), Box(0, 700, 0, 760), Predictor.ready, []
    expected = network.predicted(box, edit)

    def starved(self, pixels, scale):
        if max(pixels.shape) > 700:
            failed.append(pixels.shape)
            raise MemoryError
        return ready(self, pixels, scale)

    monkeypatch.setattr(Predictor, "ready", starved)
    np.testing.assert_allclose(network.predicted(box, edit), expected, atol=1e-5 * np.ptp(expected))
    # later predictions begin with pieces that fit
    network.predicted(box)
    assert len(failed) == 1


def test_memory_that_does_not_suffice_for_the_smallest_piece_is_said(source, tmp_path, monkeypatch):
    slide = make_slide(700, 760, source)
    network = CounterfactualNetwork(slide, lively_checkpoint(1), tmp_path / "out", PLAIN)
    monkeypatch.setattr(Predictor, "run", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(PredictionError, match="does not fit into the memory of cpu"):
        network.difference(edit_of(slide))


def test_distances_are_from_the_edited_vessel(source, tmp_path):
    network = CounterfactualNetwork(make_slide(700, 760, source), lively_checkpoint(1), tmp_path / "out", PLAIN)
    edit = edit_of(network.slide)
    distance = network.distance_um(edit, EDIT_BOX.grown(10))
    assert distance[10:-10, 10:-10].max() == 0
    assert distance[0, 15] == pytest.approx(10 * 0.5)


def test_a_network_without_vessels_is_refused(source, tmp_path):
    checkpoint = lively_checkpoint(1, input_roles=("nuclei", "other"))
    with pytest.raises(PredictionError, match="takes no vessels"):
        CounterfactualNetwork(make_slide(300, 300, source), checkpoint, tmp_path / "out", PLAIN)

"""A network with a pixel size of its own and the distance to vessels as an input: tiles, levels, and what it sees."""

import tracemalloc
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage, spatial

from napari_hrpn.analysis.tissue.tissue_mask import tissue_mask
from napari_hrpn.analysis.tissue.vessel_distance import vessel_distance, vessel_threshold, with_distance
from napari_hrpn.core import rounded_up
from napari_hrpn.inference import PredictionError, PredictionSettings, pixel_size_warnings, predict_slide, slide_fit
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.inference.tile_pipeline import Sampling
from napari_hrpn.models import HRPN, Checkpoint, HRPNSettings, IntensityScaling, ModelCard, halo_of
from napari_hrpn.settings import recipe_settings
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import RegionMask, SlideError, glance, halve, open_slide
from napari_hrpn.slides.resampling import at_pixel_size, fitting_level
from napari_hrpn.training.data.network_grid import on_network_grid
from napari_hrpn.training.entries import SlideEntry, TrainingSlide
from support.predictions import lively_checkpoint, make_slide

PLAIN = PredictionSettings(device="cpu", skip_blank=False, core=512)
SMALL = VesselDistance(reach_um=10.0, step_um=0.4, smoothing_um=0.6)


def distance_checkpoint(scaling: str = "fixed", **card: object) -> Checkpoint:
    """Random weights of a network of nuclei, vessels and distance that works at 1 µm."""
    inner = lively_checkpoint(1)
    network = HRPN(HRPNSettings(branches=1, in_channels=3))
    weights = dict(network.state_dict()) | {
        name: tensor for name, tensor in inner.weights.items() if tensor.shape == network.state_dict()[name].shape
    }
    fields = {
        "input_roles": ("nuclei", "vessels", "distance"),
        "scaling": IntensityScaling(scaling, (10, 10, 0), (50, 50, SMALL.steps), target_scale=20.0),
        "pixel_size_um": 1.0,
        "resamples": True,
        "distance": SMALL,
    }
    return Checkpoint(network.settings, weights, ModelCard(**{**fields, **card}))


def run(slide, checkpoint, path, settings=PLAIN, **options):
    for _ in predict_slide(slide, checkpoint, path, settings, **options):
        pass
    return np.asarray(open_slide(path).levels[0][0])


@pytest.mark.parametrize("slide_um", [(1.0, 1.0), (0.5, 0.5), (0.3, 0.4), (1.7, 1.7)])
@pytest.mark.parametrize("scaling", ["fixed", "percentile"])
def test_tiles_of_any_size_agree(slide_um, scaling, source, tmp_path):
    slide, checkpoint = make_slide(560, 530, source, pixel_size_um=slide_um), distance_checkpoint(scaling)
    small = run(slide, checkpoint, tmp_path / "small.ome.zarr")
    large = run(slide, checkpoint, tmp_path / "large.ome.zarr", replace(PLAIN, core=2048))
    assert small.shape == slide.shape
    assert np.abs(small - large).max() <= 1e-5 * np.ptp(large)


def test_the_distance_decides_the_prediction_so_the_test_above_sees_it(source, tmp_path):
    slide, checkpoint = make_slide(600, 500, source), distance_checkpoint()
    other = replace(checkpoint, card=replace(checkpoint.card, distance=replace(SMALL, reach_um=4.0)))
    found = [run(slide, each, tmp_path / f"{index}.ome.zarr") for index, each in enumerate((checkpoint, other))]
    assert np.abs(found[0] - found[1]).max() > 1e-2 * np.ptp(found[0])


def test_a_fitting_stored_level_is_read_and_the_finest_is_not(source, tmp_path):
    slide, checkpoint = make_slide(1200, 900, source, pixel_size_um=(0.5, 0.5)), distance_checkpoint()
    coarse = replace(slide, levels=slide.levels[1:], pixel_size_um=(1.0, 1.0))
    expected = run(coarse, checkpoint, tmp_path / "coarse.ome.zarr")

    def forbidden(block):
        raise AssertionError("the finest level was read")

    # glances at the slide read coarse levels only
    unread = slide.levels[0].map_blocks(forbidden, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    stored = replace(slide, levels=(unread, *slide.levels[1:]), stored_levels=len(slide.levels))
    found = run(stored, checkpoint, tmp_path / "fine.ome.zarr")
    assert found.shape == slide.shape
    border = 8
    halved = halve(found)[border:-border, border:-border]
    expected = expected[border:-border, border:-border]
    # interpolated to twice the pixels and averaged again, the prediction is a little smoother
    assert np.corrcoef(halved.ravel(), expected.ravel())[0, 1] > 0.99
    smoothed = ndimage.convolve1d(ndimage.convolve1d(expected, [0.125, 0.75, 0.125], 0), [0.125, 0.75, 0.125], 1)
    assert np.abs(halved - smoothed)[1:-1, 1:-1].max() < 1e-4 * np.ptp(expected)


@pytest.mark.parametrize(
    ("wanted", "level", "factors"),
    [(0.5, 0, (1.0, 1.0)), (1.02, 1, (1.0, 1.0)), (0.4, 0, (1.25, 1.25)), (1.5, 1, (2 / 3, 2 / 3)), (30, 2, None)],
)
def test_the_level_that_fits(wanted, level, factors, source):
    slide = make_slide(1100, 1100, source, pixel_size_um=(0.5, 0.5))
    slide = replace(slide, stored_levels=3, levels=slide.levels[:3])
    if factors is None:
        with pytest.raises(SlideError, match="16 times"):
            fitting_level(slide, wanted)
        return
    found = fitting_level(slide, wanted)
    assert found[0] == level
    assert np.allclose(found[1], factors)


def test_a_level_that_is_not_stored_is_not_read(source):
    assert fitting_level(make_slide(1100, 1100, source), 1.0)[0] == 0


def test_a_slide_without_pixel_size_is_refused_or_taken_as_trained(source, tmp_path):
    slide = make_slide(300, 300, source, pixel_size_um=None)
    with pytest.raises(SlideError, match="--pixel-size"):
        fitting_level(slide, 0.5)
    with pytest.warns(UserWarning, match="no pixel size"):
        found = run(slide, distance_checkpoint(), tmp_path / "none.ome.zarr")
    sized = run(replace(slide, pixel_size_um=(1.0, 1.0)), distance_checkpoint(), tmp_path / "sized.ome.zarr")
    assert np.array_equal(found, sized)
    with pytest.raises(PredictionError, match="cannot be resampled"):
        run(slide, distance_checkpoint(), tmp_path / "no.ome.zarr", replace(PLAIN, resample=True))


def test_the_distance_is_that_to_the_nearest_bright_pixel():
    random = np.random.default_rng(3)
    vessels = (random.random((60, 50)) > 0.99) * 200.0
    settings, pixel_um = VesselDistance(reach_um=6.0, step_um=0.5, smoothing_um=0.0), (0.7, 0.9)
    found = vessel_distance(vessels, 100.0, pixel_um, settings)
    points = np.argwhere(vessels > 0) * pixel_um
    everywhere = np.argwhere(np.ones_like(vessels)) * pixel_um
    expected = spatial.cKDTree(points).query(everywhere)[0].reshape(vessels.shape)
    assert np.array_equal(found, np.rint(np.minimum(expected / 0.5, 12)))
    assert (vessel_distance(vessels, 1000.0, pixel_um, settings) == 12).all()


def test_vessels_are_cut_between_their_grey_levels_and_not_where_there_is_none(source):
    slide = make_slide(512, 512, source)
    image = np.asarray(slide.levels[0]).copy()
    image[1] = 20
    image[1, 100:140] = 90
    two = replace(slide, levels=(da.from_array(image),), pixel_size_um=(2.0, 2.0))
    tissue = RegionMask.whole((512, 512))
    assert 20 <= vessel_threshold(two, 1, tissue) < 90
    flat = replace(two, levels=(da.full(image.shape, 7, dtype=np.uint8),))
    assert vessel_threshold(flat, 1, tissue) == np.inf


def test_vessels_of_wide_integers_are_found_in_little_memory(source):
    """As many steps as grey levels would be three billion."""
    slide = make_slide(64, 64, source)
    image = np.full((3, 64, 64), 100, np.uint32)
    image[1, 20:30] = 3_000_000_000
    wide = replace(slide, levels=(da.from_array(image),), pixel_size_um=(2.0, 2.0))
    tracemalloc.start()
    try:
        threshold = vessel_threshold(wide, 1, RegionMask.whole((64, 64)))
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert 100 <= threshold < 3_000_000_000


@pytest.mark.parametrize("slide_um", [0.5, 0.33])
def test_training_sees_what_a_prediction_sees(slide_um, source, tmp_path, monkeypatch):
    """The slide of a training on the network's grid has the pixels that a prediction gives the network."""
    slide = make_slide(400, 360, source, pixel_size_um=(slide_um, slide_um))
    settings = recipe_settings("fast", channels=("nuclei", "vessels", "distance"), pixel_um=0.5, patch_px=64)
    seen = TrainingSlide(SlideEntry(source), slide, (0, 1), 2)
    seen = on_network_grid(seen, settings)
    trained_on = np.asarray(seen.slide.levels[0][list(seen.inputs)])
    given = {}
    checkpoint = distance_checkpoint(pixel_size_um=0.5, distance=VesselDistance())

    def kept(self, pixels, scale=None):
        given["pixels"] = pixels
        return original(self, pixels, scale)

    original = Predictor.ready
    monkeypatch.setattr(Predictor, "ready", kept)
    run(slide, checkpoint, tmp_path / "out.ome.zarr")
    stride = checkpoint.settings.stride
    # a resampled tile begins a stride earlier, for the interpolation of the output
    halo = rounded_up(halo_of(checkpoint.settings), stride) + (stride if slide_um != 0.5 else 0)
    inside = given["pixels"][:, halo:, halo:][:, : trained_on.shape[1], : trained_on.shape[2]]
    inner = slice(None), slice(40, -40), slice(40, -40)
    assert inside.shape == trained_on.shape
    difference = np.abs(inside[inner].astype(float) - trained_on[inner])
    # the slide of a training has whole grey levels, which shifts a few outlines of vessels by a pixel
    assert difference[:2].max() <= 0.5
    assert np.mean(difference[2] > 1.5) < 0.01
    assert np.ptp(trained_on[2]) > 10


def test_annotated_regions_keep_their_place_on_the_network_grid(source):
    slide = make_slide(400, 360, source, pixel_size_um=(0.25, 0.25))
    mask = np.zeros((100, 90), bool)
    mask[20:50, 30:60] = True
    regions = RegionMask(mask, (4.0, 4.0))
    settings = recipe_settings("fast", pixel_um=0.5)
    seen = on_network_grid(TrainingSlide(SlideEntry(source), slide, (0, 1), 2, regions), settings)
    bounds, expected = seen.regions.bounds(seen.slide.shape), regions.bounds(slide.shape)
    assert (bounds.y0, bounds.y1, bounds.x0, bounds.x1) == tuple(
        edge // 2 for edge in (expected.y0, expected.y1, expected.x0, expected.x1)
    )


def test_a_resampled_slide_has_its_pixel_size_and_means(source):
    slide = make_slide(600, 500, source, pixel_size_um=(0.4, 0.4))
    seen = at_pixel_size(slide, 0.8)
    assert seen.shape == (300, 250)
    assert np.allclose(seen.pixel_size_um, 0.8)
    assert np.abs(np.asarray(seen.levels[0]).mean() - np.asarray(slide.levels[0]).mean()) < 0.5


def test_vessels_are_cut_at_one_grey_level_in_training_and_prediction(source, monkeypatch):
    """Whatever the grid of the network: a level that is found anew on it moves the outlines of all vessels."""
    slide, found = make_slide(500, 260, source, pixel_size_um=(0.5, 1.1)), []
    monkeypatch.setattr(
        "napari_hrpn.analysis.tissue.vessel_distance.vessel_threshold",
        lambda *measured: found.append(vessel_threshold(*measured)) or found[-1],
    )
    settings = recipe_settings("fast", channels=("nuclei", "vessels", "distance"), pixel_um=0.55)
    seen = on_network_grid(TrainingSlide(SlideEntry(source), slide, (0, 1), 2), settings)
    np.asarray(seen.slide.levels[0][3, :20, :20])
    stains = glance(slide, (0, 1), 2.0)
    assert found == [vessel_threshold(stains, 1, tissue_mask(stains, 0))]


def test_the_fit_of_a_slide_without_pixel_size_counts_distances_as_its_prediction_does(source):
    quantiles = np.random.default_rng(1).random((3, 3, 7)).tolist()
    checkpoint = distance_checkpoint(pixel_size_um=0.5, resamples=False, input_quantiles=quantiles)
    sized = make_slide(400, 360, source, pixel_size_um=(0.5, 0.5))
    # the coarse levels that are measured differ, so only the distance at the finest one is compared
    expected = with_distance(sized, 1, 0, SMALL, original=sized)
    unsized = replace(sized, pixel_size_um=None)
    found = with_distance(unsized, 1, 0, SMALL, original=sized, assumed_um=0.5)
    assert np.array_equal(np.asarray(found.levels[0][3]), np.asarray(expected.levels[0][3]))
    tiny = replace(checkpoint, card=replace(checkpoint.card, pixel_size_um=0.05))
    assert slide_fit(unsized, checkpoint).distance != slide_fit(unsized, tiny).distance


def test_the_warning_of_unknown_pixels_reaches_as_far_as_they_do(source, tmp_path):
    """In pixels of the slide, which are finer than those of the network, and with the reach of the distance."""
    slide, checkpoint = make_slide(300, 280, source), distance_checkpoint()
    pixels = np.asarray(slide.levels[0]).astype(np.float32)
    pixels[1, 150, 140] = np.nan
    finest = da.from_array(pixels, chunks=(1, 512, 512))
    slide = replace(slide, levels=(finest,), stored_levels=1)
    with pytest.warns(UserWarning, match="hold no number") as warned:
        run(slide, checkpoint, tmp_path / "out.ome.zarr")
    halo = rounded_up(halo_of(checkpoint.settings), checkpoint.settings.stride)
    (sentence,) = (str(each.message) for each in warned if "hold no number" in str(each.message))
    assert f"up to {2 * (halo + SMALL.margin((1.0, 1.0)))} px around" in sentence


def test_the_distance_and_its_margin_stay_within_the_memory_budget(source, tmp_path, monkeypatch):
    wide = VesselDistance(reach_um=50.0, step_um=0.4, smoothing_um=0.6)
    slide, checkpoint = make_slide(500, 480, source, pixel_size_um=(1.0, 1.0)), distance_checkpoint(distance=wide)
    read, bytes_for = Sampling.read, Predictor(checkpoint).bytes_for
    taken = []

    def measured(*given):
        tracemalloc.start()
        pixels, unknown = read(*given)
        taken.append(bytes_for(*pixels.shape[1:]) + tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return pixels, unknown

    monkeypatch.setattr(Sampling, "read", measured)
    whole = run(slide, checkpoint, tmp_path / "whole.ome.zarr")
    (most,) = taken
    taken.clear()
    # the network alone would fit into this, but not beside the distance
    budget = 0.99 * most
    side = 512 + 2 * rounded_up(halo_of(checkpoint.settings), checkpoint.settings.stride)
    assert bytes_for(side, side) < budget
    pieces = run(slide, checkpoint, tmp_path / "pieces.ome.zarr", replace(PLAIN, memory_gb=budget / 1e9))
    assert len(taken) == 4
    assert max(taken) <= budget
    assert np.abs(pieces - whole).max() <= 1e-5 * np.ptp(whole)


@pytest.mark.parametrize("resamples", [False, True])
def test_prediction_and_training_refuse_a_far_pixel_size_in_one_sentence(resamples, source, tmp_path):
    slide = make_slide(100, 100, source, pixel_size_um=(30.0, 30.0))
    with pytest.raises(SlideError) as predicting:
        run(slide, distance_checkpoint(resamples=resamples), tmp_path / "o.ome.zarr", replace(PLAIN, resample=True))
    with pytest.raises(SlideError) as training:
        on_network_grid(TrainingSlide(SlideEntry(source), slide, (0, 1), 2), recipe_settings("fast", pixel_um=1.0))
    sentence = (
        "slide.tif has pixels of 30 x 30 µm, more than 16 times as small or large as the 1 µm it is to be resampled "
        "to: check its pixel size"
    )
    assert str(training.value) == f"{sentence}."
    # a checkpoint that always resamples cannot predict without
    remedy = "" if resamples else ", or predict without resampling"
    assert str(predicting.value) == f"{sentence}{remedy}."


@pytest.mark.parametrize(("size", "words"), [((0.5, 1.0), "pixels of 0.5 x 1 µm"), ((1.0, 1.0), "pixels of 1 µm but")])
def test_the_side_of_a_pixel_that_differs_is_named(size, words, source):
    (sentence,) = pixel_size_warnings(make_slide(64, 64, source, pixel_size_um=size), lively_checkpoint(1))
    assert words in sentence

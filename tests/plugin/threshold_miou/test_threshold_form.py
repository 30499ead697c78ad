import numpy as np
import pytest

from napari_hrpn.analysis import value_counts
from napari_hrpn.analysis.counts.intensity_histogram import bins_between
from napari_hrpn.plugin.threshold_miou.threshold_form import ThresholdForm

PIXELS = {
    "uint8": np.random.default_rng(1).integers(0, 200, 5000).astype(np.uint8),
    "uint16": np.random.default_rng(2).integers(100, 40_000, 5000).astype(np.uint16),
    "float32": np.random.default_rng(3).random(5000).astype(np.float32),
}


@pytest.fixture
def form(qtbot):
    form = ThresholdForm()
    qtbot.addWidget(form)
    return form


@pytest.mark.parametrize("dtype", PIXELS)
def test_slider_and_box_are_linked_as_numpy_has_it(form, dtype):
    pixels = PIXELS[dtype]
    form.use_counts(value_counts(pixels))
    tolerance = 1 / 65_000 if dtype == "float32" else 1e-9
    for percentile in (0, 12.5, 50, 99.9, 100):
        form.slider.value = round(10 * percentile)
        assert form.threshold == pytest.approx(np.percentile(pixels, percentile), abs=tolerance)
        assert form.intensity_box.value == pytest.approx(form.threshold, abs=0.06 if dtype != "float32" else 1e-4)
    threshold = float(np.percentile(pixels, 70))
    form.intensity_box.value = threshold
    assert form.threshold == form.intensity_box.value
    darker = 100 * np.mean(pixels < form.threshold)
    assert form.percentile == pytest.approx(darker, abs=0.1)
    assert form.slider.value == round(10 * form.percentile)


def test_what_was_set_last_stays_when_the_pixels_change(form):
    first, second = value_counts(PIXELS["uint8"]), value_counts(PIXELS["uint8"] // 2)
    form.use_counts(first)
    form.percentile_box.value = 75
    form.use_counts(second)
    assert form.percentile == 75
    assert form.threshold == np.percentile(PIXELS["uint8"] // 2, 75)
    form.intensity_box.value = 50
    form.use_counts(first)
    assert form.threshold == 50
    assert form.percentile == pytest.approx(100 * np.mean(PIXELS["uint8"] < 50), abs=0.1)


def test_moving_tells_once(form, qtbot):
    form.use_counts(value_counts(PIXELS["uint8"]))
    told = []
    form.changed.connect(lambda: told.append(form.threshold))
    form.slider.value = 300
    form.intensity_box.value = 20
    form.use_counts(value_counts(PIXELS["uint8"]))
    assert len(told) == 2


def test_without_pixels_it_is_off(form):
    form.use_counts(value_counts(np.empty(0, np.uint8)))
    assert not form.isEnabled()
    assert np.isnan(form.threshold)
    form.use_counts(value_counts(np.full(9, 7, np.uint16)))
    assert form.isEnabled()
    assert form.threshold == 7


def test_whole_numbers_that_were_counted_in_bins_stay_whole(form):
    pixels = PIXELS["uint8"]
    form.use_counts(value_counts(pixels, bins=bins_between(-3.21, 271.7, whole=False)), is_whole=True)
    for percentile in range(0, 101, 4):
        form.set_percentile(percentile)
        assert form.threshold == np.percentile(pixels, percentile)
        form.set_threshold(form.threshold)
        assert form.percentile == pytest.approx(100 * np.mean(pixels < form.threshold), abs=0.1)

import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManifest

from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.plugin import samples
from napari_hrpn.plugin.viewer import slide_of, slides_in


def test_every_preset_is_in_the_menu():
    contributions = PluginManifest.from_distribution("napari-hrpn").contributions
    assert {sample.key for sample in contributions.sample_data} == set(PHANTOM_PRESETS)


def test_without_a_viewer_a_sample_is_lazy_and_complete():
    layers = [Layer.create(*layer) for layer in samples.tiny()]
    phantom = phantom_slide("tiny")
    expected = [*phantom.slide.levels[0].compute(), phantom.noise_free_probe.compute()]
    assert len(layers) == 4
    for layer, pixels in zip(layers, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(layer.data), pixels)


def test_a_sample_in_the_viewer_fills_to_what_the_phantom_is(make_napari_viewer, qtbot, monkeypatch):
    # two by two blocks, the last ones cut off, and a second level
    monkeypatch.setattr("napari_hrpn.phantom.phantom_slide", lambda preset: phantom_slide(preset, size=(1040, 1100)))
    viewer = make_napari_viewer()
    layers = viewer.open_sample("napari-hrpn", "tiny")
    assert [layer.visible for layer in layers] == [True, True, True, False]
    assert layers[3].name.startswith("noise-free QD · ")
    assert layers[3].contrast_limits == layers[2].contrast_limits
    (slide,) = slides_in(viewer)
    lazy_levels = slide.levels
    qtbot.waitUntil(lambda: slide_of(layers[0]) is not slide, timeout=60_000)
    assert len(lazy_levels) > 1
    for level, lazy in enumerate(lazy_levels):
        expected = lazy.compute()
        np.testing.assert_array_equal(slide_of(layers[0]).levels[level].compute(), expected)
        for channel in range(3):
            np.testing.assert_array_equal(np.asarray(layers[channel].data[level]), expected[channel])
    noise_free = phantom_slide("tiny", size=(1040, 1100)).noise_free_probe.compute()
    np.testing.assert_array_equal(np.asarray(layers[3].data[0]), noise_free)


@pytest.mark.parametrize("preset", [name for name in PHANTOM_PRESETS if name != "tiny"])
def test_every_preset_opens_with_contrast_that_shows_it(preset, monkeypatch):
    monkeypatch.setattr("napari_hrpn.phantom.phantom_slide", lambda name: phantom_slide(name, size=256))
    for data, attributes, _ in getattr(samples, preset)()[:3]:
        low, high = attributes["contrast_limits"]
        share = ((np.asarray(data) > low) & (np.asarray(data) < high)).mean()
        assert share > 0.5

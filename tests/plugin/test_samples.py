import hashlib
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManifest
from PIL import Image

from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.plugin import samples
from napari_hrpn.plugin.viewer import slide_of, slides_in
from napari_hrpn.slides import SlideError, open_slide


def test_every_preset_is_in_the_menu():
    contributions = PluginManifest.from_distribution("napari-hrpn").contributions
    assert {sample.key for sample in contributions.sample_data} == set(PHANTOM_PRESETS) | set(samples.REAL_SLIDES)
    for sample in contributions.sample_data:
        command = next(one for one in contributions.commands if one.id == sample.command)
        function = getattr(samples, command.python_name.partition(":")[2])
        assert function.args == (sample.key,)


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


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A field in colours on a server of this machine; returns its pixels, as channels, and the requests."""
    site, requests = tmp_path / "site", []
    site.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(site / "01.png")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = f"http://127.0.0.1:{server.server_port}/01.png", hashlib.sha256((site / "01.png").read_bytes()).hexdigest()
    field = replace(samples.REAL_SLIDES["dextran-1"], files=(file,), shape=(40, 50))
    monkeypatch.setitem(samples.REAL_SLIDES, "dextran-1", field)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "kept")
    yield np.moveaxis(pixels, 2, 0)[[2, 0, 1]], requests
    server.shutdown()
    server.server_close()


def test_real_tissue_is_downloaded_once(served):
    expected, requests = served
    for _ in range(2):
        layers = [Layer.create(*layer) for layer in samples.dextran_1()]
        assert [layer.name for layer in layers] == [f"{name} · dextran-1" for name in ("DAPI", "Endomucin", "Dextran")]
        np.testing.assert_array_equal([np.asarray(layer.data) for layer in layers], expected)
        assert tuple(layers[0].scale) == (0.69, 0.69)
    assert len(requests) == 1


def test_real_tissue_fills_the_layers_in_the_viewer_and_is_then_a_slide_in_a_file(make_napari_viewer, qtbot, served):
    viewer = make_napari_viewer()
    layers = viewer.open_sample("napari-hrpn", "dextran-1")
    qtbot.waitUntil(lambda: slide_of(layers[0]).source.exists() and layers[2].data.any(), timeout=60_000)
    np.testing.assert_array_equal([layer.data for layer in layers], served[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url, sha256: (url, sha256[::-1]), "its content has changed"),
        (lambda url, sha256: (url.replace("01", "02"), sha256), "the server has no such file"),
        (lambda url, sha256: ("http://127.0.0.1:9/01.png", sha256), "the server does not answer"),
    ],
)
def test_a_sample_that_cannot_be_downloaded_leaves_a_sentence_and_nothing_else(served, monkeypatch, change, reason):
    field = samples.REAL_SLIDES["dextran-1"]
    monkeypatch.setitem(samples.REAL_SLIDES, "dextran-1", replace(field, files=(change(*field.files[0]),)))
    with pytest.raises(SlideError, match=rf"cannot be downloaded \({reason}\): try again"):
        samples.dextran_1()
    assert not samples._kept("dextran-1").exists()


def test_without_its_package_a_real_sample_says_what_to_install(served, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(SlideError, match=r"pooch, which is not installed: run `pip install"):
        samples.dextran_1()


def test_without_the_internet_no_black_layers_stay(make_napari_viewer, qtbot, served, monkeypatch, notifications):
    field = samples.REAL_SLIDES["dextran-1"]
    monkeypatch.setitem(samples.REAL_SLIDES, "dextran-1", replace(field, files=(("http://127.0.0.1:9/x", "0"),)))
    viewer = make_napari_viewer()
    viewer.open_sample("napari-hrpn", "dextran-1")
    qtbot.waitUntil(lambda: not viewer.layers, timeout=60_000)
    assert "the server does not answer" in notifications[-1]


def test_fields_that_were_converted_by_other_means_are_alike(shared_data):
    field = open_slide(shared_data / "dextran" / "fov01.ome.tif")
    sample = samples.REAL_SLIDES["dextran-1"]
    assert (field.channel_names, field.shape, field.dtype) == (sample.channels, sample.shape, sample.dtype)
    assert field.pixel_size_um == (sample.pixel_um, sample.pixel_um)

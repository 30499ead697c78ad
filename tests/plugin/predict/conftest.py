"""A fake engine, a slide, and a widget in a viewer."""

import threading
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
import tifffile
import torch

from napari_hrpn.core import TileGrid, rounded_up
from napari_hrpn.inference import (
    Device,
    PredictionReport,
    PredictionStore,
    PredictionWarning,
    TileReport,
)
from napari_hrpn.models import HRPN, Checkpoint, HRPNSettings, ModelCard, halo_of, save_checkpoint
from napari_hrpn.plugin.predict.widget import PredictWidget
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import open_slide, slide_identity
from support.quality import all_is_well
from support.settling import WAIT_MS

SHAPE = (1100, 1300)
DEVICES = (Device("cuda:0", "Fast GPU", 7 * 10**9, 8 * 10**9), Device("cpu", "CPU, 2 threads", 3 * 10**9, 4 * 10**9))


def request_of(slide, checkpoint, settings, roles):
    """What the engine records, but for the pixels of the slide."""
    decisive = asdict(settings)
    for name in ("device", "largest_core", "memory_gb", "region", "unlike"):
        del decisive[name]
    halo = halo_of(checkpoint.settings) if settings.halo is None else settings.halo
    given = {"pixel_size_um": list(slide.pixel_size_um)} if slide.pixel_size_is_given else {}
    return {
        **decisive,
        **given,
        "slide": slide_identity(slide),
        "checkpoint": checkpoint.digest,
        "channels": [roles[role] for role in checkpoint.card.input_roles],
        "core": 512,
        "halo": rounded_up(halo, checkpoint.settings.stride),
    }


class FakeEngine:
    """Stands in for `predict_slide`: writes tiles of 512 px, as many as it is allowed to."""

    def __init__(self):
        self.calls = []
        self.order = []
        self._allowed = threading.Semaphore(0)
        self.fails_with = None
        self.warns_of = ""
        self.closed = threading.Event()

    @staticmethod
    def pattern(box):
        """What is predicted: another value for each tile."""
        return np.full((box.height, box.width), 1 + box.y0 // 512 * 10 + box.x0 // 512, np.float32)

    def let(self, tiles=100):
        self._allowed.release(tiles)

    def __call__(self, slide, checkpoint, store, settings, *, roles, errors, overwrite, focus, stop):
        assert checkpoint.weights
        self.calls.append({"slide": slide, "settings": settings, "roles": roles, "overwrite": overwrite})
        if self.fails_with is not None:
            raise self.fails_with
        if self.warns_of:
            warnings.warn(self.warns_of, PredictionWarning, stacklevel=2)
        request = request_of(slide, checkpoint, settings, roles)
        card = checkpoint.card
        target = PredictionStore.open(
            store,
            slide,
            request,
            dtype=np.dtype("float32"),
            name=f"predicted {card.target}",
            title=card.title,
            overwrite=overwrite,
        )
        grid = TileGrid(*slide.shape, 512, 0, 1)
        tiles = tuple(grid) if settings.region is None else grid.within(settings.region)
        pending = [tile for tile in tiles if not target.finished(tile.core)]
        try:
            while pending and not stop.is_set():
                if not self._allowed.acquire(timeout=0.01):
                    continue
                tile = min(pending, key=lambda tile: tile.core.distance_to(*focus()))
                pending.remove(tile)
                self.order.append(tile.core)
                target.record(tile.core, target.write(tile.core, self.pattern(tile.core)))
                yield TileReport(tile, len(tiles) - len(pending), len(tiles), False, 1.0, float(len(pending)))
        finally:
            self.closed.set()
        done = len(tiles) - len(pending)
        return PredictionReport(
            target.path, done, len(tiles), target.complete, 512, 0, "cpu", 0, 0, 1.0, 0.0, 0.0, 0.0, 0.0
        )


@pytest.fixture
def engine(monkeypatch):
    fake = FakeEngine()
    monkeypatch.setattr("napari_hrpn.inference.predict_slide", fake)
    monkeypatch.setattr("napari_hrpn.inference.list_devices", lambda: DEVICES)
    monkeypatch.setattr("napari_hrpn.analysis.slide_quality", all_is_well)
    return fake


@pytest.fixture
def slide_file(tmp_path):
    """A slide of three channels and 0.5 µm pixels; its probe is bright."""
    random = np.random.default_rng(3)
    pixels = random.integers(5, 90, (3, *SHAPE)).astype(np.uint8)
    path = tmp_path / "tumour 7.ome.tif"
    names = {"Name": ["DAPI", "CD31", "QD"]}
    metadata = {"axes": "CYX", "Channel": names, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5}
    tifffile.imwrite(path, pixels, photometric="minisblack", tile=(256, 256), metadata=metadata)
    return path


@pytest.fixture
def write_checkpoint():
    """Writes a random network of one branch, and returns its path."""

    def write(path, **card):
        torch.manual_seed(0)
        roles = card.setdefault("input_roles", ("nuclei", "vessels"))
        settings = HRPNSettings(in_channels=len(roles), branches=1)
        card = ModelCard(**{"title": "tiny", "target": "QD", "pixel_size_um": 0.5, **card})
        if len(roles) != 2:
            card = replace(card, scaling=replace(card.scaling, offsets=(0.0,) * len(roles), scales=(1.0,) * len(roles)))
        save_checkpoint(Checkpoint(settings, HRPN(settings).state_dict(), card), path)
        return path

    return write


@pytest.fixture
def checkpoint(tmp_path, write_checkpoint):
    return write_checkpoint(tmp_path / "tiny.safetensors")


@pytest.fixture
def show():
    """Adds the layers of a slide to a viewer."""

    def run(viewer, slide, **changes):
        for data, attributes, _ in slide_layers(slide):
            viewer.add_image(data, **{**attributes, **changes})

    return run


@pytest.fixture
def viewer(make_napari_viewer_proxy, slide_file, show):
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(slide_file))
    return viewer


@pytest.fixture
def open_widget(qtbot, checkpoint, made):
    def opened(viewer, path=checkpoint):
        widget = PredictWidget(viewer)
        made.append(widget)
        viewer.window.add_dock_widget(widget, name="Predict QD")
        widget.use_checkpoint(path)
        qtbot.waitUntil(lambda: widget.predict_button.enabled, timeout=WAIT_MS)
        return widget

    return opened


@pytest.fixture
def widget(engine, viewer, open_widget):
    return open_widget(viewer)


@pytest.fixture
def wait_for(qtbot):
    """Waits for the beginning or the end of a run."""

    def run(widget, *, running):
        qtbot.waitUntil(lambda: widget.is_running == running, timeout=WAIT_MS)

    return run


@pytest.fixture
def wait_for_tiles(qtbot):
    """Waits until some tiles are finished."""

    def run(widget, count):
        def are_there():
            progress = widget._running.progress
            return progress is not None and progress.finished >= count

        qtbot.waitUntil(are_there, timeout=WAIT_MS)

    return run


@pytest.fixture
def run_to_end(engine, wait_for):
    """Predicts all."""

    def run(widget):
        engine.let()
        widget.predict()
        wait_for(widget, running=False)

    return run


@pytest.fixture
def prediction_threads():
    """Threads of the package that are alive."""

    def run():
        return [thread for thread in threading.enumerate() if thread.name.startswith("napari-hrpn")]

    return run

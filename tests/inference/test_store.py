"""Who writes which chunk of a prediction: a core's own chunks are its alone, the rest is the recorder's."""

import random
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.inference import PredictionStore
from napari_hrpn.slides.pyramid import halve
from napari_hrpn.tiling import TileGrid
from support.predictions import make_slide

SIZES = [(1300, 1100), (2048, 2048), (1536, 3100), (700, 300)]


def opened(path: Path, height: int, width: int) -> PredictionStore:
    slide = make_slide(height, width, path.with_suffix(".tif"))
    return PredictionStore.open(path, slide, {"core": 512}, dtype=np.dtype("float32"), name="QD")


def stored_files(path: Path) -> dict[str, int]:
    return {file.relative_to(path).as_posix(): file.stat().st_mtime_ns for file in path.rglob("c/*/*/*/*")}


@pytest.mark.parametrize("core", [512, 1024, 1536])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_cores_written_by_many_and_recorded_by_one_make_the_whole_pyramid(height, width, core, tmp_path):
    store = opened(tmp_path / "out.ome.zarr", height, width)
    pixels = np.random.default_rng(0).random((height, width)).astype(np.float32)
    cores = [tile.core for tile in TileGrid(height, width, core, 0, 1)]
    random.Random(1).shuffle(cores)
    written_by: dict[str, int] = {}
    handed_over = []
    for number, box in enumerate(cores):
        before = stored_files(store.path)
        part = pixels[box.y0 : box.y1, box.x0 : box.x1]
        handed_over.append(PredictionStore(store.path).write(box, part))
        after = stored_files(store.path)
        changed = {name for name in after if after[name] != before.get(name)}
        assert not changed & written_by.keys()
        written_by |= dict.fromkeys(changed, number)
    for box, shared in zip(cores, handed_over, strict=True):
        store.record(box, shared)
    assert store.complete
    for level in store.levels:
        np.testing.assert_array_equal(level[0], pixels)
        pixels = halve(pixels)


def test_a_core_that_is_written_but_not_recorded_is_not_finished(tmp_path):
    store = opened(tmp_path / "out.ome.zarr", 1300, 1100)
    first = next(iter(TileGrid(1300, 1100, 512, 0, 1))).core
    shared = store.write(first, np.ones((512, 512), np.float32))
    assert shared is not None
    assert shared.shape == (256, 256)
    assert not PredictionStore(store.path).finished(first)
    store.record(first, shared)
    assert PredictionStore(store.path).finished(first)

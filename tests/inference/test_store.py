"""Who writes which chunk of a prediction, and that only one program records in it at a time."""

import errno
import random
import subprocess
import sys
import warnings
from pathlib import Path

import filelock
import numpy as np
import pytest
import zarr

from napari_hrpn.inference import PredictionError, PredictionStore
from napari_hrpn.slides import open_slide
from napari_hrpn.slides.pyramid import halve
from napari_hrpn.tiling import TileGrid
from support.predictions import make_slide

SIZES = [(1300, 1100), (2048, 2048), (1536, 3100), (700, 300)]


def opened(path: Path, height: int, width: int, *, core: int = 512, overwrite: bool = False) -> PredictionStore:
    slide = make_slide(height, width, path.with_suffix(".tif"))
    kind = np.dtype("float32")
    return PredictionStore.open(path, slide, {"core": core}, dtype=kind, name="QD", overwrite=overwrite)


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


def test_a_prediction_that_is_written_is_refused_to_others_and_open_to_those_who_look(tmp_path):
    store = opened(tmp_path / "out.ome.zarr", 700, 300)
    with pytest.raises(PredictionError, match=r"out\.ome\.zarr is being written by another program"):
        opened(store.path, 700, 300)
    with pytest.raises(PredictionError, match="is being written by another program"):
        opened(store.path, 700, 300, core=1024, overwrite=True)
    only = next(iter(TileGrid(700, 300, 1024, 0, 1))).core
    shared = PredictionStore(store.path).write(only, np.ones((700, 300), np.float32))
    store.record(only, shared)
    assert open_slide(store.path).levels[0].compute().all()
    store.close()
    again = opened(store.path, 700, 300)
    assert again.complete
    again.close()
    again.close()
    replaced = opened(store.path, 700, 300, core=1024, overwrite=True)
    assert not replaced.complete
    with warnings.catch_warnings():
        # zarr warns of files in a group that it does not know
        warnings.simplefilter("error")
        assert {name for name, _ in zarr.open_group(store.path, mode="r").members()} == {"0", "1", "finished"}


def test_a_program_that_is_killed_holds_nothing(tmp_path):
    path = tmp_path / "out.ome.zarr"
    opened(path, 700, 300).close()
    code = f"""
from pathlib import Path
from napari_hrpn.inference.store_folder import held
kept = held(Path({str(path)!r}))
print("held", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(PredictionError, match="is being written by another program"):
            opened(path, 700, 300)
        other.kill()
    opened(path, 700, 300).close()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), PermissionError(errno.EACCES, "no"), NotImplementedError()]
)
def test_a_disk_that_knows_no_locks_is_written_without(error, tmp_path, monkeypatch):
    def fails(self, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", fails)
    one, other = (opened(tmp_path / "out.ome.zarr", 700, 300) for _ in range(2))
    one.close()
    other.close()

"""Who writes which chunk of a prediction, and that only one program records in it at a time."""

import errno
import json
import random
import subprocess
import sys
import warnings
from pathlib import Path

import filelock
import numpy as np
import pytest
import zarr

from napari_hrpn.core import TileGrid
from napari_hrpn.inference import PredictionError, PredictionStore
from napari_hrpn.slides import SlideWarning, open_slide
from napari_hrpn.slides.pyramid import halve
from napari_hrpn.slides.writers.output_path import _partial_folder
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
    assert shared.shape == (1, 256, 256)
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
from napari_hrpn.inference.store_files import held
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

    if isinstance(error, PermissionError):
        # in the folder of somebody else; where nothing can be written at all, no prediction is begun
        opened(tmp_path / "out.ome.zarr", 700, 300).close()
    monkeypatch.setattr(filelock.FileLock, "acquire", fails)
    one, other = (opened(tmp_path / "out.ome.zarr", 700, 300) for _ in range(2))
    one.close()
    other.close()


def test_what_killed_programs_left_goes_when_a_prediction_is_gone_on_with(tmp_path):
    store = opened(tmp_path / "out.ome.zarr", 700, 300)
    store.close()
    for left in ("0/c/0/1.0123456789abcdef0123456789abcdef.partial", "zarr.0123456789abcdef0123456789abcdef.partial"):
        (store.path / left).parent.mkdir(parents=True, exist_ok=True)
        (store.path / left).write_bytes(b"half a chunk")
    mine = store.path / "notes.partial"
    mine.write_text("a user's")
    begun = _partial_folder(tmp_path / "other.ome.zarr") / ("0" * 32)
    begun.mkdir(parents=True)
    for name in ("out.ome.zarr", "other.ome.zarr"):
        opened(tmp_path / name, 700, 300).close()
    assert list(tmp_path.rglob("*.partial")) == [mine]


def test_nothing_is_written_through_links_in_a_prediction(tmp_path):
    store = opened(tmp_path / "out.ome.zarr", 700, 300)
    store.close()
    for name in ("finished", "0"):
        elsewhere = tmp_path / f"elsewhere {name}"
        (store.path / name).rename(elsewhere)
        (store.path / name).symlink_to(elsewhere)
        before = sorted(elsewhere.rglob("*"))
        with pytest.raises(PredictionError, match=f"holds a link \\({name}\\)"):
            opened(store.path, 700, 300)
        assert sorted(elsewhere.rglob("*")) == before
        (store.path / name).unlink()
        elsewhere.rename(store.path / name)
    (tmp_path / "link").symlink_to(store.path)
    opened(tmp_path / "link", 700, 300).close()


def test_a_prediction_with_a_users_files_is_not_replaced(tmp_path):
    store = opened(tmp_path / "out.ome.zarr", 700, 300)
    store.close()
    (store.path / "notes.txt").write_text("years of work")
    with pytest.raises(PredictionError, match=r"notes\.txt"):
        opened(store.path, 700, 300, core=1024, overwrite=True)
    assert (store.path / "notes.txt").read_text() == "years of work"


def complete(path: Path, height: int = 1300, width: int = 1100) -> list[np.ndarray]:
    """A finished prediction in cores of 1,024 px, part of it zero; its levels."""
    store = opened(path, height, width)
    pixels = np.random.default_rng(0).random((height, width)).astype(np.float32)
    pixels[:1024, :512] = 0
    for tile in TileGrid(height, width, 1024, 0, 1):
        core = tile.core
        store.record(core, store.write(core, pixels[core.y0 : core.y1, core.x0 : core.x1]))
    store.close()
    return [np.asarray(level[0]) for level in store.levels]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [Path.unlink, flip, lambda file: file.write_bytes(b"")], ids=["gone", "bit", "empty"]
)
@pytest.mark.parametrize("chunk", ["0/c/0/0/0", "0/c/0/2/2"])
def test_a_finished_chunk_that_is_missing_or_damaged_is_predicted_again(damage, chunk, tmp_path):
    path = tmp_path / "out.ome.zarr"
    expected = complete(path)
    damage(path / chunk)
    store = opened(path, 1300, 1100)
    assert not store.complete
    undone = [tile.core for tile in TileGrid(1300, 1100, 1024, 0, 1) if not store.finished(tile.core)]
    assert len(undone) == 1
    with pytest.warns(SlideWarning, match="not finished"):
        open_slide(path)
    core = undone[0]
    store.record(core, store.write(core, expected[0][core.y0 : core.y1, core.x0 : core.x1]))
    store.close()
    assert store.complete
    for level, pixels in zip(store.levels, expected, strict=True):
        np.testing.assert_array_equal(level[0], pixels)


@pytest.mark.parametrize("chunk", ["1/c/0/1/0", "2/c/0/0/0"])
def test_a_coarse_chunk_that_is_damaged_is_made_from_the_finer_ones(chunk, tmp_path):
    path = tmp_path / "out.ome.zarr"
    expected = complete(path)
    flip(path / chunk)
    store = opened(path, 1300, 1100)
    assert store.complete
    for level, pixels in zip(store.levels, expected, strict=True):
        np.testing.assert_array_equal(level[0], pixels)


def test_a_program_killed_after_the_last_tile_leaves_the_contrast_to_the_next_one(tmp_path):
    path = tmp_path / "out.ome.zarr"
    complete(path)
    whole = json.loads((path / "zarr.json").read_text("utf-8"))
    for is_said in (True, False):
        killed = json.loads(json.dumps(whole))
        killed["attributes"]["napari_hrpn"]["complete"] = is_said
        killed["attributes"]["ome"]["omero"]["channels"][0]["window"] |= {"start": 0.0, "end": 1.0}
        (path / "zarr.json").write_text(json.dumps(killed), "utf-8")
        opened(path, 1300, 1100).close()
        assert json.loads((path / "zarr.json").read_text("utf-8")) == whole


def changed(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: changed(path / "0" / "zarr.json", shape=[1, 1300, 1000]),
        lambda path: changed(path / "0" / "zarr.json", data_type="int32", fill_value=0),
        lambda path: changed(path / "1" / "zarr.json", fill_value=7),
        lambda path: changed(path / "1" / "zarr.json", codecs=[]),
        lambda path: changed(path / "finished" / "zarr.json", shape=[1, 1]),
        lambda path: (path / "2" / "zarr.json").unlink(),
        lambda path: (path / "0" / "zarr.json").write_text("{", "utf-8"),
        lambda path: flip(path / "finished" / "c" / "0" / "0"),
    ],
)
def test_a_prediction_without_its_form_is_one_sentence(damage, tmp_path):
    path = tmp_path / "out.ome.zarr"
    complete(path)
    damage(path)
    with pytest.raises(PredictionError, match=r"out\.ome\.zarr is a prediction whose files are damaged .*; delete"):
        opened(path, 1300, 1100)


def test_levels_that_lead_out_of_the_folder_are_refused(tmp_path):
    path = tmp_path / "out.ome.zarr"
    complete(path)
    attributes = json.loads((path / "zarr.json").read_text("utf-8"))["attributes"]
    attributes["ome"]["multiscales"][0]["datasets"][0]["path"] = "../other.ome.zarr/0"
    changed(path / "zarr.json", attributes=attributes)
    with pytest.raises(PredictionError, match="its levels are called"):
        opened(path, 1300, 1100)


def test_a_prediction_of_an_earlier_version_is_gone_on_with(tmp_path):
    slide, request = make_slide(700, 300, tmp_path / "slide.tif"), {"core": 512, "fingerprint": "new"}
    path, options = tmp_path / "out.ome.zarr", {"dtype": np.dtype("float32"), "name": "QD"}
    PredictionStore.open(path, slide, {"core": 512}, **options).close()
    store = PredictionStore.open(path, slide, request, **options)
    assert store.title == ""
    store.close()
    with pytest.raises(PredictionError, match="core 512 instead of 1024;"):
        PredictionStore.open(path, slide, request | {"core": 1024}, **options)


def test_a_refusal_names_what_is_too_long_to_be_printed(tmp_path):
    slide, path = make_slide(700, 300, tmp_path / "slide.tif"), tmp_path / "out.ome.zarr"
    options = {"dtype": np.dtype("float32"), "name": "QD"}
    errors = {"tumours": 2, "predicted": [1.0, 2.0], "sd": [3.0, 4.0]}
    request = {"channels": [0, 1], "error_model": errors, "members": ["a1", "b2"]}
    PredictionStore.open(path, slide, request, **options).close()
    now = {"channels": [1, 0], "members": ["a1", "c3"]}
    with pytest.raises(PredictionError) as refused:
        PredictionStore.open(path, slide, now, **options)
    changes = "channels [0, 1] instead of [1, 0], error model other than now, members other than now; choose another"
    assert f"{path} holds a prediction made with {changes} output" in str(refused.value)


def test_a_refusal_names_the_checkpoint_by_its_title(tmp_path):
    slide, path = make_slide(700, 300, tmp_path / "slide.tif"), tmp_path / "out.ome.zarr"
    options = {"dtype": np.dtype("float32"), "name": "QD"}
    store = PredictionStore.open(path, slide, {"checkpoint": "a1"}, title="Breast", **options)
    assert store.title == "Breast"
    store.close()
    with pytest.raises(
        PredictionError, match=r"'Breast' \(a1\) instead of 'Lung' \(b2\); choose another output \(-o\)"
    ):
        PredictionStore.open(path, slide, {"checkpoint": "b2"}, title="Lung", **options)

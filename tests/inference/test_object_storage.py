"""Predictions in object storage: those of a folder to the byte, whatever stops them, and never half of one."""

from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem

from napari_hrpn.inference import PredictionError, PredictionSettings, PredictionStore, predict_slide
from napari_hrpn.inference.cluster import EndedSlide, SlideRequest, predict_slides
from napari_hrpn.inference.store_files import BEGUN, recorded_request
from napari_hrpn.slides import Slide, SlideError, SlideWarning, as_location, open_slide
from support.object_storage import address_of, objects, uploaded
from support.predictions import lively_checkpoint, make_slide, one_thread, save_slide

SETTINGS = PredictionSettings(device="cpu", core=512, halo=32)
LOCK = "finished/.lock"


@pytest.fixture
def saved(tmp_path: Path) -> Slide:
    return save_slide(make_slide(900, 600, tmp_path / "none", blank=100), tmp_path / "slide.ome.zarr")


def predicted(slide: Slide, place: object, tiles: int = 99, **options: object) -> int:
    """Predict some tiles; how many were done by this run."""
    run = predict_slide(slide, lively_checkpoint(), place, SETTINGS, **options)
    with closing(run):
        return sum(1 for _, _ in zip(range(tiles), run, strict=False))


def files(path: Path) -> dict[str, bytes]:
    found = {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    return {name: content for name, content in found.items() if name != LOCK}


def opened(place: object, request: dict[str, object], **options: object) -> PredictionStore:
    slide = make_slide(900, 600, Path("none"))
    return PredictionStore.open(place, slide, request, dtype=np.dtype("float32"), name="QD", **options)


def test_a_prediction_stopped_and_gone_on_with_is_that_of_a_folder(saved, tmp_path, bucket):
    assert predicted(saved, tmp_path / "out.ome.zarr") == 4
    address = f"{bucket}/out/prediction.ome.zarr"
    # of the same file, so that even what it was made from is the same
    assert predicted(saved, address, tiles=2) == 2
    with pytest.warns(SlideWarning, match="not finished"):
        open_slide(address)
    done = np.count_nonzero(PredictionStore(as_location(address))._done)
    assert predicted(saved, address) == 4 - done
    assert predicted(saved, address) == 0
    expected = files(tmp_path / "out.ome.zarr")
    expected["zarr.json"] = expected["zarr.json"].replace(b'"name": "out"', b'"name": "prediction"')
    assert objects(as_location(address)) == expected


def test_a_slide_in_object_storage_gives_the_same_pixels(saved, tmp_path, bucket):
    slide = open_slide(uploaded(tmp_path / "slide.ome.zarr", f"{bucket}/slide.ome.zarr"))
    predicted(slide, f"{bucket}/out.ome.zarr")
    predicted(saved, tmp_path / "out.ome.zarr")
    there, here = open_slide(f"{bucket}/out.ome.zarr"), open_slide(tmp_path / "out.ome.zarr")
    for one, other in zip(there.levels, here.levels, strict=True):
        np.testing.assert_array_equal(one.compute(), other.compute())


def test_another_request_is_refused_or_leaves_nothing_of_the_first(bucket):
    address = f"{bucket}/out.ome.zarr"
    store = opened(address, {"core": 512, "halo": 1})
    store.levels[0][:] = 7
    store._finished[:] = 1
    with pytest.raises(PredictionError, match=r"core 512 instead of 1024.*overwrite"):
        opened(address, {"core": 1024, "halo": 1})
    again = opened(address, {"core": 1024, "halo": 1}, overwrite=True)
    assert recorded_request(address) == {"core": 1024, "halo": 1}
    assert not again.levels[0][:].any()
    assert not any("/c/" in name for name in objects(as_location(address)))


def test_what_is_no_prediction_stays(bucket):
    place = as_location(f"{bucket}/out.ome.zarr")
    place.fs.pipe_file(f"{place.path}/0/zarr.json", b"{}")
    with pytest.raises(PredictionError, match="is not a prediction"):
        opened(place, {}, overwrite=True)
    zarr.create_group("memory://bucket/group.zarr")
    with pytest.raises(PredictionError, match="is not a prediction"):
        opened(f"{bucket}/group.zarr", {}, overwrite=True)
    assert objects(place) == {"0/zarr.json": b"{}"}


class Died(BaseException):
    """The program was killed."""


@pytest.mark.parametrize("exists", [False, True], ids=["created", "replaced"])
def test_a_program_killed_at_any_write_leaves_a_prediction_or_none_and_the_next_one_goes_on(
    exists, bucket, monkeypatch
):
    address = f"{bucket}/out.ome.zarr"
    left = 10**9

    def dying(change, *words, **options):
        nonlocal left
        if left == 0:
            raise Died
        left -= 1
        return change(*words, **options)

    for name in ("pipe_file", "rm_file"):
        change = getattr(MemoryFileSystem, name)
        monkeypatch.setattr(MemoryFileSystem, name, lambda *words, _do=change, **options: dying(_do, *words, **options))
    found = []
    while True:
        MemoryFileSystem.store.clear()
        if exists:
            opened(address, {"core": 1}).levels[0][:] = 7
        left = len(found)
        try:
            opened(address, {"core": 2}, overwrite=True)
            break
        except Died:
            left = 10**9
        found.append(recorded_request(address))
        if found[-1] is None and objects(as_location(address)):
            with pytest.raises(SlideError, match="There is no OME-Zarr"):
                open_slide(address)
        store = opened(address, {"core": 2}, overwrite=exists)
        assert not store.levels[0][:].any()
        assert recorded_request(address) == {"core": 2}
        left_there = set(objects(as_location(address))) - {BEGUN}
        assert left_there == {f"{name}zarr.json" for name in ("", "0/", "1/", "finished/")}
        left = 10**9
    first, last = ({"core": 1} if exists else None), {"core": 2}
    assert [request for request, _ in groupby(found)] == ([first, None, last] if exists else [None, last])


def test_a_store_that_fails_is_told_in_one_sentence_and_what_is_finished_is_kept(saved, bucket, monkeypatch):
    address = f"{bucket}/out.ome.zarr"
    predicted(saved, address, tiles=1)
    done = np.count_nonzero(PredictionStore(as_location(address))._done)
    with monkeypatch.context() as patch:

        def refused(self, path, value, **options):
            raise PermissionError("access denied")

        patch.setattr(MemoryFileSystem, "pipe_file", refused)
        fsspec.filesystem("memory").clear_instance_cache()
        with pytest.raises(PredictionError, match=r"could not be written \(access denied\); finished tiles are kept"):
            predicted(saved, address)
    fsspec.filesystem("memory").clear_instance_cache()
    assert np.count_nonzero(PredictionStore(as_location(address))._done) == done >= 1
    assert predicted(saved, address) == 4 - done


def test_web_addresses_are_not_written(saved):
    with pytest.raises(SlideError, match="can only be read"):
        opened("https://host.invalid/out.ome.zarr", {})


def test_workers_open_addresses_themselves(saved, tmp_path):
    distributed = pytest.importorskip("distributed")
    slide, alone = open_slide(address_of(tmp_path / "slide.ome.zarr")), tmp_path / "alone" / "out.ome.zarr"
    place = address_of(tmp_path / "workers" / "out.ome.zarr")
    elsewhere = replace(slide, source=address_of(tmp_path / "elsewhere.ome.zarr"))
    with (
        one_thread(),
        distributed.Client(
            processes=False, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", set_as_default=False
        ) as client,
    ):
        predicted(slide, alone)
        orders = [partial(SlideRequest, slide, place), partial(SlideRequest, elsewhere, tmp_path / "none.ome.zarr")]
        reports = list(predict_slides(orders, lively_checkpoint(), client, SETTINGS))
    ends = {report.number: report for report in reports if isinstance(report, EndedSlide)}
    assert "elsewhere.ome.zarr is not there on" in str(ends[1].error)
    assert ends[0].report is not None
    assert ends[0].report.complete
    assert files(tmp_path / "workers" / "out.ome.zarr") == files(alone)

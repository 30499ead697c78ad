"""Many slides on many processes: the same files to the byte, whatever dies, stops or breaks on the way."""

import errno
import importlib.util
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import filelock
import pytest

from napari_hrpn.inference import PredictionError, PredictionSettings, PredictionStore, PredictionWarning, predict_slide
from napari_hrpn.inference.cluster import (
    EndedSlide,
    SlideRequest,
    TileOfMany,
    cluster_workers,
    connection,
    local_workers,
    predict_slides,
)
from napari_hrpn.inference.cluster.task_pool import TASKS_PER_THREAD, TaskPool
from napari_hrpn.models import IntensityScaling
from napari_hrpn.slides import Slide, SlideError
from support.predictions import lively_checkpoint, make_slide, one_thread, save_slide

distributed = pytest.importorskip("distributed")

PLAIN = PredictionSettings(device="cpu", skip_blank=False, core=512)


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    """Two workers in this process, which start at once."""
    # workers that are held to one thread hold what runs later in this process to it as well
    with (
        one_thread(),
        distributed.Client(
            processes=False, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", set_as_default=False
        ) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Slide]:
    """Slides of 9, 6 and 1 tiles, in files."""
    folder = tmp_path_factory.mktemp("slides")
    sizes = [(1060, 1040), (1040, 530), (300, 200)]
    made = [make_slide(*size, folder / "none", blank=size[1] // 2) for size in sizes]
    return [save_slide(slide, folder / f"{number}.ome.zarr") for number, slide in enumerate(made)]


@pytest.fixture(scope="module")
def alone(slides: list[Slide], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the largest slide's prediction by a single process."""
    return contents(predicted_alone(slides[0], tmp_path_factory.mktemp("alone")))


def predicted_alone(slide: Slide, folder: Path, settings: PredictionSettings = PLAIN, **card: object) -> Path:
    path = folder / "alone" / "out.ome.zarr"
    with one_thread():
        for _ in predict_slide(slide, lively_checkpoint(**card), path, settings):
            pass
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def tiles(reports: list[TileOfMany | EndedSlide]) -> list[TileOfMany]:
    return [report for report in reports if isinstance(report, TileOfMany)]


def ends(reports: list[TileOfMany | EndedSlide]) -> dict[int, EndedSlide]:
    return {report.number: report for report in reports if isinstance(report, EndedSlide)}


@pytest.mark.parametrize(
    ("change", "card"),
    [
        ({"core": 1024, "skip_blank": True, "output": "probe"}, {}),
        ({"padding": "zero"}, {"scaling": IntensityScaling("percentile", target_scale=20)}),
    ],
    ids=["skipping blank tiles", "percentiles"],
)
def test_files_are_those_of_a_single_process(change, card, client, slides, tmp_path):
    settings, path = replace(PLAIN, **change), tmp_path / "out.ome.zarr"
    order = partial(SlideRequest, slides[0], path)
    reports = list(predict_slides([order], lively_checkpoint(**card), client, settings))
    assert [report.finished for report in tiles(reports)] == list(range(1, tiles(reports)[-1].total + 1))
    report = ends(reports)[0].report
    assert report is not None
    assert report.complete
    assert 0 < report.pixels_kept <= 1060 * 1040
    assert contents(path) == contents(predicted_alone(slides[0], tmp_path, settings, **card))


def test_files_of_an_ensemble_are_those_of_a_single_process(client, slides, tmp_path):
    members = [lively_checkpoint(1), lively_checkpoint(1, scaling=IntensityScaling("percentile", target_scale=20))]
    path = tmp_path / "out.ome.zarr"
    reports = list(predict_slides([partial(SlideRequest, slides[1], path)], members, client, PLAIN))
    assert ends(reports)[0].error is None
    with one_thread():
        list(predict_slide(slides[1], members, tmp_path / "alone" / "out.ome.zarr", PLAIN))
    assert contents(path) == contents(tmp_path / "alone" / "out.ome.zarr")


def test_many_slides_pass_by_one_that_breaks_and_few_tasks_are_in_flight(client, slides, tmp_path, monkeypatch):
    in_flight, send = [], TaskPool.send

    def counted(crew, *arguments, **options):
        in_flight.append(len(crew._in_flight))
        return send(crew, *arguments, **options)

    def unreadable():
        raise SlideError("the file is damaged.")

    monkeypatch.setattr(TaskPool, "send", counted)
    places = [tmp_path / f"{number}.ome.zarr" for number in range(3)]
    orders = [partial(SlideRequest, slide, place) for slide, place in zip(slides, places, strict=True)]
    elsewhere = replace(slides[0], source=Path("/elsewhere/slide.ome.zarr"))
    wrong_roles = partial(SlideRequest, slides[2], tmp_path / "roles.ome.zarr", {"nuclei": 1, "vessels": 1})
    all_orders = [unreadable, *orders, partial(SlideRequest, elsewhere, tmp_path / "x.ome.zarr"), wrong_roles]
    reports = list(predict_slides(all_orders, lively_checkpoint(), client, PLAIN))
    assert all(PredictionStore(place).complete for place in places)
    errors = {number: str(end.error) for number, end in ends(reports).items() if end.error is not None}
    assert errors.keys() == {0, 4, 5}
    assert errors[0] == "the file is damaged."
    assert "where a worker runs" in errors[4]
    assert "expected one for each" in errors[5]
    assert not (tmp_path / "x.ome.zarr").exists()
    assert tiles(reports)[-1].finished == 9 + 6 + 1
    assert max(in_flight) < TASKS_PER_THREAD * 2
    # more than one task was in flight; when the workers run dry is a matter of time, which no test can tell
    assert max(in_flight) > 1


def test_a_stop_keeps_what_is_finished_and_the_same_call_goes_on(client, slides, alone, tmp_path):
    path, stop, checkpoint = tmp_path / "out.ome.zarr", threading.Event(), lively_checkpoint()
    reports = []
    for report in predict_slides([partial(SlideRequest, slides[0], path)], checkpoint, client, PLAIN, stop=stop):
        reports.append(report)
        if len(tiles(reports)) == 2:
            stop.set()
    done = len(tiles(reports))
    assert 2 <= done <= 2 + TASKS_PER_THREAD * 2
    end = ends(reports)[0].report
    assert end is not None
    assert (end.finished, end.total, end.complete) == (done, 9, False)
    steps = predict_slides([partial(SlideRequest, slides[0], path)], checkpoint, client, PLAIN)
    closed = [next(steps), next(steps)]
    steps.close()
    rest = list(predict_slides([partial(SlideRequest, slides[0], path)], checkpoint, client, PLAIN))
    assert len(tiles(rest)) == 9 - done - len(closed)
    assert contents(path) == alone
    again = list(predict_slides([partial(SlideRequest, slides[0], path)], checkpoint, client, PLAIN))
    assert [end.new_tiles for end in ends(again).values()] == [0]
    assert not tiles(again)


def test_a_single_process_goes_on_where_workers_were_stopped(client, slides, tmp_path):
    path = tmp_path / "out.ome.zarr"
    steps = predict_slides([partial(SlideRequest, slides[1], path)], lively_checkpoint(), client, PLAIN)
    next(steps)
    steps.close()
    assert len(list(predict_slide(slides[1], lively_checkpoint(), path, PLAIN))) == 5
    assert contents(path) == contents(predicted_alone(slides[1], tmp_path))


def test_what_was_made_otherwise_is_refused_and_warnings_are_said_here(client, slides, tmp_path):
    path, far = tmp_path / "out.ome.zarr", lively_checkpoint(pixel_size_um=1.0)
    order = partial(SlideRequest, slides[2], path)
    list(predict_slides([order], lively_checkpoint(), client, PLAIN))
    with pytest.warns(PredictionWarning, match="trained at 1 µm"):
        reports = list(predict_slides([order], far, client, replace(PLAIN, padding="zero")))
    assert "overwrite" in str(ends(reports)[0].error)


def test_a_slide_whose_prediction_is_replaced_meanwhile_where_nothing_can_be_locked_ends(
    client, slides, tmp_path, monkeypatch
):
    def fails(self, **options):
        raise OSError(errno.ENOLCK, "no locks available")

    path = tmp_path / "out.ome.zarr"
    steps = predict_slides([partial(SlideRequest, slides[1], path)], lively_checkpoint(), client, PLAIN)
    next(steps)
    other = replace(PLAIN, padding="zero")
    with pytest.raises(PredictionError, match="is being written by another program"):
        next(predict_slide(slides[1], lively_checkpoint(), path, other, overwrite=True))
    monkeypatch.setattr(filelock.FileLock, "acquire", fails)
    next(predict_slide(slides[1], lively_checkpoint(), path, other, overwrite=True))
    # a worker may look in the moment between the old and the new one
    assert re.search("was replaced|is not there", str(ends(list(steps))[0].error))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_a_worker_killed_with_signal_9_loses_nothing(slides, alone, tmp_path):
    path = tmp_path / "out.ome.zarr"
    environment = dict(os.environ)
    with local_workers(2, "cpu") as client:
        first = client.run(os.getpid)
        steps = predict_slides([partial(SlideRequest, slides[0], path)], lively_checkpoint(), client, PLAIN)
        reports = [next(steps)]
        os.kill(next(iter(first.values())), signal.SIGKILL)
        reports += list(steps)
    assert ends(reports)[0].error is None
    assert len(tiles(reports)) == 9
    assert contents(path) == alone
    assert os.environ == environment
    for pid in first.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_crew_drops_what_no_worker_has_begun(client):
    crew, begun, go = TaskPool(client, None), threading.Semaphore(0), threading.Event()

    def task() -> None:
        begun.release()
        go.wait()

    while crew.has_room:
        crew.send(InThisProcess(task))
    for _ in range(2):
        begun.acquire()
    crew.cancel_waiting()
    go.set()
    back = [future for _ in range(6) if (future := crew.next_finished()) is not None]
    assert len(back) == 2
    for future in back:
        crew.fetch(future, "slide.tif")
    assert not crew.busy


class InThisProcess:
    """A function that is not copied on its way to a worker of this process."""

    kept: ClassVar[dict[int, object]] = {}

    def __init__(self, function) -> None:
        self.kept[id(function)] = function
        self.key = id(function)

    def __call__(self):
        return self.kept[self.key]()


def test_a_tile_that_ends_every_worker_is_said_in_a_sentence():
    class Ended:
        def result(self):
            worker = distributed.scheduler.WorkerState(
                address="tcp://127.0.0.1:1",
                status=None,
                pid=1,
                name="a",
                nthreads=1,
                memory_limit=0,
                local_directory="",
                nanny="",
                server_id="a",
            )
            raise distributed.KilledWorker("tile", worker, 3)

    with pytest.raises(PredictionError, match=r"slide\.tif ended its worker 4 times"):
        TaskPool(None, None).fetch(Ended(), "slide.tif")


@pytest.mark.parametrize("package", ["distributed", "cryptography"])
def test_without_a_package_a_sentence_says_what_to_install(package, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(PredictionError, match=r"pip install 'napari-hrpn\[cluster\]'"), local_workers(2):
        pass


@pytest.mark.parametrize("count", [0, -1, 10**6])
def test_more_processes_than_the_machine_can_take_are_refused(count):
    with pytest.raises(PredictionError, match="expected 1 to"), local_workers(count):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_a_scheduler_that_does_not_answer_is_said(address, monkeypatch):
    monkeypatch.setattr(connection, "CONNECTING_SECONDS", 1)
    with pytest.raises(PredictionError, match="no scheduler answers"), cluster_workers(address):
        pass


@pytest.mark.parametrize(("allowed", "expected"), [(16, 8), (4, 4)])
def test_workers_share_the_cores_that_torch_would_use_here_as_far_as_they_are_allowed(monkeypatch, allowed, expected):
    monkeypatch.setattr("dask.system.CPU_COUNT", allowed)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    started = {}
    monkeypatch.setattr(distributed, "LocalCluster", lambda **choices: started.update(choices))
    connection._start(2, "cpu", None)
    assert started["threads_per_worker"] == expected // 2
    # whoever can speak to a scheduler can have its workers run any code
    assert started["security"].require_encryption
    assert started["security"].tls_client_key
    assert started["host"] == "127.0.0.1"
    assert started["scheduler_kwargs"] == {"dashboard": False}


def test_an_open_scheduler_is_warned_of(client, monkeypatch):
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: nullcontext(client))
    with pytest.warns(PredictionWarning, match="runs code of everyone"), cluster_workers("tcp://node1:8786"):
        pass
    with cluster_workers("tls://node1:8786"):
        pass

"""Blocks looked at by workers: numbers of one process to the last bit, whatever dies, stops or breaks on the way."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_hrpn.analysis import (
    AgreementError,
    BlockMap,
    EvaluationReport,
    EvaluationSettings,
    ProbeImage,
    SlideComparison,
    count_in_threads,
    evaluate_slide,
)
from napari_hrpn.analysis.scan import block_scan
from napari_hrpn.analysis.scan.block_scan import count_blocks
from napari_hrpn.analysis.scan.pair_counters import PairRange
from napari_hrpn.inference import PredictionError
from napari_hrpn.inference.cluster import count_on_workers, local_workers
from napari_hrpn.inference.cluster.task_pool import FURTHEST_AHEAD, TaskPool
from napari_hrpn.reports import EvaluationRequest, write_evaluation
from napari_hrpn.reports.folder import ReportFolder
from napari_hrpn.reports.serialization import plain_part
from napari_hrpn.slides import Annotation, ChannelRoles, RegionMask, Slide, open_slide
from napari_hrpn.slides.metadata import multiscales_metadata
from support.predictions import make_slide, save_slide

distributed = pytest.importorskip("distributed")

SETTINGS = EvaluationSettings(resamples=100, permutations=49, patch_px=128)
BLOCKS = 9
WORKERS = 2


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    """Two workers in this process, which start at once."""
    with distributed.Client(
        processes=False, n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0", set_as_default=False
    ) as client:
        yield client


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_scan, "BLOCK_EDGE", 512)
    monkeypatch.setattr(block_scan, "BLOCK_PX", 512**2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide, and predictions of it of whole numbers and of floating point."""
    folder = tmp_path_factory.mktemp("blocks")
    real = save_slide(make_slide(1060, 1040, folder / "none"), folder / "real.ome.zarr")
    pixels = np.asarray(real.levels[0][2].compute())
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    for name, own in (("whole", np.uint8(pixels // 2 + 3)), ("floating", np.float32(pixels * 0.7 + noise))):
        save_prediction(own, folder / f"{name}.ome.zarr")
    return folder


def save_prediction(pixels: np.ndarray, path: Path) -> None:
    group = zarr.create_group(path)
    group.create_array("0", data=pixels[None], chunks=(1, 512, 512))
    group.attrs["ome"] = multiscales_metadata("slide", [(1, *pixels.shape)], ("predicted",), (0.5, 0.5))


def comparison(folder: Path, *names: str) -> SlideComparison:
    real = open_slide(folder / "real.ome.zarr")
    predictions = tuple(ProbeImage(name, open_slide(folder / f"{name}.ome.zarr")) for name in names)
    y, x = np.mgrid[:106, :104]
    tissue = RegionMask(np.hypot(y - 50, x - 50) < 45, (10.0, 10.0))
    corners = np.array([[300, 300], [300, 700], [700, 700], [700, 300]], float)
    roi = Annotation("a", "include", ((corners,),))
    return SlideComparison(ProbeImage("real", real, 2), predictions, ChannelRoles(0, 1, 2), tissue, None, (roi,))


def slides(wanted: SlideComparison) -> list[Slide]:
    return [image.slide for image in (wanted.real, *wanted.predictions)]


def numbers(reports: list[EvaluationReport]) -> dict[str, dict]:
    found = [report.finished for report in reports if report.finished is not None]
    return {part.name: json.loads(json.dumps(plain_part(part))) for part in found}


@pytest.fixture(scope="module")
def alone(folder: Path) -> Callable[[str], dict[str, dict]]:
    """What one process finds for a prediction, in blocks as small."""
    known: dict[str, dict[str, dict]] = {}

    def of(name: str) -> dict[str, dict]:
        if name not in known:
            known[name] = numbers(list(evaluate_slide(comparison(folder, name), SETTINGS, ("quality",))))
        return known[name]

    return of


def all_pixels(steps: Iterator[EvaluationReport]) -> list[EvaluationReport]:
    """Go on to where some blocks of the pass over all pixels were counted."""
    reports = []
    for report in steps:
        reports.append(report)
        if len([each for each in reports if each.part == "all pixels"]) == 2:
            return reports
    pytest.fail("there was no pass over all pixels")


def settled(is_so: Callable[[], bool]) -> None:
    """Wait for a state, however slow the machine is."""
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def at_work(client: object) -> bool:
    """Whether workers of this process do, hold or keep anything for it."""
    plugins = client.run(lambda dask_worker: [name for name in dask_worker.plugins if name.startswith("napari-hrpn")])
    return any(map(any, (client.processing().values(), client.has_what().values(), plugins.values())))


def test_two_evaluations_that_share_workers_find_what_one_process_finds(client, folder, alone, monkeypatch):
    waiting, send = [], TaskPool.send
    monkeypatch.setattr(TaskPool, "send", lambda crew, *task: waiting.append(len(crew._in_flight)) or send(crew, *task))
    wanted = [comparison(folder, name) for name in ("whole", "floating")]
    steps = [evaluate_slide(each, SETTINGS, ("quality",), count_on_workers(client, slides(each))) for each in wanted]
    reports: list[list[EvaluationReport]] = [[], []]
    going = [0, 1]
    while going:
        for number in list(going):
            report = next(steps[number], None)
            if report is None:
                going.remove(number)
            else:
                reports[number].append(report)
    assert [numbers(each) for each in reports] == [alone("whole"), alone("floating")]
    # whole numbers need no pass for their range
    assert len(waiting) == BLOCKS * 3
    assert max(waiting) < FURTHEST_AHEAD * 2 * WORKERS
    settled(lambda: not at_work(client))


def test_a_stop_leaves_nothing_behind_and_a_single_process_goes_on(client, folder, alone, tmp_path):
    wanted = comparison(folder, "floating")
    order, block_map = EvaluationRequest(wanted, "T", "drawn", SETTINGS), count_on_workers(client, slides(wanted))
    kept = ReportFolder(tmp_path)
    for step, options in (
        ("all pixels", {"block_map": block_map}),
        ("penetration", {"block_map": block_map}),
        ("tables", {}),
    ):
        before = len(kept.parts())
        with closing(write_evaluation(order, tmp_path, **options)) as steps:
            assert any(report.step == step for report in steps)
        settled(lambda: not at_work(client))
        assert len(kept.parts()) > before
    assert {name: kept.parts()[name] for name in alone("floating")} == alone("floating")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_a_worker_killed_with_signal_9_loses_nothing(folder, alone):
    wanted, environment = comparison(folder, "floating"), dict(os.environ)
    with local_workers(2, "cpu") as client:
        assert dict(os.environ) == environment
        steps = evaluate_slide(wanted, SETTINGS, ("quality",), count_on_workers(client, slides(wanted)))
        reports = all_pixels(steps)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        reports += list(steps)
    assert numbers(reports) == alone("floating")
    assert dict(os.environ) == environment


def test_what_is_wrong_with_pixels_is_said_as_by_one_process(client, folder):
    pixels = np.zeros((1060, 1040), np.float32)
    pixels[600, 600] = np.nan
    save_prediction(pixels, folder / "broken.ome.zarr")
    wanted = slides(comparison(folder, "broken"))
    said = set()
    for block_map in (count_in_threads, count_on_workers(client, wanted)):
        with pytest.raises(AgreementError) as error:
            range_of_pixels(wanted, block_map)
        said.add(str(error.value))
    assert len(said) == 1
    settled(lambda: not at_work(client))


def range_of_pixels(wanted: list[Slide], block_map: BlockMap) -> None:
    channels = wanted[0].levels[0][2], wanted[1].levels[0][0]
    for _ in count_blocks(channels, [PairRange(channels)], block_map):
        pass


@pytest.mark.parametrize(("what", "said"), [("moved", "where a worker runs"), ("changed", "is not the same file")])
def test_a_slide_that_is_another_one_for_the_workers_is_said(what, said, client, folder, tmp_path):
    path = tmp_path / "p.ome.zarr"
    save_prediction(np.zeros((1060, 1040), np.uint8), path)
    wanted = [open_slide(folder / "real.ome.zarr"), open_slide(path)]
    block_map = count_on_workers(client, wanted)
    if what == "moved":
        path.rename(tmp_path / "elsewhere")
    else:
        os.utime(path / "zarr.json", (1, 1))
    with pytest.raises(PredictionError, match=said):
        range_of_pixels(wanted, block_map)

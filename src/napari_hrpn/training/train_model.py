"""From slides to a checkpoint: check, cut patches, measure the scaling, train."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_hrpn.inference import choose_device
from napari_hrpn.inference.memory import free_memory
from napari_hrpn.models import save_checkpoint
from napari_hrpn.training.card import trained_checkpoint
from napari_hrpn.training.checks import check_training
from napari_hrpn.training.errors import TrainingWarning
from napari_hrpn.training.feed import PatchFeed, PatchSource
from napari_hrpn.training.ganda_learner import GANDALearner
from napari_hrpn.training.hrpn_learner import HRPNLearner
from napari_hrpn.training.intensity_scaling import measure_scaling
from napari_hrpn.training.loop import Course, TrainingLoop
from napari_hrpn.training.patch_cache import cut_patches
from napari_hrpn.training.run_folder import RunFolder, RunRequest
from napari_hrpn.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_hrpn.training.entries import SlideEntry
    from napari_hrpn.training.learner import Learner
    from napari_hrpn.training.patch_cache import PatchCache
    from napari_hrpn.training.reports import CutReport, EpochReport, StepReport, TrainingResult
    from napari_hrpn.training.run_folder import RunState
    from napari_hrpn.training.settings import TrainingSettings
    from napari_hrpn.training.splits import Split


def train_model(
    entries: Sequence[SlideEntry],
    folder: str | Path,
    settings: TrainingSettings,
    *,
    validate: str | None = None,
    cache: str | Path | None = None,
    stop: threading.Event | None = None,
) -> Generator[CutReport | StepReport | EpochReport, None, TrainingResult]:
    """Train a network on annotated slides.

    Parameters
    ----------
    entries : sequence of SlideEntry
        The slides, with what each is for.
    folder : str or Path
        The run: settings, history, checkpoint, and what it takes to go on. A run of the same request that was
        stopped or killed goes on to the same weights as if it never was.
    settings : TrainingSettings
        Recipe and architecture; see `recipe_settings`.
    validate : str, optional
        Tumour that chooses the epoch. One is held out where none is named, by this or by an entry.
    cache : str or Path, optional
        Where cut patches are kept, for runs to share; in the run's folder where left out.
    stop : threading.Event, optional
        Once set, the run ends after the step being computed, and everything is kept.

    Yields
    ------
    CutReport, StepReport or EpochReport
        As it goes.

    Returns
    -------
    TrainingResult
        With the checkpoint of the epoch of the lowest validation loss.

    Raises
    ------
    TrainingError
        In one sentence, before any time is spent where that is possible.
    SlideError
        When a slide cannot be read.
    """
    run, stop = RunFolder(folder), stop or threading.Event()
    request = RunRequest(tuple(entries), settings, validate)
    run.refuse_other(request)
    state = run.state()
    if state.complete and state.is_over(settings):
        return run.result(state)
    patches = run.patches if cache is None else Path(cache)
    checked = check_training(entries, settings, run.path, validate, patches)
    for sentence in checked.warnings:
        warnings.warn(sentence, TrainingWarning, stacklevel=2)
    with run.locked():
        run.begin(request)
        with ExitStack() as caches:
            slides = (*checked.split.train, *checked.split.validation)
            cut = yield from _cut(slides, settings, patches, stop)
            if cut is None:
                return run.result()
            for cache_of_slide in cut:
                caches.callback(cache_of_slide.close)
            device = choose_device(settings.device).name
            try:
                return (yield from _train(run, settings, checked.split, cut, device, stop))
            finally:
                free_memory(device)


def _cut(
    slides: Sequence[object], settings: TrainingSettings, folder: Path, stop: threading.Event
) -> Generator[CutReport, None, tuple[PatchCache, ...] | None]:
    cutting = cut_patches(slides, settings, folder)  # type: ignore[arg-type]
    try:
        while True:
            try:
                report = next(cutting)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield report
            if stop.is_set():
                return None
    finally:
        cutting.close()


def _train(
    run: RunFolder,
    settings: TrainingSettings,
    split: Split,
    caches: Sequence[PatchCache],
    device: str,
    stop: threading.Event,
) -> Generator[StepReport | EpochReport, None, TrainingResult]:
    measured = measure_scaling(split.train, settings)
    slides = (*split.train, *split.validation)
    sources = [
        PatchSource(cache, slide.regions, measured.for_slide(slide))
        for cache, slide in zip(caches, slides, strict=True)
    ]
    learner = make_learner(settings, device)

    def save_best(state: RunState) -> None:
        save_checkpoint(trained_checkpoint(learner, settings, split, measured, state), run.checkpoint)

    course = Course(
        settings=settings,
        learner=learner,
        feed=PatchFeed(sources[: len(split.train)], settings),
        validation=Validation(sources[len(split.train) :], settings, device),
        folder=run,
        device=device,
        save_best=save_best,
    )
    return (yield from TrainingLoop(course, stop).run())


def make_learner(settings: TrainingSettings, device: str) -> Learner:
    """Network of the settings, ready to learn.

    Parameters
    ----------
    settings : TrainingSettings
        Recipe and architecture.
    device : str
        Where it learns.

    Returns
    -------
    Learner
        With fresh weights, decided by the seed alone.
    """
    kind = GANDALearner if settings.model == "ganda" else HRPNLearner
    return kind(settings, device, precision_on(device, settings.precision))


def precision_on(device: str, precision: str) -> str:
    """Arithmetic that a device is to learn with.

    Parameters
    ----------
    device : str
        Where the network learns.
    precision : {"auto", "fp32", "bf16"}
        What the settings say.

    Returns
    -------
    str
        "fp32" or "bf16"; "auto" takes bf16 on processors that have it in hardware.
    """
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device == "cpu":
        return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
    return "fp32"

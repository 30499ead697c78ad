"""Training from slides to a checkpoint: check, cut patches, measure the scaling, train."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.core.errors import TrainingWarning
from napari_hrpn.inference.cpu.heap import free_memory
from napari_hrpn.training.checks import check_training
from napari_hrpn.training.data.patch_cutting import cut_patches
from napari_hrpn.training.loop import TrainingLoop
from napari_hrpn.training.multi_device import train_together, training_devices
from napari_hrpn.training.run_folder import RunFolder, RunRequest
from napari_hrpn.training.session import gather_material

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.entries import SlideEntry
    from napari_hrpn.training.reports import CutReport, EpochReport, StepReport, TrainingResult


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
        run.check_checkpoint(state)
        return run.result(state)
    devices = training_devices(settings)
    patches = run.patches if cache is None else Path(cache)
    checked = check_training(entries, settings, run.path, validate, patches)
    for sentence in checked.warnings:
        warnings.warn(sentence, TrainingWarning, stacklevel=2)
    with run.locked():
        run.begin(request)
        slides = (*checked.split.train, *checked.split.validation)
        caches = yield from cut_patches(slides, settings, patches, stop)
        if not caches:
            return run.result()
        with ExitStack() as opened:
            for cache_of_slide in caches:
                opened.enter_context(cache_of_slide)
            material = gather_material(request, run.path, checked.split, caches)
            if len(devices) > 1:
                return (yield from train_together(material, devices, stop))
            opened.callback(free_memory, devices[0])
            return (yield from TrainingLoop(material, checked.split, devices[0], stop).run())

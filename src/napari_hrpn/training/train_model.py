"""Training from slides to a checkpoint: check, cut patches, measure the scaling, train."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.core.errors import TrainingWarning
from napari_hrpn.inference.cpu.heap import free_memory
from napari_hrpn.recipes import save_output_recipe
from napari_hrpn.training.checks import check_training
from napari_hrpn.training.data.patch_cutting import cut_patches
from napari_hrpn.training.loop import TrainingLoop
from napari_hrpn.training.multi_device import train_together, training_devices
from napari_hrpn.training.run_folder import RunFolder
from napari_hrpn.training.run_request import RunRequest
from napari_hrpn.training.session import gather_material
from napari_hrpn.training.training_recipe import training_recipe

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
        The slides, each with its part of the split.
    folder : str or Path
        Folder of the run: settings, history, checkpoint, and state. A run with the same request that was stopped or
        killed is resumed, and ends with the same weights as an uninterrupted one.
    settings : TrainingSettings
        Recipe and architecture; see `recipe_settings`.
    validate : str, optional
        Tumour on which the best epoch is chosen. If neither this nor an entry names one, one is held out; "none" holds
        out nothing and keeps the last epoch.
    cache : str or Path, optional
        Folder of cut patches, which several runs can share; by default one in the run's folder.
    stop : threading.Event, optional
        Once set, the run ends after the current step, and everything is kept.

    Yields
    ------
    CutReport, StepReport or EpochReport
        Progress of the training.

    Returns
    -------
    TrainingResult
        Result with the checkpoint of the epoch with the lowest validation loss.

    Raises
    ------
    TrainingError
        If the training cannot begin or goes wrong; before time is spent, if possible.
    SlideError
        If a slide cannot be read.
    """
    run, stop = RunFolder(folder), stop or threading.Event()
    request = run.as_begun(RunRequest(tuple(entries), settings, validate))
    settings = request.settings
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
        run.begin(request, checked.start)
        save_output_recipe(training_recipe(request, checked.start, run.path), run.path)
        slides = (*checked.split.train, *checked.split.judged_on)
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

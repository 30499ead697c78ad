"""Training loop: epochs of steps, validation, and a state on disk from which a killed training resumes.

Seed, epoch and step alone decide the order of patches, their turns and the dropout: a resumed training takes the same
steps as an uninterrupted one. With several devices, each runs this loop in its own process; the first one decides by
the clock and by events, and it alone writes.
"""

from __future__ import annotations

import math
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.inference.cpu.heap import free_memory, is_out_of_memory, keep_freed_memory, thread_on_main_heap
from napari_hrpn.models import save_checkpoint
from napari_hrpn.training.data.patch_loader import Batch, PatchFeed
from napari_hrpn.training.estimate import forget_peak_memory, peak_memory_bytes
from napari_hrpn.training.learners import make_learner
from napari_hrpn.training.learners.learner import SINGLE, learning_rate
from napari_hrpn.training.reports import EpochRecord, EpochReport, StepReport
from napari_hrpn.training.run_folder import RunFolder
from napari_hrpn.training.session import Validation, trained_checkpoint
from napari_hrpn.training.training_features import keep_training_features

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from napari_hrpn.training.data.patch_loader import Arrays
    from napari_hrpn.training.entries import Split
    from napari_hrpn.training.learners.learner import ProcessGroup
    from napari_hrpn.training.reports import TrainingResult
    from napari_hrpn.training.run_folder import RunState
    from napari_hrpn.training.session import Material

_Result = TypeVar("_Result")

_SECONDS_BETWEEN_STATES = 300.0
_DIVERGED = 1e3
"""A loss this many times that of the first epoch does not recover."""


class TrainingLoop:
    """One run of a training, from the state of its folder to its end or until it is stopped."""

    def __init__(
        self, material: Material, split: Split, device: str, stop: threading.Event, team: ProcessGroup = SINGLE
    ) -> None:
        self._material, self._split, self._device, self._stop, self._team = material, split, device, stop, team
        self._settings = settings = material.request.settings
        self._folder = RunFolder(material.folder)
        self._start = self._folder.started_from(settings)
        self._learner = make_learner(settings, device, team, self._start)
        self._feed = PatchFeed(material.train, settings, share=(team.rank, team.size))
        self._validation = Validation(material.validation, settings, device, team)
        self._grey2 = material.measured.scaling.target_scale**2
        self._limit = math.inf if settings.max_minutes is None else 60 * settings.max_minutes
        self._pieces = 1
        self._thread: ThreadPoolExecutor | None = None
        self._started = self._kept = time.perf_counter()

    def run(self) -> Generator[StepReport | EpochReport, None, TrainingResult]:
        """Train."""
        state = replace(self._folder.state(), reason="")
        if tensors := self._folder.tensors():
            self._learner.load(tensors)
        self._started -= state.seconds
        forget_peak_memory(self._device)
        with self._network_thread():
            while not self._ends(state):
                state = yield from self._epoch(state)
            # before the state says that the training is complete, so that one that is killed here makes up for it
            if state.is_over(self._settings) and state.best_epoch and self._team.rank == 0:
                self._computed(keep_training_features, self._material, self._split, self._device)
        if not state.reason:
            state = self._keep(replace(state, complete=state.is_over(self._settings)))
        return self._folder.result(state)

    def _ends(self, state: RunState) -> bool:
        ends = state.is_over(self._settings) or bool(state.reason) or self._stop.is_set()
        return bool(self._team.from_first(ends)[0])

    @contextmanager
    def _network_thread(self) -> Iterator[None]:
        """Run the network of a CPU in a thread that keeps the memory it frees, which saves a sixth of the time."""
        if self._device != "cpu":
            yield
            return
        keep_freed_memory()
        with thread_on_main_heap("napari-hrpn network") as self._thread:
            yield
        self._thread = None

    def _computed(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return function(*arguments) if self._thread is None else self._thread.submit(function, *arguments).result()

    def _epoch(self, state: RunState) -> Generator[StepReport | EpochReport, None, RunState]:
        epoch_started = time.perf_counter() - state.epoch_seconds
        with closing(self._feed.batches(state.epoch, state.step)) as batches:
            while state.step < self._feed.steps:
                is_out_of_time, is_stopped, rate = self._team.from_first(
                    self._seconds() >= self._limit, self._stop.is_set(), self._learning_rate(state)
                )
                if is_out_of_time:
                    break
                if is_stopped:
                    return state
                waited = time.perf_counter()
                batch = next(batches)
                waiting = time.perf_counter() - waited
                error = self._step(state, batch, rate)
                if not math.isfinite(error):
                    return replace(state, reason=self._divergence(state, "is not finite"))
                state = replace(
                    state,
                    step=state.step + 1,
                    seconds=self._seconds(),
                    error_sum=state.error_sum + error * self._grey2,
                    waiting_seconds=state.waiting_seconds + waiting,
                    epoch_seconds=time.perf_counter() - epoch_started,
                )
                yield self._step_report(state, error * self._grey2, rate)
                is_due = time.perf_counter() - self._kept > _SECONDS_BETWEEN_STATES
                if is_due and state.step < self._feed.steps:
                    state = self._keep(state)
        return (yield from self._validated(state))

    def _validated(self, state: RunState) -> Generator[EpochReport, None, RunState]:
        agreement, preview = self._computed(self._validation.judge, self._learner.evaluated())
        baseline = self._validation.baseline
        record = EpochRecord(
            epoch=state.epoch + 1,
            train_loss=state.error_sum / max(1, state.step),
            validation_loss=agreement.mean_squared_error * self._grey2,
            learning_rate=self._learning_rate(state),
            seconds=self._seconds(),
            patches_per_second=self._patches_per_second(state),
            waiting_share=state.waiting_seconds / max(1e-9, state.epoch_seconds),
            peak_memory_bytes=peak_memory_bytes(self._device),
            validation_r=agreement.r,
            validation_r2=agreement.r2,
            baseline_r=baseline.r,
            baseline_r2=baseline.r2,
        )
        losses = [epoch.validation_loss for epoch in state.history]
        has_diverged = bool(losses) and record.train_loss > _DIVERGED * state.history[0].train_loss
        if not math.isfinite(record.validation_loss) or has_diverged:
            return replace(state, reason=self._divergence(state, f"is {record.train_loss:.3g}"))
        is_best = not self._split.validation or record.validation_loss < min(losses, default=math.inf)
        state = replace(
            state,
            epoch=record.epoch,
            step=0,
            history=(*state.history, record),
            best_epoch=record.epoch if is_best else state.best_epoch,
            seconds=record.seconds,
            error_sum=0.0,
            waiting_seconds=0.0,
            epoch_seconds=0.0,
        )
        if is_best and self._team.rank == 0:
            best = trained_checkpoint(self._material, self._split, self._learner, record, self._start)
            save_checkpoint(best, self._folder.checkpoint)
        state = self._keep(state)
        yield EpochReport(record, self._settings.epochs, state.best_epoch, self._seconds_left(state), preview)
        return state

    def _step(self, state: RunState, batch: Arrays, rate: float) -> float:
        """Learn from a batch, in as many pieces as the memory needs."""
        patches = len(batch.inputs)
        # the devices drop different features; the first one those that it would drop alone
        of_device = (self._team.rank,) if self._team.rank else ()
        seed = np.random.SeedSequence((self._settings.seed, state.epoch, state.step, *of_device))
        while True:
            torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
            try:
                return self._computed(self._learner.step, self._in_pieces(batch), rate)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                # several devices have exchanged numbers within the step, so they cannot repeat it
                if self._pieces >= patches or self._team.size > 1:
                    raise TrainingError(self._too_large(patches)) from error
            self._pieces = min(2 * self._pieces, patches)
            free_memory(self._device)

    def _too_large(self, patches: int) -> str:
        of_side, where = f"of {self._settings.patch_px} px", f"fit into the memory of {self._device}"
        if self._team.size == 1:
            return f"a single patch {of_side} does not {where}; take smaller patches or another device."
        return (
            f"{patches} patches {of_side}, the share of a batch that one of {self._team.size} devices has, do not "
            f"{where}; begin anew with a smaller batch or smaller patches."
        )

    def _in_pieces(self, batch: Arrays) -> list[Batch[torch.Tensor]]:
        if not len(batch.inputs):
            # a small last batch may have no patch for this device
            return []
        pieces = min(self._pieces, len(batch.inputs))
        split = zip(*(np.array_split(part, pieces) for part in (batch.inputs, batch.target, batch.valid)), strict=True)
        return [Batch(*_on_device(parts, self._device)) for parts in split]

    def _step_report(self, state: RunState, loss: float, rate: float) -> StepReport:
        return StepReport(
            epoch=state.epoch + 1,
            epochs=self._settings.epochs,
            step=state.step,
            steps=self._feed.steps,
            loss=loss,
            mean_loss=state.error_sum / state.step,
            learning_rate=rate,
            patches_per_second=self._patches_per_second(state),
            seconds=state.seconds,
            seconds_left=self._seconds_left(state),
        )

    def _keep(self, state: RunState) -> RunState:
        state = replace(state, seconds=self._seconds())
        if self._team.rank == 0:
            self._folder.keep(state, self._learner.tensors())
        self._kept = time.perf_counter()
        return state

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def _learning_rate(self, state: RunState) -> float:
        return learning_rate(self._settings, self._progress(state))

    def _progress(self, state: RunState) -> float:
        """Return the share of the training that is done, by steps or by time, whichever is larger."""
        by_steps = (state.epoch * self._feed.steps + state.step) / (self._settings.epochs * self._feed.steps)
        return max(by_steps, self._seconds() / self._limit)

    def _seconds_left(self, state: RunState) -> float:
        done = self._progress(state)
        left = self._seconds() * (1 - done) / max(done, 1e-6)
        return max(0.0, min(left, self._limit - self._seconds()))

    def _patches_per_second(self, state: RunState) -> float:
        return state.step * self._settings.batch / max(1e-9, state.epoch_seconds)

    def _divergence(self, state: RunState, what: str) -> str:
        """Explain to the user why the training ended."""
        kept = f"the checkpoint of epoch {state.best_epoch} is kept" if state.best_epoch else "no epoch was finished"
        return (
            f"the training diverged in epoch {state.epoch + 1} (its loss {what}); {kept}: begin a new run with a "
            f"learning rate below {self._settings.learning_rate:g}."
        )


def _on_device(parts: Iterable[np.ndarray], device: str) -> list[torch.Tensor]:
    """Copy arrays to a device, on an NVIDIA GPU without waiting for it."""
    tensors = [torch.from_numpy(part) for part in parts]
    if device.startswith("cuda"):
        return [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
    return [tensor.to(device) for tensor in tensors]

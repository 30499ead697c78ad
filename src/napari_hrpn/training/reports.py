"""Progress reports and result of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class CutReport:
    """Progress of the cutting of patches.

    Attributes
    ----------
    slide : str
        Name of the slide being cut.
    done, total : int
        Grid cells that were read, and all cells, over all slides.
    patches : int
        Patches kept so far.
    """

    slide: str
    done: int
    total: int
    patches: int


@dataclass(frozen=True)
class StepReport:
    """One step of the optimiser.

    Attributes
    ----------
    epoch, epochs : int
        This epoch, counted from 1, and the number of epochs.
    step, steps : int
        This step of the epoch, counted from 1, and the number of steps per epoch.
    loss : float
        Mean squared error of this batch, in squared grey levels of the target.
    mean_loss : float
        Mean of the losses of this epoch so far.
    learning_rate : float
        Learning rate of this step.
    patches_per_second : float
        Speed over this epoch so far.
    seconds, seconds_left : float
        Time of the training so far, over all its runs, and expected time until its end.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    mean_loss: float
    learning_rate: float
    patches_per_second: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True, eq=False)
class Preview:
    """One fixed patch of the validation slides.

    Attributes
    ----------
    inputs : numpy.ndarray
        Shape (c, y, x), as scaled for the network.
    real, predicted : numpy.ndarray
        Shape (y, x), grey levels of the target.
    """

    inputs: NDArray[np.float32]
    real: NDArray[np.float32]
    predicted: NDArray[np.float32]


@dataclass(frozen=True)
class EpochRecord:
    """Record of an epoch: a row of `history.csv`.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss, validation_loss : float
        Mean squared error in squared grey levels of the target, without padding: mean over the batches of the epoch
        while it was trained, and over the validation patches at its end.
    learning_rate : float
        Learning rate at the end of the epoch.
    seconds : float
        Time of the training so far, over all its runs.
    patches_per_second : float
        Speed of the training, without the validation.
    waiting_share : float
        Share of the epoch in which the network waited for patches, 0 to 1.
    peak_memory_bytes : int
        Largest memory since this run of the training began: allocated on the GPU, or resident in the process. On
        Windows and macOS, which cannot reset it, the largest resident memory since the program began.
    validation_r, validation_r2 : float or None
        Pearson's r and R2 = 1 - SSE/SST over all pixels of the validation patches, without padding. None if an image
        is constant, and in runs of versions that did not measure them.
    baseline_r, baseline_r2 : float or None
        The same for a baseline that a network has to beat: blurred inputs, fitted to the validation patches themselves.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    seconds: float
    patches_per_second: float
    waiting_share: float
    peak_memory_bytes: int
    validation_r: float | None = None
    validation_r2: float | None = None
    baseline_r: float | None = None
    baseline_r2: float | None = None


@dataclass(frozen=True, eq=False)
class EpochReport:
    """The end of an epoch; its checkpoint is on disk.

    Attributes
    ----------
    record : EpochRecord
        Losses and other numbers of the epoch.
    epochs : int
        Largest number of epochs.
    best_epoch : int
        The epoch with the lowest validation loss so far, whose weights the checkpoint has.
    seconds_left : float
        Expected time until the end of the training.
    preview : Preview
        A fixed validation patch as predicted after this epoch.
    """

    record: EpochRecord
    epochs: int
    best_epoch: int
    seconds_left: float
    preview: Preview


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes
    ----------
    folder : pathlib.Path
        Folder of the run.
    checkpoint : pathlib.Path or None
        Checkpoint of the best epoch; None if no epoch was finished.
    history : tuple of EpochRecord
        Records of all epochs.
    best_epoch : int
        The best epoch, counted from 1; 0 if no epoch was finished.
    complete : bool
        Whether the training came to its end, rather than being stopped.
    reason : str
        Why it ended early, in one sentence; empty otherwise.
    """

    folder: Path
    checkpoint: Path | None
    history: tuple[EpochRecord, ...]
    best_epoch: int
    complete: bool
    reason: str = ""

"""Reports of a training on its way and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class CutReport:
    """How far the cutting of patches has come.

    Attributes
    ----------
    slide : str
        Name of the slide being cut.
    done, total : int
        Grid cells looked at, and all of them, over all slides.
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
        Counted from 1.
    step, steps : int
        Within the epoch, counted from 1.
    loss : float
        Mean squared error of this batch, in squared grey levels of the target.
    mean_loss : float
        The same over this epoch so far.
    learning_rate : float
        Of this step.
    patches_per_second : float
        Over this epoch so far.
    seconds, seconds_left : float
        Of the training, all runs of it together; expected until its end.
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
        Shape (c, y, x), as the network sees them.
    real, predicted : numpy.ndarray
        Shape (y, x), grey levels of the target.
    """

    inputs: NDArray[np.float32]
    real: NDArray[np.float32]
    predicted: NDArray[np.float32]


@dataclass(frozen=True)
class EpochRecord:
    """What is kept of an epoch: a row of `history.csv`.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss, validation_loss : float
        Mean squared error in squared grey levels of the target, padding left out; over the batches as they were
        trained on, and over the validation patches at the end of the epoch.
    learning_rate : float
        At the end of the epoch.
    seconds : float
        Of the training so far, all runs of it together.
    patches_per_second : float
        Trained on, the validation left out.
    waiting_share : float
        Share of the epoch in which the network waited for patches, 0 to 1.
    peak_memory_bytes : int
        Largest since this run of the training began: allocated on the GPU, or resident in the process; the latter
        since the program began on Windows and macOS, which do not forget.
    validation_r, validation_r2 : float or None
        Pearson's r and R2 = 1 - SSE/SST over all pixels of the validation patches, padding left out. None where a
        constant leaves them undefined, and in runs of versions that did not measure them.
    baseline_r, baseline_r2 : float or None
        The same of what a network has to beat: blurred inputs, fitted to the validation patches themselves.
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
        Its figures.
    epochs : int
        Epochs at most.
    best_epoch : int
        The epoch with the lowest validation loss so far, whose weights the checkpoint has.
    seconds_left : float
        Expected until the end of the training.
    preview : Preview
        A fixed validation patch as it is predicted now.
    """

    record: EpochRecord
    epochs: int
    best_epoch: int
    seconds_left: float
    preview: Preview


@dataclass(frozen=True)
class TrainingResult:
    """What a training left.

    Attributes
    ----------
    folder : pathlib.Path
        The run.
    checkpoint : pathlib.Path or None
        The best epoch's; None when no epoch was finished.
    history : tuple of EpochRecord
        All epochs.
    best_epoch : int
        Counted from 1; 0 when no epoch was finished.
    complete : bool
        Whether it came to its end, rather than being stopped.
    reason : str
        Why it ended early, in one sentence; empty otherwise.
    """

    folder: Path
    checkpoint: Path | None
    history: tuple[EpochRecord, ...]
    best_epoch: int
    complete: bool
    reason: str = ""

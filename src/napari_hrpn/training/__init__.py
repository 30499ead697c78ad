"""Training of a checkpoint from annotated slides."""

from napari_hrpn.core.errors import TrainingError, TrainingWarning
from napari_hrpn.settings import TrainingSettings, recipe_settings
from napari_hrpn.training.checks import Checked, check_training
from napari_hrpn.training.data.patch_cutting import cut_patches, patch_cache_bytes
from napari_hrpn.training.data.patch_sampler import count_patches
from napari_hrpn.training.entries import SlideEntry, Split, TrainingSlide, open_entry, split_slides
from napari_hrpn.training.estimate import Estimate, estimate
from napari_hrpn.training.reports import (
    CutReport,
    EpochRecord,
    EpochReport,
    Preview,
    StepReport,
    TrainingResult,
)
from napari_hrpn.training.run_folder import RunFolder
from napari_hrpn.training.run_request import RunRequest
from napari_hrpn.training.train_model import train_model
from napari_hrpn.training.training_features import with_training_features

__all__ = [
    "Checked",
    "CutReport",
    "EpochRecord",
    "EpochReport",
    "Estimate",
    "Preview",
    "RunFolder",
    "RunRequest",
    "SlideEntry",
    "Split",
    "StepReport",
    "TrainingError",
    "TrainingResult",
    "TrainingSettings",
    "TrainingSlide",
    "TrainingWarning",
    "check_training",
    "count_patches",
    "cut_patches",
    "estimate",
    "open_entry",
    "patch_cache_bytes",
    "recipe_settings",
    "split_slides",
    "train_model",
    "with_training_features",
]

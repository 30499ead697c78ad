"""Networks, their receptive field, and their checkpoint file."""

from napari_hrpn.models.card import ModelCard
from napari_hrpn.models.checkpoint import (
    Checkpoint,
    CheckpointError,
    bundled_checkpoint,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from napari_hrpn.models.ganda import GANDA, GANDADiscriminator, GANDASettings
from napari_hrpn.models.hrpn import HRPN, HRPNSettings
from napari_hrpn.models.receptive_field import halo_for, halo_of, receptive_field_radius
from napari_hrpn.models.scaling import IntensityScaling
from napari_hrpn.models.torchscript import GreyLevelNetwork

__all__ = [
    "GANDA",
    "HRPN",
    "Checkpoint",
    "CheckpointError",
    "GANDADiscriminator",
    "GANDASettings",
    "GreyLevelNetwork",
    "HRPNSettings",
    "IntensityScaling",
    "ModelCard",
    "bundled_checkpoint",
    "checkpoint_path",
    "halo_for",
    "halo_of",
    "load_checkpoint",
    "receptive_field_radius",
    "save_checkpoint",
]

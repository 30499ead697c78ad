"""Small tumours on disk, a study of them, and a training that takes no time."""

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from napari_hrpn.models import save_checkpoint
from napari_hrpn.training import (
    EpochRecord,
    RunFolder,
    RunRequest,
    SlideEntry,
    StepReport,
    TrainingResult,
    TrainingSettings,
)
from support.predictions import lively_checkpoint

PIXEL_UM = 1.0


def write_tumour(path: Path, seed: int, size: tuple[int, int] = (96, 128)) -> Path:
    """A slide with DAPI, CD31 and a QD channel that follows the blurred CD31."""
    random = np.random.default_rng(seed)
    stains = ndimage.gaussian_filter(random.random((2, *size)), (0, 1.5, 1.5))
    stains = (stains - stains.min()) / np.ptp(stains) * 200
    probe = 20 + 0.5 * ndimage.gaussian_filter(stains[1], 2) + 4 * random.random(size)
    image = np.stack([*stains, probe]).astype(np.uint8)
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": ["DAPI", "CD31", "QD"]},
        "PhysicalSizeX": PIXEL_UM,
        "PhysicalSizeY": PIXEL_UM,
    }
    tifffile.imwrite(path, image, ome=True, metadata=metadata)
    return path


def write_study(folder: Path, text: str = "", tumours: Sequence[str] = ("T1", "T2", "T3")) -> Path:
    """Tumours named T1, T2, ... and a study of all of them, which begins with `text`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, tumour in enumerate(tumours):
        if not (folder / f"{tumour}.ome.tif").exists():
            write_tumour(folder / f"{tumour}.ome.tif", number)
    slides = "".join(f'[[slide]]\npath = "{tumour}.ome.tif"\n' for tumour in tumours)
    path = folder / "study.toml"
    path.write_text(f"{text}\n{slides}", encoding="utf-8")
    return path


class FakeTraining:
    """In the place of `train_model`: the same checkpoint whatever is asked for, and a memory of what was."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.asked: dict[str, tuple[Sequence[SlideEntry], TrainingSettings, str | None]] = {}

    def __call__(
        self, entries: Sequence[SlideEntry], folder: Path, settings: TrainingSettings, **options: object
    ) -> Generator[StepReport, None, TrainingResult]:
        self.folders.append(folder.name)
        self.asked[folder.name] = (entries, settings, options["validate"])  # type: ignore[assignment]
        RunFolder(folder).begin(RunRequest(tuple(entries), settings, options["validate"]))  # type: ignore[arg-type]
        yield StepReport(1, 2, 1, 2, 3.0, 3.0, 0.1, 10.0, 2.0, 6.0)
        path = folder / "checkpoint.safetensors"
        save_checkpoint(lively_checkpoint(1, pixel_size_um=PIXEL_UM, input_roles=("nuclei", "vessels")), path)
        history = (EpochRecord(1, 5.0, 4.0, 0.1, 7.0, 11.0, 0.0, 3_000_000), EpochRecord(2, 4, 6, 0.1, 9.0, 13.0, 0, 2))
        return TrainingResult(folder, path, history, 1, complete=True)

"""Error models of a study's networks: what the errors on the tumours that were held out say about new predictions."""

from __future__ import annotations

import math
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import AgreementError, AnalysisError, BlockCounter, ErrorModel
from napari_hrpn.analysis.scan.block_scan import PixelBlock, count_blocks
from napari_hrpn.analysis.statistics.error_model import error_model, left_out_coverage
from napari_hrpn.analysis.windows.gaussian import SCORED
from napari_hrpn.core.files import save_json, saved_json
from napari_hrpn.experiments.evaluation import measured_tissue, predict_measured, prediction_path
from napari_hrpn.experiments.study import StudyError
from napari_hrpn.experiments.study_folder import UNCERTAINTY, fold_checkpoints
from napari_hrpn.models import load_checkpoint
from napari_hrpn.settings.networks import NETWORKS
from napari_hrpn.slides import open_slide, prediction_record, slide_identity
from napari_hrpn.training import open_entry

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.core import Progress
    from napari_hrpn.experiments.study import Experiment
    from napari_hrpn.experiments.study_folder import StudyFolder
    from napari_hrpn.inference import TileReport
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import RegionMask, Slide
    from napari_hrpn.training import TrainingSettings

    _Pixels = tuple[NDArray[np.float64], NDArray[np.float64]]

_FORMAT = "napari-hrpn uncertainty 1"
_MOST_PX = 200_000
"""Pixels of a tumour, about: neighbours err alike, so that more of them would say little more."""
NO_ERROR_MODEL = (
    "the study does not say how far its networks err on held-out tumours, so the SD is the spread between them alone, "
    "which is often far too small; run napari-hrpn cross-validate again, which measures it without training again."
)


def study_error_model(folder: Path, members: Sequence[Checkpoint]) -> ErrorModel | None:
    """Error model of the networks of a study.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the study.
    members : sequence of Checkpoint
        Its networks, as `fold_checkpoints` names them.

    Returns
    -------
    ErrorModel or None
        None if the study was finished before there were error models.

    Raises
    ------
    StudyError
        If its file is damaged, or has the errors of other networks.
    """
    networks = _saved(folder)
    found = _of_checkpoints(networks, [member.digest for member in members])
    if found is None and networks:
        raise _of_others(folder, networks, members)
    return None if found is None else _checked_model(found)


def _of_others(folder: Path, networks: Sequence[dict[str, Any]], members: Sequence[Checkpoint]) -> StudyError:
    measured = {digest for network in networks for digest in network["checkpoints"]}
    runs = [path.parent.name for path in fold_checkpoints(folder)]
    others = [run for run, member in zip(runs, members, strict=False) if member.digest not in measured] or runs
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return StudyError(
        f"{folder / UNCERTAINTY} has the errors of other networks than {others[0]}{more} in this folder; put back the "
        "checkpoints that were measured, or delete the runs with others and run napari-hrpn cross-validate again, or "
        "predict with the checkpoints alone, without these errors."
    )


def measure_errors(
    experiments: Sequence[Experiment], folder: StudyFolder, reference: TrainingSettings, stop: threading.Event
) -> Generator[TileReport | Progress, None, None]:
    """Measure the error model of each network whose folds are all there, unless that was done before."""
    earlier, found = _saved(folder.path), []
    for folds in _networks(experiments):
        if any(folder.rows(fold) is None for fold in folds):
            continue
        checkpoints = [load_checkpoint(folder.run(fold).checkpoint) for fold in folds]
        digests, pixels = [checkpoint.digest for checkpoint in checkpoints], {}
        network = _of_checkpoints(earlier, digests)
        if network is None:
            for fold, checkpoint in zip(folds, checkpoints, strict=True):
                run = folder.run(fold).path
                pixels.update((yield from _held_out_pixels(fold, checkpoint, run, reference, stop)))
            network = _network(folds, digests, pixels)
        found.append(network)
    if found != earlier:
        save_json(folder.path / UNCERTAINTY, {"format": _FORMAT, "level": SCORED / 100, "networks": found})


def _networks(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """Experiments of each network, ablations aside: one for each tumour left out, or else the final one."""
    whole = [experiment for experiment in experiments if not experiment.ablation]
    groups = [list(group) for _, group in groupby(whole, lambda experiment: experiment.settings.model)]
    return [[one for one in group if one.fold.part == "validation"] or group for group in groups]


def _saved(folder: Path) -> list[dict[str, Any]]:
    path = folder / UNCERTAINTY
    content = saved_json(path, StudyError) or {"format": _FORMAT, "networks": []}
    networks: list[dict[str, Any]] = content.get("networks", [])
    is_ours = content.get("format") == _FORMAT and isinstance(networks, list)
    if not (is_ours and all(isinstance(network, dict) for network in networks)):
        msg = f"{path} was not written by this version; delete it, and run napari-hrpn cross-validate again."
        raise StudyError(msg)
    for network in networks:
        try:
            _checked_model(network)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            why = f"{error}" if isinstance(error, AnalysisError) else "values are missing or of another kind"
            msg = f"{path} is damaged ({why}); delete it, and run napari-hrpn cross-validate again."
            raise StudyError(msg) from error
    return networks


def _checked_model(network: dict[str, Any]) -> ErrorModel:
    """Error model of a network in the study's JSON file, if all that the file says about it is possible."""
    digests, tumours, found = (network[name] for name in ("checkpoints", "tumours", "by_tumour"))
    if not (isinstance(digests, list) and all(isinstance(digest, str) for digest in digests)):
        raise TypeError
    if not len(found) == tumours >= 1:
        msg = f"it has {len(found)} tumours, and says that there are {tumours}"
        raise AgreementError(msg)
    shares = network["highest_level"], *(one["coverage_left_out"] for one in found)
    if wrong := [share for share in shares if share is not None and not 0 <= share <= 1]:
        msg = f"a coverage is {wrong[0]:g}; expected 0 to 1"
        raise AgreementError(msg)
    levels, sds = (tuple(float(one[name]) for one in network["bins"]) for name in ("predicted", "sd"))
    return ErrorModel(tumours, levels, sds)


def _of_checkpoints(networks: Sequence[dict[str, Any]], digests: Sequence[str]) -> dict[str, Any] | None:
    return next((network for network in networks if network.get("checkpoints") == digests), None)


def _held_out_pixels(
    experiment: Experiment, checkpoint: Checkpoint, run: Path, reference: TrainingSettings, stop: threading.Event
) -> Generator[TileReport | Progress, None, dict[str, _Pixels]]:
    """Real and predicted grey levels of the tissue of each tumour that a network has not learnt from."""
    measured = experiment.fold.measured
    found: dict[str, list[_Pixels]] = {}
    slides = Counter(slide.entry.tumour_id for slide in measured)
    for slide in measured:
        tumour = slide.entry.tumour_id
        opened, path = open_entry(slide.entry, experiment.settings), prediction_path(run, slide)
        if not _is_there(path, opened.slide, checkpoint):
            yield from predict_measured(opened, checkpoint, path, experiment.settings, stop)
        tissue = measured_tissue(open_entry(slide.entry, reference), reference)
        channels = opened.slide.levels[0][opened.target], open_slide(path).levels[0][0]
        share = tissue.fraction * math.prod(opened.slide.shape) * slides[tumour] / _MOST_PX
        sample = _PixelSample(channels, tissue, math.ceil(math.sqrt(max(1.0, share))))
        yield from count_blocks(channels, [sample])
        found.setdefault(tumour, []).append(sample.pixels)
    return {tumour: _joined(parts) for tumour, parts in found.items()}


def _is_there(path: Path, slide: Slide, checkpoint: Checkpoint) -> bool:
    """Whether a slide is predicted by a network already."""
    record = prediction_record(path)
    made_from = None if record is None or not record.complete else (record.slide, record.checkpoint)
    return made_from == (slide_identity(slide), checkpoint.digest)


def _joined(parts: Sequence[_Pixels]) -> _Pixels:
    real, predicted = (np.concatenate(levels) for levels in zip(*parts, strict=True))
    return real, predicted


class _PixelSample(BlockCounter["_Pixels"]):
    """Pixels of two channels in a region, one in every square of a grid over the slide."""

    def __init__(self, channels: tuple[da.Array, da.Array], region: RegionMask, step: int) -> None:
        self._channels, self._region, self._step = channels, region, step
        self._found: list[_Pixels] = []

    @property
    def pixels(self) -> _Pixels:
        """Pixels of all blocks so far."""
        return _joined(self._found)

    def count(self, block: PixelBlock) -> _Pixels:
        """Pixels of a block."""
        # the same pixels, however the slide is divided into blocks
        step = self._step
        grid = tuple(slice((step // 2 - start) % step, None, step) for start in block.origin)
        inside = block.inside(self._region)[grid]
        real, predicted = (block.pixels(channel)[grid][inside].astype(np.float64) for channel in self._channels)
        known = np.isfinite(real) & np.isfinite(predicted)
        return real[known], predicted[known]

    def add(self, pixels: _Pixels) -> None:
        """Keep the pixels of the next block."""
        self._found.append(pixels)


def _network(folds: Sequence[Experiment], digests: list[str], pixels: dict[str, _Pixels]) -> dict[str, Any]:
    """Error model of a network, for the study's JSON file."""
    settings, tumours = folds[0].settings, {name: both for name, both in pixels.items() if both[0].size}
    if not tumours:
        msg = "the held-out tumours have no tissue."
        raise AgreementError(msg)
    model, shares = error_model([*tumours.values()]), left_out_coverage([*tumours.values()])
    return {
        "model": settings.model,
        "channels": "+".join(settings.channels),
        "branches": settings.branches if "branches" in NETWORKS[settings.model].options else None,
        "checkpoints": digests,
        "tumours": len(tumours),
        "highest_level": len(tumours) / (len(tumours) + 1),
        "bins": [{"predicted": level, "sd": sd} for level, sd in zip(model.predicted, model.sd, strict=True)],
        "by_tumour": [
            {
                "tumour": name,
                "n": both[0].size,
                # then its errors are a little smaller than those on other tumours
                "chose_checkpoint": any(name == fold.fold.validate for fold in folds),
                "coverage_left_out": share,
            }
            for (name, both), share in zip(tumours.items(), shares, strict=True)
        ],
    }

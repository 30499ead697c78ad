"""How often the intervals of predictions by a study hold, on synthetic tumours that no network has seen.

    python benchmarks/uncertainty.py DIR
    python benchmarks/uncertainty.py DIR --train 4 --test 2 --size 256 --settings patch_px=64 steps_per_epoch=2 epochs=1

Networks are cross-validated on some phantoms of the preset `tumour`, then predict others with `predict --study`. Of the
tissue of these, the table has the coverage of intervals of 80 % (mean, least and most of the tumours; mean by tenth of
the predicted and of the real grey level), their width in grey levels, and the CRPS, also for the standard deviation
between the networks alone. The command goes on where it was stopped when it is repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from validation import add_training_options, phantom, slide_table

from napari_hrpn.analysis import ComparedPixels, ProbeImage, SlideComparison, evaluate_slide, tissue_mask
from napari_hrpn.analysis.metrics import METRICS
from napari_hrpn.analysis.windows.gaussian import LEVELS, SCORED
from napari_hrpn.cli import run
from napari_hrpn.core import drive
from napari_hrpn.experiments import fold_checkpoints
from napari_hrpn.settings import EvaluationSettings
from napari_hrpn.slides import open_slide, write_ome_zarr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis.statistics.uncertainty import DecileCoverage

FIRST_TEST_SEED = 101
KEYS = (f"coverage_{SCORED}", f"width_{SCORED}", "crps")


def made(seed: int, arguments: argparse.Namespace) -> Path:
    path = Path(arguments.folder / f"phantom{seed}.ome.zarr")
    if not path.exists():
        drive(write_ome_zarr(phantom(seed, arguments).slide, path))
    return path


def by_tenth(rows: Sequence[DecileCoverage]) -> np.ndarray:
    """Coverage of 80 % in each tenth of the grey levels; NaN for one without pixels."""
    shares = np.full(10, np.nan)
    for one in rows:
        shares[one.decile - 1] = one.coverage[LEVELS.index(SCORED)]
    return shares


def measured(real: Path, predicted: Path) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Metrics of a prediction over the tissue, and the coverage in each tenth of the grey levels."""
    slide, prediction = open_slide(real), open_slide(predicted)
    comparison = SlideComparison(
        ProbeImage("real", slide, len(slide.channel_names) - 1),
        (ProbeImage("predicted", prediction),),
        tissue=tissue_mask(slide, 0),
    )
    skipped = ("quality", "patches", "penetration")
    parts = drive(evaluate_slide(comparison, EvaluationSettings(resamples=100), skip=skipped))
    found = next(part.findings for part in parts if isinstance(part.findings, ComparedPixels))
    assert found.tissue is not None
    assert found.uncertainty is not None
    values = {metric.key: metric.value(found.tissue) for metric in METRICS if metric.key in KEYS}
    tenths = {
        "predicted": by_tenth(found.uncertainty.predicted_deciles),
        "real": by_tenth(found.uncertainty.deciles),
    }
    return {key: float(value) for key, value in values.items() if value is not None}, tenths


def row(title: str, real: list[Path], folder: Path) -> str:
    """Row of the table: the predictions in a folder against the real slides."""
    numbers, tenths = zip(
        *(measured(path, folder / f"{path.name.split('.')[0]}.predicted.ome.zarr") for path in real), strict=True
    )
    coverage, width, crps = (np.array([one[key] for one in numbers]) for key in KEYS)
    means = [np.ma.masked_invalid([one[kind] for one in tenths]).mean(axis=0) for kind in ("predicted", "real")]
    cells = [
        title,
        f"{coverage.mean():.3f} ({coverage.min():.3f} to {coverage.max():.3f})",
        *(" ".join(f"{share:.2f}" for share in shares.filled(np.nan)) for shares in means),
        f"{width.mean():.3g}",
        f"{crps.mean():.3g}",
    ]
    return f"| {' | '.join(cells)} |"


def table(real: list[Path], folder: Path) -> str:
    (network,) = json.loads((folder / "study" / "uncertainty.json").read_text("utf-8"))["networks"]
    left_out = [one["coverage_left_out"] for one in network["by_tumour"]]
    titles = ("SD", "coverage of 80 %", "by tenth of the predicted level", "of the real one", "width", "CRPS")
    return "\n".join(
        [
            f"{network['tumours']} tumours held out by folds, which allow a level of {network['highest_level']:.3f}; "
            f"coverage of each by the errors of the others {min(left_out):.3f} to {max(left_out):.3f}.",
            "",
            f"| {' | '.join(titles)} |",
            f"| {' | '.join('---' for _ in titles)} |",
            row("errors on held-out tumours, or spread where it is larger", real, folder / "predicted"),
            row("spread between the networks alone", real, folder / "spread"),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_options(parser, train=8)
    parser.add_argument("--test", type=int, default=20, help="phantoms that are predicted")
    arguments = parser.parse_args()
    arguments.preset, folder, device = "tumour", arguments.folder, ["--device", arguments.device]
    folder.mkdir(parents=True, exist_ok=True)
    learnt = [made(seed, arguments) for seed in range(1, arguments.train + 1)]
    unseen = [made(FIRST_TEST_SEED + number, arguments) for number in range(arguments.test)]
    top = 'title = "Phantoms, tumour"\nmodels = ["hrpn"]'
    slides = [slide_table(path, path.name.split(".")[0]) for path in learnt]
    (folder / "study.toml").write_text("\n\n".join([top, *slides, "\n".join(["[settings]", *arguments.settings])]))
    study = folder / "study"
    limit = [] if arguments.max_minutes is None else ["--max-minutes", str(arguments.max_minutes)]
    code = run(["cross-validate", str(folder / "study.toml"), "-o", str(study), *device, *limit])
    if code == 0:
        members = [word for path in fold_checkpoints(study) for word in ("--checkpoint", str(path))]
        for words in (["--study", str(study), "-o", "predicted"], [*members, "-o", "spread"]):
            output = str(folder / words.pop())
            code = code or run(["predict", *map(str, unseen), *words, output, *device])
    if code == 0:
        print(table(unseen, folder))
    return code


if __name__ == "__main__":
    sys.exit(main())

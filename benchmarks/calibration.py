"""What a calibration does to the rest of a slide: simulated probes and predictions, by gain, offset and regions.

    python benchmarks/calibration.py [--slides 40]

The prediction of each slide has errors that differ from place to place, and would be unbiased but for the gain and the
offset. One row for each case: R2 of the prediction where no region is; how often a calibration is refused; and, for
those that are not, the change of that R2 (10th percentile, median), beside that of plain least squares, which is never
refused and may have a single region.
"""

import argparse

import numpy as np
from scipy import ndimage

from napari_hrpn.analysis import AnalysisError
from napari_hrpn.analysis.counts.moments import AgreementSums, update
from napari_hrpn.analysis.statistics.calibration import calibration_line

SIZE, SIDE = 400, 70
CASES = [(1.0, 0.0), (0.9, 0.0), (0.6, 0.0), (1.5, 0.0), (1.0, 100.0)]
"""Gain and offset; the probe has a mean of about 390 grey levels."""


def field(random: np.random.Generator, sigma: float) -> np.ndarray:
    """A smooth random field of unit variance."""
    smooth = ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), sigma, mode="wrap")
    return np.asarray(smooth / smooth.std())


def slide(seed: int, regional: float) -> tuple[np.ndarray, np.ndarray, list[tuple[slice, slice]]]:
    """A probe, its unbiased prediction, and eight regions that do not overlap."""
    random = np.random.default_rng(seed)
    probe = 300 * np.exp(0.6 * field(random, 8) + 0.4 * field(random, 40))
    predicted = ndimage.gaussian_filter(probe * np.exp(regional * field(random, 30)) + 60 * field(random, 3), 1)
    predicted = np.polyval(np.polyfit(predicted.ravel(), probe.ravel(), 1), predicted)
    regions: list[tuple[slice, slice]] = []
    taken = np.zeros(probe.shape, bool)
    while len(regions) < 8:
        y, x = random.integers(0, SIZE - SIDE, 2).tolist()
        part = slice(y, y + SIDE), slice(x, x + SIDE)
        if not taken[part].any():
            taken[part] = True
            regions.append(part)
    return probe, predicted, regions


def changes(
    real: np.ndarray, predicted: np.ndarray, regions: list[tuple[slice, slice]]
) -> tuple[float, float | None, float]:
    """R2 outside of the regions, its change by the calibration (None if refused), and by plain least squares."""
    rest = np.ones(real.shape, bool)
    for part in regions:
        rest[part] = False
    y, p = real[rest], predicted[rest]

    def r2(prediction: np.ndarray) -> float:
        return float(1 - ((y - prediction) ** 2).sum() / ((y - y.mean()) ** 2).sum())

    p_inside, y_inside = (np.concatenate([image[part].ravel() for part in regions]) for image in (predicted, real))
    plain = r2(np.polyval(np.polyfit(p_inside, y_inside, 1), p)) - r2(p)
    try:
        line = calibration_line([update(AgreementSums(), real[part], predicted[part]) for part in regions])
    except AnalysisError:
        return r2(p), None, plain
    return r2(p), r2(line.offset + line.slope * p) - r2(p), plain


def percentiles(values: list[float]) -> str:
    """10th percentile and median."""
    return "{:+.2f}, {:+.2f}".format(*np.percentile(values, (10, 50))) if values else "–"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=40)
    slides = parser.parse_args().slides
    print("| regional error | gain | offset | regions | R2 | refused | calibrated | least squares |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for regional in (0.15, 0.4):
        made = [slide(seed, regional) for seed in range(slides)]
        for gain, offset in CASES:
            for number in (1, 3, 5, 8):
                found = [changes(gain * y + offset, p, regions[:number]) for y, p, regions in made]
                before, calibrated, plain = zip(*found, strict=True)
                kept = [change for change in calibrated if change is not None]
                cells = [f"{regional:.0%}", f"{gain:g}", f"{offset:g}", str(number), f"{np.mean(before):.2f}"]
                cells += [f"{1 - len(kept) / slides:.0%}", percentiles(kept), percentiles(list(plain))]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

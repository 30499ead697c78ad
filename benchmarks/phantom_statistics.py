"""Statistics of vessels, probe and nuclei in real fields, beside those of phantoms of the same size and pixel size.

    python benchmarks/phantom_statistics.py --data FOLDER_OF_FIELDS
    python benchmarks/phantom_statistics.py --data FOLDER_OF_FIELDS --presets intravascular varied --seeds 8

Slides have the channels nuclei, vessels and probe. The table has the mean over slides and, for presets that draw a
regime per seed, the smallest and the largest value.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from napari_hrpn.analysis import (
    Penetration,
    PenetrationSettings,
    ProbeImage,
    VesselMask,
    VesselSettings,
    measure_vessels,
    slide_penetration,
    vessel_mask,
)
from napari_hrpn.analysis.counts.blocks import correlation_length_px
from napari_hrpn.core import drive
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.slides import Slide, open_slide

NUCLEI, VESSELS, PROBE = range(3)
LAGS_UM = (5, 10, 20)
SHELLS_UM = ((0, 2), (5, 10), (20, 30))


def statistics(slide: Slide) -> dict[str, float]:
    """Statistics of a slide that fits in memory."""
    nuclei, vessels, probe = slide.levels[0].compute().astype(np.float64)
    assert slide.pixel_size_um is not None
    pixel_um = slide.pixel_size_um[0]
    return {
        **_vessels(slide),
        "correlation length of the probe (1/e), µm": correlation_length_px(probe) * pixel_um,
        "r(vessels, probe)": float(np.corrcoef(vessels.ravel(), probe.ravel())[0, 1]),
        **_cross_correlations(vessels, probe, pixel_um),
        "nuclei: coefficient of variation": float(nuclei.std() / nuclei.mean()),
        "r(nuclei, probe)": float(np.corrcoef(nuclei.ravel(), probe.ravel())[0, 1]),
    }


def _vessels(slide: Slide) -> dict[str, float]:
    mask = drive(vessel_mask(slide, VESSELS))
    table = drive(measure_vessels(slide, VESSELS, mask))
    furthest_um = float(max(high for _, high in SHELLS_UM))
    settings = PenetrationSettings(1.0, furthest_um, beyond_um=(10.0,), band_edges_um=(10.0,), near_um=(10.0,))
    found = drive(slide_penetration(mask, [ProbeImage("probe", slide, PROBE)], settings=settings))
    distance_um = ndimage.distance_transform_edt(~mask.mask, sampling=mask.pixel_um)
    inside = _inside(slide, mask)
    rings = {ring.label: ring.mean for ring in found.vessels}
    stains = {vessel.label: vessel.stain_mean for vessel in table.vessels}
    return {
        "vessels per mm²": table.density_per_mm2,
        "median width, µm": float(np.median([vessel.mean_diameter_um for vessel in table.vessels])),
        "vessel length, mm/mm²": table.length_density_mm_per_mm2,
        "mean distance to a vessel, µm": float(distance_um.mean()),
        **{f"probe at {low}-{high} µm over inside": _shell(found.profiles[0], low, high) for low, high in SHELLS_UM},
        "r of a vessel's 10 µm ring with its inside": _correlation(rings, inside),
        "r of a vessel's stain with its inside": _correlation(stains, inside),
        "r(vessels, probe) of the pixels within vessels": _within(slide, mask),
    }


def _shell(profile: Penetration, low_um: float, high_um: float) -> float:
    shells = [shell for shell in profile.shells if low_um <= shell.from_um and shell.to_um <= high_um and shell.n]
    if not shells:
        return np.nan
    mean = np.average([shell.mean for shell in shells], weights=[shell.n for shell in shells])
    return float(mean) / profile.vessel_mean


def _inside(slide: Slide, mask: VesselMask) -> dict[int, float]:
    """Mean grey level of the probe inside each vessel."""
    probe = slide.levels[slide.level_for(VesselSettings().pixel_um)][PROBE].compute().astype(np.float64)
    labels = mask.objects.painted(slice(0, mask.mask.shape[0]), slice(0, mask.mask.shape[1]))
    known = range(1, labels.max() + 1)
    return dict(zip(known, ndimage.mean(probe, labels, known), strict=True))


def _within(slide: Slide, mask: VesselMask) -> float:
    level = slide.levels[slide.level_for(VesselSettings().pixel_um)].compute().astype(np.float64)
    return float(np.corrcoef(level[VESSELS][mask.mask], level[PROBE][mask.mask])[0, 1])


def _correlation(values: dict[int, float], others: dict[int, float]) -> float:
    pairs = [(value, others[label]) for label, value in values.items() if np.isfinite(value)]
    return float(np.corrcoef(np.transpose(pairs))[0, 1])


def _cross_correlations(vessels: np.ndarray, probe: np.ndarray, pixel_um: float) -> dict[str, float]:
    """Correlation of vessels with the probe at some distances, over all directions."""
    first, second = ((image - image.mean()) / image.std() for image in (vessels, probe))
    reach = int(np.ceil(max(LAGS_UM) / pixel_um)) + 1
    ones = np.ones_like(first)
    middle = tuple(slice(size - 1 - reach, size + reach) for size in first.shape)
    products, pairs = (fftconvolve(a, b[::-1, ::-1])[middle] for a, b in ((first, second), (ones, ones)))
    offset = np.arange(-reach, reach + 1) * pixel_um
    distance = np.hypot(offset[:, None], offset[None, :])
    return {
        f"cross-correlation at {lag} µm": float((products / pairs)[np.abs(distance - lag) <= pixel_um / 2].mean())
        for lag in LAGS_UM
    }


def _of_phantom(preset: str, seed: int, shape: tuple[int, int], pixel_um: float) -> dict[str, float]:
    settings = replace(PHANTOM_PRESETS[preset], pixel_size_um=pixel_um, has_outline=False)
    return statistics(phantom_slide(settings, size=shape, seed=seed).slide)


def _of_file(path: Path) -> dict[str, float]:
    return statistics(open_slide(path))


def _seconds(seed: int) -> float:
    """Processor time of a varied phantom of its own size, on one core if OMP_NUM_THREADS is 1."""
    level = phantom_slide("varied", seed=seed).slide.levels[0]
    started = time.process_time()
    level.compute(scheduler="synchronous")
    return time.process_time() - started


def _summary(rows: list[dict[str, float]], name: str, *, as_range: bool) -> str:
    values = [row[name] for row in rows]
    shown = (np.nanmin(values), np.nanmax(values)) if as_range else (np.nanmean(values),)
    return " to ".join(f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of OME-TIFF files")
    parser.add_argument(
        "--presets", nargs="+", default=["intravascular", "extravasated", "tumour", "varied"], choices=PHANTOM_PRESETS
    )
    parser.add_argument("--seeds", type=int, default=8, help="phantoms per preset; five times as many of varied ones")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    paths = sorted(arguments.data.glob("*.ome.tif"))
    first = open_slide(paths[0])
    assert first.pixel_size_um is not None
    columns = {}
    varied = [preset for preset in arguments.presets if PHANTOM_PRESETS[preset].is_varied]
    with ProcessPoolExecutor(arguments.workers) as pool:
        columns["real fields"] = list(pool.map(_of_file, paths))
        for preset in arguments.presets:
            seeds = range(arguments.seeds * (5 if preset in varied else 1))
            jobs = [pool.submit(_of_phantom, preset, seed, first.shape, first.pixel_size_um[0]) for seed in seeds]
            columns[preset] = [job.result() for job in jobs]
    print(f"| statistic | {' | '.join(columns)} |")
    print(f"| --- |{' --- |' * len(columns)}")
    for name in columns["real fields"][0]:
        cells = [_summary(rows, name, as_range=preset in varied) for preset, rows in columns.items()]
        print(f"| {name} | {' | '.join(cells)} |")
    seconds = [_seconds(seed) for seed in range(24)]
    print(f"\nA varied phantom takes {np.median(seconds):.1f} s, at most {max(seconds):.1f} s of {len(seconds)}.")


if __name__ == "__main__":
    main()

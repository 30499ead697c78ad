"""The evaluation of a slide: what is skipped, what is pooled, what is closed."""

import threading
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis import (
    AgreementError,
    BlockSums,
    EvaluationSettings,
    ProbeImage,
    SlideComparison,
    block_bootstrap,
    block_side_px,
    edited_vessel_mask,
    evaluate_slide,
    iou_curve,
    measure_vessels,
    slide_heterogeneity,
    slide_pairs,
    slide_penetration,
    update_blocks,
    vessel_mask,
)
from napari_hrpn.analysis.evaluation import pixels
from napari_hrpn.analysis.scan import block_scan
from napari_hrpn.analysis.scan.pair_counters import NO_WINDOWS
from napari_hrpn.analysis.statistics.agreement import compute
from napari_hrpn.core import Box, drive
from napari_hrpn.slides import Annotation, ChannelRoles, RegionMask, Slide, coarser_levels
from support.predictions import make_slide

ROLES = ChannelRoles(0, 1, 2)


@pytest.fixture(scope="module")
def real() -> Slide:
    return make_slide(400, 500, Path("real.zarr"))


def predicted(real: Slide, dtype: str = "uint8", chunk: int = 512) -> Slide:
    pixels = np.asarray(real.levels[0][2].compute()) // 2 + np.random.default_rng(0).integers(0, 9, real.shape)
    finest = da.from_array(pixels[None].astype(dtype), chunks=(1, chunk, chunk), name=False)
    return Slide((finest, *coarser_levels(finest)), ("predicted",), real.pixel_size_um, Path("predicted.zarr"))


def roi(name: str = "a", low: float = 30, high: float = 390) -> Annotation:
    corners = np.array([[low, low], [low, high], [high, high], [high, low]], float)
    return Annotation(name, "include", ((corners,),))


def comparison(real: Slide, **changes: object) -> SlideComparison:
    fields = {"roles": ROLES, "rois": (roi(), roi("", -20, 60))}
    return SlideComparison(ProbeImage("real", real, 2), (ProbeImage("p", predicted(real)),), **{**fields, **changes})


def test_parts_that_are_known_are_not_done_again(real: Slide) -> None:
    wanted = comparison(real)
    names = ["quality", "pixels p", "penetration", "patches"]
    reports = list(evaluate_slide(wanted, skip=[name for name in names if name != "quality"]))
    assert [report.finished.name for report in reports if report.finished] == ["quality"]
    shares = [report.share for report in reports]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_intervals_are_those_of_the_pixels_in_memory(real: Slide) -> None:
    wanted = comparison(real)
    (part,) = drive(evaluate_slide(wanted, skip=("quality", "penetration", "patches")))
    y, p = (np.asarray(slide.levels[0][c].compute()) for slide, c in ((real, 2), (wanted.predictions[0].slide, 0)))
    inside = np.zeros(real.shape, bool)
    inside[30:390, 30:390] = True
    cut = slice(30, 390), slice(30, 390)
    side = block_side_px(y[cut], p[cut])
    expected = block_bootstrap(update_blocks(BlockSums(side), y, p, inside))
    assert part.findings.rois[0].intervals == expected
    # one that reaches beyond the slide is cut off there
    assert part.findings.rois[1].agreement.n == 60 * 60
    assert part.findings.rois[1].box_px == Box(0, 60, 0, 60)
    assert part.findings.tissue is None
    assert part.findings.region == "frame"


@pytest.mark.parametrize(("dtype", "chunk"), [("uint8", 100), ("float32", 512)])
def test_numbers_do_not_depend_on_chunks_or_pixel_type(real: Slide, dtype: str, chunk: int) -> None:
    skip = ("quality", "penetration", "patches")
    tissue = RegionMask(np.ones((1, 1), bool), tuple(map(float, real.shape)))
    other = ProbeImage("p", predicted(real, dtype, chunk))
    found = [
        drive(evaluate_slide(wanted, skip=skip))[0].findings
        for wanted in (
            comparison(real, tissue=tissue),
            SlideComparison(ProbeImage("real", real, 2), (other,), ROLES, tissue),
        )
    ]
    assert found[0].tissue.agreement.r2 == pytest.approx(found[1].tissue.agreement.r2, rel=1e-12)
    assert found[0].tissue.density.sum() == found[1].tissue.density.sum() == real.shape[0] * real.shape[1]
    # an integer image beside a floating-point one is counted in whole grey levels
    assert set(np.diff(found[1].histogram.edges)) == {1.0}
    np.testing.assert_array_equal(found[0].histogram.counts.sum(axis=1), found[1].histogram.counts.sum(axis=1))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_scan, "BLOCK_EDGE", 70)
    monkeypatch.setattr(block_scan, "BLOCK_PX", 70**2)


def cut(slide: Slide, chunk: int) -> Slide:
    """The same slide in other chunks."""
    return replace(slide, levels=(slide.levels[0].rechunk((1, chunk, chunk)), *slide.levels[1:]))


@pytest.fixture(scope="module")
def tissue(real: Slide) -> RegionMask:
    y, x = np.mgrid[: real.shape[0] // 5, : real.shape[1] // 5]
    return RegionMask(np.hypot(y - 40, x - 50) < 35, (5.0, 5.0))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("chunk", [70, 512])
def test_one_pass_gives_what_each_function_gives_on_its_own(real: Slide, tissue: RegionMask, chunk: int) -> None:
    other = replace(predicted(real), levels=(predicted(real).levels[0] // 2,))
    images = ProbeImage("p", cut(predicted(real), chunk)), ProbeImage("q", other)
    settings = EvaluationSettings(patch_px=64, permutations=99, block_px=24)
    wanted = SlideComparison(ProbeImage("real", cut(real, chunk), 2), images, ROLES, tissue, rois=(roi(),))
    parts = {part.name: part.findings for part in drive(evaluate_slide(wanted, settings, skip=("quality",)))}

    whole = drive(slide_pairs(real, 2, other, tissue=tissue, rois=wanted.rois, block_sides_px=(24, 24)))
    found = parts["pixels q"]
    for numbers, counts in ((found.tissue, whole.tissue), (found.frame, whole.frame), (found.rois[0], whole.rois[0])):
        assert numbers.agreement == compute(counts.sums, 255)
    assert found.iou == iou_curve(whole.tissue)
    assert found.tissue.intervals == block_bootstrap(whole.blocks[0])
    assert found.rois[0].intervals == block_bootstrap(whole.blocks[1])

    options = {"patch_px": 64, "permutations": 99}
    thresholds = parts["patches"].thresholds
    patches = drive(slide_heterogeneity(real, None, tissue, thresholds=thresholds, **options))
    of_other = drive(slide_heterogeneity(other, None, tissue, thresholds=thresholds[-1:], **options))
    for own, alone in (
        (parts["patches"].heterogeneity, patches),
        (parts["patches"].predictions[1].heterogeneity, of_other),
    ):
        assert repr(own.channels) == repr(alone.channels)
        for name in ("totals", "means", "positive_fractions", "pixels"):
            np.testing.assert_array_equal(getattr(own, name), getattr(alone, name))

    vessels = drive(vessel_mask(real, 1, tissue))
    alone = [ProbeImage("real", real, 2), ProbeImage("p", predicted(real)), ProbeImage("q", other)]
    assert repr(parts["penetration"].penetration) == repr(drive(slide_penetration(vessels, alone, tissue)))
    assert parts["penetration"].vessels == drive(measure_vessels(real, 1, vessels, tissue))


class Counted:
    """Pixels that note which of them are read."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype, self.ndim = pixels, pixels.shape, pixels.dtype, pixels.ndim
        self.reads = np.zeros(pixels.shape, int)

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        with LOCK:
            self.reads[key] += 1
        return self.pixels[key]


LOCK = threading.Lock()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("has_windows", [False, True])
@pytest.mark.parametrize(("dtype", "times"), [("uint8", 1), ("float32", 2)])
def test_every_pixel_is_read_once_for_all_parts(
    real: Slide, tissue: RegionMask, dtype: str, times: int, has_windows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_windows:
        monkeypatch.setattr(pixels, "windows_of", lambda data_range: NO_WINDOWS)

    def counted(slide: Slide) -> tuple[Slide, Counted]:
        pixels = Counted(np.asarray(slide.levels[0].compute()))
        finest = da.from_array(pixels, chunks=(1, 64, 64), asarray=False, name=False)
        levels = finest, *coarser_levels(slide.levels[0], smallest=64)
        return replace(slide, levels=levels, pixel_size_um=(0.4, 0.4)), pixels

    (slide, of_real), (prediction, of_prediction) = counted(real), counted(predicted(real, dtype))
    wanted = SlideComparison(ProbeImage("real", slide, 2), (ProbeImage("p", prediction),), ROLES, tissue)
    assert len(drive(evaluate_slide(wanted, EvaluationSettings(block_px=24), skip=("quality",)))) == 3
    # statistics over windows read the chunks around a block too, of the two channels that are compared
    for reads in (of_prediction.reads, of_real.reads[2]):
        assert (reads >= times).all() if has_windows else (reads == times).all()
    # stains are read where there is tissue, and never twice
    inside = tissue.within(slice(0, real.shape[0]), slice(0, real.shape[1]))
    assert (of_real.reads[:2, inside] == 1).all()
    assert of_real.reads[:2].min() == 0


def penetration_of(wanted: SlideComparison, settings: EvaluationSettings):
    """The last part alone."""
    skipped = ["quality", "pixels p", "patches"]
    (part,) = drive(evaluate_slide(wanted, settings, skipped))
    return part.findings


@pytest.mark.parametrize("level", [0.0, 12.5])
def test_stated_background_is_taken_off_all_images_in_the_place_of_glass(real: Slide, level: float) -> None:
    glass = RegionMask(np.arange(10)[None] < 2, (400.0, 50.0))
    wanted = comparison(real, glass=glass)
    found = penetration_of(wanted, EvaluationSettings(background=level))
    assert (found.background_from, found.background) == ("stated", {"real": level, "p": level})
    assert {one.background for one in found.penetration.profiles} == {level}
    blank = penetration_of(wanted, EvaluationSettings())
    assert blank.background_from == "glass"
    assert set(blank.background) == {"real", "p"}
    assert penetration_of(comparison(real), EvaluationSettings()).background_from == "none"


def test_vessels_that_were_drawn_take_the_place_of_the_stain(real: Slide) -> None:
    mask = np.zeros((200, 250), bool)
    mask[50:60, 40:90] = True
    drawn = edited_vessel_mask(mask, real)
    for roles in (ROLES, replace(ROLES, vessels=None)):
        found = penetration_of(comparison(real, vessels=drawn, roles=roles), EvaluationSettings())
        assert (found.vessels.n, found.vessels.area_fraction) == (1, mask.mean())
        assert np.isnan(found.vessel_threshold)


def test_names_and_settings_that_make_no_sense_are_refused(real: Slide) -> None:
    image = ProbeImage("p", predicted(real))
    for images in ((), (image, image), (ProbeImage("real", image.slide),)):
        with pytest.raises(AgreementError, match="different names"):
            SlideComparison(ProbeImage("real", real, 2), images)
    for wrong in ({"psnr_max": "bright"}, {"psnr_max": -1.0}, {"patch_px": 0}, {"block_px": 0}):
        with pytest.raises(AgreementError):
            EvaluationSettings(**wrong)


def test_psnr_takes_the_peak_that_is_asked_for(real: Slide) -> None:
    wanted = comparison(real, rois=())
    found = {
        peak: drive(evaluate_slide(wanted, EvaluationSettings(psnr_max=peak), ("quality", "penetration", "patches")))[
            0
        ].findings.frame
        for peak in ("dtype", "real", 100.0)
    }
    brightest = float(np.asarray(real.levels[0][2].compute()).max())
    assert [numbers.agreement.data_range for numbers in found.values()] == [255, brightest, 100]
    assert found["real"].agreement.psnr_db == found["dtype"].psnr_real_max


def test_regions_are_told_apart_by_name(real: Slide) -> None:
    wanted = comparison(real, rois=(roi("a"), roi("a"), roi(""), roi("tissue"), roi("b")))
    assert wanted.region_names == ("a 1", "a 2", "ROI 3", "tissue 4", "b")


@pytest.mark.usefixtures("small_blocks")
def test_closing_leaves_no_thread(real: Slide) -> None:
    before = set(threading.enumerate())
    steps = evaluate_slide(comparison(real), skip=("quality",))
    reports = (report.part for report in steps)
    assert any(part == "all pixels" for part in reports)
    assert any(thread.name.startswith("slide-blocks") for thread in threading.enumerate())
    steps.close()
    assert set(threading.enumerate()) <= before


def test_patches_are_the_papers_where_there_are_enough() -> None:
    settings = EvaluationSettings()
    assert settings.patch_of((40_000, 40_000)) == 512
    assert settings.patch_of((600, 1041)) == 128
    assert settings.patch_of((50, 50)) == 64
    assert EvaluationSettings(patch_px=300).patch_of((40_000, 40_000)) == 300


def test_many_regions_have_their_numbers_without_densities_wherever_blocks_end(
    real: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "MOST_DENSITIES", 3)
    random = np.random.default_rng(0)
    rois = tuple(roi(str(index), low, low + 25) for index, low in enumerate(random.uniform(0, 390, 8)))
    wanted = comparison(real, rois=rois)
    settings, others = EvaluationSettings(block_px=5, resamples=100), ("quality", "penetration", "patches")
    (whole,) = drive(evaluate_slide(wanted, settings, others))
    monkeypatch.setattr(block_scan, "BLOCK_EDGE", 100)
    monkeypatch.setattr(block_scan, "BLOCK_PX", 100**2)
    cut = comparison(rechunked(real), rois=rois)
    (parts,) = drive(evaluate_slide(cut, settings, others))
    y, p = (np.asarray(image.slide.levels[0][image.channel]) for image in (wanted.real, *wanted.predictions))
    for index, (one, other) in enumerate(zip(whole.findings.rois, parts.findings.rois, strict=True)):
        assert (one.density is None) == (index >= 3)
        assert replace(one, density=None).__dict__ == replace(other, density=None).__dict__
        inside = one.box_px.slices
        chosen = rois[index].within(*inside)
        assert one.regression.pearson_r == pytest.approx(np.corrcoef(y[inside][chosen], p[inside][chosen])[0, 1])


def rechunked(slide: Slide) -> Slide:
    return replace(slide, levels=tuple(level.rechunk((1, 100, 100)) for level in slide.levels))

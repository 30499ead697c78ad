"""Of an unfinished prediction, finished tiles are measured alone, in every statistic alike."""

import json
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis import (
    AgreementError,
    EvaluationSettings,
    ProbeImage,
    SlideComparison,
    evaluate_slide,
    glass_levels,
    measure_roi,
    preview_roi,
    roi_images,
    slide_heterogeneity,
    slide_pairs,
    slide_penetration,
    vessel_mask,
)
from napari_hrpn.cli import run
from napari_hrpn.core import Box, drive
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.slides import Annotation, ChannelRoles, FinishedTiles, RegionMask, Slide, SlideError, open_slide
from support.predictions import make_slide

SIZE = (1300, 1200)
CORE = 512
NONE = "none of 9 tiles"


@pytest.fixture(scope="module")
def real() -> Slide:
    return make_slide(*SIZE, Path("real.zarr"))


@pytest.fixture(scope="module")
def pixels(real: Slide) -> np.ndarray:
    y = np.asarray(real.levels[0][2].compute())
    return (0.5 * y + np.random.default_rng(0).integers(10, 30, SIZE)).astype(np.uint8)


def store_of(real: Slide, path: Path, dtype: str = "uint8") -> PredictionStore:
    return PredictionStore.open(path, real, {"core": CORE}, dtype=np.dtype(dtype), name="QD")


def fill(store: PredictionStore, pixels: np.ndarray, row: int, column: int) -> None:
    core = Box(row * CORE, min((row + 1) * CORE, SIZE[0]), column * CORE, min((column + 1) * CORE, SIZE[1]))
    cut = pixels[core.y0 : core.y1, core.x0 : core.x1].astype(store.levels[0].dtype)
    store.record(core, store.write(core, cut))


@pytest.fixture(params=["uint8", "float32"])
def predicted(request: pytest.FixtureRequest, real: Slide, pixels: np.ndarray, tmp_path: Path) -> Slide:
    """The tile in the middle and the one below it, at the edge of the slide."""
    store = store_of(real, tmp_path / "p.ome.zarr", request.param)
    fill(store, pixels, 1, 1)
    fill(store, pixels, 2, 1)
    store.close()
    with pytest.warns(match="2 of 9 tiles are predicted; only these are measured"):
        return open_slide(tmp_path / "p.ome.zarr")


MADE = slice(512, 1300), slice(512, 1024)


def r_of(real: Slide, pixels: np.ndarray, inside: np.ndarray) -> float:
    return np.corrcoef(np.asarray(real.levels[0][2].compute())[inside], pixels[inside])[0, 1]


def roi(top: float, bottom: float, left: float, right: float) -> Annotation:
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
    return Annotation("a", "include", ((corners,),))


def comparison(real: Slide, predicted: Slide, **changes: object) -> SlideComparison:
    return SlideComparison(ProbeImage("real", real, 2), (ProbeImage("p", predicted),), ChannelRoles(0, 1, 2), **changes)


def test_the_evaluation_is_that_of_the_predicted_part_in_numpy(real, predicted, pixels):
    made, tissue = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    made[MADE] = True
    # neither the mask's pixels nor the region end where tiles do
    coarse = np.zeros((100, 90), bool)
    coarse[20:95, 10:70] = True
    mask = RegionMask(coarse, (SIZE[0] / 100, SIZE[1] / 90))
    tissue[:] = mask.within(slice(0, SIZE[0]), slice(0, SIZE[1]))
    region = np.zeros(SIZE, bool)
    region[100:700, 300:800] = True
    wanted = comparison(real, predicted, tissue=mask, rois=(roi(100, 700, 300, 800), roi(0, 90, 0, 90)))
    parts = drive(evaluate_slide(wanted, EvaluationSettings(patch_px=128), skip=("quality",)))
    found = {part.name: part.findings for part in parts}
    numbers = found["pixels p"]
    for part, inside in ((numbers.tissue, tissue), (numbers.frame, np.ones(SIZE, bool)), (numbers.rois[0], region)):
        assert part.agreement.n == (made & inside).sum()
        assert part.regression.pearson_r == pytest.approx(r_of(real, pixels, made & inside), abs=1e-12)
        assert part.predicted_mean == pytest.approx(pixels[made & inside].mean(), rel=1e-12)
    assert numbers.rois[1].agreement.n == 0
    assert numbers.rois[0].colocalization.n == (made & region).sum()
    assert min(numbers.quantiles.predicted) >= pixels[made & tissue].min()
    patches = found["patches"].predictions[0].heterogeneity
    assert patches.pixels.sum() == (made & tissue).sum()
    np.testing.assert_array_equal(patches.pixels, found["patches"].heterogeneity.pixels)
    shells = [profile for profile in found["penetration"].penetration.profiles if profile.area == "tissue"]
    assert len({sum(shell.n for shell in profile.shells) for profile in shells}) == 1
    assert 0 < sum(shell.n for shell in shells[0].shells) <= (made & tissue).sum()
    assert min(shell.mean for shell in shells[1].shells if shell.n) >= pixels[made].min()


def test_what_a_widget_measures_is_measured_in_finished_tiles(real, predicted, pixels):
    made = np.zeros(SIZE, bool)
    made[MADE] = True
    pairs = drive(slide_pairs(real, 2, predicted, rois=[roi(100, 700, 300, 800)]))
    assert (pairs.frame.n, pairs.rois[0].n) == (made.sum(), made[100:700, 300:800].sum())
    cut = slice(300, 900), slice(600, 1100)
    pairs = drive(slide_pairs(real.cut(*cut), 2, predicted.cut(*cut)))
    assert pairs.frame.n == made[cut].sum()
    patches = drive(slide_heterogeneity(predicted, patch_px=100))
    assert patches.pixels.sum() == made.sum()
    images = ProbeImage("real", real, 2), ProbeImage("p", predicted)
    vessels = drive(vessel_mask(real, 1))
    profile = drive(slide_penetration(vessels, images)).profiles[1]
    fields = {"levels": (da.from_array(np.where(made, pixels, 0)[None], chunks=(1, 512, 512)),), "read_finished": None}
    whole = images[0], ProbeImage("p", replace(predicted, **fields))
    cells = RegionMask(np.isin(np.arange(9), [4, 7]).reshape(3, 3), (512.0, 512.0))
    expected = drive(slide_penetration(vessels, whole, cells)).profiles
    assert profile.shells == next(one for one in expected if one.area == "tissue" and one.image == "p").shells
    everywhere = RegionMask(np.ones((1, 1), bool), SIZE)
    assert glass_levels(images, everywhere)["p"] == pytest.approx(np.median(pixels[made]), abs=2)
    both = roi_images(images[0], images[1:])
    region = np.zeros(SIZE, bool)
    region[100:700, 300:800] = True
    exact = drive(measure_roi(both, roi(100, 700, 300, 800), resamples=100))
    assert exact.n == (made & region).sum()
    assert exact.numbers[0].regression.pearson_r == pytest.approx(r_of(real, pixels, made & region), abs=1e-12)
    coarse = preview_roi(both, roi(100, 700, 300, 800), most_px=2**14)
    assert coarse.n == pytest.approx((made & region).sum() / np.prod(coarse.downsample), rel=0.02)
    assert coarse.numbers[0].regression.slope == pytest.approx(0.5, abs=0.05)


def test_tiles_that_come_later_count_when_it_is_measured_again(real, pixels, tmp_path):
    store = store_of(real, tmp_path / "p.ome.zarr")
    with pytest.warns(match=NONE):
        slide = open_slide(tmp_path / "p.ome.zarr")
    with pytest.raises(AgreementError, match="no tile is predicted yet"):
        comparison(real, slide)
    assert drive(slide_pairs(real, 2, slide)).frame.n == 0
    fill(store, pixels, 0, 0)
    assert drive(slide_pairs(real, 2, slide)).frame.n == CORE**2
    # an evaluation holds on to what was there when it began
    wanted = comparison(real, slide)
    for row, column in np.ndindex(3, 3):
        fill(store, pixels, row, column)
    store.close()
    assert slide.finished is None
    assert wanted.finished.number == 1
    assert drive(slide_pairs(real, 2, slide)).frame.n == np.prod(SIZE)


def test_a_record_that_cannot_be_read_is_refused(real, tmp_path):
    store_of(real, tmp_path / "p.ome.zarr").close()
    (tmp_path / "p.ome.zarr" / "finished" / "zarr.json").unlink()
    with pytest.raises(SlideError, match="record of finished tiles cannot be read"):
        open_slide(tmp_path / "p.ome.zarr")


def test_coarse_pixels_count_where_all_under_them_is_predicted():
    random = np.random.default_rng(3)
    tiles = FinishedTiles(random.random((5, 7)) < 0.6, origin=(70, 600))
    fine = np.kron(tiles.cells, np.ones((512, 512), bool))[70:, 600:]
    part = slice(100, 900), slice(3, 1400)
    np.testing.assert_array_equal(tiles.within(*part), fine[part])
    coarse = tiles.within(slice(2, 40), slice(1, 60), (37.0, 41.5))
    for row, column in np.ndindex(coarse.shape):
        y, x = (int((row + 2) * 37), int((column + 1) * 41.5))
        under = fine[y : int((row + 3) * 37), x : int(np.ceil((column + 2) * 41.5))]
        assert coarse[row, column] == under.all()


@pytest.mark.filterwarnings("default:p.ome.zarr is a prediction that is not finished")
def test_info_says_how_much_is_predicted(predicted: Slide, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(predicted.source), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles"] == {"finished": 2, "total": 9}
    assert run(["info", str(predicted.source)]) == 0
    assert "2 of 9 tiles; not finished" in capsys.readouterr().out

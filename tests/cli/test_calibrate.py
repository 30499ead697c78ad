"""``napari-hrpn calibrate``: what it prints and writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score

from napari_hrpn.cli import run
from napari_hrpn.cli.terminal import CommandError
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.slides import open_slide, write_geojson
from support.evaluated_slides import TISSUE, EvaluatedSlide, box, evaluated_slide, write_slide

FIELDS = [
    np.s_[40 + 90 * row : 110 + 90 * row, 60 + 120 * column : 150 + 120 * column] for row, column in np.ndindex(3, 3)
]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedSlide:
    made = evaluated_slide(tmp_path_factory.mktemp("slide"))
    write_geojson([box(*part, f"field {k}") for k, part in enumerate(FIELDS)], made.folder / "imaged.geojson")
    write_geojson([box(*part, f"field {k}") for k, part in enumerate(FIELDS[:2])], made.folder / "two.geojson")
    return made


def words(slide: EvaluatedSlide, *more: str, roi: str = "imaged.geojson") -> list[str]:
    return ["calibrate", str(slide.real), str(slide.good), "--roi", str(slide.folder / roi), *more]


@pytest.fixture
def calibration(slide: EvaluatedSlide) -> Path:
    """Where the calibration goes; there is none."""
    path = slide.folder / "slide.good.ome.tif.calibration.json"
    path.unlink(missing_ok=True)
    return path


def test_it_prints_the_line_and_writes_it_beside_the_prediction(
    slide: EvaluatedSlide, calibration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(slide, "--mask", str(slide.mask))) == 0
    facts = json.loads(calibration.read_text("utf-8"), parse_constant=pytest.fail)["calibration"]
    line, test, regions, path = capsys.readouterr().out.splitlines()
    assert line == f"real = {facts['offset']:.4g} + {facts['slope']:.4g} x predicted"
    assert f"{facts['r2_before']:.3f} as predicted, {facts['r2_after']:.3f} calibrated" in test
    assert regions.startswith("9 regions, 56,700 px, predicted ")
    assert path == f"calibration {calibration}"
    # the prediction is the probe, times 0.8, plus 3, blurred
    assert 1.1 < facts["slope"] < 1.4
    assert facts["r2_after"] > facts["r2_before"] + facts["r2_rise_se"]
    assert [one["pixels"] for one in facts["regions"]] == [70 * 90] * 9
    assert facts["slide"]["channel"] == "QD"
    written = calibration.read_bytes()
    assert run(words(slide)) == 2
    assert "exists already, so the prediction is calibrated; --overwrite it" in capsys.readouterr().err
    assert calibration.read_bytes() == written
    assert run(words(slide, "--overwrite", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(calibration.read_text("utf-8"))["calibration"]
    assert printed["tissue_range"] != facts["tissue_range"]


@pytest.mark.parametrize(
    ("more", "roi", "sentence"),
    [
        ((), "two.geojson", "2 regions have pixels to calibrate by; expected 3 or more"),
        ((), "none.geojson", "There is no file"),
        (("--probe", "DAPI"), "imaged.geojson", "expected"),
        (("--probe", "9"), "imaged.geojson", "9"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(
    slide: EvaluatedSlide,
    calibration: Path,
    more: tuple[str, ...],
    roi: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(words(slide, *more, roi=roi)) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("napari-hrpn: error")]
    assert len(told) == 1
    assert sentence in told[0]
    assert not calibration.exists()


@pytest.mark.parametrize("is_copy", [True, False])
def test_a_calibration_by_another_slide_is_refused_and_by_a_copy_is_not(
    slide: EvaluatedSlide,
    calibration: Path,
    is_copy: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begun(*_: object, **__: object) -> None:
        raise CommandError("the evaluation has begun")

    monkeypatch.setattr("napari_hrpn.reports.write_evaluation", begun)
    path, pixels = tmp_path / "other.ome.tif", open_slide(slide.real).levels[0].compute()
    if is_copy:
        path.write_bytes(slide.real.read_bytes())
    else:
        write_slide(pixels[:, ::-1], ("DAPI", "CD31", "QD"), path)
    assert run(words(slide)) == 0
    assert calibration.exists()
    assert run(["evaluate", str(path), str(slide.good), "-o", str(tmp_path / "out"), "--calibrated"]) == 2
    refusal = "slide.good.ome.tif was calibrated by slide.ome.tif, not by other.ome.tif as it is now; expected the "
    assert ("the evaluation has begun" if is_copy else refusal) in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_an_unfinished_prediction_is_refused(
    slide: EvaluatedSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "half.ome.zarr"
    PredictionStore.open(path, open_slide(slide.real), {"core": 512}, dtype=np.dtype("uint8"), name="QD")
    command = words(slide)
    command[2] = str(path)
    assert run(command) == 2
    assert "half.ome.zarr has 0 of 1 tiles; expected a complete prediction" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["half.ome.zarr"]


def test_a_calibrated_evaluation_measures_calibrated_pixels_outside_of_the_regions(
    slide: EvaluatedSlide,
    calibration: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # figures take most of the time
    monkeypatch.setattr("napari_hrpn.reports.evaluation._drawings", lambda *_: iter(()))
    command = ["evaluate", *words(slide)[1:], "--mask", str(slide.mask), "-o", str(tmp_path), "--calibrated"]
    assert run(command) == 2
    assert "is not calibrated; expected slide.good.ome.tif.calibration.json beside it" in capsys.readouterr().err
    assert run([*command, "--workers", "2"]) == 2
    assert "--calibrated is measured in one process" in capsys.readouterr().err
    assert run(words(slide)) == 0
    assert run(command) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text("utf-8"), parse_constant=pytest.fail)
    line = json.loads(calibration.read_text("utf-8"))["calibration"]
    fit = f"real = {line['offset']:.6g} + {line['slope']:.6g} x predicted"
    expected = f"9 regions in which slide.good.ome.tif was calibrated ({fit}) are left out"
    assert found["about"]["measured"] == found["about"]["tiles"]["left_out"] == expected
    assert found["about"]["files"]["calibration of good"]["name"] == calibration.name
    assert f"calibrated: {expected}" in capsys.readouterr().out
    assert f"Calibrated: {expected}" in (tmp_path / "evaluation.html").read_text("utf-8")
    # every square of 8 px that a region meets is left out
    inside = np.zeros(slide.y.shape, bool)
    for part in FIELDS:
        inside[part] = True
    squares = inside.reshape(inside.shape[0] // 8, 8, -1, 8).any(axis=(1, 3)).repeat(8, axis=0).repeat(8, axis=1)
    y, p = (image[~squares].astype(float) for image in (slide.y, slide.p))
    assert found["frame"]["n"] == y.size
    calibrated = (line["offset"] + line["slope"] * p).astype(np.float32)
    assert found["frame"]["r2"] == pytest.approx(r2_score(y, calibrated), rel=1e-6)
    assert found["frame"]["bias"] == pytest.approx(np.mean(calibrated - y), rel=1e-4)
    assert found["frame"]["r2"] > r2_score(y, p)
    tissue = np.zeros_like(squares)
    tissue[TISSUE] = True
    assert found["tissue"]["n"] == (tissue & ~squares).sum()
    assert [roi["n"] for roi in found["rois"]] == [0] * 9
    # another line is another evaluation
    content = json.loads(calibration.read_text("utf-8"))
    content["calibration"]["slope"] += 0.1
    calibration.write_text(json.dumps(content))
    assert run(command) == 2
    assert "another evaluation" in capsys.readouterr().err

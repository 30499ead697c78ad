"""``napari-hrpn evaluate`` and ``report``: numbers against other libraries, resumption, refusals, the page."""

import csv
import html.parser
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from scipy import stats
from sklearn.metrics import jaccard_score, mean_squared_error, r2_score

from napari_hrpn.cli import run
from napari_hrpn.slides import read_geojson
from napari_hrpn.slides.writers.output_path import locked_output
from support.evaluated_slides import ROI, TISSUE, EvaluatedSlide, evaluated_slide, write_slide

REGION = {
    "n", "mse", "rmse", "r2", "psnr", "psnr_max", "pearson_r", "r_total", "slope", "intercept", "icc_a1", "bias",
}  # fmt: skip
POINT = {"percentile", "threshold", "iou", "mean_iou", "real_fraction", "predicted_fraction", "tied"}
TOP = {"tissue", "frame", "rois", "iou_curve", "quantiles", "anderson_darling", "penetration"}


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedSlide:
    return evaluated_slide(tmp_path_factory.mktemp("slide"))


@pytest.fixture(scope="module")
def output(slide: EvaluatedSlide) -> Path:
    """An evaluation of two predictions."""
    words = [*command(slide), "--json", str(slide.folder / "copy.json"), "-o", str(slide.folder / "evaluation")]
    assert run(words) == 0
    return slide.folder / "evaluation"


def content(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_json_is_spelt_as_the_manual_has_it(output: Path, slide: EvaluatedSlide) -> None:
    found = content(output)
    assert set(found) >= TOP
    for part in (found, *found["predictions"].values()):
        assert all(set(region) >= REGION for region in (part["tissue"], part["frame"], *part["rois"]))
        assert all(set(point) >= POINT for point in part["iou_curve"])
        assert [point["percentile"] for point in part["iou_curve"]] == list(range(101))
    assert list(found["predictions"]) == ["good", "poor"]
    assert found["tissue"] == found["predictions"]["good"]["tissue"]
    assert [roi["name"] for roi in found["rois"]] == ["centre", "ROI 2"]
    assert found["about"]["tumour"] == "T1"
    assert (slide.folder / "copy.json").read_bytes() == (output / "evaluation.json").read_bytes()


@pytest.mark.parametrize("region", ["tissue", "frame", "centre"])
def test_numbers_are_those_of_other_libraries(output: Path, slide: EvaluatedSlide, region: str) -> None:
    found = content(output)
    part = {"tissue": TISSUE, "frame": (slice(None), slice(None)), "centre": ROI}[region]
    numbers = found[region] if region in found else found["rois"][0]
    y, p = slide.y[part].ravel().astype(float), slide.p[part].ravel().astype(float)
    line, mse = stats.linregress(y, p), mean_squared_error(y, p)
    either = (y > 0) | (p > 0)
    # two-way mean squares, from the table itself
    table = np.stack([y, p], axis=1)
    means, total = table.mean(axis=1), table.mean()
    rows = 2 * ((means - total) ** 2).sum() / (len(y) - 1)
    columns = len(y) * ((table.mean(axis=0) - total) ** 2).sum()
    rest = ((table - means[:, None] - table.mean(axis=0) + total) ** 2).sum() / (len(y) - 1)
    expected = {
        "n": y.size,
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": r2_score(y, p),
        "psnr": 20 * math.log10(255 / math.sqrt(mse)),
        "psnr_max": 255,
        "pearson_r": stats.pearsonr(y, p).statistic,
        "r_total": stats.pearsonr(y[either], p[either]).statistic,
        "slope": line.slope,
        "intercept": line.intercept,
        "icc_a1": (rows - rest) / (rows + rest + 2 * (columns - rest) / len(y)),
        "bias": p.mean() - y.mean(),
        "psnr_real_max": 20 * math.log10(y.max() / math.sqrt(mse)),
    }
    assert {key: numbers[key] for key in expected} == pytest.approx(expected, rel=1e-9)
    assert numbers["reason"] == ""


def test_intervals_hold_the_estimate_and_small_regions_have_none(output: Path) -> None:
    found = content(output)
    for region in (found["tissue"], found["rois"][0]):
        for key in ("pearson_r", "slope"):
            assert region["intervals"][key]["low"] < region[key] < region["intervals"][key]["high"]
        assert region["intervals"]["effective_blocks"] >= 30
        assert region["intervals"]["side_px"] == 24
    small = found["rois"][1]["intervals"]
    assert small["slope"]["low"] is None
    assert "blocks" in small["slope"]["reason"]


def test_curve_quantiles_and_test_are_those_of_other_libraries(output: Path, slide: EvaluatedSlide) -> None:
    found = content(output)
    y, p = slide.y[TISSUE].ravel(), slide.p[TISSUE].ravel()
    for percentile in (0, 37, 50, 90, 99):
        point, threshold = found["iou_curve"][percentile], np.percentile(y, percentile)
        a, b = y >= threshold, p >= threshold
        expected = {
            "threshold": threshold,
            "iou": jaccard_score(a, b),
            "real_fraction": a.mean(),
            "predicted_fraction": b.mean(),
        }
        if percentile:
            expected["mean_iou"] = jaccard_score(a, b, average="macro", labels=[False, True])
        assert {key: point[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    for name, pixels in (("real", y), ("predicted", p)):
        expected = np.percentile(pixels, found["quantiles"]["percentiles"], method="inverted_cdf")
        assert found["quantiles"][name] == expected.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = stats.anderson_ksamp([y, p])
    assert found["anderson_darling"]["statistic"] == pytest.approx(reference.statistic, rel=1e-6)
    assert found["anderson_darling"]["n"] == [y.size, p.size]
    assert found["anderson_darling"]["capped"] is True
    assert found["distributions"]["wasserstein"] == pytest.approx(stats.wasserstein_distance(y, p))


def test_patches_and_penetration_follow_from_the_same_pixels(output: Path, slide: EvaluatedSlide) -> None:
    found, table = content(output), pd.read_parquet(output / "tables" / "patches.parquet")
    edge = found["heterogeneity"]["patch_px"]
    whole = table[(table["tissue_fraction"] == 1) & table["enough"]].iloc[0]
    part = slice(int(whole["y_px"]), int(whole["y_px"]) + edge), slice(int(whole["x_px"]), int(whole["x_px"]) + edge)
    assert whole["probe total"] == slide.y[part].sum()
    assert whole["good mean"] == pytest.approx(slide.p[part].mean())
    chosen = table[table["enough"]]
    assert found["predictions"]["good"]["patches"]["n"] == len(chosen)
    spread = next(row for row in found["heterogeneity"]["channels"] if row["image"] == "probe")
    assert spread["cv"] == pytest.approx(chosen["probe mean"].std(ddof=1) / chosen["probe mean"].mean())
    for image in ("real", "predicted"):
        profile = found["penetration"][image]["tissue"]
        assert 0 < profile["d50_um"] < profile["d90_um"]
        assert sum(shell["n"] for shell in profile["shells"]) == profile["n"]
    vessels = pd.read_csv(output / "tables" / "vessels.csv")
    assert len(vessels) == found["vessels"]["vessels"] > 0


def test_every_table_and_figure_is_there_twice(output: Path) -> None:
    tables = {path.stem for path in (output / "tables").glob("*.csv")}
    assert tables == {path.stem for path in (output / "tables").glob("*.parquet")}
    assert tables >= {"regions", "iou_curve", "quantiles", "histogram", "density", "patches", "penetration_shells"}
    figures = {path.stem for path in (output / "figures").glob("*.png")}
    assert figures == {path.stem for path in (output / "figures").glob("*.svg")}
    assert figures == {
        "overview-good", "overview-poor", "density-good", "density-poor", "iou-curve", "histogram", "quantiles",
        "regions", "patches", "penetration",
    }  # fmt: skip
    with (output / "tables" / "regions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["prediction"], row["region"]) for row in rows] == [
        (name, region) for name in ("good", "poor") for region in ("tissue", "frame", "centre", "ROI 2")
    ]
    assert float(rows[0]["r2"]) == content(output)["tissue"]["r2"]
    density = pd.read_parquet(output / "tables" / "density.parquet")
    sums = density.groupby(["prediction", "region"])["pixels"].sum()
    assert sums["good", "tissue"] == content(output)["tissue"]["n"]
    assert not list(output.rglob("*.partial"))
    assert not (output / "unfinished").exists()


def test_regions_come_back_with_their_measurements(output: Path) -> None:
    first = read_geojson(output / "rois.geojson")[0]
    assert first.name == "centre"
    assert first.measurements["good: pearson_r"] == content(output)["rois"][0]["pearson_r"]


class References(html.parser.HTMLParser):
    """What a page asks for, and whether its tags are closed."""

    VOID = ("meta", "img", "br", "link", "hr", "input")

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.asked += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "style")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def checked_page(path: Path) -> References:
    page = References()
    text = path.read_text("utf-8")
    page.feed(text)
    page.close()
    assert page.open == []
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in page.asked)
    assert {"script", "link", "iframe", "object"}.isdisjoint(page.tags)
    # neither do styles ask for anything
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    return page


def test_page_needs_nothing_else(output: Path) -> None:
    page = checked_page(output / "evaluation.html")
    words = " ".join(page.words)
    found = content(output)
    assert page.tags.count("img") == 10
    assert f"{found['tissue']['n']:,}" in words
    assert found["about"]["real"]["sha256"] in words
    assert "share of the real signal where the predicted one is above zero" in words
    assert "512 x 416 px at full resolution" in words
    assert "a coarse level" not in words


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def asked_by(page: Path, folder: Path, picture: Path) -> list[str]:
    """Show a page in a browser without a network; what the page itself asked for, not the browser."""
    words = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += ["--hide-scrollbars", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
    words += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}"]
    words += ["--window-size=1280,3000", f"--screenshot={picture}", page.as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    events = json.loads((folder / "net.json").read_text("utf-8"))["events"]
    asked = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return [params["url"] for params in asked if params["initiator"] != "not an origin"]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_page_opens_in_a_browser_and_asks_for_nothing(output: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    assert asked_by(output / "evaluation.html", tmp_path, picture) == []
    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (3000, 1280)
    # figures have colours of their own; a page without them has black on white and blue links
    assert (np.ptp(pixels, axis=-1) > 0.2)[1000:].mean() > 0.02
    # a page that asks is seen to
    asking = tmp_path / "asking.html"
    asking.write_text('<img src="http://elsewhere.invalid/figure.png">')
    assert asked_by(asking, tmp_path, picture) == ["http://elsewhere.invalid/figure.png"]


def test_a_finished_evaluation_is_not_done_again(
    output: Path, slide: EvaluatedSlide, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (output / "evaluation.json").read_bytes()
    words = command(slide)
    assert run([*words, "--json", str(slide.folder / "copy.json"), "-o", str(output)]) == 0
    assert "already complete" in capsys.readouterr().out
    assert (output / "evaluation.json").read_bytes() == before
    assert run([*words, "--seed", "7", "-o", str(output)]) == 2
    assert "holds another evaluation (the settings differ)" in capsys.readouterr().err
    assert (output / "evaluation.json").read_bytes() == before


@pytest.mark.usefixtures("tiny_figures")
def test_overwriting_measures_again(output: Path, slide: EvaluatedSlide, tmp_path: Path) -> None:
    place, older = tmp_path / "again", content(output)
    shutil.copytree(output, place)
    # made before there was a metric
    for prediction in older["predictions"].values():
        del prediction["tissue"]["ssim"]
    (place / "evaluation.json").write_text(json.dumps(older), encoding="utf-8")
    assert run([*command(slide), "-o", str(place), "--overwrite"]) == 0
    assert content(place)["predictions"] == content(output)["predictions"]


@pytest.mark.usefixtures("tiny_figures")
def test_a_page_that_is_gone_is_made_again(output: Path, slide: EvaluatedSlide, tmp_path: Path) -> None:
    place = tmp_path / "again"
    shutil.copytree(output, place)
    (place / "evaluation.html").unlink()
    assert run([*command(slide), "-o", str(place)]) == 0
    pages = (checked_page(folder / "evaluation.html").words for folder in (place, output))
    # all but the minute in which each was made
    again, before = ([words for words in page if "Made by napari-hrpn" not in words] for page in pages)
    assert again == before
    assert content(place)["predictions"] == content(output)["predictions"]


def command(slide: EvaluatedSlide) -> list[str]:
    files = [str(slide.real), str(slide.good), str(slide.poor), *slide.words[2:]]
    return ["evaluate", *files, "--tumour", "T1", "--block", "24"]


def stopped_after_a_part(slide: EvaluatedSlide, place: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and errors of the program, stopped when one more part is finished."""
    program = [sys.executable, "-c", "from napari_hrpn.cli import main; main()", *command(slide), "-o", str(place)]
    before = len(list(place.glob("unfinished/parts/*.json")))
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while len(list(place.glob("unfinished/parts/*.json"))) == before and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_a_stopped_evaluation_goes_on_to_the_same_files(slide: EvaluatedSlide, output: Path, tmp_path: Path) -> None:
    place = tmp_path / "stopped"
    code, _ = stopped_after_a_part(slide, place, signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, errors = stopped_after_a_part(slide, place, signal.SIGINT)
    assert code == 130
    assert "run the same command again to resume" in errors
    assert "Traceback" not in errors
    assert len(list(place.glob("unfinished/parts/*.json"))) >= 2
    assert not (place / "evaluation.json").exists()
    assert run([*command(slide), "-o", str(place)]) == 0
    one, other = content(place), content(output)
    assert one["about"].pop("made")
    assert other["about"].pop("made")
    assert one == other
    files = [path.relative_to(output) for part in ("tables", "figures") for path in (output / part).iterdir()]
    assert [path for path in files if (place / path).read_bytes() != (output / path).read_bytes()] == []


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run(["evaluate", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.count("\n") == 1
    return error


def test_what_cannot_be_compared_is_refused_in_a_sentence(
    slide: EvaluatedSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", tmp_path / "out"]
    small = write_slide(slide.p[None, :100], ("predicted QD",), tmp_path / "small.ome.tif")
    assert "small.ome.tif is 512 x 100 px and slide.ome.tif is 512 x 416 px" in refusal(capsys, slide.real, small, *out)
    assert "no channel 'Cy5'" in refusal(capsys, slide.real, slide.good, "--probe", "Cy5", *out)
    plain = write_slide(np.stack([slide.y, slide.p]), ("a", "b"), tmp_path / "plain.ome.tif")
    assert "known to show the probe" in refusal(capsys, plain, slide.good, *out)
    assert "has the channels a, b" in refusal(capsys, slide.real, plain, *out)
    broken = tmp_path / "broken.ome.tif"
    broken.write_bytes(slide.good.read_bytes()[:300])
    assert "broken.ome.tif" in refusal(capsys, slide.real, broken, *out)
    outside = tmp_path / "outside.geojson"
    outside.write_text(slide.rois.read_text("utf-8").replace("[60.0, 40.0]", "[9e3, 9e3]"))
    moved = json.loads(slide.rois.read_text("utf-8"))
    for feature in moved["features"]:
        feature["geometry"]["coordinates"] = [[[x + 2000, y] for x, y in feature["geometry"]["coordinates"][0]]]
    outside.write_text(json.dumps(moved))
    assert "region 1 (centre) of outside.geojson lies outside" in refusal(
        capsys, slide.real, slide.good, "--roi", outside, *out
    )
    np.save(tmp_path / "wide.npy", np.ones((10, 90)))
    assert "proportions" in refusal(capsys, slide.real, slide.good, "--mask", tmp_path / "wide.npy", *out)
    assert "--name was given 1 times" in refusal(capsys, slide.real, slide.good, slide.poor, "--name", "a", *out)
    assert "MAX of the PSNR" in refusal(capsys, slide.real, slide.good, "--psnr-max", "bright", *out)
    assert "the background is nan; expected" in refusal(capsys, slide.real, slide.good, "--background", "nan", *out)
    assert "the seed is -1" in refusal(capsys, slide.real, slide.good, "--seed", "-1", *out)
    assert "cannot be told apart by their names" in refusal(capsys, slide.real, slide.good, slide.good, *out)
    twice = "--probe", "QD", "--nuclei", "2"
    assert "name one channel of slide.ome.tif twice" in refusal(capsys, slide.real, slide.good, *twice, *out)
    assert not (tmp_path / "out").exists()
    holed = slide.p[None].astype(np.float32)
    holed[0, 50, 60] = np.nan
    write_slide(holed, ("predicted QD",), tmp_path / "holed.ome.tif")
    assert run(["evaluate", *map(str, (slide.real, tmp_path / "holed.ome.tif", *out))]) == 2
    error = capsys.readouterr().err
    assert "the image holed.ome.tif has pixels that are not finite" in error.splitlines()[-1]
    assert "Traceback" not in error


def test_nothing_is_overwritten_unasked(
    slide: EvaluatedSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.json"
    there.write_text("mine")
    assert "exists already" in refusal(capsys, slide.real, slide.good, "--json", there, "-o", tmp_path / "out")
    # before an hour of work, not after it
    inside = there / "in" / "a" / "file.json"
    assert "is not a folder" in refusal(capsys, slide.real, slide.good, "--json", inside, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "is a file" in refusal(capsys, slide.real, slide.good, "-o", there)
    (tmp_path / "figures").mkdir()
    assert "holds figures" in refusal(capsys, slide.real, slide.good, "-o", tmp_path)
    assert there.read_text() == "mine"


@pytest.mark.usefixtures("tiny_figures")
def test_a_perfect_prediction_without_size_nuclei_or_vessels(slide: EvaluatedSlide, tmp_path: Path) -> None:
    real = write_slide(slide.y[None], ("QD",), tmp_path / "bare.ome.tif", None)
    assert run(["evaluate", str(real), str(real), "--name", "same", "-o", str(tmp_path / "out")]) == 0
    found = content(tmp_path / "out")
    assert found["frame"]["r2"] == found["frame"]["icc_a1"] == 1
    assert found["frame"]["psnr"] is None
    assert "infinite" in found["frame"]["reason"]
    assert found["tissue"]["n"] == 0
    assert found["tissue"]["r2"] is None
    assert "nuclei" in found["tissue"]["reason"]
    assert "vessels" in found["penetration"]["reason"]
    assert all(point["iou"] == 1 for point in found["iou_curve"])
    assert found["anderson_darling"]["p_reads"] == "p >= 0.25"
    assert "intervals" in found["frame"]
    checked_page(tmp_path / "out" / "evaluation.html")


@pytest.fixture(scope="module")
def cohort(output: Path, slide: EvaluatedSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five more slides of three tumours, and the cohort of all."""
    folder = tmp_path_factory.mktemp("cohort")
    folders = [output]
    for number, tumour in ((2, "T2"), (3, "T3"), (4, "T3")):
        found = content(output)
        # measured numbers of other tumours are made up: only their pooling is looked at
        other = folder / f"evaluation {number}"
        shutil.copytree(output, other)
        found["about"]["tumour"], found["about"]["real"]["identity"] = tumour, str(number)
        for part in found["predictions"].values():
            part["tissue"]["r2"] += 0.01 * number
        (other / "evaluation.json").write_text(json.dumps(found), encoding="utf-8")
        folders.append(other)
    assert run(["report", *map(str, folders), "-o", str(folder / "cohort")]) == 0
    return folder


def test_cohort_counts_a_tumour_once(cohort: Path, output: Path) -> None:
    found = json.loads((cohort / "cohort" / "cohort.json").read_text("utf-8"), parse_constant=pytest.fail)
    rows = [row for row in found["tumours"] if (row["prediction"], row["region"]) == ("good", "tissue")]
    base = content(output)["predictions"]["good"]["tissue"]["r2"]
    expected = [base, base + 0.02, base + 0.035]
    assert [(row["tumour"], row["slides"]) for row in rows] == [("T1", 1), ("T2", 1), ("T3", 2)]
    assert [row["r2"] for row in rows] == pytest.approx(expected)
    keys = {"prediction": "good", "region": "tissue", "number": "r2"}
    summary = next(row for row in found["summary"] if keys.items() <= row.items())
    assert (summary["mean"], summary["sd"]) == pytest.approx((np.mean(expected), np.std(expected, ddof=1)))
    assert summary["n"] == 3
    assert summary["low"] is None
    assert "3 tumours" in summary["reason"]
    difference = next(row for row in found["differences"] if (row["region"], row["number"]) == ("tissue", "r2"))
    poor = content(output)["predictions"]["poor"]["tissue"]["r2"]
    assert difference["mean"] == pytest.approx(base - poor)
    page = checked_page(cohort / "cohort" / "cohort.html")
    assert page.tags.count("img") == 3
    assert "Cohort of 3 tumours" in page.words


@pytest.mark.usefixtures("tiny_figures")
def test_cohort_that_was_killed_is_made_again(
    cohort: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    words = ["report", str(output), str(cohort / "evaluation 2"), "-o", str(tmp_path / "out")]
    with monkeypatch.context() as patched:
        patched.setattr("napari_hrpn.reports.cohort.cohort_page", killed)
        assert run(words) != 0
    assert (tmp_path / "out" / "tables").exists()
    assert not (tmp_path / "out" / "cohort.json").exists()
    assert run(words) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"cohort.html", "cohort.json", "recipe.toml", "figures", "tables"}
    capsys.readouterr()
    # an evaluation that was stopped is no cohort that was
    (tmp_path / "other" / "unfinished").mkdir(parents=True)
    (tmp_path / "other" / "unfinished" / "request.json").write_text("{}")
    assert run([*words[:-1], str(tmp_path / "other")]) == 2
    assert "which is not of a cohort" in capsys.readouterr().err


def test_two_programs_do_not_write_one_cohort(
    cohort: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", str(output), str(cohort / "evaluation 2"), "-o", str(tmp_path / "out")]
    with locked_output(tmp_path / "out"):
        assert run(words) == 2
    assert "out is being written by another program" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_cohort_refuses_what_is_no_evaluation(
    cohort: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, sentence in (
        ([tmp_path, "-o", tmp_path / "out"], "holds no evaluation"),
        ([output, cohort / "evaluation 2", "-o", cohort / "cohort"], "cohort of other evaluations"),
        ([output, output.parent / "." / "evaluation" / "..", "-o", tmp_path / "out"], "holds no evaluation"),
    ):
        assert run(["report", *map(str, words)]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_cohort_names_the_table_that_is_missing(
    damage, cohort: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(cohort / "evaluation 2", tmp_path / "broken")
    damage(tmp_path / "broken" / "tables" / "patches.parquet")
    assert run(["report", str(output), str(tmp_path / "broken"), "-o", str(tmp_path / "out")]) == 2
    assert "patches.parquet is missing or damaged; expected the table" in capsys.readouterr().err
    assert not (tmp_path / "out" / "cohort.json").exists()

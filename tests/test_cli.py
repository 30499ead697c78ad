"""The command line in this process: what it prints, writes and returns."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_hrpn.analysis import agreement
from napari_hrpn.cli import run
from napari_hrpn.cli.copies import output_places
from napari_hrpn.cli.demo import viewer_command, why_no_viewer
from napari_hrpn.cli.entry import app
from napari_hrpn.cli.predict import parse_region
from napari_hrpn.cli.terminal import CommandError, duration, follow
from napari_hrpn.core import Progress
from napari_hrpn.experiments import ResultRow, write_results
from napari_hrpn.models import (
    HRPN,
    Checkpoint,
    HRPNSettings,
    IntensityScaling,
    ModelCard,
    load_checkpoint,
    save_checkpoint,
)
from napari_hrpn.models.training_features import TrainingFeatures, compared_features
from napari_hrpn.slides import open_slide, slide_name


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "random.safetensors"
    torch.manual_seed(0)
    settings = HRPNSettings(branches=1)
    card = ModelCard(title="random", pixel_size_um=0.2744, scaling=IntensityScaling(kind="percentile"))
    save_checkpoint(Checkpoint(settings, HRPN(settings).state_dict(), card), path)
    return path


@pytest.fixture(scope="module")
def tumour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tumour") / "tumour.ome.tif"
    assert run(["phantom", str(path), "--preset", "tiny", "--size", "700", "--seed", "3"]) == 0
    return path


def command(*words: object) -> int:
    return run([str(word) for word in words])


@pytest.mark.parametrize("name", ["", "demo", "info", "convert", "phantom", "predict", "cache"])
def test_help_shows_examples(name: str) -> None:
    result = CliRunner().invoke(app, [*filter(None, [name]), "--help"])
    assert result.exit_code == 0
    assert f"\n    napari-hrpn {name}" in result.output


def test_help_and_info_load_nothing_heavy(tumour: Path) -> None:
    code = f"import sys, napari_hrpn.cli as c; c.run(['info', {str(tumour)!r}]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "matplotlib", "napari", "qtpy"}.isdisjoint(done.stdout.split())


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--version") == 0
    assert capsys.readouterr().out.startswith("napari-hrpn ")


def test_info_as_json_tells_what_is_in_a_slide(tumour: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("info", tumour, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    slide = open_slide(tumour)
    assert found["shape"] == [700, 700]
    assert found["levels"] == [list(level.shape[1:]) for level in slide.levels]
    assert [(one["index"], one["name"], one["role"]) for one in found["channels"]] == [
        (0, "DAPI", "nuclei"),
        (1, "AF488", "vessels"),
        (2, "QD", "probe"),
    ]
    assert found["pixel_size_um"] == pytest.approx([0.2744, 0.2744])
    assert (found["dtype"], found["series"], found["z"], found["t"]) == ("uint8", 0, None, None)
    assert found["is_brightfield"] is False
    assert [series["index"] for series in found["series_list"]] == [0]
    assert 0 < found["read_bytes"] < 3 * 700 * 700 + 1


def test_info_prints_a_table(tumour: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("info", tumour) == 0
    printed = capsys.readouterr()
    assert "700 x 700 px = 192 x 192 µm" in printed.out
    assert "1  AF488" in printed.out
    assert "vessels" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("name", ["copy.ome.zarr", "copy.ome.tif"])
def test_convert_keeps_every_pixel_and_never_overwrites_unasked(
    name: str, tumour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / name
    assert command("convert", tumour, output) == 0
    original, copy = open_slide(tumour), open_slide(output)
    np.testing.assert_array_equal(original.levels[0].compute(), copy.levels[0].compute())
    assert copy.channel_names == original.channel_names
    assert copy.pixel_size_um == pytest.approx(original.pixel_size_um)
    capsys.readouterr()
    assert command("convert", tumour, output) == 2
    assert "exists already" in capsys.readouterr().err
    assert command("convert", tumour, output, "--overwrite", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["slide"], facts["output"]) == (str(tumour), str(output))
    assert facts["shape"] == list(original.shape)
    assert facts["channels"] == list(original.channel_names)


def test_phantom_is_the_same_for_the_same_seed(
    tumour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again, clean = tmp_path / "again.ome.zarr", tmp_path / "clean.ome.zarr"
    assert command("phantom", again, "--preset", "tiny", "--size", 700, "--seed", 3, "--noise-free", clean) == 0
    printed = capsys.readouterr().out
    real = open_slide(again).levels[0].compute()
    np.testing.assert_array_equal(real, open_slide(tumour).levels[0].compute())
    ceiling = agreement(real[2], open_slide(clean).levels[0][0].compute()).r2
    assert f"R2 ceiling {ceiling:.3f}" in printed


def test_prediction_is_aligned_and_a_second_run_does_nothing(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("predict", tumour, "-o", tmp_path / "out", "--checkpoint", checkpoint, "--core", 512, "--device", "cpu")
    assert command(*words) == 0
    slide, place = open_slide(tumour), tmp_path / "out" / "tumour.predicted.ome.zarr"
    prediction = open_slide(place)
    assert (prediction.shape, prediction.dtype) == (slide.shape, np.float32)
    assert prediction.pixel_size_um == pytest.approx(slide.pixel_size_um)
    assert prediction.levels[0].compute().std() > 0
    capsys.readouterr()
    assert command(*words) == 0
    assert "already complete" in capsys.readouterr().out
    assert command(*words, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["slide"], facts["prediction"]) == (str(tumour), str(place))
    assert facts["finished"] == facts["total"] > facts["new_tiles"] == 0
    assert (facts["complete"], facts["error"], facts["fit"]["level"]) == (True, "", "unknown")


@pytest.mark.filterwarnings("ignore:the study does not say")
def test_several_checkpoints_or_a_study_make_a_prediction_with_its_deviation(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    row = ResultRow(
        "hrpn", "nuclei", 1, False, "T1", "T1", "T1", "validation", True, "tissue", 1, 1, 0, 48, 0.5, 9, 255
    )  # fmt: skip
    write_results([row, replace(row, fold="T2")], study)
    for fold in ("T1", "T2"):
        place = study / "runs" / f"hrpn-nuclei-1-branch-without-{fold}" / "checkpoint.safetensors"
        place.parent.mkdir(parents=True)
        shutil.copy(checkpoint, place)
    words = ("predict", tumour, "--core", 512, "--device", "cpu")
    assert command(*words, "-o", tmp_path / "a", "--checkpoint", checkpoint, "--checkpoint", checkpoint) == 0
    assert command(*words, "-o", tmp_path / "b", "--study", study) == 0
    first, second = (open_slide(tmp_path / name / "tumour.predicted.ome.zarr") for name in "ab")
    assert first.channel_names == second.channel_names == ("predicted probe", "sd")
    np.testing.assert_array_equal(first.levels[0].compute(), second.levels[0].compute())
    assert not first.levels[0][1].compute().any()
    write_results([row, replace(row, model="mean", fold="T2")], study)
    assert command(*words, "-o", tmp_path / "c", "--study", study) == 2
    assert "no network without T2 yet" in capsys.readouterr().err


def test_other_settings_are_refused_unless_overwriting(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("predict", tumour, "-o", tmp_path / "one.zarr", "--checkpoint", checkpoint, "--core", 512)
    assert command(*words) == 0
    capsys.readouterr()
    assert command(*words, "--output-type", "probe") == 2
    assert "float32 instead of probe" in capsys.readouterr().err
    assert command(*words, "--output-type", "probe", "--overwrite") == 0
    assert open_slide(tmp_path / "one.zarr").dtype == np.uint8


def test_region_predicts_only_its_tiles_and_the_rest_can_follow(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("predict", tumour, "-o", tmp_path, "--checkpoint", checkpoint, "--core", 512, "--no-skip-blank")
    assert command(*words, "--region", "0:10,0:10", "--profile") == 0
    printed = capsys.readouterr().out
    assert "1 tile in" in printed
    seconds = [float(found) for found in re.findall(r"(?:reading|waiting|computing|writing) ([\d.]+) s", printed)]
    assert len(seconds) == 4
    assert "tiles of 512 px" in printed
    assert command(*words) == 0
    assert "3 more tiles, 4 of 4" in capsys.readouterr().out


def test_one_bad_slide_does_not_stop_the_others(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0nothing more")
    assert command("predict", bad, tumour, "-o", tmp_path / "out", "--checkpoint", checkpoint, "--json") == 2
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert [(row["slide"], row["complete"]) for row in rows] == [(str(bad), None), (str(tumour), True)]
    assert "bad.tif" in rows[0]["error"]
    assert rows[1]["new_tiles"] == rows[1]["total"]
    errors = [line for line in printed.err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "bad.tif" in errors[0]
    assert (tmp_path / "out" / "tumour.predicted.ome.zarr").is_dir()


@pytest.mark.filterwarnings("default:.*unlike:napari_hrpn.core.errors.PredictionWarning")
def test_a_slide_unlike_the_training_is_a_warning_in_the_json_and_in_the_log(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_checkpoint(checkpoint)
    count = compared_features(found.settings)
    far = TrainingFeatures(np.full(count, 1000, np.float32), np.eye(count, dtype=np.float32))
    save_checkpoint(replace(found, features=far), tmp_path / "far.safetensors")
    words = ["--checkpoint", tmp_path / "far.safetensors", "--unlike", "--json", "--log", tmp_path / "work.log"]
    assert command("predict", tumour, "-o", tmp_path / "out", *words) == 0
    printed = capsys.readouterr()
    unlike = json.loads(printed.out)["unlike"]
    assert (unlike["level"], unlike["distance"] > 2) == ("warning", True)
    assert unlike["sentence"].startswith("100 % of the compared tissue of tumour.ome.tif is unlike the training")
    assert unlike["sentence"] in printed.err
    assert f"WARNING {unlike['sentence']}" in (tmp_path / "work.log").read_text("utf-8")


def test_the_same_network_twice_is_no_ensemble(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(checkpoint.read_bytes())
    assert command("predict", tumour, "-o", tmp_path / "out", "--checkpoint", checkpoint, "--checkpoint", copy) == 2
    assert f"{copy} is the same network as {checkpoint}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nope"], "No such command"),
        (["predict", "SLIDE"], "Missing option"),
        (["predict", "SLIDE", "-o", "OUT", "--core", "wide"], "--core"),
        (["predict", "SLIDE", "-o", "OUT", "--core", "100"], "multiple of 512"),
        (["predict", "SLIDE", "-o", "OUT", "--precision", "int8"], "fp32, bf16, fp16"),
        (["predict", "SLIDE", "-o", "OUT", "--device", "tpu"], "device 'tpu'"),
        (["predict", "SLIDE", "-o", "OUT", "--region", "5:5,0:9"], "Y0:Y1,X0:X1"),
        (["predict", "SLIDE", "-o", "OUT", "--region", "900:950,0:9"], "outside"),
        (["predict", "SLIDE", "-o", "OUT", "--nuclei", "SOX10"], "no channel 'SOX10'"),
        (["predict", "SLIDE", "-o", "OUT", "--checkpoint", "SLIDE"], "not a safetensors file"),
        (["predict", "SLIDE", "-o", "OUT", "--checkpoint", "missing"], "there is no checkpoint missing"),
        (["predict", "SLIDE", "-o", "OUT", "--checkpoint", "CHECKPOINT", "--study", "s"], "leave one of them out"),
        (["predict", "SLIDE", "-o", "OUT", "--study", "nowhere"], "no results of a study"),
        (["predict", "SLIDE", "-o", "OUT", "--checkpoint", "CHECKPOINT", "--checkpoint", "synthetic"], "no ensemble: "),
        (["predict", "SLIDE", "-o", "SLIDE"], "is a file"),
        (["predict", "SLIDE", "other/tumour.zarr", "-o", "OUT"], "would both be written"),
        (["predict", "SLIDE", "other.tif", "-o", "OUT.zarr"], "one slide"),
        (["info", "missing.tif"], "missing.tif"),
        (["info", "SLIDE", "--series", "4"], "series"),
        (["convert", "SLIDE", "OUT.jpg"], "no suffix of a format"),
        (["convert", "SLIDE", "SLIDE", "--overwrite"], "choose another name"),
        (["convert", "SLIDE", "OUT.ome.zarr", "--ome-zarr", "0.3"], "expected 0.4 or 0.5"),
        (["convert", "SLIDE", "OUT.ome.tif", "--ome-zarr", "0.4"], "is a TIFF"),
        (["predict", "SLIDE", "-o", "OUT", "--ome-zarr", "0.4"], "together with --copy"),
        (["predict", "SLIDE", "-o", "OUT", "--copy", "OUT"], "the prediction itself"),
        (["predict", "SLIDE", "-o", "OUT", "--copy", "SLIDE", "--overwrite"], "is the slide"),
        (
            ["predict", "SLIDE", "-o", "OUT", "--copy", "s3://bucket/copies"],
            "expected a file or folder of this machine",
        ),
        (["phantom", "OUT.ome.tif", "--preset", "liver"], "no phantom preset"),
        (["phantom", "OUT.ome.tif", "--noise-free", "OUT.ome.tif"], "another name"),
        (["phantom", "OUT.ome.tif", "--size", "-3"], "size"),
        (["demo", "-o", "SLIDE", "--checkpoint", "CHECKPOINT"], "is a file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    words: list[str],
    sentence: str,
    tumour: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"SLIDE": str(tumour), "CHECKPOINT": str(checkpoint), "OUT": "out"}
    words = [places.get(word, word) for word in words]
    if words[0] == "predict" and not {"--checkpoint", "--study"} & set(words):
        words += ["--checkpoint", str(checkpoint)]
    assert run(words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("napari-hrpn: error: ")
    assert printed.count("\n") == 1
    assert sentence in printed
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_not_hidden_as_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch, tumour: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("napari_hrpn.slides.open_slide", broken)
    with pytest.raises(ValueError, match="a bug"):
        command("info", tumour)


def test_a_cohort_is_printed_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = SimpleNamespace(json=tmp_path / "cohort.json", page=tmp_path / "cohort.html", tumours=3)
    monkeypatch.setattr("napari_hrpn.reports.write_cohort", lambda *_, **__: written)
    assert command("report", tmp_path, "-o", tmp_path / "out", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {"tumours": 3, "page": str(written.page), "numbers": str(written.json)}


@pytest.mark.filterwarnings("default::napari_hrpn.inference.PredictionWarning")
def test_a_warning_is_one_line_and_said_once(
    tumour: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_hrpn.models import load_checkpoint

    other = load_checkpoint(checkpoint)
    save_checkpoint(replace(other, card=replace(other.card, pixel_size_um=1.0)), tmp_path / "coarse.safetensors")
    words = ("predict", tumour, "-o", tmp_path / "a", "--checkpoint", tmp_path / "coarse.safetensors")
    assert command(*words) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert "1 µm" in warned[0]


def test_channel_of_a_stain_the_network_does_not_see_is_refused(
    tumour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = HRPNSettings(branches=1, in_channels=1)
    card = ModelCard(input_roles=("vessels",), scaling=IntensityScaling(offsets=(0.0,), scales=(1.0,)))
    save_checkpoint(Checkpoint(settings, HRPN(settings).state_dict(), card), tmp_path / "one.safetensors")
    words = ("predict", tumour, "-o", tmp_path / "a", "--checkpoint", tmp_path / "one.safetensors")
    assert command(*words, "--nuclei", "DAPI") == 2
    assert "leave out --nuclei" in capsys.readouterr().err


def test_demo_makes_everything_and_a_second_run_reuses_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    words = ("demo", "-o", folder, "--size", 1024, "--checkpoint", checkpoint, "--no-viewer")
    assert command(*words) == 0
    printed = capsys.readouterr().out
    slide, prediction = open_slide(folder / "phantom.ome.tif"), open_slide(folder / "phantom.predicted.ome.zarr")
    frame = agreement(slide.levels[0][2].compute(), prediction.levels[0][0].compute())
    with (folder / "agreement.csv").open(encoding="utf-8") as file:
        rows = {row["region"]: row for row in csv.DictReader(file)}
    assert float(rows["frame"]["r2"]) == pytest.approx(frame.r2, rel=1e-9)
    assert int(rows["frame"]["n"]) == 1024 * 1024
    assert float(rows["tissue"]["r2_ceiling"]) > 0.8
    numbers = json.loads((folder / "agreement.json").read_text("utf-8"))
    assert numbers["agreement"]["tissue"]["n"] == int(rows["tissue"]["n"])
    assert numbers["phantom"]["size"] == 1024
    assert f"{frame.psnr_db:.2f}" in printed
    assert (folder / "overview.png").stat().st_size > 10_000
    made = (folder / "phantom.ome.tif").stat().st_mtime_ns
    assert command(*words) == 0
    assert "already complete" in capsys.readouterr().out
    assert (folder / "phantom.ome.tif").stat().st_mtime_ns == made
    assert not list(folder.glob("*.partial*"))


def test_demo_keeps_its_hands_off_the_folder_of_another(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    assert command("demo", "-o", tmp_path, "--checkpoint", checkpoint, "--no-viewer") == 2
    assert "other files" in capsys.readouterr().err
    (tmp_path / "demo.json").write_text('{"preset": "tumour", "size": 99, "seed": 1}')
    assert command("demo", "-o", tmp_path, "--checkpoint", checkpoint, "--no-viewer") == 2
    assert "size 99" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.json", "mine.txt"]


def test_cache_is_shown_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("napari_hrpn.slides.pyramid_cache_folder", lambda: tmp_path)
    monkeypatch.setattr("napari_hrpn.slides.pyramid_cache.pyramid_cache_folder", lambda: tmp_path)
    levels = tmp_path / "some-v1"
    levels.mkdir()
    (levels / "finished").write_bytes(bytes(2_000_000))
    assert command("cache") == 0
    assert capsys.readouterr().out == f"2.0 MB in {tmp_path}\n"
    assert command("cache", "--clear") == 0
    assert capsys.readouterr().out == f"freed 2.0 MB in {tmp_path}\n"
    assert not levels.exists()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("fov01.ome.tif", "fov01"),
        ("a.b.OME.ZARR", "a.b"),
        ("scan.nd2", "scan"),
        ("tumour no. 5", "tumour no. 5"),
        ("x.tiff", "x"),
        ("v1.2", "v1.2"),
    ],
)
def test_stem_is_the_name_without_its_format(name: str, stem: str) -> None:
    assert slide_name(Path(name)) == stem


def test_a_slide_named_twice_is_predicted_once(tmp_path: Path) -> None:
    slides = [tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "x" / ".." / "a.tif"]
    (tmp_path / "x").mkdir()
    assert list(output_places(slides, Path("out")).values()) == [
        Path("out/a.predicted.ome.zarr"),
        Path("out/b.predicted.ome.zarr"),
    ]


@pytest.mark.parametrize("text", ["", "1:2", "0:5,3:3", "a:b,c:d", "0:5,1:-2", "0:5;1:2", "5:1,0:9"])
def test_senseless_regions_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match="Y0:Y1,X0:X1"):
        parse_region(text)


def test_region_is_read() -> None:
    box = parse_region(" 10:20,5:300 ")
    assert (box.y0, box.y1, box.x0, box.x1) == (10, 20, 5, 300)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (150, "2 min"), (89 * 60, "89 min"), (7800, "2 h 10 min")]
)
def test_times_are_written_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_progress_returns_the_result_and_closes_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    closed = []

    def work():
        try:
            yield from range(1, 31)
        finally:
            closed.append(True)
        return "result"

    assert follow(work(), "working", lambda done: Progress(done, 30)) == "result"
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" %")[0] for line in lines] == [f"working: {percent}" for percent in range(10, 101, 10)]

    def fail(done: int) -> Progress:
        raise RuntimeError(done)

    with pytest.raises(RuntimeError):
        follow(work(), "working", fail)
    assert closed == [True, True]


def test_viewer_needs_a_display_on_linux_alone() -> None:
    assert why_no_viewer("linux", {}) == "there is no display"
    assert why_no_viewer("linux", {"DISPLAY": ":0"}) == ""
    assert why_no_viewer("linux", {"WAYLAND_DISPLAY": "wayland-0"}) == ""
    assert why_no_viewer("darwin", {}) == why_no_viewer("win32", {}) == ""


def test_without_napari_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_hrpn.cli.demo.find_spec", lambda _: None)
    assert "not installed" in why_no_viewer("darwin", {})
    assert viewer_command([Path("a b.tif")]) == ["napari", "a b.tif", "--plugin", "napari-hrpn"]

"""``napari-hrpn cross-validate``: a study in one command, killed and continued."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_hrpn.cli import run
from napari_hrpn.cli.entry import app
from napari_hrpn.experiments import Ablations, Study, StudyError, cross_validation, read_results
from napari_hrpn.training import TrainingError
from support.studies import FakeTraining, write_study

TEXT = """
title = "Three tumours"
test = ["T3"]
models = ["hrpn"]
[settings]
branches = 1
patch_px = 32
epochs = 1
steps_per_epoch = 2
batch = 2
device = "cpu"
"""

pytestmark = [
    pytest.mark.usefixtures("tiny_figures"),
    *(
        pytest.mark.filterwarnings(f"ignore::napari_hrpn.{name}")
        for name in ("training.TrainingWarning", "inference.PredictionWarning", "experiments.StudyWarning")
    ),
]


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr(cross_validation, "train_model", fake)
    return fake


def command(*words: object) -> int:
    return run(["cross-validate", *map(str, words)])


def test_help_shows_examples() -> None:
    result = CliRunner().invoke(app, ["cross-validate", "--help"])
    assert result.exit_code == 0
    assert "\n    napari-hrpn cross-validate" in result.output


def test_one_command_makes_results_table_and_figures(
    training: FakeTraining, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path / "slides", TEXT)
    assert command(study, "-o", tmp_path / "out") == 0
    told = capsys.readouterr()
    finished = [line for line in told.out.splitlines() if "trained in 9 s" in line]
    assert [line.partition(":")[0].rpartition("-branch-")[2] for line in finished] == [
        "without-T1", "without-T2", "final",
    ]  # fmt: skip
    assert "T3 R2 " in finished[-1]
    assert "Three tumours: 100 %" in told.err
    assert (tmp_path / "out" / "table.md").read_text("utf-8").startswith("# Three tumours")
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert names >= {"results.csv", "results.parquet", "table.md", "table.csv", "figures", "runs"}
    assert {path.suffix for path in (tmp_path / "out" / "figures").iterdir()} == {".png", ".csv"}
    assert not list((tmp_path / "out").rglob("*.partial*"))


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    """Studies that the command would have carried out."""
    studies: list[Study] = []

    def refuses(study, folder, *, stop):  # type: ignore[no-untyped-def]
        studies.append(study)
        msg = "enough."
        raise StudyError(msg)
        yield

    monkeypatch.setattr("napari_hrpn.experiments.cross_validate", refuses)
    return studies


def test_options_win_over_the_file(wanted: list[Study], tmp_path: Path) -> None:
    study = write_study(tmp_path / "slides", f"{TEXT}[settings.ganda]\nseed = 1\n")
    options = (
        "--models",
        "ganda, hrpn",
        "--max-minutes",
        "5",
        "--seed",
        "3",
        "--device",
        "cuda:1",
        "--recipe",
        "paper",
    )
    assert command(study, "-o", tmp_path / "out", *options) == 2
    assert wanted[0].models == ("ganda", "hrpn")
    for model in wanted[0].models:
        settings = wanted[0].settings_for(model)
        assert (settings.recipe, settings.max_minutes, settings.seed) == ("paper", 5.0, 3)
        assert (settings.device, settings.epochs) == ("cuda:1", 1)


@pytest.mark.parametrize(
    ("text", "flag", "ablations"),
    [
        ("", (), None),
        ("", ("--ablations",), Ablations()),
        ("[ablations]\nbranches = [1, 2]\n", (), Ablations(branches=(1, 2))),
        ("[ablations]\nbranches = [1, 2]\n", ("--ablations",), Ablations(branches=(1, 2))),
        ("[ablations]\nbranches = [1, 2]\n", ("--no-ablations",), None),
    ],
)
def test_ablations_are_the_files_or_the_papers_or_none(
    wanted: list[Study], tmp_path: Path, text: str, flag: tuple[str, ...], ablations: Ablations | None
) -> None:
    command(write_study(tmp_path / "slides", TEXT + text), "-o", tmp_path / "out", *flag)
    assert wanted[0].ablations == ablations


def test_ablations_have_a_figure(training: FakeTraining, tmp_path: Path) -> None:
    study = write_study(tmp_path / "slides", f"{TEXT}[ablations]\nchannels = ['nuclei,vessels']\nbranches = [1, 2]\n")
    assert command(study, "-o", tmp_path / "out") == 0
    assert len(training.folders) == 3 + 1
    assert len(list((tmp_path / "out" / "figures").glob("ablations*"))) == 4


def test_wrong_studies_are_refused_in_one_line(
    training: FakeTraining, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path / "slides", TEXT)
    for words in (("--models", "nonesuch"), ("--recipe", "slow"), ("--max-minutes", "-1"), ("--device", "abacus")):
        assert command(study, "-o", tmp_path / "out", *words) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1, told
        assert told.startswith("napari-hrpn: error: ")
    assert command(tmp_path / "none.toml", "-o", tmp_path / "out") == 2
    assert "none.toml cannot be read" in capsys.readouterr().err
    assert training.folders == []


def test_a_study_that_is_not_whole_still_gets_its_table(
    training: FakeTraining, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(entries, folder, settings, **options):  # type: ignore[no-untyped-def]
        if folder.name.endswith("without-T1"):
            msg = "the training diverged."
            raise TrainingError(msg)
        return training(entries, folder, settings, **options)

    monkeypatch.setattr(cross_validation, "train_model", fails)
    study = write_study(tmp_path / "slides", TEXT)
    assert command(study, "-o", tmp_path / "out") == 2
    assert "1 of 3 networks has no result" in capsys.readouterr().err
    assert "hrpn" in (tmp_path / "out" / "table.md").read_text("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_a_study_that_was_stopped_goes_on(tmp_path: Path) -> None:
    study, out = write_study(tmp_path / "slides", TEXT.replace("epochs = 1", "epochs = 4")), tmp_path / "out"
    program = "from napari_hrpn.cli import main; main()"
    words = [sys.executable, "-c", program, "cross-validate", str(study), "-o", str(out)]
    runs = out / "runs"
    # the first signal comes during the first of three networks, the other during the second
    for complete, number, code in ((0, signal.SIGINT, 130), (1, signal.SIGKILL, -signal.SIGKILL)):
        with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not (
                len(list(runs.glob("*/metrics.json"))) >= complete and len(list(runs.glob("*/run.json"))) > complete
            ):
                time.sleep(0.02)
            process.send_signal(number)
            told = process.communicate(timeout=60)[1].decode()
        assert process.returncode == code, told
        assert not (out / "table.md").exists()
    kept = {path: path.stat().st_mtime_ns for path in runs.glob("*/metrics.json")}
    assert 1 <= len(kept) < 3
    assert command(study, "-o", out) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    rows = [row for row in read_results(out / "results.csv") if row.model == "hrpn"]
    assert [row.fold for row in rows] == ["T1", "T1", "T2", "T2", "final", "final"]
    assert {row.epochs for row in rows} == {4}

"""Numbers, words, names and files are what they were when the golden files were written.

Where a change is meant, ``python tests/golden/write.py --overwrite PART`` writes new ones, to be reviewed as a change.
"""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from golden import interfaces, old_files, scenes, tables
from golden.compare import check, read_golden
from golden.inputs import KINDS
from napari_hrpn import open_slide

pytestmark = pytest.mark.filterwarnings("ignore")
RANGE = 1e-3
"""Of the range of a prediction: how far another machine's may be from the stored one."""


@pytest.fixture(autouse=True)
def same_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**interfaces.TERMINAL, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Old files as if they had been made here."""
    return old_files.unpack(tmp_path / "old")


@pytest.mark.usefixtures("tiny_figures")
@pytest.mark.parametrize("kind", KINDS)
def test_evaluations_have_the_same_numbers(kind: str, tmp_path: Path) -> None:
    check(tables.evaluation(tmp_path, kind), f"evaluation-{kind}")


def test_widgets_save_the_same_tables(qapp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("napari")
    check(tables.widget_tables(tmp_path, monkeypatch), "widgets")


def test_slides_are_described_and_shown_alike(tmp_path: Path) -> None:
    pytest.importorskip("napari")
    check(scenes.facts(tmp_path), "facts")


@pytest.mark.usefixtures("tiny_figures")
def test_old_folders_are_continued_and_make_the_same_tables(old: Path) -> None:
    predicted, stopped = (pixels(old / name / "long.predicted.ome.zarr") for name in ("predicted", "stopped"))
    assert not (predicted == stopped).all()
    check(scenes.old_tables(old), "old")
    # an old prediction is left alone, and one that was stopped becomes the same
    np.testing.assert_array_equal(pixels(old / "predicted" / "long.predicted.ome.zarr"), predicted)
    continued = pixels(old / "stopped" / "long.predicted.ome.zarr")
    np.testing.assert_array_equal(continued[:, :512], stopped[:, :512])
    assert_close(continued, predicted)


def test_a_network_predicts_the_same_pixels(old: Path) -> None:
    slide, new = old / "slides" / "long.ome.tif", old / "new"
    assert (
        interfaces.call(
            ["predict", str(slide), "-o", str(new), "--checkpoint", str(old / old_files.NETWORK), *old_files.PREDICTION]
        )[0]
        == 0
    )
    name = "long.predicted.ome.zarr"
    assert_close(pixels(new / name), pixels(old / "predicted" / name))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(open_slide(path).levels[0])[0]


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= RANGE * np.ptp(expected)


@pytest.mark.parametrize(("package", "names"), json.loads(read_golden("exported/names.json")).items())
def test_names_that_could_be_imported_can_be_imported(package: str, names: list[str]) -> None:
    module = import_module(package)
    missing = [name for name in names if not hasattr(module, name)]
    assert not missing, f"{package} has no {', '.join(missing)} any more"


def test_help_is_the_same() -> None:
    check(interfaces.help_texts(), "help")


def test_manifest_and_sentences_about_wrong_input_are_the_same(tmp_path: Path) -> None:
    check(scenes.interfaces_texts(tmp_path), "interfaces")

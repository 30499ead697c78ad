"""A study's file: what it may say, and one sentence for everything else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.experiments import Ablations, StudyError, read_study
from napari_hrpn.experiments.baselines import BlurMoments
from napari_hrpn.experiments.study_folder import StudyFolder
from support.studies import write_study

WHOLE = """
title = "Six tumours"
test = ["T3"]
models = ["hrpn"]
recipe = "paper"
validate = "T1"
[settings]
epochs = 7
channels = ["vessels", "nuclei"]
max_minutes = 3
[settings.hrpn]
batch = 5
[ablations]
channels = ["nuclei", "nuclei, vessels"]
branches = [1, 2]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


def test_everything_a_study_says_is_read(folder: Path) -> None:
    study = read_study(write_study(folder, WHOLE))
    assert (study.title, study.test, study.models, study.recipe) == ("Six tumours", ("T3",), ("hrpn",), "paper")
    assert study.tumours == ("T1", "T2")
    assert study.final_validation == "T1"
    settings = study.settings_for("hrpn")
    assert (settings.epochs, settings.batch, settings.max_minutes) == (7, 5, 3)
    assert settings.channels == ("vessels", "nuclei")
    assert settings.optimiser == "rmsprop"
    assert study.settings_for("ganda").batch == 20
    assert study.ablations == Ablations((("nuclei",), ("nuclei", "vessels")), (1, 2))
    assert [slide.name for slide in study.slides] == ["T1", "T2", "T3"]
    assert all(slide.entry.path.is_absolute() and slide.entry.path.is_file() for slide in study.slides)


def test_a_study_of_slides_alone_has_the_recipes_defaults(folder: Path) -> None:
    study = read_study(write_study(folder))
    assert (study.models, study.recipe, study.test, study.ablations) == (("hrpn", "ganda"), "fast", (), None)
    assert study.final_validation == "T3"


def test_a_slide_says_what_is_special_about_it(folder: Path) -> None:
    path = write_study(folder)
    (folder / "drawn.geojson").write_text("{}", encoding="utf-8")
    more = 'tumour = "animal 3"\npart = "test"\nregions = "drawn.geojson"\nclass = "Tumor"\nseries = 0\nz = 0\nt = 0\n'
    path.write_text(path.read_text("utf-8") + more + '[slide.roles]\nvessels = "CD31"\nprobe = 2\n', encoding="utf-8")
    study = read_study(path)
    entry = study.slides[-1].entry
    assert (entry.tumour, entry.regions, entry.z, entry.t) == ("animal 3", folder / "drawn.geojson", 0, 0)
    assert entry.roles == {"vessels": "CD31", "probe": 2}
    assert entry.classes == ("Tumor",)
    assert study.test == ("animal 3",)
    path.write_text(
        path.read_text("utf-8").replace('class = "Tumor"', 'class = ["Tumor", "Ignore*"]'), encoding="utf-8"
    )
    several = read_study(path).slides[-1]
    assert several.entry.classes == ("Tumor", "Ignore*")
    # what was measured on other objects of the same file is measured again
    settings, sums = study.settings_for("hrpn"), BlurMoments(np.zeros(3), np.ones(3))
    StudyFolder(folder / "out").keep_moments(study.slides[-1], settings, sums)
    assert StudyFolder(folder / "out").moments(study.slides[-1], settings) is not None
    assert StudyFolder(folder / "out").moments(several, settings) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("networks = ['hrpn']", ("key networks in study.toml", "models")),
        ("models = 'hrpn'", ("models in study.toml", "a list, each item text")),
        ("models = ['nonesuch']", ("models of study.toml", "'nonesuch'", "hrpn")),
        ("models = []", ("models of study.toml", "no model")),
        ("recipe = 'slow'", ("study.toml", "'slow'", "paper or fast")),
        ("test = ['T9']", ("test of study.toml", "'T9'")),
        ("test = ['T2', 'T3']", ("study.toml", "1 tumour that", "two or more")),
        ("test = ['T3']\nvalidate = 'T3'", ("validate of study.toml", "T1, T2")),
        ("folds = false", ("neither folds nor tumours for testing",)),
        ("[settings]\nepoch = 3", ("key epoch of settings in study.toml", "epochs")),
        ("[settings]\nepochs = '3'", ("epochs of settings in study.toml", "a whole number")),
        ("[settings]\nepochs = 2.5", ("epochs of settings in study.toml", "a whole number")),
        ("[settings]\nflips = 1", ("flips of settings in study.toml", "true or false")),
        ("[settings]\nprecision = 'fp8'", ("precision of settings in study.toml", "'bf16'")),
        ("[settings]\nsteps_per_epoch = true", ("steps_per_epoch of settings", "a whole number")),
        ("[settings]\nepochs = 0", ("settings of hrpn in study.toml", "epochs is 0")),
        ("[settings]\nmodel = 'hrpn'", ("key model of settings",)),
        ("[settings.ganda]\npatch_px = 100", ("settings of ganda in study.toml", "multiple of 16")),
        ("[ablations]\nbranch = [1]", ("key branch of ablations",)),
        ("[ablations]\nbranches = [5]", ("ablations of study.toml", "branches is 5")),
        ("[ablations]\nchannels = ['nuclei,probe']", ("ablations of study.toml", "probe")),
        ("test = [", ("study.toml is not TOML",)),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(folder: Path, text: str, words: tuple[str, ...]) -> None:
    path = write_study(folder, text)
    with pytest.raises(StudyError) as caught:
        read_study(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value).replace(str(caught.value.__cause__), "")


@pytest.mark.parametrize(
    ("slide", "words"),
    [
        ("path = 'T9.ome.tif'", ("path of slide 4", "T9.ome.tif", "does not exist")),
        ("tumour = 'T9'", ("no path of slide 4",)),
        ("path = 'T1.ome.tif'", ("slide 1 and slide 4", "same image")),
        ("path = 'T1.ome.tif'\nseries = '1'", ("series of slide 4", "a whole number")),
        ("path = 'T1.ome.tif'\npart = 'train'", ("part of slide 4", "'test'")),
        ("path = 'T1.ome.tif'\nz = 1\nregions = 'no.geojson'", ("regions of slide 4", "no.geojson")),
        ("path = 'T1.ome.tif'\nz = 1\nclass = 'Tumor'", ("class of slide 4", "regions that are not given")),
        ("path = 'T1.ome.tif'\nz = 1\nclass = 1", ("class of slide 4", "text")),
        ("path = 'T1.ome.tif'\nz = 1\nroles = { probe = 1.5 }", ("probe of roles of slide 4",)),
        ("path = 'T1.ome.tif'\nz = 1\npart = 'test'", ("the tumour T1", "one side only")),
        ("path = 'T1.ome.tif'\nz = 1\ntumour = 't2'", ("T2 and t2", "names of folders")),
    ],
)
def test_a_slide_that_cannot_be_meant_is_refused(folder: Path, slide: str, words: tuple[str, ...]) -> None:
    path = write_study(folder)
    path.write_text(f"{path.read_text('utf-8')}[[slide]]\n{slide}\n", encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        read_study(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_study_with_a_byte_order_mark_is_that_without(folder: Path) -> None:
    path = write_study(folder, WHOLE)
    study = read_study(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_study(path) == study


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"nowhere\.toml cannot be read"):
        read_study(tmp_path / "nowhere.toml")


def test_settings_of_the_command_line_win_over_those_of_one_model(folder: Path) -> None:
    study = read_study(write_study(folder, "[settings.ganda]\nseed = 3\nbatch = 2"))
    changed = study.with_settings(seed=9)
    assert (changed.settings_for("ganda").seed, changed.settings_for("hrpn").seed) == (9, 9)
    assert changed.settings_for("ganda").batch == 2


def test_slides_of_one_name_get_names_of_their_own(folder: Path) -> None:
    path = write_study(folder)
    more = "".join(f"[[slide]]\npath = 'T1.ome.tif'\ntumour = 'T1'\nz = {z}\n" for z in (1, 2))
    path.write_text(path.read_text("utf-8") + more, encoding="utf-8")
    names = [slide.name for slide in read_study(path).slides]
    assert len(set(names)) == 5
    assert all("T1" in name for name in names[3:])


def test_a_study_is_checked_however_it_was_made(folder: Path) -> None:
    study = read_study(write_study(folder))
    with pytest.raises(StudyError, match="models of"):
        replace(study, models=("hrpn", "hrpn"))


def test_a_start_is_a_name_or_a_file_beside_the_study(folder: Path) -> None:
    (folder / "parent.safetensors").touch()
    text = '[settings]\nstart = "synthetic"\n[settings.hrpn]\nstart = "parent.safetensors"\nfreeze = ["stem"]\n'
    study = read_study(write_study(folder, text))
    assert study.settings_for("ganda").start == "synthetic"
    settings = study.settings_for("hrpn")
    assert (settings.start, settings.freeze) == (str(folder.absolute() / "parent.safetensors"), ("stem",))
    with pytest.raises(StudyError, match=r"start of settings in study.toml is gone.safetensors, which does not exist"):
        read_study(write_study(folder, '[settings]\nstart = "gone.safetensors"\n'))

"""Folds over tumours: nothing that is measured is learnt from."""

from dataclasses import replace
from pathlib import Path

import pytest

from napari_hrpn.experiments import Study, read_study
from napari_hrpn.experiments.study import study_experiments, study_folds
from support.studies import write_study

TUMOURS = ("T1", "T2", "T3", "T4")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    text = 'test = ["T4"]\n[ablations]\n'
    return read_study(write_study(tmp_path_factory.mktemp("study"), text, TUMOURS))


def test_each_tumour_is_held_out_once_and_test_tumours_never_seen(study: Study) -> None:
    *folds, final = study_folds(study)
    assert [fold.name for fold in folds] == ["T1", "T2", "T3"]
    for fold in folds:
        assert [slide.name for slide in fold.measured] == [fold.validate] == [fold.name]
        assert {slide.name for slide in fold.learnable} == {"T1", "T2", "T3"} - {fold.name}
        assert fold.part == "validation"
        assert "T4" not in {entry.tumour_id for entry in fold.entries}
    assert (final.name, final.part, final.validate) == ("final", "test", "T3")
    assert [slide.name for slide in final.measured] == ["T4"]
    assert {slide.name for slide in final.learnable} == {"T1", "T2", "T3"}
    assert {entry.tumour_id: entry.part for entry in final.entries} == {
        "T1": "auto",
        "T2": "auto",
        "T3": "auto",
        "T4": "test",
    }


def test_without_folds_only_the_final_model_and_the_grid_are_left(study: Study) -> None:
    short = replace(study, folds=False)
    assert [fold.name for fold in study_folds(short)] == ["final"]
    assert {each.fold.part for each in study_experiments(short)} == {"test"}
    assert len(study_experiments(short)) == len(study_experiments(study)) - 2 * 3


def test_the_grid_has_every_cell_once_on_the_test_tumours(study: Study) -> None:
    experiments = study_experiments(study)
    assert len({experiment.name for experiment in experiments}) == len(experiments) == 2 * 4 + 9 - 1
    grid = [each for each in experiments if each.settings.model == "hrpn" and each.fold.part == "test"]
    cells = {(each.settings.channels, each.settings.branches) for each in grid}
    channels = (("nuclei",), ("vessels",), ("nuclei", "vessels"))
    assert cells == {(each, branches) for each in channels for branches in (1, 2, 4)}
    own = [each for each in grid if not each.ablation]
    assert [(each.settings.channels, each.settings.branches) for each in own] == [(("nuclei", "vessels"), 4)]
    assert own[0].name == "hrpn-nuclei+vessels-4-branches-final"
    assert {each.name for each in experiments if each.settings.branches == 1 and each.ablation} == {
        f"hrpn-{each}-1-branch-final" for each in ("nuclei", "vessels", "nuclei+vessels")
    }


def test_without_test_tumours_there_is_no_final_model_and_the_grid_takes_the_first_fold(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, "models = ['ganda']\n[ablations]\nbranches = [1]"))
    experiments = study_experiments(study)
    assert {experiment.fold.part for experiment in experiments} == {"validation"}
    grid = [experiment for experiment in experiments if experiment.settings.model == "hrpn"]
    assert len(grid) == 3
    assert {experiment.fold.name for experiment in grid} == {"T1"}
    assert all(experiment.ablation for experiment in grid)

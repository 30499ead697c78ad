"""The recipe of an evaluation: files that it names, and what was drawn and is in no file."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hrpn.analysis import EvaluationSettings, ProbeImage
from napari_hrpn.recipes import file_hash, read_recipe, recipe_commands, save_output_recipe, slide_hash
from napari_hrpn.recipes.recipe import RecipeError
from napari_hrpn.reports import EvaluationRequest, evaluation_of
from napari_hrpn.reports.evaluation_recipe import evaluation_recipe
from napari_hrpn.slides import Annotation, ChannelRoles, RegionMask, open_slide

SQUARE = Annotation("a", "include", ((np.array([[0, 0], [0, 20], [20, 20], [20, 0]], float),),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("real", "predicted")):
        image = np.random.default_rng(number).integers(0, 255, (3, 64, 64)).astype(np.uint8)
        metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD31", "QD"]}}
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", image, ome=True, metadata=metadata)
        (tmp_path / f"{name}.geojson").write_text("{}", "utf-8")
    return tmp_path


def request_of(folder: Path, **more: object) -> EvaluationRequest:
    real, predicted = (ProbeImage("HRPN", open_slide(folder / f"{name}.ome.tif"), 2) for name in ("real", "predicted"))
    roles, settings = ChannelRoles(0, 1, 2), EvaluationSettings(seed=5)
    return evaluation_of(real, [predicted], roles, settings, are_named=True, tumour="T1", rois=[SQUARE], **more)  # type: ignore[arg-type]


def test_files_of_an_evaluation_are_named_and_hashed(folder: Path) -> None:
    rois, mask = folder / "real.geojson", folder / "predicted.geojson"
    request = request_of(folder, files={"regions of interest": rois, "tissue mask": mask})
    output = folder / "evaluation"
    output.mkdir()
    save_output_recipe(evaluation_recipe(request, output), output)
    recipe = read_recipe(output / "recipe.toml")
    slide, predicted = folder / "real.ome.tif", folder / "predicted.ome.tif"
    assert recipe.hashes == {
        slide: slide_hash(slide), predicted: slide_hash(predicted), rois: file_hash(rois), mask: file_hash(mask)
    }  # fmt: skip
    (command,) = recipe_commands(recipe)
    assert (command.places, command.output) == ((str(slide), str(predicted)), str(output))
    assert command.channels == {"nuclei": "DAPI", "vessels": "CD31", "probe": "QD"}
    assert command.options == {"roi": rois, "mask": mask, "tumour": "T1", "name": ("HRPN",)}
    assert EvaluationSettings(**command.chosen) == request.settings


def test_what_was_drawn_is_said(folder: Path) -> None:
    tissue = RegionMask(np.ones((64, 64), bool), (1.0, 1.0))
    output = folder / "evaluation"
    output.mkdir()
    save_output_recipe(evaluation_recipe(request_of(folder, tissue=tissue, tissue_words="painted"), output), output)
    with pytest.raises(RecipeError, match="regions of interest and tissue mask were drawn in napari; save them"):
        recipe_commands(read_recipe(output / "recipe.toml"))


def test_a_slide_of_no_file_has_no_recipe(folder: Path) -> None:
    request = request_of(folder)
    (folder / "real.ome.tif").unlink()
    assert evaluation_recipe(request, folder) is None

"""Recipes: what is written is read again, wrong ones are refused in a sentence, and what their commands are."""

import shlex
import shutil
import tomllib
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hrpn.core.options import options
from napari_hrpn.recipes import (
    Command,
    Recipe,
    RecipeError,
    RecipeWarning,
    check_hashes,
    command_lines,
    command_words,
    file_hash,
    output_recipes,
    read_recipe,
    recipe_commands,
    save_output_recipe,
    save_recipe,
    slide_hash,
    slide_table,
)
from napari_hrpn.settings import EvaluationSettings, PredictionSettings, TrainingSettings, VesselSettings
from napari_hrpn.slides import open_slide

CHAIN = """
[train]
folder = "run"
recipe = "paper"
branches = 2
channels = ["nuclei", "vessels"]
momentum = 0.9
validate = "T2"
[predict]
folder = "predicted"
skip_blank = false
[evaluate]
folder = "evaluations"
seed = 3
[report]
folder = "cohort"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a", "b")):
        image = np.random.default_rng(number).integers(0, 255, (3, 64, 64)).astype(np.uint8)
        metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD31", "QD"]}}
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", image, ome=True, metadata=metadata)
        (tmp_path / f"{name}.geojson").write_text('{"type": "FeatureCollection", "features": []}', "utf-8")
    return tmp_path


def written(folder: Path, text: str = CHAIN, *slides: str) -> Path:
    tables = slides or ('path = "a.ome.tif"\ntumour = "T1"', 'path = "b.ome.tif"\ntumour = "T2"')
    path = folder / "recipe.toml"
    path.write_text(text + "".join(f"\n[[slide]]\n{slide}\n" for slide in tables), encoding="utf-8")
    return path


def lines(path: Path) -> list[str]:
    """Commands of a recipe, with paths relative to it."""
    return [line.replace(f"{path.parent}/", "") for line in command_lines(recipe_commands(read_recipe(path)))]


def test_a_chain_is_one_command_after_the_other(folder: Path) -> None:
    assert lines(written(folder)) == [
        "napari-hrpn train a.ome.tif b.ome.tif -o run --recipe paper --branches 2"
        " --tumour a.ome.tif=T1 --tumour b.ome.tif=T2 --validate T2",
        "napari-hrpn predict a.ome.tif b.ome.tif -o predicted --no-skip-blank --checkpoint run/checkpoint.safetensors",
        "napari-hrpn evaluate a.ome.tif predicted/a.predicted.ome.zarr -o evaluations/a --seed 3 --tumour T1",
        "napari-hrpn evaluate b.ome.tif predicted/b.predicted.ome.zarr -o evaluations/b --seed 3 --tumour T2",
        "napari-hrpn report evaluations/a evaluations/b -o cohort",
    ]


def test_the_recipe_of_the_manual_can_be_carried_out(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    for number in range(1, 5):
        shutil.copy(folder / "a.ome.tif", folder / f"T{number}.ome.tif")
    path = folder / "recipe.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    train, *others = lines(path)
    assert train == (
        "napari-hrpn train T1.ome.tif T2.ome.tif T3.ome.tif T4.ome.tif -o run --epochs 2 --steps 20"
        " --tumour T1.ome.tif=T1 --test T4 --validate T3"
    )
    assert [line.split()[1] for line in others] == ["predict", *["evaluate"] * 4, "report"]


def test_slides_that_are_named_alike_share_a_prediction(folder: Path) -> None:
    roles = 'roles = { nuclei = "DAPI", vessels = 1, probe = "QD" }\npixel_size = [0.5, 0.25]'
    slides = [f'path = "{name}.ome.tif"\n{more}' for name, more in (("a", roles), ("b", "z = 0"))]
    text = '[predict]\nfolder = "p"\nregion = "0:9,0:9"\n[evaluate]\nfolder = "e"\n'
    assert lines(written(folder, text, *slides)) == [
        "napari-hrpn predict a.ome.tif -o p --nuclei DAPI --vessels 1 --pixel-size 0.5,0.25 --region 0:9,0:9",
        "napari-hrpn predict b.ome.tif -o p --z 0 --region 0:9,0:9",
        "napari-hrpn evaluate a.ome.tif p/a.predicted.ome.zarr -o e/a"
        " --nuclei DAPI --vessels 1 --probe QD --pixel-size 0.5,0.25",
        "napari-hrpn evaluate b.ome.tif p/b.predicted.ome.zarr -o e/b --z 0",
    ]


@pytest.mark.parametrize(
    ("step", "slides"),
    [
        ("momentum = 0.5", ()),
        ("", ('path = "a.ome.tif"', 'path = "b.ome.tif"\nroles = { probe = "QD" }')),
        ("", ('path = "a.ome.tif"\nroles = { probe = 2 }',)),
        ("", ('path = "a.ome.tif"\nroles = { fap = "QD" }',)),
        ("", ('path = "a.ome.tif"', 'path = "b.ome.tif"\npart = "validation"')),
        ("", ('path = "a.ome.tif"', 'path = "b.ome.tif"\nregions = "b.geojson"')),
    ],
)
def test_what_a_training_has_no_option_for_is_left_to_the_recipe(folder: Path, step: str, slides: tuple) -> None:
    path = written(folder, f'[train]\nfolder = "run"\n{step}\n', *slides)
    assert lines(path) == ["napari-hrpn run recipe.toml --only train"]
    (command,) = recipe_commands(read_recipe(path))
    with pytest.raises(RecipeError, match="save it as a recipe"):
        command_words(Command("train", command.places, "run", command.chosen, slides=command.slides))


def test_regions_and_parts_of_a_training_are_options(folder: Path) -> None:
    slides = [f'path = "{name}.ome.tif"\nregions = "{name}.geojson"' for name in "ab"]
    slides[1] += '\npart = "test"'
    text = '[train]\nfolder = "run"\nclass = ["Tumor", "Stroma"]\n'
    (line,) = lines(written(folder, text, *slides))
    found = f"napari-hrpn train a.ome.tif b.ome.tif -o run --test b --regions {folder} --class Tumor --class Stroma"
    assert line == shlex.join(found.split())


def test_what_is_saved_is_read_again(folder: Path) -> None:
    slide = slide_table(open_slide(folder / "a.ome.tif"), {"nuclei": 0, "vessels": None, "probe": 2})
    given = {
        "train": {"folder": folder / "deep" / "run", "start": str(folder / "a.geojson"), "freeze": ("stem",)},
        "predict": {"folder": folder / "p", "checkpoint": ("dextran", folder / "a.geojson"), "halo": None},
        "evaluate": {"folder": folder / "e", "vessels": VesselSettings(closing_um=2.0), "psnr_max": 255.0},
        "report": {"folder": folder / "c", "evaluations": (folder / "e",)},
    }
    hashes = {slide["path"]: slide_hash(slide["path"]), "dextran": "0" * 16}
    path = folder / "deep" / "my recipe.toml"
    path.parent.mkdir()
    save_recipe(Recipe((slide,), given, hashes), path)
    found = read_recipe(path)
    assert found.slides == ({"path": folder / "a.ome.tif", "roles": {"nuclei": "DAPI", "probe": "QD"}, "series": 0},)
    del given["predict"]["halo"]
    assert found.steps == given
    assert found.hashes == hashes
    assert found.versions.keys() == {"python", "napari-hrpn", "numpy", "torch"}
    assert tomllib.loads(path.read_text("utf-8"))["slide"][0]["path"] == "../a.ome.tif"


def test_every_option_of_a_command_is_a_key_of_its_step() -> None:
    for step, settings in (
        ("train", TrainingSettings),
        ("predict", PredictionSettings),
        ("evaluate", EvaluationSettings),
    ):
        names = [option.name for option in options(settings).values()]
        assert names
        assert Recipe((), {step: dict.fromkeys(names)}).chosen(step).keys() == set(names)
    assert "region" in {field.name for field in fields(PredictionSettings)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train", ("recipe.toml is not TOML", "line 1")),
        ("title = 'S'\nmodels = ['hrpn']", ("recipe.toml has none of the tables train, predict", "cross-validate")),
        ("format = 'napari-hrpn recipe 2'\n[train]", ("format of recipe.toml", "'napari-hrpn recipe 1'", "update")),
        ("[train]\nfolder = 'r'\n[shell]\nrun = 'x'", ("unknown key shell in recipe.toml",)),
        ("[train]\nfolder = 'r'\nepoch = 3", ("unknown key epoch of train in recipe.toml", "epochs")),
        ("[train]\nfolder = 'r'\nepochs = '3'", ("epochs of train in recipe.toml is '3'", "a whole number")),
        ("[train]\nfolder = 'r'\nepochs = 0", ("train in recipe.toml does not work", "epochs is 0")),
        ("[train]\nfolder = 'r'\nrecipe = 'slow'", ("recipe of train in recipe.toml", "'paper'")),
        ("[train]\nfolder = 'r'\nstart = 'no.safetensors'", ("start of train", "no.safetensors, which does not exist")),
        ("[train]\nepochs = 3", ("no folder of train in recipe.toml",)),
        ("[predict]\nfolder = 'p'\ncore = 100", ("predict in recipe.toml does not work", "multiple of 512")),
        ("[predict]\nfolder = 'p'\ncheckpoint = 'no.safetensors'", ("checkpoint of predict", "does not exist")),
        ("[predict]\nfolder = 'p'\noverwrite = true", ("unknown key overwrite of predict",)),
        ("[predict]\nfolder = 'p'\nscheduler = 'tcp://x:1'", ("unknown key scheduler of predict",)),
        ("[evaluate]\nfolder = 'e'\n[evaluate.vessels]\ngap = 1", ("unknown key gap of evaluate.vessels",)),
        ("[evaluate]\nfolder = 'e'\n[evaluate.vessels]\nclosing_um = -1", ("evaluate in recipe.toml", "the closing")),
        ("[evaluate]\nfolder = 'e'", ("slide 1 has no prediction to evaluate",)),
        ("[evaluate]\nfolder = 'e'\ndrawn = ['vessels']", ("vessels were drawn in napari",)),
        ("[predict]\nfolder = 'p.ome.zarr'", ("2 slides would be predicted into", "p.ome.zarr")),
        ("[report]\nfolder = 'c'", ("nothing to report on",)),
        ("[report]\nfolder = 'c'\nevaluations = ['gone']", ("evaluations of report", "gone, which does not exist")),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(folder: Path, text: str, words: tuple[str, ...]) -> None:
    path = written(folder, text + "\n")
    with pytest.raises(RecipeError) as caught:
        recipe_commands(read_recipe(path))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("slide", "words"),
    [
        ('path = "gone.ome.tif"', ("path of slide 1", "gone.ome.tif, which does not exist")),
        ('tumour = "T1"', ("no path of slide 1",)),
        ('path = "a.ome.tif"\nroi = "no.geojson"', ("roi of slide 1",)),
        ('path = "a.ome.tif"\ngroup = "x"', ("unknown key group of slide 1",)),
        ('path = "a.ome.tif"\npixel_size = "1"', ("pixel_size of slide 1", "a number")),
        ('path = "a.ome.tif"\npixel_size = 1', ("slide 1 has a pixel_size", "train")),
    ],
)
def test_a_slide_that_cannot_be_meant_is_refused(folder: Path, slide: str, words: tuple[str, ...]) -> None:
    path = written(folder, CHAIN, slide)
    with pytest.raises(RecipeError) as caught:
        recipe_commands(read_recipe(path))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_recipe_without_slides_or_of_no_file_is_refused(folder: Path) -> None:
    path = folder / "recipe.toml"
    path.write_text(CHAIN, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"recipe\.toml has no slide to train"):
        read_recipe(path)
    with pytest.raises(RecipeError, match=r"nowhere\.toml cannot be read"):
        read_recipe(folder / "nowhere.toml")
    with pytest.raises(RecipeError, match="the step 'report' is not in the recipe; expected one of train"):
        recipe_commands(read_recipe(written(folder, '[train]\nfolder = "r"\n')), "report")


def report_of(folder: Path) -> Recipe:
    numbers = folder / "numbers.json"
    numbers.write_text("1", encoding="utf-8")
    slide = {"path": folder / "a.ome.tif"}
    hashes = {numbers: file_hash(numbers), slide["path"]: slide_hash(slide["path"])}
    return Recipe((slide,), {"report": {"folder": folder, "evaluations": (folder,)}}, hashes)


def test_a_recipe_beside_an_output_is_replaced_until_somebody_changes_it(folder: Path) -> None:
    recipe, store = report_of(folder), folder / "x.ome.zarr"
    for output, path in ((folder, folder / "recipe.toml"), (store, folder / "x.ome.zarr.recipe.toml")):
        save_output_recipe(recipe, output)
        first = path.read_bytes()
        save_output_recipe(Recipe((), recipe.steps), output)
        assert path.read_bytes() != first
        assert output_recipes(output) == {path: output}
        path.write_text(path.read_text("utf-8") + "# mine\n", encoding="utf-8")
        with pytest.warns(RecipeWarning, match="changed by hand, so it is kept"):
            save_output_recipe(recipe, output)
        assert path.read_text("utf-8").endswith("# mine\n")
    (folder / "recipe.toml").unlink()
    assert output_recipes(folder) == {folder / "x.ome.zarr.recipe.toml": folder / "x.ome.zarr"}
    with pytest.raises(RecipeError, match=r"there is no .*b\.ome\.tif"):
        output_recipes(folder / "b.ome.tif")


def test_an_output_is_not_lost_with_its_recipe(folder: Path) -> None:
    with pytest.warns(RecipeWarning, match="could not be saved"):
        save_output_recipe(report_of(folder), folder / "there is no folder")


def test_a_changed_file_is_named_with_both_hashes(folder: Path) -> None:
    path = folder / "recipe.toml"
    save_output_recipe(report_of(folder), folder)
    recipe = read_recipe(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_hashes(recipe)
    (folder / "numbers.json").write_text("2", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"numbers\.json has the hash d4735e3a265e16ee, expected 6b86b273ff34fce1"):
        check_hashes(recipe)
    (folder / "numbers.json").unlink()
    with pytest.raises(RecipeError, match=r"numbers\.json, which recipe\.toml has a hash of, is not there"):
        check_hashes(recipe)
    (folder / "numbers.json").write_text("1", encoding="utf-8")
    (folder / "a.ome.tif").write_bytes((folder / "b.ome.tif").read_bytes())
    with pytest.raises(RecipeError, match=r"a\.ome\.tif has the hash"):
        check_hashes(recipe)


def test_another_version_of_the_program_is_a_warning(folder: Path) -> None:
    recipe = report_of(folder)
    with pytest.warns(RecipeWarning, match="was written by napari-hrpn 0.0, and this is"):
        check_hashes(Recipe(recipe.slides, recipe.steps, recipe.hashes, {"napari-hrpn": "0.0"}))
    with pytest.raises(RecipeError, match="has no hashes"):
        check_hashes(Recipe(recipe.slides, recipe.steps))


def test_an_output_in_the_folder_of_another_kind_leaves_its_recipe(folder, tmp_path):
    slides = ({"path": folder / "a.ome.tif"},)
    save_output_recipe(Recipe(slides, {"train": {"folder": tmp_path}}), tmp_path)
    with pytest.warns(RecipeWarning, match="is the recipe of train, so it is kept"):
        save_output_recipe(Recipe(slides, {"evaluate": {"folder": tmp_path}}), tmp_path)
    assert "[train]" in (tmp_path / "recipe.toml").read_text("utf-8")


def test_a_prediction_in_several_regions_has_all_of_them(folder, tmp_path):
    store = tmp_path / "c.ome.zarr"

    def saved(region, precision="fp32"):
        part = {} if region is None else {"region": region}
        step = {"folder": store, "precision": precision, "skip_blank": False, **part}
        save_output_recipe(Recipe(({"path": folder / "a.ome.tif"},), {"predict": step}), store)
        commands = recipe_commands(read_recipe(*output_recipes(store)))
        return [command.options.get("region") for command in commands]

    assert saved("0:8,0:8") == ["0:8,0:8"]
    assert saved("8:16,0:8") == ["0:8,0:8", "8:16,0:8"]
    assert saved("0:8,0:8") == ["0:8,0:8", "8:16,0:8"]
    assert saved("0:4,0:4", "bf16") == ["0:4,0:4"]
    assert saved(None) == [None]
    assert saved("0:4,0:4") == [None]


@pytest.mark.parametrize(
    ("step", "slide", "expected"),
    [
        ('region = "foo"', "", "the region 'foo' is not"),
        ('region = ["0:4,0:4", "4:0,0:4"]', "", "the region '4:0,0:4' is not"),
        ("checkpoint = []", "", "checkpoint is empty"),
        ('copy = "copies"\nome_zarr = "9.9"', "", "expected '0.4', and the key copy"),
        ('ome_zarr = "0.4"', "", "and the key copy"),
        ("", f"pixel_size = 1{'0' * 400}", "is not one or two lengths"),
        ("", "pixel_size = nan", "is not one or two lengths"),
        ("", "pixel_size = [0.5, 0.5, 0.5]", "is not one or two lengths"),
        ("", "pixel_size = 0.0", "is not one or two lengths"),
    ],
)
def test_what_a_command_would_refuse_is_refused_before_the_first_step(folder, tmp_path, step, slide, expected):
    path = folder / "r.toml"
    path.write_text(f'[predict]\nfolder = "p"\n{step}\n[[slide]]\npath = "a.ome.tif"\n{slide}\n', "utf-8")
    with pytest.raises(RecipeError, match=expected):
        read_recipe(path)


def test_a_slide_that_is_called_as_a_checkpoint_has_a_hash_of_its_own(folder):
    slide, store = folder / "synthetic", folder / "s.ome.zarr"
    shutil.copy(folder / "a.ome.tif", slide)
    digests = {slide: "0" * 16, "synthetic": "1" * 16}
    step = {"folder": store, "checkpoint": ["synthetic"]}
    save_output_recipe(Recipe(({"path": slide},), {"predict": step}, digests), store)
    assert read_recipe(*output_recipes(store)).hashes == digests


def test_recipes_are_found_with_the_outputs_that_they_are_beside(folder):
    for name in ("q.ome.zarr", "p.ome.zarr"):
        step = {"folder": folder / "out" / "before.ome.zarr"}
        (folder / "out").mkdir(exist_ok=True)
        save_output_recipe(Recipe(({"path": folder / "a.ome.tif"},), {"predict": step}), folder / "out" / name)
    found = output_recipes(folder / "out")
    assert [place.name for place in found.values()] == ["p.ome.zarr", "q.ome.zarr"]
    first = folder / "out" / "p.ome.zarr"
    assert output_recipes(first) == {first.with_name("p.ome.zarr.recipe.toml"): first}

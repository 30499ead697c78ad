"""Regions, rectangles, long work, metrics, files in one step and format suffixes have one home in the package each.

Each test reads the syntax trees of the package. Exceptions are listed with their reasons, and one that is no longer
needed fails too.
"""

import ast
import re
from functools import cache
from pathlib import Path

import napari_hrpn
from napari_hrpn.analysis.metrics import METRICS
from napari_hrpn.slides.formats import FORMATS

PACKAGE = Path(napari_hrpn.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


@cache
def all_nodes() -> list[tuple[str, ast.AST]]:
    return [(file, node) for file, tree in trees().items() for node in ast.walk(tree)]


def nodes(*kinds: type[ast.AST]) -> list[tuple[str, ast.AST]]:
    return [(file, node) for file, node in all_nodes() if isinstance(node, kinds)]


def name_of(node: ast.AST) -> str:
    """Last part of a dotted name: `replace` of `os.replace`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def methods(node: ast.ClassDef) -> set[str]:
    return {part.name for part in node.body if isinstance(part, ast.FunctionDef)}


def fields(node: ast.ClassDef) -> set[str]:
    return {name_of(part.target) for part in node.body if isinstance(part, ast.AnnAssign)}


def strings(tree: ast.Module) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_regions_are_defined_in_two_files() -> None:
    classes = nodes(ast.ClassDef)
    derived = {file for file, node in classes if any(name_of(base) == "Region" for base in node.bases)}
    assert derived == {"slides/region.py", "slides/region_mask.py"}
    alike = {
        (file, node.name)
        for file, node in classes
        if {"at_level", "within"} & methods(node) and "digest" in methods(node) and file not in derived
    }
    # which tiles of a prediction are finished; it is a table of tiles that nobody draws, saves or measures by name
    assert alike == {("slides/predictions.py", "FinishedTiles")}


def test_no_function_measures_or_paints_regions_elsewhere() -> None:
    pattern = re.compile(r"(?:^|_)(?:rois?|annotations?|regions?|polygons?)_(?:bounds|box|mask|digest)$")
    found = {(file, node.name) for file, node in nodes(ast.FunctionDef) if pattern.search(node.name)}
    assert found == {("slides/region_mask.py", "region_mask")}
    painters = {"polygon", "polygon2mask", "contains_points", "rasterize"}
    callers = {file for file, node in nodes(ast.Call) if name_of(node.func) in painters}
    assert callers == {"slides/polygons.py"}


def test_a_rectangle_of_pixels_is_a_box() -> None:
    found = {(file, node.name) for file, node in nodes(ast.ClassDef) if {"y0", "y1", "x0", "x1"} <= fields(node)}
    assert found == {
        ("core/tiles.py", "Box"),
        # µm in floating point, not pixels
        ("phantom/sampling.py", "Bounds"),
        # samples at a distance in µm, some of them beside the slide
        ("phantom/sampling.py", "SampleGrid"),
    }


def test_generators_are_driven_in_one_file() -> None:
    catching = {
        file
        for file, node in nodes(ast.ExceptHandler)
        if node.type is not None and "StopIteration" in {name_of(part) for part in ast.walk(node.type)}
    }
    assert catching == {"core/progress.py"}
    stepping = {
        file
        for file, loop in nodes(ast.While)
        for node in ast.walk(loop)
        if isinstance(node, ast.Call) and name_of(node.func) == "next" and list(map(type, node.args)) == [ast.Name]
    }
    # batches of a loader that never ends, not steps of a piece of work
    assert stepping - {"training/loop.py"} == {"core/progress.py"}


ORDINARY_WORDS = {"n", "overlap"}
METRICS_ELSEWHERE = {
    # a few numbers chosen for a terminal
    "cli/demo.py": {"r2", "pearson_r", "rmse"},
    "cli/evaluate.py": {"r2", "pearson_r", "slope", "rmse"},
    # of patches, which are no metric of a region
    "reports/cohort.py": {"icc_a1"},
    # numbers that a sentence, a line in a plot or a narrow table puts together
    "reports/evaluation_page.py": {"icc_a1", "icc_c1", "pearson_r", "r2", "slope"},
    "reports/pixel_figures.py": {"intercept", "pearson_r", "r_total", "r2", "rmse", "slope"},
    "reports/tables.py": {"mse", "rmse", "r2", "pearson_r"},
}


def test_keys_of_metrics_are_spelled_in_their_table() -> None:
    keys = {metric.key for metric in METRICS} - ORDINARY_WORDS
    assert keys <= strings(trees()["analysis/metrics.py"])
    spelled = {file: found for file, tree in trees().items() if (found := keys & strings(tree))}
    del spelled["analysis/metrics.py"]
    assert spelled == METRICS_ELSEWHERE


def is_move(node: ast.Call) -> bool:
    """Whether a call moves a file: `os.replace(a, b)`, `path.rename(other)` or `patiently(path.rename, other)`."""
    if name_of(node.func) == "patiently" and isinstance(node.args[0], ast.Attribute):
        return node.args[0].attr in ("replace", "rename")
    if not isinstance(node.func, ast.Attribute) or node.keywords or node.func.attr not in ("replace", "rename", "move"):
        return False
    return len(node.args) == 1 or name_of(node.func.value) in ("os", "shutil")


def test_files_are_replaced_in_one_step_by_two_files() -> None:
    assert {file for file, node in nodes(ast.Call) if is_move(node)} == {
        "core/files.py",
        "slides/writers/output_path.py",
        # a folder that two programs may make at the same time: the second keeps that of the first
        "slides/pyramid_cache.py",
    }
    temporary = {"mkstemp", "NamedTemporaryFile", "fsync"}
    assert {file for file, node in nodes(ast.Call) if name_of(node.func) in temporary} == {
        "core/files.py",
        # patches of many GB are written in place, and a record beside them says last that they are complete
        "training/data/patch_cutting.py",
    }


def test_locks_are_taken_in_one_file() -> None:
    modules = {"fcntl", "msvcrt", "portalocker"}
    imported = {alias.name for _, node in nodes(ast.Import) for alias in node.names}
    imported |= {node.module for _, node in nodes(ast.ImportFrom)}
    assert imported & modules == set()
    found = {file for file, node in nodes(ast.Call) if name_of(node.func) in {"FileLock", "SoftFileLock", "flock"}}
    assert found == {"core/files.py"}


def calls_json(tree: ast.AST, *names: str) -> bool:
    """Whether functions of `json` with these names occur in a piece of code."""
    found = (part for part in ast.walk(tree) if isinstance(part, ast.Attribute) and name_of(part.value) == "json")
    return any(part.attr in names for part in found)


def reads_file(node: ast.Call) -> bool:
    """Whether a call reads JSON from a file: `json.load(file)` or `json.loads(path.read_text())`."""
    inner = {name_of(part) for part in ast.walk(node)}
    return calls_json(node.func, "load", "loads") and bool(inner & {"load", "read_text", "read_bytes", "read"})


def test_json_of_folders_is_read_and_written_in_one_file() -> None:
    assert {file for file, node in nodes(ast.Call) if reads_file(node)} == {
        "core/files.py",
        # a request that cannot be read means another format of run, which the message says
        "training/run_folder.py",
    }
    writing = {
        file
        for file, node in nodes(ast.Call)
        if name_of(node.func) in ("write_text", "write_bytes", "dump") and calls_json(node, "dump", "dumps")
    }
    assert writing == {
        "core/files.py",
        # one line beside the demo's images
        "cli/demo.py",
        # results for other programs, streamed into the file because they may be large
        "reports/folder.py",
        # within `replaced_file`, without waiting for the disk or inside of a checkpoint
        "training/data/patch_cutting.py",
        "training/run_folder.py",
    }


SUFFIXES_ELSEWHERE = {
    # of files that are written
    "cli/convert.py": {".zarr", ".tif", ".tiff"},
    "cli/copies.py": {".zarr", ".tif", ".tiff"},
    "cli/run.py": {".zarr"},
    "recipes/commands.py": {".zarr"},
    "recipes/saving.py": {".zarr"},
    "plugin/writer.py": {".zarr"},
    "plugin/viewer/drawn_regions.py": {".tif"},
    "slides/writers/ome_zarr_writer.py": {".zarr"},
    # files whose structure a message explains
    "cli/info.py": {".tif", ".tiff", ".btf"},
    # images of labels
    "cli/train.py": {".tif", ".tiff"},
    "slides/region_files.py": {".tif", ".tiff"},
}


def test_suffixes_of_formats_are_spelled_where_formats_are() -> None:
    suffixes = {suffix for row in FORMATS for suffix in row.suffixes}
    spelled = {file: found for file, tree in trees().items() if (found := suffixes & strings(tree))}
    outside = {file: found for file, found in spelled.items() if not file.startswith("slides/formats/")}
    assert suffixes == spelled["slides/formats/__init__.py"]
    assert outside == SUFFIXES_ELSEWHERE

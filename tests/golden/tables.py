"""Tables and JSON that the package makes of the inputs, as the golden files hold them."""

import html
import json
import re
import time
from pathlib import Path
from typing import Any

from pyarrow import parquet

from golden.inputs import KINDS, Inputs, outlines, write_inputs
from golden.manifest import command, widget_class
from napari_hrpn.cli import run

RUN_DEPENDENT = {"versions", "made", "sha256", "identity", "measured", "seconds", "napari_hrpn"}
"""Keys of JSON whose values are of the run and not of the pixels."""
EVALUATIONS = {
    "uint8": ("--name", "HRPN", "--name", "GANDA"),
    "uint16": ("--block", "24", "--tumour", "T1"),
    "float32": ("--background", "5", "--patch", "48", "--psnr-max", "real"),
}
MASKED = "uint16"
"""Where the tissue is drawn, not found."""
MEASURING_WIDGETS = ("threshold_miou", "distributions", "penetration")
WAIT_S, LEAST_TURNS = 120.0, 20


def evaluation(folder: Path, kind: str) -> dict[str, str]:
    """What ``evaluate`` writes of predictions of one pixel type, two of them for uint8; texts by file name."""
    inputs = write_inputs(folder, kind)
    predictions = inputs.predictions if kind == KINDS[0] else inputs.predictions[:1]
    output = folder / "evaluation"
    tissue = ["--mask", inputs.tissue] if kind == MASKED else []
    words = [inputs.real, *predictions, "--roi", inputs.regions, "-o", output, *tissue, *EVALUATIONS[kind]]
    assert run(["evaluate", *map(str, words)]) == 0
    return folder_texts(output, f"evaluation-{kind}")


def folder_texts(folder: Path, name: str) -> dict[str, str]:
    """JSON, GeoJSON, CSV and Markdown of a folder and its tables and figures, without what depends on the run."""
    patterns = ("*.*json", "*.csv", "*.md", "tables/*.csv", "figures/*.csv")
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    found = {f"{name}/{path.relative_to(folder).as_posix()}": plain_text(path) for path in paths}
    found |= {f"{name}/{path.stem}-page.txt": page_text(path) for path in folder.glob("*.html")}
    return found | {f"{name}/files.json": json.dumps(written_files(folder), indent=1)}


def page_text(path: Path) -> str:
    """What is read on a page down to what it was made from, a line for each piece of text."""
    pictures_and_code = r"(?s)<(script|style|svg)\b.*?</\1>"
    text = html.unescape(re.sub(r"<[^>]+>", "\n", re.sub(pictures_and_code, "", path.read_text("utf-8"))))
    text = re.sub(r"Made by napari-hrpn \S+ on [\d-]+ [\d:]+ UTC", "Made by napari-hrpn", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = max((number for number, line in enumerate(lines) if line == "Made from"), default=len(lines))
    return "\n".join(lines[:last]) + "\n"


def written_files(folder: Path) -> dict[str, list[str]]:
    """All files that a command wrote, except hidden ones and those of networks; of Parquet with the columns."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(("runs/", "patches/", ".")):
            found[name] = list(parquet.read_schema(path).names) if path.suffix == ".parquet" else []
    return found


def plain_text(path: Path) -> str:
    """Text of a file without what depends on the run."""
    text = path.read_text("utf-8")
    if path.suffix in {".json", ".geojson"}:
        # the identifiers of regions are random
        left_out = RUN_DEPENDENT | ({"id"} if path.suffix == ".geojson" else set())
        return json.dumps(stripped(json.loads(text), left_out), indent=1, ensure_ascii=False)
    return text


def stripped(content: Any, left_out: set[str]) -> Any:
    """JSON without values that depend on the run; of a path only the name stays."""
    if isinstance(content, dict):
        return {key: "…" if key in left_out else stripped(value, left_out) for key, value in content.items()}
    if isinstance(content, list):
        return [stripped(value, left_out) for value in content]
    return Path(content).name if isinstance(content, str) and Path(content).is_absolute() else content


def widget_tables(folder: Path, monkeypatch: Any) -> dict[str, str]:
    """Tables that the measuring widgets save of a slide, two predictions and regions; ROIs of every pixel type."""
    found: dict[str, str] = {}
    for kind in KINDS:
        inputs = write_inputs(folder / kind, kind)
        viewer = viewer_of(inputs.real, *inputs.predictions)
        for name in (*(MEASURING_WIDGETS if kind == KINDS[0] else ()), "roi_correlation"):
            widget = widget_class(name)(viewer)
            try:
                widget.show()
                settle(widget)
                found |= measured_tables(widget, f"{name}-{kind}", inputs, monkeypatch)
            finally:
                widget.shut_down()
                widget.close()
    return found


def measured_tables(widget: Any, name: str, inputs: Inputs, monkeypatch: Any) -> dict[str, str]:
    """Measure everything in a widget and save its tables."""
    if name.startswith("roi_correlation"):
        import_regions(widget, inputs.regions, monkeypatch)
    for text in ("Measure", "Measure at full resolution", "Manders and Costes"):
        press(widget, text, must_exist=False)
    settle(widget)
    found = {f"widgets/{name}-shown.json": json.dumps(shown_tables(widget), indent=1, ensure_ascii=False)}
    return found | saved_tables(widget, inputs.real.parent / name, monkeypatch)


def shown_tables(widget: Any) -> list[dict[str, Any]]:
    """Headings and texts of the tables in a widget."""
    from qtpy.QtWidgets import QTableWidget

    found = []
    for table in widget.findChildren(QTableWidget):
        headings = [table.horizontalHeaderItem(column) for column in range(table.columnCount())]
        titles = [item.text() for item in headings if item is not None]
        rows = [row_texts(table, row) for row in range(table.rowCount())]
        found.append({"headings": titles, "rows": rows})
    return found


def import_regions(widget: Any, path: Path, monkeypatch: Any) -> None:
    """Open regions as the user does, and wait until they are measured."""
    from qtpy.QtWidgets import QTableWidget

    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *_, **__: (str(path), ""))
    press(widget, "Import…")
    wait_until(lambda: any(table.rowCount() == len(outlines()) for table in widget.findChildren(QTableWidget)))
    settle(widget)


def viewer_of(*paths: Path) -> Any:
    """A viewer without a window, with these slides."""
    from napari.components import ViewerModel

    viewer = ViewerModel()
    for path in paths:
        open_in(viewer, path)
    return viewer


def open_in(viewer: Any, path: Path) -> None:
    """Add what the reader of the manifest makes of a slide."""
    reader = command("napari-hrpn.get_reader")(str(path))
    for data, attributes, kind in reader(str(path)):
        getattr(viewer, f"add_{kind}")(data, **attributes)


def saved_tables(widget: Any, folder: Path, monkeypatch: Any) -> dict[str, str]:
    """What the entries of the buttons named Save write, figures left out."""
    from qtpy.QtWidgets import QPushButton

    folder.mkdir()
    found = {}
    menus = [button.menu() for button in widget.findChildren(QPushButton) if button.menu() is not None]
    for number, menu in enumerate(menus):
        for entry in menu.actions():
            if any(word in entry.text() for word in ("Figure", "Plot")):
                continue
            ending = "geojson" if "GeoJSON" in entry.text() else "csv"
            title = entry.text().partition("(")[0].strip(" …").replace(" ", "_").lower()
            path = folder / f"{number}-{title}.{ending}"
            monkeypatch.setattr(
                "qtpy.QtWidgets.QFileDialog.getSaveFileName", lambda *_, path=path, **__: (str(path), "")
            )
            entry.trigger()
            found |= {f"widgets/{folder.name}-{one.name}": plain_text(one) for one in folder.glob(f"{path.stem}.*")}
    return found


def press(widget: Any, text: str, *, must_exist: bool = True) -> None:
    """Click the button of this text."""
    from qtpy.QtWidgets import QPushButton

    buttons = [button for button in widget.findChildren(QPushButton) if button.text() == text]
    assert buttons or not must_exist, f"there is no button {text!r}"
    for button in buttons[:1]:
        button.click()


def settle(widget: Any) -> None:
    """Wait until a widget has read, measured and shown everything."""
    from qtpy.QtWidgets import QTableWidget

    def is_settled() -> bool:
        is_done = widget.is_settled if hasattr(widget, "is_settled") else not widget.is_busy
        return is_done and not any("…" in cell for table in widget.findChildren(QTableWidget) for cell in cells(table))

    # what has just been done may only begin after a short pause
    wait_until(is_settled, for_s=0.3)


def cells(table: Any) -> list[str]:
    """Texts of a table."""
    return [text for row in range(table.rowCount()) for text in row_texts(table, row)]


def row_texts(table: Any, row: int) -> list[str]:
    """Texts of a row; empty where there is no item."""
    items = [table.item(row, column) for column in range(table.columnCount())]
    return ["" if item is None else item.text() for item in items]


def wait_until(is_true: Any, for_s: float = 0.0) -> None:
    """Let Qt work until a condition has held for some time, and each of many times that Qt had its turn."""
    from qtpy.QtWidgets import QApplication

    end, since, turns = time.monotonic() + WAIT_S, 0.0, 0
    while not turns or (for_s and (turns < LEAST_TURNS or time.monotonic() - since < for_s)):
        assert time.monotonic() < end, "the widget did not come to rest"
        QApplication.processEvents()
        since = since if turns else time.monotonic()
        turns = turns + 1 if is_true() else 0
        time.sleep(0.005)


def layers(paths: dict[str, Path]) -> str:
    """How slides are shown: their layers, by what each slide is."""
    found = {name: [layer_facts(layer) for layer in viewer_of(path).layers] for name, path in paths.items()}
    return json.dumps(found, indent=1, ensure_ascii=False)


def layer_facts(layer: Any) -> dict[str, Any]:
    """What is seen of an image layer."""
    return {
        "name": layer.name,
        "shapes": [list(level.shape) for level in layer.data] if layer.multiscale else [list(layer.data.shape)],
        "dtype": str(layer.dtype),
        "colormap": layer.colormap.name,
        "contrast_limits": [float(limit) for limit in layer.contrast_limits],
        "scale": [float(step) for step in layer.scale],
        "translate": [float(step) for step in layer.translate],
        "units": [str(unit) for unit in layer.units],
        "blending": str(layer.blending),
        "visible": bool(layer.visible),
    }

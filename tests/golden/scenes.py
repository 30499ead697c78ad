"""What is done with slides and old files, and the texts that come of it."""

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

from golden import interfaces, old_files, tables
from golden.inputs import KINDS, write_inputs
from napari_hrpn.cli import run


def facts(folder: Path) -> dict[str, str]:
    """How slides and predictions, converted and old, are described and shown."""
    inputs = {kind: write_inputs(folder / kind, kind) for kind in KINDS}
    paths = {f"real-{kind}": files.real for kind, files in inputs.items()}
    paths |= {f"prediction-{kind}": files.predictions[0] for kind, files in inputs.items()}
    for ending in ("ome.zarr", "ome.tif"):
        path = folder / f"converted.{ending}"
        assert run(["convert", str(paths["real-uint16"]), str(path)]) == 0
        paths[f"converted-{ending}"] = path
    old = old_files.unpack(folder / "old")
    paths["old-prediction"] = old / "predicted" / "long.predicted.ome.zarr"
    paths["old-unfinished"] = old / "stopped" / "long.predicted.ome.zarr"
    return interfaces.printed_facts(paths) | {"facts/layers.json": tables.layers(paths)}


def interfaces_texts(folder: Path) -> dict[str, str]:
    """The manifest and the sentences about wrong input."""
    interfaces.write_wrong_inputs(folder)
    with chdir(folder):
        refusals = interfaces.refusals(folder)
    return {"interfaces/manifest.json": interfaces.manifest(), "interfaces/refusals.json": refusals}


def old_tables(folder: Path) -> dict[str, str]:
    """Tables made of an old study and an old evaluation, and what the commands say that go on with old folders."""
    found, said = {}, {}
    commands = old_files.commands(folder)
    commands["run, an epoch more"] = [*commands["run"][:-1], "2"]
    commands["cohort"] = ["report", str(folder / "evaluation"), "-o", str(folder / "cohort")]
    for name in ("study/results.csv", "study/table.csv", "study/table.md"):
        (folder / name).unlink()
    shutil.rmtree(folder / "study" / "figures")
    for name, words in commands.items():
        code, out, _ = interfaces.call(words)
        said[name] = {"exit_code": code, "said": _without_speed(out.replace(f"{folder}{os.sep}", ""))}
    for name in ("study", "cohort"):
        found |= tables.folder_texts(folder / name, f"old/{name}")
    history = (folder / "run" / "history.csv").read_text("utf-8").splitlines()[:2]
    found["old/history.csv"] = "\n".join(history) + "\n"
    found["old/said.json"] = json.dumps(said, indent=1, ensure_ascii=False)
    return found


def _without_speed(text: str) -> list[str]:
    """Lines of a text without seconds and speeds."""
    import re

    return [re.sub(r"[\d.]+ (s|Mpx/s)\b", r"… \1", line) for line in text.splitlines()]

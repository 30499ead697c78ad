"""What `diagnose` says of a machine."""

import json

import pytest
import torch
from npe2 import PluginManifest

from napari_hrpn.cli import run
from napari_hrpn.cli.diagnose import clashes, why_no_gpu
from napari_hrpn.core import requirements


def reader(name: str, *patterns: str) -> PluginManifest:
    command = {"id": f"{name}.read", "title": "Read", "python_name": "os:getcwd"}
    readers = [{"command": f"{name}.read", "filename_patterns": list(patterns)}]
    return PluginManifest(name=name, contributions={"commands": [command], "readers": readers})


def test_a_machine_is_described_as_json_and_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    installed = {row["name"]: row["installed"] for row in facts["packages"]}
    assert installed["torch"] == torch.__version__
    assert facts["devices"][-1]["name"] == "cpu"
    assert facts["memory"]["total_bytes"] >= facts["memory"]["available_bytes"] > 0
    assert facts["disk"].keys() == {"current", "temporary", "cache"}
    assert bool(facts["no_gpu"]) == (len(facts["devices"]) == 1)
    assert run(["diagnose"]) == 0
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__}" in printed
    assert all(sentence in printed for sentence in facts["problems"])


@pytest.mark.parametrize(
    ("system", "cuda", "variable", "expected"),
    [
        ("linux", None, None, "for processors only"),
        ("linux", "13.0", "", "CUDA_VISIBLE_DEVICES hides"),
        ("linux", "13.0", "0", "cannot use a GPU: no driver here"),
        ("win32", "13.0", None, "cannot use a GPU: no driver here"),
        ("darwin", None, None, "Apple GPU"),
    ],
)
def test_the_reason_without_a_gpu(
    system: str, cuda: str | None, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver() -> None:
        raise RuntimeError("no driver here\nand more")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "init", no_driver)
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert expected in why_no_gpu(system, environment)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert why_no_gpu(system, environment) == ""


def test_plugins_that_open_the_same_files_are_named() -> None:
    others = [reader("all-files", "*"), reader("nd2s", "*.ND2"), reader("tables", "*.csv"), reader("napari", "*.tif")]
    found = clashes([*others, reader("napari-hrpn", "*.tif")])
    assert len(found) == 2
    assert all(ending in found[0] for ending in (".tif", ".zarr", ".nd2"))
    assert found[1].startswith("the plugin nd2s opens .nd2 as well;")


@pytest.mark.parametrize(
    ("line", "installed", "problem"),
    [
        ("napari[all]>=0.9; extra == 'all'", "0.8.3", "needs napari>=0.9, but 0.8.3 is installed"),
        ("napari[all]>=0.9; extra == 'all'", "0.10.0.dev3", ""),
        ("napari[all]>=0.9; extra == 'all'", None, ""),
        ("numpy>=1.26", None, "needs numpy>=1.26, which is not installed"),
        ("numpy>=1.26", "2.4", ""),
    ],
)
def test_versions_are_compared_with_the_metadata(
    line: str, installed: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(_: str) -> str:
        if installed is None:
            raise requirements.PackageNotFoundError
        return installed

    monkeypatch.setattr(requirements, "requires", lambda _: [line])
    monkeypatch.setattr(requirements, "version", version)
    (need,) = requirements.needs()
    assert problem in need.problem
    assert bool(need.problem) == bool(problem)
    assert need.extra == ("all" if "extra" in line else "")

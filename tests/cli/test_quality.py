"""``napari-hrpn quality``: what it prints for slides that are fine, faulty or broken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from napari_hrpn.cli import run
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.slides import write_ome_tiff


def finished(steps) -> None:
    for _ in steps:
        pass


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("slides")
    made = {}
    for name, changes in {"fine": {}, "shifted": {"probe_shift_um": (1.1, 0.0), "nuclei_grey": 400.0}}.items():
        settings = replace(PHANTOM_PRESETS["tiny"], **changes)
        made[name] = folder / f"{name}.ome.tif"
        finished(write_ome_tiff(phantom_slide(settings, size=(512, 1024), seed=1).slide, made[name]))
    made["broken"] = folder / "broken.ome.tif"
    made["broken"].write_bytes(b"II*\0nothing")
    return made


def printed(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> tuple[str, str]:
    assert run(["quality", *map(str, words)]) == code
    shown = capsys.readouterr()
    return shown.out, shown.err


def test_a_fine_slide_has_one_line(slides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, slides["fine"])
    assert out == f"{slides['fine']}: nothing that matters; 0.5 million pixels checked\n"


def test_faults_are_told_in_sentences(slides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, slides["shifted"])
    first, *lines = out.splitlines()
    assert "2 that matter" in first
    assert [line for line in lines if line.startswith("  ! DAPI: ") and "saturated at 255" in line]
    assert [line for line in lines if line.startswith("  ! QD is displaced by 4.0 px (1.1 µm) against DAPI")]


def test_json_has_the_numbers_and_no_nan(slides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, slides["shifted"], "--json")
    facts = json.loads(out, parse_constant=pytest.fail)
    assert facts["path"] == str(slides["shifted"])
    assert facts["channel_names"] == ["DAPI", "AF488", "QD"]
    assert {finding["check"] for finding in facts["findings"]} == {"saturation", "shift"}
    assert {tuple(sorted(finding)) for finding in facts["findings"]} == {
        ("channels", "check", "matters", "sentence", "unit", "value")
    }
    of_probe = next(shift for shift in facts["shifts"] if (shift["first"], shift["second"]) == (0, 2))
    assert of_probe["shift_um"] == pytest.approx([1.1, 0], abs=0.06)
    # what cannot be told is null
    assert next(shift for shift in facts["shifts"] if shift["second"] == 1)["shift_px"] == [None, None]


def test_channels_can_be_named(slides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, slides["fine"], "--json", "--nuclei", "2", "--vessels", "DAPI", "--probe", "AF488")
    assert [(shift["first"], shift["second"]) for shift in json.loads(out)["shifts"]] == [(2, 0), (2, 1), (0, 1)]
    _, err = printed(capsys, slides["fine"], "--probe", "Cy9", code=2)
    assert "no channel 'Cy9'" in err


def test_a_broken_slide_does_not_stop_the_others(slides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, slides["broken"], slides["fine"], "--json", code=2)
    assert [one["path"] for one in json.loads(out)] == [str(slides["fine"])]
    assert "broken.ome.tif" in err
    assert "1 of 2 slides could not be checked" in err
    assert "Traceback" not in err


def test_the_slide_is_not_touched(slides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    before = slides["fine"].read_bytes()
    printed(capsys, slides["fine"])
    assert slides["fine"].read_bytes() == before
    assert sorted(path.name for path in slides["fine"].parent.iterdir()) == sorted(p.name for p in slides.values())


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "--help")
    assert "napari-hrpn quality slide.ome.tif" in out

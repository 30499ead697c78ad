"""Slides of a training as the command line names them: tumours, parts, channels and regions for each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.cli.messages import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.training import SlideEntry

_REGION_ENDINGS = (".geojson", ".json", ".tif", ".tiff", ".png", ".npy")


def slide_entries(
    slides: Sequence[Path],
    *,
    tumours: Mapping[str, str],
    test: Sequence[str],
    roles: Mapping[str, str],
    regions: Path | None,
    plane: Mapping[str, Any],
) -> list[SlideEntry]:
    """Put together what is said of each slide."""
    from napari_hrpn.training import SlideEntry

    tumour_of = _by_slide(slides, tumours)
    annotated = _regions_by_slide(slides, regions)
    entries = [
        SlideEntry(slide.absolute(), tumour_of.get(slide, ""), roles=roles, regions=annotated[slide], **plane)
        for slide in slides
    ]
    ids = dict.fromkeys(entry.tumour_id for entry in entries)
    unknown = next((name for name in test if name not in ids), None)
    if unknown is not None:
        msg = f"there is no tumour {unknown!r} to keep for testing; expected one of {', '.join(ids)}."
        raise CommandError(msg)
    return [replace(entry, part="test") if entry.tumour_id in test else entry for entry in entries]


def pairs(words: Sequence[str], option: str, what: str) -> dict[str, str]:
    """Read options of the form NAME=VALUE."""
    found: dict[str, str] = {}
    for word in words:
        name, _, value = (part.strip() for part in word.partition("="))
        if not name or not value or name in found:
            msg = f"{option} got {word!r}; expected {what}, each name once."
            raise CommandError(msg)
        found[name] = value
    return found


def _by_slide(slides: Sequence[Path], tumours: Mapping[str, str]) -> dict[Path, str]:
    from napari_hrpn.slides import slide_name

    found: dict[Path, str] = {}
    for name, tumour in tumours.items():
        named = [slide for slide in slides if name in (slide_name(slide), slide.name, str(slide))]
        if not named:
            msg = f"--tumour names {name!r}, which is no slide; expected one of {', '.join(map(slide_name, slides))}."
            raise CommandError(msg)
        found |= dict.fromkeys(named, tumour)
    return found


def _regions_by_slide(slides: Sequence[Path], regions: Path | None) -> dict[Path, Path | None]:
    if regions is None:
        return dict.fromkeys(slides)
    if not regions.exists():
        msg = f"there is no file or folder {regions}; expected regions as GeoJSON or label image."
        raise CommandError(msg)
    if not regions.is_dir():
        if len(slides) > 1:
            msg = f"{regions} has the regions of one slide but {len(slides)} are given; name a folder of such files."
            raise CommandError(msg)
        return {slides[0]: regions.absolute()}
    return {slide: _regions_of(slide, regions) for slide in slides}


def _regions_of(slide: Path, folder: Path) -> Path:
    from napari_hrpn.slides import slide_name

    names = [f"{slide_name(slide)}{ending}" for ending in _REGION_ENDINGS]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        msg = (
            f"{folder} has no regions for {slide.name}, expected {names[0]}; add it, or train on slides with regions "
            "and without them in one folder each."
        )
        raise CommandError(msg)
    return found.absolute()

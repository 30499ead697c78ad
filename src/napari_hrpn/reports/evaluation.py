"""Evaluation report of a slide: measurement part by part, then tables, figures and a page.

The rule: everything is written from the kept parts alone, so a run that was killed and resumed gives the same files.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis import EvaluationSettings, count_in_threads, evaluate_slide, why_no_penetration
from napari_hrpn.analysis.metrics import METRICS, PAGE
from napari_hrpn.core import relayed
from napari_hrpn.core.heap import return_freed_memory
from napari_hrpn.core.plain_text import printable
from napari_hrpn.recipes import save_output_recipe
from napari_hrpn.reports.drawing import file_name, write_drawing
from napari_hrpn.reports.evaluation_page import evaluation_page
from napari_hrpn.reports.evaluation_recipe import evaluation_recipe
from napari_hrpn.reports.folder import FIGURES, REGIONS, TABLES, ReportError, ReportFolder
from napari_hrpn.reports.pixel_figures import pixel_figures
from napari_hrpn.reports.provenance import hash_steps, slide_facts
from napari_hrpn.reports.serialization import evaluation_content, measured_rois, plain_part
from napari_hrpn.reports.tables import evaluation_tables, write_tables
from napari_hrpn.reports.tissue_figures import patch_figure, penetration_figure, slide_figure
from napari_hrpn.slides import prediction_colours, prediction_record, slide_identity, write_geojson

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_hrpn.analysis import BlockMap, EvaluationReport, ProbeImage, SlideComparison
    from napari_hrpn.reports.drawing import Drawing
    from napari_hrpn.slides import Annotation, Location, Slide

    Plain = dict[str, Any]

# shares of the progress at which hashing and measuring end
_HASHED, _MEASURED = 0.05, 0.85
_PACKAGES = (
    "napari-hrpn",
    "numpy",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "pandas",
    "matplotlib",
    "zarr",
    "tifffile",
)


@dataclass(frozen=True, eq=False)
class EvaluationRequest:
    """Request for an evaluation.

    Attributes
    ----------
    comparison : SlideComparison
        Slides and regions.
    tumour : str
        The unit of a cohort, usually an animal.
    tissue_words : str
        How the tissue was found, such as "from the nuclei".
    settings : EvaluationSettings
        How the slide is evaluated.
    files : dict of str to pathlib.Path
        Other files that decide the numbers, by their purpose: a mask, regions.
    classes : tuple of str
        Classes of the annotations in these files that were used; all if empty.
    """

    comparison: SlideComparison
    tumour: str
    tissue_words: str
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    files: dict[str, Path] = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        images = self.comparison.real, *self.comparison.predictions
        names = [self.tumour, *(image.name for image in images), *(image.slide.source.name for image in images)]
        names += [*self.comparison.region_names, *(path.name for path in self.files.values())]
        for name in names:
            if printable(name) != " ".join(name.split()):
                msg = (
                    f"the name {printable(name)[:60]} holds characters that cannot be written; expected text: give it "
                    "another name."
                )
                raise ReportError(msg)


@dataclass(frozen=True)
class WritingReport:
    """Progress of an evaluation.

    Attributes
    ----------
    share : float
        Finished share, 0 to 1.
    step : str
        What is being done.
    """

    share: float
    step: str


@dataclass(frozen=True)
class WrittenEvaluation:
    """Files of a complete evaluation.

    Attributes
    ----------
    json, page : pathlib.Path
        Files with the numbers and with the page.
    new : bool
        Whether this run completed it; False if it was complete already.
    content : dict or None
        Content of the JSON file, if this run completed it.
    """

    json: Path
    page: Path
    new: bool
    content: Plain | None = None


def write_evaluation(
    request: EvaluationRequest, folder: Path, *, overwrite: bool = False, block_map: BlockMap = count_in_threads
) -> Generator[WritingReport, None, WrittenEvaluation]:
    """Evaluate a slide into a folder, or resume an evaluation that was stopped.

    Parameters
    ----------
    request : EvaluationRequest
        Slides, regions and settings.
    folder : pathlib.Path
        Output folder for ``evaluation.json``, ``evaluation.html``, ``tables/``, ``figures/`` and, with regions,
        ``rois.geojson``.
    overwrite : bool
        Whether a different evaluation may be replaced.
    block_map : BlockMap
        Function that counts blocks of pixels, in threads or on workers; an earlier run may have used another one.

    Yields
    ------
    WritingReport
        After each step.

    Returns
    -------
    WrittenEvaluation
        Paths of the files.

    Raises
    ------
    ReportError
        If the folder holds something else or is in use.
    AgreementError, AnalysisError, SlideError
        If slides cannot be compared or read.
    """
    names = [file_name(prediction.name) for prediction in request.comparison.predictions]
    # some file systems do not distinguish upper and lower case
    if len({name.casefold() for name in names}) < len(names):
        msg = f"predictions would be written to the same files, {' and '.join(names)}; give them more distinct names."
        raise ReportError(msg)
    target, record = ReportFolder(folder), evaluation_request(request)
    with target.locked():
        if target.begin(record, overwrite=overwrite):
            return WrittenEvaluation(target.json, target.page, new=False)
        save_output_recipe(evaluation_recipe(request, folder), folder)
        hashes = yield from _hashes(request)
        parts = yield from _measured(request, target, block_map)
        content = yield from _written(request, target, parts, _about(request, record, hashes))
        return WrittenEvaluation(target.json, target.page, new=True, content=content)


def evaluation_request(request: EvaluationRequest) -> Plain:
    """Everything that decides the numbers of an evaluation, as JSON; two requests are equal if these are."""
    comparison = request.comparison
    rois = [_roi_request(roi) for roi in comparison.rois]
    record = {
        "real": _image_request(comparison.real),
        "roles": asdict(comparison.roles),
        "predictions": {image.name: _image_request(image) for image in comparison.predictions},
        **{name: getattr(getattr(comparison, name), "digest", None) for name in ("tissue", "glass", "vessels")},
        "rois": hashlib.sha256(json.dumps(rois).encode()).hexdigest()[:16] if rois else None,
        "tumour": request.tumour,
        "settings": asdict(request.settings),
    }
    if comparison.finished is not None:
        # an unfinished prediction is measured again once it has more tiles
        record["tiles"] = comparison.finished.facts
    # as it will be read back: tuples become lists, so that equal requests compare equal
    plain: Plain = json.loads(json.dumps(record))
    return plain


def _roi_request(roi: Annotation) -> list[Any]:
    rings, excluded = (
        [[ring.tolist() for ring in polygon] for polygon in polygons] for polygons in (roi.rings, roi.holes)
    )
    return [roi.name, rings, *([excluded] if excluded else [])]


def _image_request(image: ProbeImage) -> Plain:
    slide = image.slide
    given = {"pixel_size_um": list(slide.pixel_size_um or ())} if slide.pixel_size_is_given else {}
    return {"name": slide.source.name, "identity": slide_identity(slide), "channel": image.channel, **given}


def _hashes(request: EvaluationRequest) -> Generator[WritingReport, None, dict[Location, str]]:
    """SHA-256 of every file that is read."""
    slides = [image.slide.source for image in (request.comparison.real, *request.comparison.predictions)]
    sources = (*slides, *request.files.values())
    paths = list(dict.fromkeys(path for path in sources if isinstance(path, Path) and path.is_file()))
    digests: dict[Location, str] = {}
    total, before = max(1, sum(path.stat().st_size for path in paths)), 0
    for path in paths:
        size = 0
        for size, digest in hash_steps(path):
            digests[path] = digest
            yield WritingReport(_HASHED * min(1.0, (before + size) / total), "hashing files")
        before += size
    return digests


def _measured(
    request: EvaluationRequest, target: ReportFolder, block_map: BlockMap
) -> Generator[WritingReport, None, dict[str, Plain]]:
    # pixels that were counted before there was a metric are counted again
    keys = {metric.key for metric in METRICS if metric.windows or PAGE in metric.views}
    parts = {name: part for name, part in target.parts().items() if keys.issubset(part.get("frame", keys))}

    def kept(report: EvaluationReport) -> WritingReport:
        if report.finished is not None:
            parts[report.part] = plain_part(report.finished)
            target.keep(report.part, parts[report.part])
            # a part leaves large blocks of pixels that later parts and figures do not need
            return_freed_memory()
        return WritingReport(_HASHED + (_MEASURED - _HASHED) * report.share, report.part)

    yield from relayed(
        evaluate_slide(request.comparison, request.settings, skip=tuple(parts), block_map=block_map), kept
    )
    return parts


def _written(
    request: EvaluationRequest, target: ReportFolder, parts: dict[str, Plain], about: Plain
) -> Generator[WritingReport, None, Plain]:
    yield WritingReport(_MEASURED, "tables")
    return_freed_memory()
    write_tables(evaluation_tables(parts), target.path / TABLES)
    return_freed_memory()
    drawn = []
    expected = 6 + 2 * len(request.comparison.predictions)
    for drawing in _drawings(request, parts):
        write_drawing(drawing, target.path / FIGURES)
        drawn.append(drawing)
        yield WritingReport(_MEASURED + (1 - _MEASURED) * min(1.0, len(drawn) / expected), "figures")
    content = evaluation_content(parts, about, why_no_penetration(request.comparison))
    if request.comparison.rois:
        measured = measured_rois(request.comparison, content)
        slide = slide_identity(request.comparison.real.slide)
        write_geojson(measured, target.path / REGIONS, slide=slide, overwrite=True)
    target.finish(content, evaluation_page(content, parts, drawn, target.path / FIGURES))
    return content


def _drawings(request: EvaluationRequest, parts: dict[str, Plain]) -> Iterator[Drawing]:
    comparison = request.comparison
    probe = comparison.real.slide.channel_names[comparison.real.channel]
    for prediction in comparison.predictions:
        yield slide_figure(comparison.real, prediction, probe)
    colours = _colours(comparison)
    yield from pixel_figures([parts[f"pixels {name}"] for name in colours], probe, list(colours.values()))
    yield patch_figure(parts["patches"], colours)
    if "penetration" in parts:
        yield penetration_figure(parts["penetration"], colours)


def _colours(comparison: SlideComparison) -> dict[str, str]:
    """Colours of the predictions, by their names."""
    colours = prediction_colours([prediction.slide for prediction in comparison.predictions])
    return {image.name: colour for image, colour in zip(comparison.predictions, colours, strict=True)}


def _trained_on(prediction: Slide, tumour: str) -> Plain:
    record = prediction_record(prediction.source)
    seen = () if record is None else map(str.casefold, record.trained_on)
    return {"trained_on": True} if tumour.casefold() in seen else {}


def _about(request: EvaluationRequest, record: Plain, hashes: dict[Location, str]) -> Plain:
    from importlib.metadata import version

    comparison, finished = request.comparison, request.comparison.finished
    colours = _colours(comparison)
    return {
        "tumour": request.tumour,
        "probe": comparison.real.slide.channel_names[comparison.real.channel],
        "tissue": request.tissue_words,
        "real": slide_facts(comparison.real.slide, hashes.get(comparison.real.slide.source)),
        "predictions": {
            image.name: {
                **slide_facts(image.slide, hashes.get(image.slide.source)),
                "colour": colours[image.name],
                **_trained_on(image.slide, request.tumour),
            }
            for image in comparison.predictions
        },
        "files": {purpose: {"name": path.name, "sha256": hashes.get(path)} for purpose, path in request.files.items()},
        "versions": {name: version(name) for name in _PACKAGES},
        "settings": record["settings"],
        "tiles": None if finished is None else finished.facts,
        "measured": "" if finished is None else finished.words,
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "request": record,
    }

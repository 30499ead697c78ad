"""A metric that is added to the table, and all files that should have it then; run in a process of its own."""

# ruff: noqa: E402 - the row has to be there before the modules that read the table

import sys
import warnings
from pathlib import Path

from scipy.ndimage import gaussian_filter

from napari_hrpn.analysis import metrics
from napari_hrpn.analysis.metrics import COHORT, COHORT_FIGURE, COHORT_PAGE, PAGE, ROI, STUDY, Metric
from napari_hrpn.analysis.windows import Window


def local_products(y, p, data_range):
    return gaussian_filter(y * p, 1.5, truncate=3.5)


WINDOW = Window("products", 5, local_products)
ROW = Metric(
    "local_product",
    "local product",
    "Mean of products around a pixel.",
    lambda r: r.window_mean(WINDOW),
    "px²",
    windows=(WINDOW,),
    views=(PAGE, COHORT, COHORT_PAGE, COHORT_FIGURE, ROI, STUDY),
)
if __name__ == "__main__":
    metrics.METRICS += (ROW,)
    metrics.STUDY_METRICS += (ROW.key,)

from napari_hrpn.analysis import measure_roi, roi_images
from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.cli import run
from napari_hrpn.core import drive
from napari_hrpn.experiments import cross_validate, cross_validation, read_study
from napari_hrpn.plugin.roi_correlation.exports import Exported, write_rois_table
from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
from napari_hrpn.plugin.roi_correlation.result_panel import numbers_html
from napari_hrpn.plugin.roi_correlation.results import RoiRow
from napari_hrpn.slides import open_slide, read_geojson
from support.evaluated_slides import evaluated_slide
from support.studies import FakeTraining, write_study

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    slide = evaluated_slide(folder)
    assert run(["evaluate", *slide.words, "-o", str(folder / "evaluation")]) == 0
    assert run(["report", str(folder / "evaluation"), "-o", str(folder / "cohort")]) == 0
    images = ProbeImage("real", open_slide(slide.real), 2), ProbeImage("good", open_slide(slide.good), 0)
    compared, roi = roi_images(images[0], images[1:]), read_geojson(slide.rois)[0]
    row = RoiRow(ListedRoi(0, roi), drive(measure_roi(compared, roi, resamples=100)))
    write_rois_table(Exported(compared, (row,), "regions"), folder / "rois.csv")
    (folder / "panel.html").write_text(numbers_html(row, ["good"]), "utf-8")
    cross_validation.train_model = FakeTraining()
    text = "models = ['hrpn']\n[settings]\nbranches = 1\npatch_px = 32\nepochs = 2\ndevice = 'cpu'\n"
    warnings.simplefilter("ignore")
    study = read_study(write_study(folder / "slides", text, ("T1", "T2")))
    drive(cross_validate(study, folder / "study"))

"""Button "Calibrate from these ROIs": a line fitted in the drawn regions, and the calibrated prediction as a layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from magicgui.widgets import PushButton
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QMessageBox

from napari_hrpn.analysis import ProbeImage, calibrate_prediction, calibration_path, save_calibration
from napari_hrpn.plugin.parts.measure_bar import step
from napari_hrpn.plugin.parts.report_button import LOOKING_FOR_TISSUE
from napari_hrpn.plugin.roi_correlation.colocalization_layer import add_below_regions
from napari_hrpn.plugin.viewer import (
    calibrated_layer,
    is_calibrated,
    is_same_slide,
    layer_name,
    placement,
    share_contrast,
    slide_of,
)
from napari_hrpn.plugin.viewer.slides_as_layers import CALIBRATED
from napari_hrpn.slides import SlideError, prediction_record

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    import napari

    from napari_hrpn.analysis import Calibration
    from napari_hrpn.core import Progress
    from napari_hrpn.plugin.parts.measure_bar import MeasureBar
    from napari_hrpn.plugin.parts.pair_form import PairForm
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.parts.tissue_mask import Tissue
    from napari_hrpn.plugin.roi_correlation.result_panel import ResultPanel
    from napari_hrpn.plugin.viewer import LayerData
    from napari_hrpn.slides import Region, RegionMask

_TIP = (
    "Fit the prediction to the real image in these regions (three or more, apart from each other), and show it "
    "calibrated in a layer of its own; it is kept beside the prediction"
)
_STOPPED = "Stopped: nothing was calibrated."
_AGAIN = "{} is a calibrated prediction already: choose the prediction itself."
_REPLACE = "{} is calibrated already. Replace the calibration in {}?"
_NO_PREDICTION = "Not kept in a file, as {} is no prediction of this program."


class _Calibrated(NamedTuple):
    """A calibration, where it is kept or why it is not, and the layer that it makes."""

    calibration: Calibration
    kept: str
    layer: LayerData


class Calibrator(QObject):
    """Calibrates a prediction in the background, and shows the result in a bar and as a layer."""

    def __init__(
        self,
        viewer: napari.Viewer,
        pair_form: PairForm,
        tissue: Tissue,
        bar: MeasureBar,
        regions: Callable[[], Sequence[Region]],
        panel: ResultPanel,
    ) -> None:
        super().__init__()
        self._viewer, self._pair_form, self._tissue, self._bar = viewer, pair_form, tissue, bar
        self._regions, self._panel = regions, panel
        self._begun: tuple[object, ComparedChannel, ComparedChannel] | None = None
        self.button = PushButton(text="Calibrate from these ROIs", tooltip=_TIP)
        self.button.changed.connect(self.calibrate)

    def calibrate(self) -> None:
        """Fit the prediction that is shown to the real channel in the regions, as soon as the tissue is known."""
        pair = self._pair_form.pair
        if pair is None:
            self._bar.refuse(self._pair_form.problem or "")
        elif self._tissue.is_busy:
            self._tissue.when_known(self.calibrate)
            self._bar.say(LOOKING_FOR_TISSUE)
        elif not self._bar.is_running:
            # by itself, a prediction is not restricted to what others that are ticked have too
            self._start(pair.real, self._pair_form.channel(pair.predictions[self._panel.which].layer))

    def _start(self, real: ComparedChannel, prediction: ComparedChannel) -> None:
        if is_calibrated(prediction.layer):
            self._bar.refuse(_AGAIN.format(repr(prediction.name)))
            return
        slide = slide_of(prediction.layer)
        is_store = slide is not None and prediction_record(slide.source) is not None
        path = calibration_path(prediction.slide.source) if is_store else None
        if path is not None and path.exists() and not self._may_replace(prediction, path):
            return
        key, words = object(), f"Calibrating {prediction.name}"
        self._begun = key, real, prediction
        images = [ProbeImage(one.name, one.slide, one.channel) for one in (real, prediction)]
        chosen = tuple(self._regions()), self._tissue.mask, path
        self._bar.start([step(words, math.prod(real.slide.shape), _calibrated, *images, *chosen, key=key)])

    def _may_replace(self, prediction: ComparedChannel, path: Path) -> bool:
        question = _REPLACE.format(prediction.name, path)
        return bool(QMessageBox.question(self._bar, "Calibrate", question) == QMessageBox.StandardButton.Yes)

    def finish(self, _: bool) -> None:
        """Show the result, or why there is none, once the bar has ended its work."""
        if self._begun is None:
            return
        (key, real, prediction), self._begun = self._begun, None
        found = self._bar.results.pop(key, None)
        if isinstance(found, _Calibrated):
            self._show(found, real, prediction)
        elif isinstance(found, ValueError):
            self._bar.refuse(str(found))
        elif self._bar.message.startswith("Stopped"):
            self._bar.say(_STOPPED)

    def _show(self, found: _Calibrated, real: ComparedChannel, prediction: ComparedChannel) -> None:
        data, attributes, _ = found.layer
        for former in [layer for layer in self._viewer.layers if is_calibrated(layer)]:
            if (slide := slide_of(former)) is not None and is_same_slide(slide, prediction.slide):
                self._viewer.layers.remove(former)
        shown = {**attributes, **placement(prediction.layer), "colormap": prediction.layer.colormap}
        shown["name"] = layer_name(CALIBRATED, prediction.name)
        layer = add_below_regions(self._viewer, data, **shown)
        share_contrast(layer, real.layer)
        # additive layers on each other would turn white
        prediction.layer.visible = False
        self._bar.say(f"{found.calibration.line.words}\n{found.kept}")


def _calibrated(
    real: ProbeImage, prediction: ProbeImage, regions: Sequence[Region], tissue: RegionMask | None, path: Path | None
) -> Generator[Progress, None, _Calibrated | ValueError]:
    """Fit, keep and apply a calibration; in a thread. A refusal is a result, so that the bar can show it."""
    try:
        calibration = yield from calibrate_prediction(real, prediction, regions, tissue)
        return _Calibrated(
            calibration, _kept(calibration, prediction, path), calibrated_layer(prediction.slide, calibration)
        )
    except ValueError as error:
        return error


def _kept(calibration: Calibration, prediction: ProbeImage, path: Path | None) -> str:
    """Keep a calibration, and say where, or why it cannot be kept: it is shown all the same."""
    if path is None:
        return _NO_PREDICTION.format(repr(prediction.name))
    try:
        save_calibration(calibration, prediction.slide.source, overwrite=True)
    except SlideError as error:
        return f"Not kept: {error}"
    return f"Kept in {path}"

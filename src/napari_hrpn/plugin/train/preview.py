"""Preview of a training: inputs, real and predicted probe of a fixed validation patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qtpy.QtGui import QResizeEvent

    from napari_hrpn.training import Preview

_COLOURS = {"nuclei": (0.25, 0.45, 1.0), "vessels": (0.1, 1.0, 0.2)}
_OTHER_COLOURS = ((1.0, 0.25, 0.25), (1.0, 0.85, 0.1), (1.0, 0.3, 1.0))
_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.7


@dataclass(frozen=True, eq=False)
class PreviewPictures:
    """What is shown of a preview."""

    inputs: NDArray[np.uint8]  # Shape (y, x, 3)
    # Shape (y, x)
    real: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    limits: tuple[float, float]  # Grey levels of the target that are black and white in both


def preview_pictures(preview: Preview, channels: tuple[str, ...]) -> PreviewPictures:
    """Make the pictures of a preview."""
    others = iter(_OTHER_COLOURS * len(channels))
    composite = np.zeros((*preview.real.shape, 3))
    for role, image in zip(channels, preview.inputs, strict=True):
        colour = _COLOURS.get(role) or next(others)
        composite += _between(image, *_limits(image))[..., None] * colour
    limits = _limits(preview.real)
    return PreviewPictures(
        _eight_bit(composite),
        _eight_bit(_between(preview.real, *limits)),
        _eight_bit(_between(preview.predicted, *limits)),
        limits,
    )


def _limits(image: NDArray[np.float32]) -> tuple[float, float]:
    low, high = (float(limit) for limit in np.percentile(image, (_LOW_PERCENT, _HIGH_PERCENT)))
    return low, max(high, low + 1e-6)


def _between(image: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)


def _eight_bit(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8))


_TITLES = ("Inputs", "Real", "Predicted")
_LARGEST_PX = 320


class TrainingPreview(QWidget):
    """Three pictures side by side, as large as there is room for."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = [QLabel() for _ in _TITLES]
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for column, (picture, title) in enumerate(zip(self.pictures, _TITLES, strict=True)):
            label = QLabel(title)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            # a long word would make its picture larger than the others
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            layout.addWidget(label, 0, column)
            picture.setScaledContents(True)
            layout.addWidget(picture, 1, column, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            layout.setColumnStretch(column, 1)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.setVisible(False)

    def show_pictures(self, pictures: PreviewPictures, epoch: int) -> None:
        """Renew the pictures."""
        for picture, pixels in zip(self.pictures, (pictures.inputs, pictures.real, pictures.predicted), strict=True):
            picture.setPixmap(_pixmap(pixels))
        low, high = pictures.limits
        self.setToolTip(
            "A fixed patch of the validation slides: nuclei blue, vessels green; the real probe;\n"
            f"the prediction after epoch {epoch}. The last two in the same grey limits, {low:.4g} to {high:.4g}"
        )
        self.setVisible(True)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Keep the pictures square."""
        super().resizeEvent(event)
        side = max(40, min(_LARGEST_PX, (self.width() - 8) // 3))
        for picture in self.pictures:
            picture.setFixedSize(side, side)


def _pixmap(pixels: NDArray[np.uint8]) -> QPixmap:
    """Pixels of shape (y, x) or (y, x, 3)."""
    height, width = pixels.shape[:2]
    kind = QImage.Format.Format_Grayscale8 if pixels.ndim == 2 else QImage.Format.Format_RGB888
    # the image does not keep what it is made from, the pixmap does
    content = pixels.tobytes()
    return QPixmap.fromImage(QImage(content, width, height, width * pixels[0, 0].size, kind))

"""A fixed validation patch beside what the network makes of it: inputs, real, predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from qtpy.QtGui import QPaintEvent, QResizeEvent

    from napari_hrpn.plugin.train.pictures import PreviewPictures

_TITLES = ("Inputs", "Real", "Predicted")
_LARGEST_PX = 320


class TrainingPreview(QWidget):
    """Three pictures side by side, as large as there is room for."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = [_Picture() for _ in _TITLES]
        self.labels = [QLabel(title) for title in _TITLES]
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for column, (picture, label) in enumerate(zip(self.pictures, self.labels, strict=True)):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            # a long word would make its picture larger than the others
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            layout.addWidget(label, 0, column)
            layout.addWidget(picture, 1, column)
            layout.setColumnStretch(column, 1)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.setVisible(False)

    def show_pictures(self, pictures: PreviewPictures, epoch: int) -> None:
        """Renew the pictures."""
        for picture, pixels in zip(self.pictures, (pictures.inputs, pictures.real, pictures.predicted), strict=True):
            picture.show_pixels(pixels)
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
            picture.setFixedHeight(side)


class _Picture(QWidget):
    """One picture, scaled to its place."""

    def __init__(self) -> None:
        super().__init__()
        self._pixmap = QPixmap()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_pixels(self, pixels: NDArray[np.uint8]) -> None:
        """Show pixels of shape (y, x) or (y, x, 3)."""
        height, width = pixels.shape[:2]
        kind = QImage.Format.Format_Grayscale8 if pixels.ndim == 2 else QImage.Format.Format_RGB888
        # the image does not keep what it is made from
        content = pixels.tobytes()
        self._pixmap = QPixmap.fromImage(QImage(content, width, height, width * pixels[0, 0].size, kind))
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802 (Qt's name)
        """Draw the picture in the middle, as large as it fits."""
        if self._pixmap.isNull():
            return
        size = self._pixmap.size().scaled(QSize(self.width(), self.height()), Qt.AspectRatioMode.KeepAspectRatio)
        place = QRect((self.width() - size.width()) // 2, 0, size.width(), size.height())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(place, self._pixmap)
        painter.end()

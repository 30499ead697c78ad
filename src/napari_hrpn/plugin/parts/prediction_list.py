"""A list of layers to tick, each with the colour of its curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_hrpn.plugin.viewer import pixel_shape

if TYPE_CHECKING:
    from napari.layers import Image

_LIST_ROWS = 3
_ICON_PX = 12
LAYER = Qt.ItemDataRole.UserRole


class PredictionList(QListWidget):
    """Layers that may be predictions of a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Predicted layers to compare with the real one: tick one or more.\nTheir colour is that of their curve"
        )
        row_px = max(self.fontMetrics().height() + 6, 18)
        self.setFixedHeight(_LIST_ROWS * row_px + 6)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def add_layer(self, layer: Image, *, fits: bool, colour: str | None) -> None:
        """Add a layer."""
        item = QListWidgetItem(layer.name)
        item.setData(LAYER, layer)
        item.setCheckState(Qt.CheckState.Unchecked if colour is None else Qt.CheckState.Checked)
        item.setToolTip(layer.name)
        if not fits:
            height, width = pixel_shape(layer)
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            item.setToolTip(f"{layer.name} has {width} x {height} px, another size than the real layer")
        icon = QPixmap(_ICON_PX, _ICON_PX)
        icon.fill(QColor(colour or "transparent"))
        item.setIcon(QIcon(icon))
        self.addItem(item)

    def ticked(self) -> list[Image]:
        """What is ticked, in the order of the list."""
        items = [self.item(row) for row in range(self.count())]
        return [item.data(LAYER) for item in items if item is not None and item.checkState() == Qt.CheckState.Checked]

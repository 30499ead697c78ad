"""What the widgets that compare have in common: a real channel, its predictions, and where the tissue is."""

from napari_hrpn.plugin.comparison.compared import ComparedChannel, Pair
from napari_hrpn.plugin.comparison.pair_form import PairForm
from napari_hrpn.plugin.comparison.tissue import Tissue
from napari_hrpn.plugin.layers import coarse_placement

__all__ = [
    "ComparedChannel",
    "Pair",
    "PairForm",
    "Tissue",
    "coarse_placement",
]

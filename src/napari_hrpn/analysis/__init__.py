"""Arrays in, numbers out; no torch. Every statistic streams over tiles."""

from napari_hrpn.analysis.agreement import Agreement, agreement, compute
from napari_hrpn.analysis.agreement_sums import AgreementError, AgreementSums, update
from napari_hrpn.analysis.intensity import background_levels, tissue_percentiles
from napari_hrpn.analysis.slide_agreement import AgreementReport, SlideAgreement, slide_agreement
from napari_hrpn.analysis.tissue import TissueMask, TissueSettings, tissue_mask

__all__ = [
    "Agreement",
    "AgreementError",
    "AgreementReport",
    "AgreementSums",
    "SlideAgreement",
    "TissueMask",
    "TissueSettings",
    "agreement",
    "background_levels",
    "compute",
    "slide_agreement",
    "tissue_mask",
    "tissue_percentiles",
    "update",
]

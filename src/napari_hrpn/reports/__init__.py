"""Results in, pictures and tables out; nothing is computed here."""

from napari_hrpn.reports.agreement_table import write_agreement
from napari_hrpn.reports.overview import write_overview

__all__ = ["write_agreement", "write_overview"]

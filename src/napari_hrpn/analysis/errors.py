"""The error of analyses that compare no images; its message is for the user."""

from napari_hrpn.core.errors import AnalysisError as AnalysisError

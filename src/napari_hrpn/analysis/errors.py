"""The error of analyses that compare no images; its message is for the user."""


class AnalysisError(ValueError):
    """Something cannot be measured; the message is one sentence for the user."""

"""Errors of the rooms whose settings can be wrong; each message is one sentence for the user."""


class TrainingError(ValueError):
    """A training cannot start or go on; the message says what was found, what was expected and what to do."""


class PredictionError(ValueError):
    """A prediction cannot be made or continued; the message is one sentence for the user."""


class AnalysisError(ValueError):
    """Something cannot be measured; the message is one sentence for the user."""


class AgreementError(AnalysisError):
    """Two images cannot be compared; the message is one sentence for the user."""

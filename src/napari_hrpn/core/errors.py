"""Errors and warnings for users, with one sentence each."""


class TrainingError(ValueError):
    """A training cannot start or continue; the message says what was found, what was expected and what to do."""


class TrainingWarning(UserWarning):
    """A training continues, but its result may mean less than it seems."""


class PredictionError(ValueError):
    """A prediction cannot be made or continued; the message is one sentence for the user."""


class PredictionWarning(UserWarning):
    """A prediction is made, but the user should know why it may be worth little."""


class AnalysisError(ValueError):
    """Something cannot be measured; the message is one sentence for the user."""


class AgreementError(AnalysisError):
    """Two images cannot be compared; the message is one sentence for the user."""

"""What a user is told about a prediction that cannot be made."""


class PredictionError(ValueError):
    """A prediction cannot be made or continued; the message is one sentence for the user."""


class PredictionWarning(UserWarning):
    """A prediction is made, but the user should know why it may be worth little."""

"""What a user is told about a prediction that cannot be made."""

from napari_hrpn.core.errors import PredictionError as PredictionError


class PredictionWarning(UserWarning):
    """A prediction is made, but the user should know why it may be worth little."""

"""What keeps a training from starting, or ends it: one sentence for the user."""

from napari_hrpn.core.errors import TrainingError as TrainingError


class TrainingWarning(UserWarning):
    """A training goes on, but its result may mean less than it seems."""

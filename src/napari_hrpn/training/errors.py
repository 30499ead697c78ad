"""What keeps a training from starting, or ends it: one sentence for the user."""


class TrainingError(ValueError):
    """A training cannot start or go on; the message says what was found, what was expected and what to do."""


class TrainingWarning(UserWarning):
    """A training goes on, but its result may mean less than it seems."""

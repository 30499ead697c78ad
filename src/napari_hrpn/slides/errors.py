"""What a user is told about a file: one sentence that says what was found, what was expected, what to do."""


class SlideError(ValueError):
    """A slide cannot be opened or read; the message is one sentence for the user."""


class SlideWarning(UserWarning):
    """A slide opens, but the user should know something about it."""

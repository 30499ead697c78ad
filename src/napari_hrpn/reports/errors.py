"""What keeps a report from being written: one sentence for the user."""


class ReportError(ValueError):
    """A report cannot be written; the message says what was found, what was expected and what to do."""

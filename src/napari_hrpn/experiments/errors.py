"""What keeps a study from starting or ending well: one sentence for the user."""


class StudyError(ValueError):
    """A study cannot be carried out; the message says what was found, what was expected and what to do."""


class IncompleteStudyError(StudyError):
    """A study came to its end, but some of its networks have no result; the table of the others is in ``args[1]``."""

    def __str__(self) -> str:
        return str(self.args[0])


class StudyWarning(UserWarning):
    """A study goes on, but one of its experiments does not."""

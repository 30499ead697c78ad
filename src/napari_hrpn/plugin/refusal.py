"""What cannot be done, for a reason that a sentence tells: shown in the widget, never as a traceback."""


class Refusal(Exception):  # noqa: N818 (it is no fault of the program's)
    """Something cannot be done; the message is one sentence for the user."""

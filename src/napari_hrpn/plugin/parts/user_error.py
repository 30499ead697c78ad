"""Errors for the user: one sentence in the widget, never a traceback."""


class UserError(Exception):
    """Something cannot be done; the message is one sentence for the user."""


def is_for_the_user(error: BaseException) -> bool:
    """Whether the message of an error was made for the user."""
    is_own = isinstance(error, ValueError) and type(error).__module__.startswith("napari_hrpn")
    return is_own or isinstance(error, UserError)


def sentence_of(error: BaseException) -> str:
    """The sentence of an error; one that was not foreseen is handed to napari, which shows where it was raised."""
    from napari.utils.notifications import notification_manager

    if is_for_the_user(error):
        return str(error)
    notification_manager.receive_error(type(error), error, error.__traceback__)
    return "Something went wrong in the program."

"""Log file of a command: the command, progress, warnings and errors, a line each with its time."""

from __future__ import annotations

import logging
import platform
import re
import shlex
import sys
from contextlib import suppress
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.cli.terminal import LOG, CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMAT = "%(asctime)s napari-hrpn[%(process)d] %(levelname)s %(message)s"
_OURS = re.compile(rb"\d{4}-\d\d-\d\d \S+ napari-hrpn\[")


def named_log(arguments: Sequence[str]) -> str | None:
    """Value of --log, found before the words are parsed, so that errors of the parser are in the log too."""
    words, found = list(takewhile(lambda word: word != "--", arguments)), None
    for word, after in zip_longest(words, words[1:]):
        if word == "--log":
            found = after
        elif word.startswith("--log="):
            found = word.removeprefix("--log=")
    return found


def start_log(name: str) -> None:
    """Append to a log until `end_log`; any other file is refused, since lines at its end would damage it."""
    from napari_hrpn import __version__
    from napari_hrpn.slides import is_address
    from napari_hrpn.slides.location import user_path

    if is_address(name):
        msg = f"{name} is an address, where no line can be appended; give --log the path of a file on this machine."
        raise CommandError(msg)
    path = user_path(name)
    if path.is_fifo():
        msg = f"{path} is a named pipe, which waits for a reader; give --log the name of a log or of a new file."
        raise CommandError(msg)
    if path.is_file() and path.stat().st_size and not _is_log(path):
        msg = f"{path} is there and is no log of this program; give --log the name of a log or of a new file."
        raise CommandError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter(_FORMAT))
    # what other packages log, from warnings on, is in the file too
    for logger in (LOG, logging.getLogger()):
        logger.addHandler(handler)
    LOG.info("started: %s", shlex.join(["napari-hrpn", *sys.argv[1:]]))
    LOG.info("%s on Python %s, %s, in %s", __version__, platform.python_version(), platform.platform(), Path.cwd())


class _LogFile(logging.FileHandler):
    """A log that is given up, with one sentence, when it cannot be written; the work goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Write no more; what was not written is lost."""
        error = sys.exc_info()[1]
        self.setLevel(logging.CRITICAL + 1)
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()
        print(f"warning: {self.baseFilename} cannot be written ({error}); the log ends here.", file=sys.stderr)


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        return bool(_OURS.match(file.read(64)))


def end_log(code: int | None) -> None:
    """Write the exit code, None for an error of the program itself, and close the log if there is one."""
    if code is None:
        LOG.critical("ended by an error of the program", exc_info=True)
    else:
        LOG.info("ended with exit code %d", code)
    for handler in [handler for handler in LOG.handlers if isinstance(handler, logging.FileHandler)]:
        for logger in (LOG, logging.getLogger()):
            logger.removeHandler(handler)
        handler.close()

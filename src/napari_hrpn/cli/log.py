"""Log file of a command: the command, progress, warnings and errors, a line each with its time."""

from __future__ import annotations

import logging
import platform
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path

from napari_hrpn.cli.terminal import LOG, CommandError

_FORMAT = "%(asctime)s napari-hrpn[%(process)d] %(levelname)s %(message)s"
_OURS = re.compile(rb"\d{4}-\d\d-\d\d \S+ napari-hrpn\[")


def start_log(path: Path) -> None:
    """Append to a log until `end_log`; any other file is refused, since lines at its end would damage it."""
    from napari_hrpn import __version__
    from napari_hrpn.slides import local_path

    path = local_path(path)
    if path.is_file() and path.stat().st_size and not _is_log(path):
        msg = f"{path} is there and is no log of this program; give --log the name of a log or of a new file."
        raise CommandError(msg)
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

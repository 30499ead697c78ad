"""Entry point of the command line: commands, exit codes, and errors as one line on stderr."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.calibrate import calibrate
from napari_hrpn.cli.convert import convert
from napari_hrpn.cli.cross_validate import cross_validate
from napari_hrpn.cli.demo import demo
from napari_hrpn.cli.diagnose import diagnose
from napari_hrpn.cli.evaluate import evaluate
from napari_hrpn.cli.exchange import export, import_
from napari_hrpn.cli.info import cache, info
from napari_hrpn.cli.log import end_log, named_log, start_log
from napari_hrpn.cli.models import models
from napari_hrpn.cli.options import with_options
from napari_hrpn.cli.phantom import phantom
from napari_hrpn.cli.predict import predict
from napari_hrpn.cli.quality import quality
from napari_hrpn.cli.report import report
from napari_hrpn.cli.run import rerun, run_
from napari_hrpn.cli.terminal import ENDING_SIGNALS, CommandError, complain, is_for_the_user, show_warning
from napari_hrpn.cli.train import train
from napari_hrpn.cli.what_if import what_if

if TYPE_CHECKING:
    from collections.abc import Sequence

_USER_ERROR = 2
_INTERRUPTED = 130
# characters of a path in an error message; longer paths are cut
_LONGEST_NAME = 120
_TAKE_ADDRESSES = {"convert", "evaluate", "info", "predict"}
# an option in the same word as its value, as in --output=~/x or -o~/x
_OPTION = re.compile(r"--[\w-]+=|-o(?=.)|")
# the home folder, a drive of Windows or a network share
_HOME_OR_DRIVE = re.compile(r"~|[A-Za-z]:[\\/]|\\\\")

app = typer.Typer(
    name="napari-hrpn",
    # plain text, so that help and errors are the same in every terminal
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command, short_help in (
    (demo, "Make, predict and measure a synthetic tumour"),
    (info, "Show size, channels, levels and pixel size of a slide"),
    (quality, "Check the image quality of slides"),
    (convert, "Write a slide as OME-Zarr or OME-TIFF with a pyramid"),
    (phantom, "Make a synthetic tumour as a slide"),
    (predict, "Predict the probe channel of slides"),
    (train, "Train a network on slides in which the probe was imaged"),
    (cross_validate, "Run a study: cross-validation, final model, test, ablations"),
    (evaluate, "Compare predictions with the imaged probe, as one page"),
    (calibrate, "Calibrate a prediction by a few imaged regions"),
    (what_if, "Compare a slide with the same slide without a vessel"),
    (report, "Combine evaluations of several tumours in one page"),
    (run_, "Carry out a recipe: train, predict, evaluate, report"),
    (rerun, "Make an output again from the recipe beside it"),
    (models, "List the checkpoints that come with the program"),
    (export, "Write a checkpoint as a model that other programs can run"),
    (import_, "Make a checkpoint from an exported model"),
    (cache, "Show or delete the cached coarse levels of slides"),
    (diagnose, "Show versions, devices and disk, and what is wrong with them"),
):
    name = command.__name__.strip("_").replace("_", "-")
    app.command(name, short_help=short_help)(with_options(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        from napari_hrpn import __version__

        typer.echo(f"napari-hrpn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _napari_hrpn(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Predict where a nanoprobe goes in a tumour, from its nuclei and vessels, on whole slides.

    \b
    First steps:
      napari-hrpn demo -o demo            a synthetic tumour, predicted and measured
      napari-hrpn info slide.ome.tif      size, channels and pixel size of a slide
      napari-hrpn predict slide.ome.tif -o predicted

    Every command has its own --help with examples.
    """  # noqa: D301 (\b keeps typer from joining lines)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit code."""
    code = None
    try:
        code = _exit_code(arguments)
        return code
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        raise
    finally:
        end_log(code)


def _exit_code(arguments: Sequence[str]) -> int:
    with warnings.catch_warnings():
        warnings.showwarning = show_warning()
        # the readers report problems as errors and warnings of this package, in one sentence each
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
        try:
            if (log := named_log(arguments)) is not None:
                start_log(log)
            _check_outputs(arguments)
            _check_addresses(arguments)
            # not standalone: errors of the parser are raised here instead of printed by it
            return int(
                app([_with_path(word) for word in arguments], prog_name="napari-hrpn", standalone_mode=False) or 0
            )
        except (KeyboardInterrupt, typer.Abort):
            complain("stopped.")
            return _INTERRUPTED
        except Exception as error:
            if not is_for_the_user(error):
                raise
            complain(_sentence(error))
            return _USER_ERROR


def _check_outputs(arguments: Sequence[str]) -> None:
    """Refuse an empty output, often a variable of the shell that is not set, which would be the current folder."""
    for option in ("-o", "--output", "--copy"):
        if f"{option}=" in arguments or (option, "") in pairwise(word.strip() for word in arguments):
            msg = f"the value of {option} is empty; name a folder or file, or . for the current folder."
            raise CommandError(msg)


def _check_addresses(arguments: Sequence[str]) -> None:
    """Refuse addresses where a command takes paths only, and would make folders with such names."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    if command in _TAKE_ADDRESSES or not any("://" in word for word in arguments):
        return
    from napari_hrpn.slides import is_address

    for word in arguments:
        value = word.partition("=")[2] if word.startswith("--") else word
        if is_address(value):
            msg = f"{value} is an address of object storage, which {command} does not take; use a copy on this machine."
            raise CommandError(msg)


def _with_path(word: str) -> str:
    """Word of the command line with its path expanded, since a shell does not expand ``--output=~/x``."""
    option = _OPTION.match(word)
    value = word[option.end() :] if option else word
    if not option or not _HOME_OR_DRIVE.match(value):
        return word
    from napari_hrpn.slides.location import user_path

    return option[0] + str(user_path(value))


def main() -> None:
    """Run the command of ``sys.argv`` and exit."""
    for stream in (sys.stdout, sys.stderr):
        # file names may contain characters that the terminal cannot print
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # ended by an exception, so that locks are released and partial files deleted
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sys.exit(run(sys.argv[1:]))


def _sentence(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "this machine does not have enough memory for it; close other programs."
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
        shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
        return f"{shown} cannot be used ({error.strerror}); check its permissions, or choose another path."
    # errors of the command-line parser have a message for users besides str()
    message = getattr(error, "format_message", error.__str__)
    return str(message())

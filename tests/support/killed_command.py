"""Runs a command in a process that kills itself at a chosen file operation, as power cuts do.

    python killed_command.py WHERE TO_KILL COMMAND...

WHERE is the folder whose file operations count; with TO_KILL of 0 they are only counted, and printed at the end.
"""

import os
import signal
import sys
from pathlib import Path

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "shutil.rmtree"}


def main() -> None:
    where, to_kill, command = str(Path(sys.argv[1]).resolve()), int(sys.argv[2]), sys.argv[3:]
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in EVENTS or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if os.fsdecode(arguments[0]).startswith(where):
            seen += 1
            if seen == to_kill:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    from napari_hrpn.cli import run

    code = run(command)
    print(f"operations {seen}", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

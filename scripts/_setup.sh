# Steps that scripts/demo and scripts/test share: a .venv with the pinned packages, and Debian's libraries.
# Sourced from the top of the checkout. A step that has nothing to do takes milliseconds and prints nothing.

say() {
    printf '%s\n' "$*" >&2
}

stop() {
    say "$@"
    exit 1
}

# What a napari window needs of Debian: OpenGL, and the libraries that Qt does not bring along.
window_libraries=(
    libegl1 libgl1 libglx-mesa0 libgl1-mesa-dri libopengl0 libglib2.0-0 libxkbcommon-x11-0 libxcb-cursor0
    libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0
    libxcb-xkb1 libdbus-1-3 libfontconfig1
)

# Installs the Debian packages that are not there yet, and what .venv needs of Debian with them. Where it may not,
# it prints the line to run; what cannot go on without them finds that out for itself.
install_debian() {
    command -v dpkg-query >/dev/null || return 0
    local package installed missing=()
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' | sed -n 's/^installed / /p')
    for package in "$@" $(package_for_venv); do
        grep -q "[ ,]$package\( \|,\|$\)" <<<"$installed" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    if "${as_root[@]}" true 2>/dev/null; then
        say "Installing Debian packages: ${missing[*]}"
        if "${as_root[@]}" apt-get update -qq >/dev/null &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
            return 0
        fi
    fi
    say "Debian packages are missing. Run this once, then try again:"
    say "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
}

# Prints python3-venv where .venv is still to be made and Python cannot: Debian ships ensurepip apart.
package_for_venv() {
    venv_runs || "$(find_python)" -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv\n'
}

# Prints the Python to build on: the pins were made with 3.11, later ones come next.
find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    stop "Python 3.11 or newer was not found; install it, or name it: PYTHON=/path/to/python3.11 $0"
}

# Sets $python to the Python of .venv, on Windows too, and says whether it runs.
venv_runs() {
    python=.venv/bin/python
    [ ! -d .venv/Scripts ] || python=.venv/Scripts/python.exe
    "$python" -c 'import pip' 2>/dev/null
}

# Makes .venv where there is none that runs.
use_venv() {
    local base
    venv_runs && return
    base=$(find_python)
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
        stop "$base cannot make a virtual environment: its modules venv and ensurepip are missing."
    say "Making .venv with $("$base" --version)"
    "$base" -m venv --clear .venv
    venv_runs || stop "The new .venv does not run; remove it and try again."
}

# Installs the project, editable, with one dependency group of pyproject.toml, at the versions of constraints.txt, or of
# another file that $CONSTRAINTS names; again only after one of those two files, the Python or the place of the checkout
# changed.
install_packages() {
    local group=$1 stamp=.venv/installed-$1.txt pins=${CONSTRAINTS:-constraints.txt} wanted
    wanted="$(pwd) $(cat pyproject.toml "$pins" .venv/pyvenv.cfg | cksum)"
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    say "Installing the pinned packages into .venv: some minutes the first time"
    "$python" -m pip install --quiet --disable-pip-version-check --upgrade --constraint "$pins" pip
    "$python" -m pip install --quiet --disable-pip-version-check --constraint "$pins" \
        --build-constraint "$pins" --editable . --group "$group"
    printf '%s\n' "$wanted" >"$stamp"
}

# Sourced by the other scripts. It goes to the top of the checkout, and `use_venv EXTRA...` makes
# sure that .venv there has this project with these extras. The variable PYTHON chooses the
# interpreter. Nothing is installed again until pyproject.toml changes. `become PROGRAM ARGUMENT...`
# goes on as one of the checkout's Python programs, which Ctrl-C ends without a stack trace.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."
checkout=$PWD

use_venv() {
    local python=${PYTHON:-python3} version='import sys; print(sys.version)' extra
    local -a missing=()

    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "runstore needs Python 3.11 or newer, and '$python' is not: set PYTHON to one" >&2
        return 1
    fi
    if [[ "$(.venv/bin/python -c "$version" 2>/dev/null)" != "$("$python" -c "$version" 2>/dev/null)" ]]; then
        if ! "$python" -m venv --clear .venv; then
            rm -rf .venv
            return 1
        fi
    fi
    for extra in "$@"; do
        # What was installed for an extra is remembered as the file that said so.
        cmp -s pyproject.toml ".venv/installed-$extra" || missing+=("$extra")
    done
    if ((${#missing[@]})); then
        .venv/bin/python -m pip install -qq --disable-pip-version-check \
            --editable ".[$(IFS=,; echo "${missing[*]}")]"
        for extra in "${missing[@]}"; do
            cp pyproject.toml ".venv/installed-$extra"
        done
    fi
}

become() {
    exec "$checkout/.venv/bin/python" "$checkout/scripts/interruptible.py" "$checkout/$1" "${@:2}"
}

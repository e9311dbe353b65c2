# Sourced by the scripts here: finds a Python, makes or mends the virtual environment,
# and leaves the path of its interpreter in $python.  Wants: $root, and $extras ("" or "dev").
# APSIM_VENV names another folder than .venv for the environment.

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        if command -v "$name" >/dev/null 2>&1 && usable "$name"; then
            base=$name
            return 0
        fi
    done
    echo "apsim needs Python 3.11 or newer on the PATH; none was found." >&2
    command -v python3 >/dev/null 2>&1 && echo "python3 here is: $(python3 --version 2>&1)" >&2
    exit 1
}

venv=${APSIM_VENV:-$root/.venv}
find_python
"$base" "$root/scripts/_environment.py" "$venv" "$extras" || exit $?
python=$venv/bin/python

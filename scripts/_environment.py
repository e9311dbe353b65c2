"""Make the virtual environment of a checkout, or mend it, before a script runs in it.

The rule: an environment counts as good only when its stamp, written last, matches
`pyproject.toml` and the place of the checkout.  An install that was cut short leaves
its mark, and the next one starts from an empty folder.  Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(venv: Path, extras: set[str]) -> int:
    if is_good(venv, extras):
        return 0
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(venv.with_name(venv.name + ".lock"), "w") as lock:
        wait_for(lock)
        return 0 if is_good(venv, extras) else install(venv, extras)


def fingerprint() -> str:
    """What an install depends on: the project's own file and the place."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + bytes(ROOT)).hexdigest()


def is_good(venv: Path, extras: set[str]) -> bool:
    try:
        stamp = json.loads((venv / "apsim-stamp.json").read_text())
        return (venv / "bin" / "python").exists() and bool(
            stamp["fingerprint"] == fingerprint() and extras <= set(stamp["extras"])
        )
    except (OSError, ValueError, KeyError):
        return False


def wait_for(lock: object) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another install is under way here: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def install(venv: Path, extras: set[str]) -> int:
    stamp, mark = venv / "apsim-stamp.json", venv / "apsim-install-under-way"
    python = venv / "bin" / "python"
    say(f"installing apsim into {venv} (once, about half a minute)")
    is_sound = works(python) and not mark.exists()
    if not is_sound and not run([sys.executable, "-m", "venv", "--clear", str(venv)]):
        say("the venv module failed; on Debian and Ubuntu install python3-venv first")
        return 1
    stamp.unlink(missing_ok=True)
    mark.touch()
    target = f"{ROOT}[{','.join(sorted(extras))}]" if extras else str(ROOT)
    quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    if not run([str(python), "-m", "pip", "install", *quiet, "--editable", target]):
        say(f"the install into {venv} failed; pip's message is above")
        return 1
    stamp.write_text(json.dumps({"fingerprint": fingerprint(), "extras": sorted(extras)}))
    mark.unlink()
    return 0


def works(python: Path) -> bool:
    """Whether an environment's interpreter is new enough and has pip."""
    probe = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([str(python), "-c", probe], capture_output=True).returncode == 0
    except OSError:
        return False


def run(command: list[str]) -> bool:
    return subprocess.run(command, stdout=sys.stderr).returncode == 0


def say(text: str) -> None:
    print(f"scripts: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]).absolute(), set(sys.argv[2].split())))
    except KeyboardInterrupt:
        say("interrupted; the next run starts the install again")
        sys.exit(130)

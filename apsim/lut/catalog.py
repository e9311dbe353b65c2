"""Where LUT files live: the one place that knows every home of a LUT.

In a checkout they are in `luts/` at the top, in an installed wheel in `apsim/_luts`;
folders named in the environment variable APSIM_LUTS come before both.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from apsim.errors import LutError
from apsim.lut.model import Lut
from apsim.lut.reader import load

__all__ = ["find", "folders", "names", "path_of"]

PACKAGE = Path(__file__).resolve().parent.parent


def folders() -> tuple[Path, ...]:
    """The folders searched for a name, first to last: the user's, then apsim's own.

    Raises `LutError` where a folder named in APSIM_LUTS does not exist.
    """
    extra = [Path(part) for part in os.environ.get("APSIM_LUTS", "").split(os.pathsep) if part]
    for folder in extra:
        if not folder.is_dir():
            raise LutError(f"APSIM_LUTS names {folder}, which is not a folder")
    return (*extra, _home())


def names() -> tuple[str, ...]:
    """The names of all LUTs that `find` knows, sorted."""
    return tuple(sorted({path.stem for folder in folders() for path in folder.glob("*.toml")}))


def path_of(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a LUT: `add` by name, or `./my.toml` by path.

    Raises `LutError` with the nearest names where nothing is found.
    """
    wanted = os.fspath(name_or_path)
    if wanted.endswith(".toml") or os.path.basename(wanted) != wanted:
        return Path(wanted)
    for folder in folders():
        if os.path.isfile(path := folder / f"{wanted}.toml"):  # False for a name too long, too
            return path
    near = get_close_matches(wanted, names(), 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names())}"
    raise LutError(f"there is no LUT named {wanted!r}; {hint}")


def find(name_or_path: str | os.PathLike[str]) -> Lut:
    """The LUT of this name or file, read and proved.

    >>> find("relu").passes[0].key
    (('A', 1), ('F', 1))
    """
    path = path_of(name_or_path)
    try:
        stamp = path.stat().st_mtime_ns
    except OSError:
        stamp = 0
    return _load(path, stamp)


@lru_cache(maxsize=256)
def _load(path: Path, _stamp: int) -> Lut:
    return load(path)


def _home() -> Path:
    wheel = PACKAGE / "_luts"
    return wheel if wheel.is_dir() else PACKAGE.parent / "luts"

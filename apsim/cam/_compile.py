"""How a kernel becomes machine code, and where that code is kept between runs.

The rule: the name of the cache folder holds a digest of every file that the code
depends on, so that a changed kernel or encoding never meets old code (numba itself
only looks at its own version and at the file of the one function).  Without a writable
folder the kernels are compiled anew in each process; nothing else changes.  numba is
imported where it is needed, and not before.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numpy as np

import apsim.encoding
import apsim.program

__all__ = [
    "PLAIN",
    "PYTHON",
    "SOURCES",
    "cache_folder",
    "digest",
    "kernel",
    "small",
    "unchanged",
]

Function = TypeVar("Function", bound=Callable[..., Any])

PYTHON = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
"""Whether kernels run as plain Python: numba's own setting, read without numba."""

PLAIN = PYTHON or os.environ.get("APSIM_KERNELS") == "plain"
"""Whether kernels use plain source instead of explicit vectors."""


def _sources() -> dict[str, bytes]:
    here = Path(__file__).parent
    others = [Path(str(module.__file__)) for module in (apsim.encoding, apsim.program)]
    return {str(path): path.read_bytes() for path in [*sorted(here.glob("_*.py")), *others]}


SOURCES = _sources()
"""Every file that the code of kernels depends on, as it stood when kernels were first wanted."""


def unchanged() -> bool:
    """Whether every one of them is still what it was: code made now was made of what is named."""
    return _sources() == SOURCES


@functools.cache
def digest(*extra: str) -> str:
    """A name for everything that compiled kernels depend on, besides the processor."""
    text = hashlib.sha256(f"{llvmlite.__version__} {PLAIN}".encode())
    for part in (*SOURCES.values(), *(part.encode() for part in extra)):
        text.update(part)
    return text.hexdigest()[:16]


def cache_folder() -> Path | None:
    """The first writable folder for compiled code, or None: own cache, then temporary files."""
    for root in _roots():
        folder = root / f"kernels-{digest()}"
        if _is_ours_and_writable(folder):
            return folder
    return None


def _roots() -> Iterator[Path]:
    if os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(os.environ["NUMBA_CACHE_DIR"]) / "apsim"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield Path(home) / "apsim"
    yield Path(tempfile.gettempdir()) / f"apsim-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _is_ours_and_writable(folder: Path) -> bool:
    """Make the folder; refuse one of another user, whose files would be run as code."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
        return ours and os.access(folder, os.W_OK)
    except OSError:
        return False


@contextmanager
def _numba_cache_in(folder: Path) -> Iterator[None]:
    """Let numba choose `folder` for the functions decorated inside, and no others."""
    from numba.core import config as numba_config

    config: Any = numba_config  # its names are set at run time
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _njit(**more: Any) -> Any:
    import numba

    njit: Any = numba.njit  # some of its options have no types
    return njit(nogil=True, no_cfunc_wrapper=True, error_model="numpy", **more)


def kernel(function: Function) -> Function:
    """Compile on first call, keep the machine code, and run without the interpreter's lock."""
    if PYTHON:
        return _wrapping(function)
    folder = cache_folder()
    if folder is None:
        return cast(Function, _njit()(function))
    with _numba_cache_in(folder):
        return cast(Function, _kept_where_possible(_njit(cache=True)(function)))


def _kept_where_possible(dispatcher: Any) -> Any:
    """A folder that is full, or gone, costs the next process its code and this one nothing."""
    save = dispatcher._cache.save_overload

    def save_if_possible(*args: Any) -> None:
        with suppress(OSError):
            save(*args)

    dispatcher._cache.save_overload = save_if_possible
    return dispatcher


def _wrapping(function: Function) -> Function:
    """Plain Python with words that wrap around silently, as those of a machine do."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*args)

    return cast(Function, run)


def small(function: Function) -> Function:
    """A leaf of a kernel: compiled into its callers, kept with them."""
    return function if PYTHON else cast(Function, _njit(no_cpython_wrapper=True)(function))

"""How a kernel becomes machine code, and where that code is kept between runs.

The rule: the name of the cache folder holds a digest of every file that the code
depends on, so that a changed kernel, encoding or numba never meets old code (numba
itself only looks at the file of the one function).  Without a writable folder the
kernels are compiled anew in each process; nothing else changes.
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
import numba
import numpy as np
from numba.core import config as numba_config

import apsim.encoding
import apsim.program

__all__ = ["PLAIN", "cache_folder", "digest", "kernel", "small"]

config: Any = numba_config  # its names are set at run time
njit: Any = numba.njit  # some of its options have no types

Function = TypeVar("Function", bound=Callable[..., Any])

PLAIN = bool(config.DISABLE_JIT) or os.environ.get("APSIM_KERNELS") == "plain"
"""Whether kernels use plain source instead of explicit vectors."""


def digest(*extra: str) -> str:
    """A name for everything that compiled kernels depend on, besides the processor."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("_*.py")), Path(apsim.encoding.__file__), _program()]
    text = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {PLAIN}".encode())
    for source in sources:
        text.update(source.read_bytes())
    for part in extra:
        text.update(part.encode())
    return text.hexdigest()[:16]


def _program() -> Path:
    return Path(str(apsim.program.__file__))


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
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


_folder = None if config.DISABLE_JIT else cache_folder()
_options: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "error_model": "numpy"}


def kernel(function: Function) -> Function:
    """Compile on first call, keep the machine code, and run without the interpreter's lock."""
    if config.DISABLE_JIT:
        return _wrapping(function)
    if _folder is None:
        return cast(Function, njit(**_options)(function))
    with _numba_cache_in(_folder):
        return cast(Function, _kept_where_possible(njit(cache=True, **_options)(function)))


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
    return cast(Function, njit(no_cpython_wrapper=True, **_options)(function))

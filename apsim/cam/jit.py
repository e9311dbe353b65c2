"""How a kernel becomes machine code by numba, and where that code is kept between runs.

The rule: compiled code is kept in a folder of the user's own, under a digest of every source
that kernels depend on and of the versions of what compiles them, each file beside its own
digest, so that what is loaded is what would be made.  A cached file is code that will run:
a folder, or a parent, that somebody else could write is never read, and where there is no
folder nothing is kept.  Under NUMBA_DISABLE_JIT=1 kernels run as the Python that they are.
"""

from __future__ import annotations

import atexit
import functools
import gc
import hashlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numba
import numpy as np

# isort: off
from numba.core import (
    caching, ccallback, compiler, compiler_machinery, config, serialize, sigutils, typed_passes,
    types, untyped_passes,
)  # fmt: skip

# isort: on
from apsim import cache

__all__ = [
    "PLAIN", "Compiled", "Operation", "cache_folder", "kernel", "plain", "sources_digest",
]  # fmt: skip

Function = TypeVar("Function", bound=Callable[..., Any])

atexit.register(gc.freeze)  # a last look for garbage in all of numba would find nothing

PLAIN = bool(getattr(config, "DISABLE_JIT"))  # noqa: B009 - numba sets it at run time
"""Whether kernels run as plain Python."""

Numbers = types.CPointer(types.int64)
DIGEST = hashlib.sha256().digest_size


class _Passes(compiler.Compiler):
    """What numba does with a kernel, in which nothing is to be rewritten or inlined."""

    def define_pipelines(self) -> list[Any]:
        """From bytecode to machine code, in three quarters of the time: a name has one type."""
        passes = compiler_machinery.PassManager("kernel")
        for one in (
            untyped_passes.TranslateByteCode, untyped_passes.FixupArgs,
            untyped_passes.IRProcessing, typed_passes.NopythonTypeInference,
            typed_passes.IRLegalization, typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):  # fmt: skip
            passes.add_pass(one, one.__name__)
        passes.finalize()
        return [passes]


class _once(functools.cached_property[Any]):
    """Worked out by one thread: what another worked out too would be dropped, code and all."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        with _lock:
            return super().__get__(instance, owner)


_lock = threading.RLock()


class Compiled:
    """A function for one signature, compiled, or loaded, when its code is first asked for.

    Called from Python it runs without the interpreter's lock.  `text` is the source of a
    function that is in no file; of another it is all of the file, wherever that is.
    """

    def __init__(self, function: Callable[..., Any], signature: Any, text: str = "") -> None:
        functools.update_wrapper(self, function)
        self.function, self.signature = function, signature
        self.text = text or _read_once(function.__code__.co_filename)

    @_once
    def address(self) -> int:
        """Where its machine code begins."""
        if PLAIN:
            _plain.append(_wrapping(self.function))
            return len(_plain) - 1
        self._code.compile()
        return int(self._code.address)

    @_once
    def is_kept(self) -> bool:
        """Whether its code need not be compiled: it was on disk when first asked, or is none."""
        return PLAIN or self._code._cache.holds(self._code._sig, self._code._targetdescr)

    @_once
    def _code(self) -> Any:
        """It lives as long as its function."""
        options = {"error_model": "numpy", "_nrt": False}
        code: Any = ccallback.CFunc(self.function, self.signature, {}, options, _Passes)
        code._cache = _Kept(self.function, self.text)
        return code

    @_once
    def _called(self) -> Callable[..., Any]:
        address = self.address
        return plain(address) if PLAIN else cast(Callable[..., Any], self._code.ctypes)

    def __call__(self, *args: Any) -> Any:
        return self._called(*args)


@functools.cache
def _read_once(path: str) -> str:
    """A file in which there are kernels, as it is when the first of them is made."""
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8")
    return ""


class Operation(Compiled):
    """A `void f(frame, row)` that kernels call by its address (`vector.invoke`)."""

    def __init__(self, function: Callable[..., None], text: str = "") -> None:
        super().__init__(function, ((Numbers, Numbers), types.void), text)


def kernel(signature: str) -> Callable[[Function], Function]:
    """A function of integers that Python calls, for one signature."""

    def made(function: Function) -> Function:
        return cast(Function, Compiled(function, sigutils.normalize_signature(signature)))

    return made


_plain: list[Callable[..., None]] = []


def plain(address: int) -> Callable[..., None]:
    """The operation of an address; only where kernels run as plain Python."""
    return _plain[address]


def _wrapping(function: Function) -> Function:
    """Words that wrap around silently, as those of a machine do."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*args)

    return cast(Function, run)


class _Kept(caching._Cache):
    """A function's compiled code on disk: a file for each signature and processor."""

    def __init__(self, function: Callable[..., Any], text: str = "") -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.text = text

    cache_path = ""

    def enable(self) -> None:
        """Always on."""

    disable = flush = enable

    def holds(self, sig: Any, target: Any) -> bool:
        """Whether there is a file for a signature."""
        with suppress(Exception), _folder() as folder:
            os.stat(self._file(sig, target.target_context.codegen()), dir_fd=folder)
            return True
        return False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code, or None where it is not there as it was written."""
        with suppress(Exception), _folder() as folder:  # whatever is wrong: it is made anew
            kept = _read(folder, self._file(sig, target_context.codegen()))
            return compiler.CompileResult._rebuild(target_context, *pickle.loads(kept))
        target_context.refresh()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, unless a source is no longer what it was when this process read it."""
        with suppress(OSError), _folder() as folder:
            if _digest_now() == sources_digest():
                _write(folder, self._file(sig, data.codegen), serialize.dumps(data._reduce()))

    def _file(self, sig: Any, codegen: Any) -> str:
        options = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))
        whole = repr((self.name, self.text, str(sig), codegen.magic_tuple(), options))
        return hashlib.sha256(whole.encode()).hexdigest()[:32]


def _read(folder: int, name: str) -> bytes:
    """The bytes of one of our own files; OSError if it is another's, or damaged."""
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as file:
        _require_ours(os.fstat(file.fileno()))
        kept = file.read()
    if hashlib.sha256(kept[DIGEST:]).digest() != kept[:DIGEST]:
        raise OSError("damaged")
    return kept[DIGEST:]


def _write(folder: int, name: str, code: bytes) -> None:
    """Aside under a name of this process, then renamed: who reads finds all of it or nothing."""
    aside = f"{name}.{os.getpid()}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(aside, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(aside, dir_fd=folder)
        raise


@contextmanager
def _folder() -> Iterator[int]:
    """The cache folder, open, and checked as what is open: a descriptor is not exchanged."""
    path = cache_folder()
    if path is None:
        raise OSError("nothing is kept")
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _require_ours(os.fstat(handle))
        yield handle
    finally:
        os.close(handle)


def cache_folder() -> Path | None:
    """The user's own folder for compiled code, made if need be; None where there is none."""
    return cache.folder(f"kernels-{sources_digest()}", written=False)


def _require_ours(status: os.stat_result) -> None:
    """Refuse what is not this user's alone to write."""
    if not cache.is_ours(status):
        raise OSError("another could have written this")


def _digest_now() -> str:
    here = Path(__file__).parent
    text = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for path in [*sorted(here.rglob("*.py")), here.parent / "encoding.py"]:
        text.update(path.read_bytes())
    return text.hexdigest()[:16]


@functools.cache
def sources_digest() -> str:
    """A name for everything that compiled kernels depend on, besides the processor."""
    return _digest_now()

"""How a kernel becomes machine code by numba, and where that code is kept between runs.

The rule: compiled code is kept in a folder of the user's own (`cache`), under a digest of every
source that kernels depend on and of the versions of what compiles them, so that what is loaded
is what would be made.  Under NUMBA_DISABLE_JIT=1 kernels run as the Python that they are.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np

# isort: off
from numba.core import (
    compiler, compiler_machinery, config, registry, sigutils, typed_passes, types,
    untyped_passes,
)  # fmt: skip
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typing.ctypes_utils import to_ctypes

# isort: on
from apsim import cache
from apsim.cam.frame import SOURCES, sources

__all__ = [
    "PLAIN", "Compiled", "Operation", "cache_folder", "kernel", "plain", "sources_digest",
]  # fmt: skip

Function = TypeVar("Function", bound=Callable[..., Any])

PLAIN = bool(getattr(config, "DISABLE_JIT"))  # noqa: B009 - numba sets it at run time
"""Whether kernels run as plain Python."""

Numbers = types.CPointer(types.int64)


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


class Code(NamedTuple):
    """A function's name in its object file, whether that calls numba's helpers, and the file."""

    name: str
    calls: bool
    machine_code: bytes


class _once(functools.cached_property[Any]):
    """Worked out by one thread: what another worked out too would be dropped, code and all."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        with _lock if instance is None else instance.lock:
            return super().__get__(instance, owner)


_lock = threading.RLock()  # of the class itself


class Compiled:
    """A function for one signature, compiled, or loaded, when its code is first asked for.

    Called from Python it runs without the interpreter's lock.  `text` is the source of a
    function that is made; of another it is all of its file, wherever that is.
    """

    def __init__(self, function: Callable[..., Any], signature: Any, text: str = "") -> None:
        functools.update_wrapper(self, function)
        self.function, self.signature, self.lock = function, signature, threading.RLock()
        self.text = text or _read_once(function.__code__.co_filename) or _typed_in(function)
        self.name = f"{function.__module__}.{function.__qualname__}"

    @_once
    def address(self) -> int:
        """Where its machine code begins."""
        if PLAIN:
            _plain.append(_wrapping(self.function))
            return len(_plain) - 1
        code = _load(self._file) or self._compile()
        self._holds, address = _linked(code)
        return address

    @_once
    def is_kept(self) -> bool:
        """Whether its code need not be compiled: it was on disk when first asked, or is none."""
        return PLAIN or cache.holds(cache_folder(), self._file)

    def _compile(self) -> Code:
        """By numba, and kept."""
        args, gives = self.signature
        cpu: Any = registry.cpu_target
        flags: Any = compiler.Flags()
        cpu.options.parse_as_flags(flags, {"error_model": "numpy", "_nrt": False})
        flags.no_cpython_wrapper = flags.no_compile = True  # a C function is what is wanted
        flags.no_cfunc_wrapper = flags.enable_pyobject = False
        with global_compiler_lock:
            cpu.target_context.refresh()
            made = compiler.compile_extra(
                cpu.typing_context, cpu.target_context, self.function, args, gives, flags, {},
                pipeline_class=_Passes,
            )  # fmt: skip
            *_, (machine_code, _) = made.library.serialize_using_object_code()
        calls = re.search(r"(?m)^declare .*@(?!llvm\.)", made.library.get_llvm_str()) is not None
        code = Code(made.fndesc.llvm_cfunc_wrapper_name, calls, machine_code)
        head = f"{code.name} {code.calls:d}\n".encode()
        cache.write(cache_folder(), self._file, head + machine_code)
        return code

    @_once
    def _file(self) -> str:
        """Where its code is kept: a file for each function, signature and processor."""
        options = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))
        whole = repr((self.name, self.text, str(self.signature), _processor(), options))
        return hashlib.sha256(whole.encode()).hexdigest()[:32]

    @_once
    def _called(self) -> Callable[..., Any]:
        if PLAIN:
            return plain(self.address)
        args, gives = self.signature
        kind = ctypes.CFUNCTYPE(to_ctypes(gives), *map(to_ctypes, args))
        return cast(Callable[..., Any], kind(self.address))

    def __call__(self, *args: Any) -> Any:
        return self._called(*args)


@functools.cache
def _read_once(path: str) -> str:
    """A file in which there are kernels, as it is when the first of them is made."""
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8")
    return ""


def _typed_in(function: Callable[..., Any]) -> str:
    """What stands for a text that is in no file; what it names by address is never found again."""
    code = function.__code__
    named = [function.__globals__.get(name) for name in code.co_names]
    return repr((code.co_code, code.co_consts, named, function.__closure__))


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


def _linked(code: Code) -> tuple[Any, int]:
    """What holds the code in memory, and where it begins."""
    if code.calls:
        _ = registry.cpu_target.target_context  # tells the linker where they are
    machine = _target().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.machine_code))
    engine.finalize_object()
    return engine, engine.get_function_address(code.name)


@functools.cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


@functools.cache
def _processor() -> tuple[str, str, str]:
    """What code is made for."""
    features = llvm.get_host_cpu_features().flatten()
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), features


def _load(file: str) -> Code | None:
    """The code, or None where it is not there as it was written."""
    head, _, machine_code = (cache.read(cache_folder(), file) or b"").partition(b"\n")
    name, _, calls = head.decode().partition(" ")
    return Code(name, calls == "1", machine_code) if name else None


def cache_folder() -> Path | None:
    """The user's own folder for compiled code, made if need be; None where there is none.

    There is none where a source is no longer what it was when this process imported it.
    """
    if sources() != SOURCES:
        return None
    return cache.folder(f"kernels-{sources_digest()}", written=False)


@functools.cache
def sources_digest() -> str:
    """A name for everything that compiled kernels depend on, besides the processor."""
    text = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for path, *_ in SOURCES:
        text.update(Path(path).read_bytes())
    return text.hexdigest()[:16]

"""Object code for this processor: compiled from LLVM assembly, kept on disk, loaded, found again.

The rule: a file is named after all that the code in it depends on, so that what is found is
what would be made; it is written aside and renamed, so that whoever reads it finds all of it
or nothing.  Without a writable folder code is made anew in each process.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from apsim.cam._compile import cache_folder, unchanged

__all__ = ["HAS_TERNARY_LOGIC", "load"]

DIGEST = 32  # bytes before the code in a file: its SHA-256


def load(
    name: str, symbols: Sequence[str], assembly: Callable[[], str], *, optimised: bool = True
) -> list[int]:
    """Addresses of symbols in the object code called `name`, made of `assembly()` if need be.

    `name` must say everything that the assembly depends on, besides the sources of kernels.
    Assembly that is in good order already need not be `optimised`, which takes most of the time.
    """
    stored = _stored(name)
    code = _found(stored)
    if code is None:
        code = _compiled(assembly(), optimised)
        _keep(stored, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return [int(engine.get_function_address(symbol)) for symbol in symbols]


_engines: list[Any] = []  # machine code lives as long as its engine


def _compiled(assembly: str, optimised: bool) -> bytes:
    module, machine = llvm.parse_assembly(assembly), _machine()
    module.verify()
    if optimised:
        tuning = llvm.create_pipeline_tuning_options(speed_level=2)
        builder = llvm.create_pass_builder(machine, tuning)
        builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def _machine() -> Any:
    """A new one each time: an engine takes its machine with it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    cpu, features = _processor()
    return target.create_target_machine(
        cpu=cpu, features=features, opt=2, codemodel="jitdefault", jit=True
    )


@cache
def _processor() -> tuple[str, str]:
    return str(llvm.get_host_cpu_name()), str(llvm.get_host_cpu_features().flatten())


HAS_TERNARY_LOGIC = bool(llvm.get_host_cpu_features().get("avx512f"))
"""Whether any function of three vectors is one instruction here."""


def _stored(name: str) -> Path | None:
    folder = cache_folder()
    whole = f"{name} {_processor()} {llvm.llvm_version_info}"
    return folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.o" if folder else None


def _found(path: Path | None) -> bytes | None:
    """The code in a file, if all of it is there as it was written."""
    if path is None or not path.is_file():
        return None
    kept = path.read_bytes()
    code = kept[DIGEST:]
    return code if hashlib.sha256(code).digest() == kept[:DIGEST] else None


def _keep(path: Path | None, code: bytes) -> None:
    """Written aside under a name of its own; not at all where a source is no longer what it was."""
    if path is None or not unchanged():
        return
    try:
        handle, aside = tempfile.mkstemp(dir=path.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(aside).replace(path)
    except OSError:
        Path(aside).unlink(missing_ok=True)

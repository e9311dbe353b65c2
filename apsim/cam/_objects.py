"""Object code for this processor: compiled from LLVM assembly, kept on disk, loaded, found again.

The rule: a file is named after all that the code in it depends on, so that what is found is
what would be made; it is written aside and renamed, so that whoever reads it finds all of it
or nothing.  Without a writable folder code is made anew in each process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from apsim.cam._compile import cache_folder

__all__ = ["load"]


def load(name: str, symbol: str, assembly: Callable[[], str]) -> int:
    """Address of `symbol` in the object code called `name`, made of `assembly()` if need be.

    `name` must say everything that the assembly depends on, besides the sources of kernels.
    """
    stored = _stored(name)
    code = stored.read_bytes() if stored and stored.is_file() else None
    if code is None:
        code = _compiled(assembly())
        _keep(stored, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(symbol))


_engines: list[Any] = []  # machine code lives as long as its engine


def _compiled(assembly: str) -> bytes:
    module, machine = llvm.parse_assembly(assembly), _machine()
    module.verify()
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


def _stored(name: str) -> Path | None:
    folder = cache_folder()
    whole = f"{name} {_processor()} {llvm.llvm_version_info}"
    return folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.o" if folder else None


def _keep(path: Path | None, code: bytes) -> None:
    if path is None:
        return
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        aside.write_bytes(code)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)

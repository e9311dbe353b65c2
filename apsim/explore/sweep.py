"""All points of a sweep into one file of JSON lines, which a later run resumes.

The rule: a line is one finished point, written whole and flushed; what is in the file is
never evaluated again, and what is not is evaluated once.  A line that an interruption
cut short is dropped.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Any

from apsim.errors import ApsimError, InputError, MissingExtra
from apsim.explore.points import evaluate_all
from apsim.explore.spec import Point, Spec, identity
from apsim.workers import over_processes

__all__ = ["finished", "sweep"]

CHUNK = 20  # costed points that a worker gets at a time: a fraction of a second of work

Result = dict[str, Any]
Arriving = Generator[list[Result], None, None]
Runner = Callable[[str, Sequence[Sequence[Point]]], Arriving]


def sweep(
    spec: Spec,
    out: str,
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Result]:
    """Evaluate what `out` lacks of `spec` and give all results in the order of the points.

    `workers` processes share the work (default: one for each core; 1 stays in this one);
    `dask` is the address of a cluster that does instead.  Raises `InputError` where the
    file cannot be written and `ApsimError` where workers keep dying; what is finished
    then stays in the file.
    """
    known = finished(out)
    wanted = {identity(point): point for point in spec.points}
    todo = [point for name, point in wanted.items() if name not in known]
    done = len(wanted) - len(todo)
    progress(done, len(wanted))
    size = CHUNK if spec.kind == "cost" else 1
    chunks = [todo[k : k + size] for k in range(0, len(todo), size)]
    with _appending(out) as stream, closing(_runner(workers, dask)(spec.kind, chunks)) as arriving:
        for results in arriving:
            for result in results:
                known[result["id"]] = result
                stream.write(json.dumps(result) + "\n")
            stream.flush()
            done += len(results)
            progress(done, len(wanted))
    return [known[name] for name in wanted]


def finished(out: str) -> dict[str, Result]:
    """Results in a file by identity; a torn last line is cut off the file."""
    path = Path(out)
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    results = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            result = json.loads(line)
            results[result["id"]] = result
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{out}, line {number}: not a result of apsim explore") from None
    return results


def _appending(out: str) -> IO[str]:
    try:
        return open(out, "a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error


def _runner(workers: int | None, dask: str | None) -> Runner:
    if dask is not None:
        return lambda kind, chunks: _on_cluster(dask, kind, chunks)
    count = workers or os.cpu_count() or 1
    return _here if count == 1 else lambda kind, chunks: _shared(kind, chunks, count)


def _here(kind: str, chunks: Sequence[Sequence[Point]]) -> Arriving:
    for chunk in chunks:
        yield evaluate_all(kind, chunk)


def _shared(kind: str, chunks: Sequence[Sequence[Point]], workers: int) -> Arriving:
    try:
        for _, results in over_processes(partial(evaluate_all, kind), chunks, workers):
            yield results
    except ApsimError as error:
        raise ApsimError(
            f"{error}; the finished points are kept, run the same command to go on"
        ) from error


def _on_cluster(address: str, kind: str, chunks: Sequence[Sequence[Point]]) -> Arriving:
    """Chunks as the cluster finishes them; its scheduler repeats what a dead worker had."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise MissingExtra("distributed", "dask") from error
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        futures = client.map(partial(evaluate_all, kind), chunks, pure=False)
        for future in distributed.as_completed(futures):
            yield future.result()

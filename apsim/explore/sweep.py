"""All points of a sweep into one file of JSON lines, which a later run resumes.

The rule: a line is one point, written whole and flushed; what is measured is never evaluated
again, errors and the rest are.  A line that an interruption cut short is dropped.  One sweep
at a time writes a file, and a file that is no sweep's is left alone.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import IO, Any

from apsim import schemas
from apsim.errors import ApsimError, InputError, MissingExtra
from apsim.explore.contents import Known
from apsim.explore.points import SCHEMA, evaluate_all
from apsim.explore.spec import Point, Spec, identity
from apsim.files import appending, replacing
from apsim.readers import parse_json
from apsim.records import Record, Tabular
from apsim.workers import over_processes, worker_count

__all__ = ["finished", "sweep"]

CHUNK = 20  # costed points that a worker gets at a time: a fraction of a second of work

BEGINNING = f'{{"schema": "{SCHEMA}"'.encode()

Result = dict[str, Any]
Arriving = Generator[list[Result], None, None]
Runner = Callable[[str, Sequence[Sequence[Point]]], Arriving]


class Results(list[Result], Tabular):
    """Results of a sweep in the order of its points."""

    def table(self) -> list[Record]:
        """The results: a record for each point."""
        return list(self)


def sweep(
    spec: Spec,
    out: str,
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Results:
    """Evaluate what `out` lacks of `spec` and give all results in the order of the points.

    `workers` processes share the work (default: one for each core; 1 stays in this one);
    `dask` is the address of a cluster that does instead.  Raises `InputError` where the
    file cannot be written and `ApsimError` where workers keep dying; what is finished
    then stays in the file.
    """
    _tidy(out)
    contents: Known = {}
    wanted = {identity(point, contents): point for point in spec.points}
    with appending(out) as stream:
        known = _results(stream, out)
        todo = [point for name, point in wanted.items() if name not in known]
        size = CHUNK if spec.kind == "cost" else 1
        chunks = [todo[k : k + size] for k in range(0, len(todo), size)]
        done = len(wanted) - len(todo)
        progress(done, len(wanted))
        with closing(_runner(worker_count(workers), dask)(spec.kind, chunks)) as arriving:
            for results in arriving:
                known |= {result["id"]: result for result in results}
                stream.write("".join(f"{json.dumps(one)}\n" for one in results).encode())
                stream.flush()
                done += len(results)
                progress(done, len(wanted))
    return Results(known[name] for name in wanted)


def finished(out: str) -> dict[str, Result]:
    """Results in a file by identity, without those that are no answer but an error."""
    try:
        with open(out, "rb") as stream:
            return _results(stream, out)
    except FileNotFoundError:
        return {}


def _tidy(out: str) -> None:
    """Take errors and a torn last line off a file, if all of it is a sweep's."""
    with appending(out) as stream:
        known = _results(stream, out)
        kept = "".join(f"{json.dumps(one)}\n" for one in known.values()).encode()
        if stream.seek(0, os.SEEK_END) != len(kept):
            with replacing(out) as whole:
                whole.write(kept)


def _results(stream: IO[bytes], out: str) -> dict[str, Result]:
    stream.seek(0)
    lines = _lines(stream.read(), out)
    return {result["id"]: result for result in lines if "error" not in result}


def _lines(text: bytes, out: str) -> list[Result]:
    """The results of a file without a torn last line; raises `InputError` for another file."""
    *whole, torn = text.split(b"\n")
    results = []
    for number, line in enumerate(whole, start=1):
        where = f"{out}, line {number}: not a result of apsim explore"
        results.append(
            schemas.check(parse_json(line.decode(errors="replace"), where), SCHEMA, where)
        )
    if not (results or torn.startswith(BEGINNING) or BEGINNING.startswith(torn)):
        raise InputError(f"{out}, line {len(whole) + 1}: not a result of apsim explore")
    return results


def _runner(workers: int, dask: str | None) -> Runner:
    if dask is not None:
        return lambda kind, chunks: _on_cluster(dask, kind, chunks)
    return _here if workers == 1 else lambda kind, chunks: _shared(kind, chunks, workers)


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

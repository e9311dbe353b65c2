"""Processes that share work, and outlive neither a death among them nor their parent's.

The rule: what is handed out is a pure function of plain data, so that work which died with
its process is simply done again.  Ctrl-C is the parent's matter; when it wants no more, or is
gone, the workers end at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import Pipe, Value, connection, parent_process
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, TypeVar

from apsim.errors import ApsimError, InputError

__all__ = ["over_processes", "tick", "worker_count"]

Job = TypeVar("Job")
Result = TypeVar("Result")
TRIES = 3  # how often a pool is started again after a worker died
MOST_WORKERS = 1024
LOOK = 0.2  # seconds between two looks at how much the workers have done
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_ticks: Any = None  # in a worker: what all of them have done, shared with the parent


def tick(amount: int) -> None:
    """In a worker: so much more is done of a job that goes on."""
    if _ticks is not None:
        with _ticks.get_lock():
            _ticks.value += amount


def worker_count(asked: int | None) -> int:
    """So many processes as were asked for, by default one for each core; raises `InputError`."""
    count = os.cpu_count() or 1 if asked is None else asked
    if not 1 <= count <= MOST_WORKERS:
        raise InputError(f"--workers: wanted 1 to {MOST_WORKERS}, got {count}")
    return count


def over_processes(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    watch: Callable[[int], None] | None = None,
) -> Generator[tuple[int, Result], None, None]:
    """Number and result of each job as it is finished, by `workers` processes.

    `watch` is told, now and then, the sum of all that jobs have given to `tick`.
    Raises `ApsimError` where workers keep dying.
    """
    left = dict(enumerate(jobs))
    if not left:
        return
    for _ in range(TRIES):
        try:
            for number, result in _pool(work, left, workers, watch):
                del left[number]
                yield number, result
            return
        except BrokenProcessPool:
            continue
    raise ApsimError(f"workers died {TRIES} times")


def _pool(
    work: Callable[[Job], Result],
    jobs: dict[int, Job],
    workers: int,
    watch: Callable[[int], None] | None,
) -> Iterator[tuple[int, Result]]:
    (ends, wanted), done = Pipe(duplex=False), Value("q", 0)
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), initializer=_begin, initargs=(ends, wanted, done)
    )
    try:
        with _unheard():
            futures: dict[Future[Result], int] = {
                pool.submit(work, job): number for number, job in list(jobs.items())
            }
        while futures:
            for future in wait(futures, watch and LOOK, FIRST_COMPLETED).done:
                yield futures.pop(future), future.result()
            if watch is not None:
                watch(done.value)
    finally:
        wanted.close()
        pool.shutdown(cancel_futures=True)
        ends.close()


@contextmanager
def _unheard() -> Iterator[None]:
    """Within this, signals wait; processes that begin here let them wait until `_begin`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(ends: Connection, wanted: Connection, done: Any) -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it closes `wanted` or is gone."""
    global _ticks
    _ticks = done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    wanted.close()
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=([parent.sentinel, ends],), daemon=True).start()


def _end_after(ends: list[int | Connection]) -> None:
    connection.wait(ends)
    os._exit(1)

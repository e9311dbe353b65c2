"""Processes that share work, and outlive neither a death among them nor their parent's.

The rule: what is handed out is a pure function of plain data, so that work which died with
its process is simply done again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, parent_process
from threading import Thread
from typing import TypeVar

from apsim.errors import ApsimError

__all__ = ["over_processes"]

Job = TypeVar("Job")
Result = TypeVar("Result")
TRIES = 3  # how often a pool is started again after a worker died


def over_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Generator[tuple[int, Result], None, None]:
    """Number and result of each job as it is finished, by `workers` processes.

    Raises `ApsimError` where workers keep dying.
    """
    left = dict(enumerate(jobs))
    for _ in range(TRIES):
        try:
            for number, result in _pool(work, left, workers):
                del left[number]
                yield number, result
            return
        except BrokenProcessPool:
            continue
    raise ApsimError(f"workers died {TRIES} times")


def _pool(
    work: Callable[[Job], Result], jobs: dict[int, Job], workers: int
) -> Iterator[tuple[int, Result]]:
    pool = ProcessPoolExecutor(workers, initializer=_follow_parent)
    try:
        futures: dict[Future[Result], int] = {
            pool.submit(work, job): number for number, job in list(jobs.items())
        }
        while futures:
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                yield futures.pop(future), future.result()
    finally:  # one call: a second one, as at the end of `with`, would not cancel
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """End this process when its parent is gone, killed included; a pool does not by itself."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)

"""A thread that makes what nobody should have to wait for: kernels, and code of LUT steps.

The rule: what it makes is the same whoever makes it, and until it is there the same is done
in a slower way, so that nothing but time depends on it.  A fork waits for what the thread is
at, so that no lock is held in the child; the end of the process waits for that and no more.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import cache

__all__ = ["is_made", "wait"]

Task = tuple[Hashable, Callable[[], object]]

_door = threading.Lock()
_busy = threading.RLock()  # held by who makes something
_left: deque[Task] = deque()
_made: dict[Hashable, threading.Event] = {}
_NEVER = threading.Event()


def is_made(name: Hashable, make: Callable[[], object]) -> bool:
    """Whether `make` has been called for this name; where not, the thread will do it.

    What it raises is dropped: whoever goes on to use what it makes meets it again.
    """
    known = _made.get(name)
    return known.is_set() if known else _begin((name, make)).is_set()


def wait(name: Hashable) -> None:
    """Until something that was asked for is made."""
    _made[name].wait()


def _begin(task: Task) -> threading.Event:
    with _door:
        if task[0] not in _made:
            _watch_forks()
            _made[task[0]] = threading.Event()
            _left.append(task)
            if len(_left) == 1:
                _start()
        return _made.get(task[0], _NEVER)


def _start() -> None:
    """Where no thread can begin, at the end of a process, say, nothing is made ahead."""
    try:
        threading.Thread(target=_work, name="apsim-background").start()
    except RuntimeError:
        del _made[_left.pop()[0]]


def _work() -> None:
    """One after another, as long as the main thread lives."""
    while threading.main_thread().is_alive():
        name, make = _left[0]
        with _busy:
            with suppress(Exception):
                make()
            _made[name].set()
        with _door:
            _left.popleft()
            if not _left:
                return


def _in_a_child() -> None:
    """The thread is not there: what it had not done is to be asked for again."""
    global _door
    _door = threading.Lock()
    _left.clear()
    for name in [name for name, made in _made.items() if not made.is_set()]:
        del _made[name]
    _busy.release()


@cache
def _watch_forks() -> None:
    """Before the first task, so that a fork waits for us before it takes locks of others.

    The hook that was registered last comes first.  One that comes later must not take what the
    thread may want: the lock of `logging`, whose own hook is registered when that is imported.
    """
    assert logging
    os.register_at_fork(
        before=_busy.acquire, after_in_parent=_busy.release, after_in_child=_in_a_child
    )

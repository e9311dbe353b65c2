"""The thread that makes ahead: once each, in order, and neither a fork nor the end hangs on it."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial

import pytest

from apsim import background


def test_everything_is_made_once_and_in_order_and_not_by_who_asks() -> None:
    made, hold = list[tuple[int, str]](), threading.Event()

    def task(k: int) -> None:
        made.append((k, threading.current_thread().name))

    assert not background.is_made(hold, hold.wait)
    names = [object() for _ in range(3)]
    for _ in range(2):
        made_at_once = [background.is_made(n, partial(task, k)) for k, n in enumerate(names)]
        assert not any(made_at_once)
    hold.set()
    background.wait(names[-1])
    assert made == [(k, "apsim-background") for k in range(3)]
    assert background.is_made(names[0], lambda: task(9))
    late = object()
    background.is_made(late, lambda: task(3))  # the thread before may have ended
    background.wait(late)
    assert [k for k, _ in made] == [0, 1, 2, 3]


def test_what_cannot_be_made_holds_up_nobody() -> None:
    wrong, right = object(), object()
    background.is_made(wrong, lambda: 1 // 0)
    background.is_made(right, lambda: None)
    background.wait(right)
    assert background.is_made(wrong, lambda: None)


def test_where_no_thread_can_be_had_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    name, made = object(), list[int]()

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not background.is_made(name, lambda: made.append(1))
    background.is_made(name, lambda: made.append(2))
    background.wait(name)
    assert made == [2]


FORK = """
import os, threading, warnings
from apsim import background
begun, hold = threading.Event(), threading.Event()
def first():
    begun.set()
    hold.wait()
background.is_made("first", first)
background.is_made("second", lambda: None)
begun.wait()
hold.set()
warnings.simplefilter('ignore')
child = os.fork()  # waits for the first, whose locks nobody would give back in the child
for name in ("first", "second"):
    background.is_made(name, lambda: None)
    background.wait(name)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

THREADS = """
import os, threading, warnings
from apsim.cam import frame
def both():
    met = threading.Barrier(2)  # neither of two threads does it all
    assert sorted(frame.each(lambda _: met.wait(), [1, 2], 2)) == [0, 1]
warnings.simplefilter('ignore')
both()
child = os.fork()
both()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

END = """
import threading
from apsim import background
main = threading.main_thread()
background.is_made("first", lambda: (main.join(), print("first")))
background.is_made("second", lambda: print("second"))
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_a_child_asks_anew_for_what_its_parent_had_not_made() -> None:
    run(FORK)


def test_a_child_has_threads_of_its_own() -> None:
    """The parent's are not there, and nobody would do what they are given"""
    run(THREADS)


def test_the_end_of_a_process_waits_for_what_is_at_hand_and_for_no_more() -> None:
    assert run(END) == "first\n"

"""The thread that makes ahead: once each, in order, and neither a fork nor the end hangs on it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from apsim import background
from tests.conftest import ROOT


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

LOCKED = """
import os
from apsim import background
import logging, threading
begun, hold = threading.Event(), threading.Event()
def first():
    begun.set()
    hold.wait()
    logging.getLogger("new").isEnabledFor(10)
background.is_made("first", first)
begun.wait()
threading.Timer(0.2, hold.set).start()
child = os.fork()  # the lock of logging is taken for it, too
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

FULL = """
import atexit, threading
from apsim import background
def start(thread):
    raise RuntimeError("can't start new thread")
right, threading.Thread.start = threading.Thread.start, start
assert [background.is_made("first", lambda: None) for _ in range(2)] == [False, False]
threading.Thread.start = right
background.is_made("first", lambda: None)
background.wait("first")
assert background.is_made("first", lambda: None)
"""

POOL = """
import os
from apsim.cam import frame
def both():
    return list(frame.each(lambda k: k + 1, [1, 2], 2))
assert both() == [2, 3]
child = os.fork()
assert both() == [2, 3]
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

FILE = """
from apsim import Machine
class Own:
    def __init__(self):
        self.file, self.me = open("kept", "w"), self
one = Own()
one.file.write("text")
"""

END = """
import threading
from apsim import background
main = threading.main_thread()
background.is_made("first", lambda: (main.join(), print("first")))
background.is_made("second", lambda: print("second"))
"""


def run(script: str, where: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
        cwd=where, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_a_child_asks_anew_for_what_its_parent_had_not_made() -> None:
    run(FORK)


def test_the_end_of_a_process_waits_for_what_is_at_hand_and_for_no_more() -> None:
    assert run(END) == "first\n"


def test_a_fork_waits_before_it_takes_a_lock_that_the_thread_may_want() -> None:
    run(LOCKED)


def test_where_no_thread_can_begin_it_is_asked_for_again() -> None:
    run(FULL)


def test_a_child_has_threads_of_its_own_for_the_parts_of_a_program() -> None:
    run(POOL)


def test_what_a_program_leaves_open_is_written_at_its_end(tmp_path: Path) -> None:
    """Who imports a machine keeps Python's last look for garbage: it closes files."""
    run(FILE, tmp_path)
    assert (tmp_path / "kept").read_text() == "text"

"""Processes that share work: every job once, a death costs time, none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from apsim.errors import ApsimError
from apsim.workers import over_processes

SLEEPERS = """
import time
from apsim.workers import over_processes
for number, _ in over_processes(time.sleep, [0, 600, 600], 2):
    print(number, flush=True)
"""


def _squared(number: int) -> int:
    return number**2


def _dies_at(marker: str, number: int) -> int:
    """Kills its process the first time it gets a 3."""
    if number == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def _leaves_a_mark(folder: str, number: int) -> None:
    time.sleep(0.01)  # work that takes a while
    Path(folder, str(number)).touch()


def _dies(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_every_job_gives_its_result_once() -> None:
    """{(k, f(jobs[k]))} == what over_processes gives"""
    found = list(over_processes(_squared, range(9), 2))
    assert sorted(found) == [(k, k**2) for k in range(9)]


def test_no_jobs_give_no_results() -> None:
    assert list(over_processes(_squared, [], 2)) == []


def test_work_that_died_with_its_process_is_done_again(tmp_path: Path) -> None:
    found = list(over_processes(partial(_dies_at, str(tmp_path / "died")), range(9), 2))
    assert sorted(found) == [(k, k**2) for k in range(9)]
    assert (tmp_path / "died").exists()


def test_workers_that_keep_dying_are_given_up() -> None:
    with pytest.raises(ApsimError, match="workers died 3 times"):
        list(over_processes(_dies, [1], 2))


def test_what_was_not_begun_is_dropped_when_nobody_wants_more(tmp_path: Path) -> None:
    """jobs done after the iterator was closed at its first result < all jobs"""
    arriving = over_processes(partial(_leaves_a_mark, str(tmp_path)), range(200), 2)
    next(arriving)
    arriving.close()
    assert 1 <= len(list(tmp_path.iterdir())) < 200


def test_workers_end_when_their_parent_is_killed() -> None:
    """Their standard output closes, which the sleeping workers would hold open for 600 s"""
    parent = subprocess.Popen([sys.executable, "-c", SLEEPERS], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"0\n"
    parent.kill()
    rest, _ = parent.communicate(timeout=60)
    assert rest == b""

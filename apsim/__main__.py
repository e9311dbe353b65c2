"""Run the command line: `python -m apsim`, and the script `apsim`.

The rule: Ctrl-C and a request to end are answered before anything else is imported, and what
this process leaves behind is not searched for garbage at its end: it has no objects of others.
"""

import gc
import os
import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line of this process; return its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)
    from apsim.cli import main as run

    try:
        return run()
    finally:
        gc.freeze()


def _leave(number: int, *_: object) -> None:
    os.write(2, b"apsim: interrupted\n" if number == signal.SIGINT else b"apsim: terminated\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

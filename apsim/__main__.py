"""Run the command line as `python -m apsim`."""

import sys

from apsim.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())

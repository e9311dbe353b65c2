"""A pytest plugin: machine code for a processor without 512-bit vectors, and none kept on disk.

`-p tests.helpers.older_processor` runs any test on what such a processor would run; without that
nothing happens here.
"""

from __future__ import annotations


def pytest_configure() -> None:
    """Before any test is imported."""
    from apsim.cam import _objects

    _objects._processor = lambda: ("x86-64-v3", "")  # type: ignore[assignment]
    _objects._stored = lambda name: None
    _objects.HAS_TERNARY_LOGIC = False

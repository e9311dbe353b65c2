"""What every test may use: the folder of real models, and how Hypothesis runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("apsim", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("apsim-ci", settings.get_profile("apsim"), derandomize=True)
settings.load_profile("apsim-ci" if os.environ.get("CI") else "apsim")


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder with third-party models: `APSIM_MODELS`, else `shared/models` beside us."""
    folder = Path(os.environ.get("APSIM_MODELS") or ROOT.parent / "shared" / "models")
    if not folder.is_dir():
        pytest.skip(f"no models at {folder}; APSIM_MODELS may name another folder")
    return folder


@pytest.fixture(autouse=True)
def _a_broken_pipe_stays_an_error() -> Iterator[None]:
    """No test, nor what it imports, may let SIGPIPE kill the process that the next tests share."""
    yield
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN

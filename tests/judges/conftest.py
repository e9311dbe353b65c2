"""Every test here has a cache of its own, and needs the extra onnx."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder

"""The project around the package: the wheel, the extras, the scripts' environment."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from apsim import cli
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_dev_group_is_the_dev_extra_with_every_other_extra() -> None:
    """group(dev) == extra(dev) - apsim[...] + union of the extras that it names."""
    extras = dict(PROJECT["project"]["optional-dependencies"])
    dev = extras.pop("dev")
    assert f"apsim[{','.join(extras)}]" == dev[0]
    assert (
        sorted([*dev[1:], *itertools.chain(*extras.values())])
        == PROJECT["dependency-groups"]["dev"]
    )


def test_the_core_needs_three_packages_and_no_more() -> None:
    needs = PROJECT["project"]["dependencies"]
    assert [need.split(">")[0] for need in needs] == ["numpy", "numba", "rich"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the built wheel is installed, far from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    install = [*pip, "install", "--no-deps", "--target", folder / "site", wheel]
    subprocess.run([*install, "--root-user-action=ignore"], check=True, cwd=folder)
    return folder / "site"


def python(installed: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=installed.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_lut_of_the_checkout(installed: Path) -> None:
    def texts(folder: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.glob("*.toml")}

    assert "relu.toml" in texts(ROOT / "luts")
    assert texts(installed / "apsim" / "_luts") == texts(ROOT / "luts")


def test_the_wheel_works_outside_the_checkout(installed: Path) -> None:
    where = python(installed, "-c", "import apsim; print(apsim.__file__)").strip()
    assert Path(where).is_relative_to(installed)
    assert python(installed, "-m", "apsim", "--version").startswith("apsim ")


@pytest.mark.parametrize(
    "command",
    [["lut", "check"], ["run", "--images", "1"], ["rtl", "add", "--rows", "2", "-o", "circuit"]],
)
def test_a_verb_of_the_wheel_works_outside_the_checkout(
    installed: Path, command: list[str]
) -> None:
    assert command[0] in cli.VERBS
    assert python(installed, "-m", "apsim", *command)


@pytest.fixture
def environment() -> ModuleType:
    """The module `scripts/_environment.py`."""
    spec = importlib.util.spec_from_file_location(
        "environment", ROOT / "scripts" / "_environment.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records what an install would run, in place of running it."""
    log: list[str] = []

    def run(command: list[str]) -> bool:
        log.append(" ".join(command))
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True, exist_ok=True)
            (Path(command[-1]) / "bin" / "python").symlink_to(sys.executable)
        return not fail

    fail: list[bool] = []
    monkeypatch.setattr(environment, "run", run)
    monkeypatch.setattr(environment, "fail", fail, raising=False)
    return log


def test_a_second_run_installs_nothing(
    environment: ModuleType, commands: list[str], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    assert environment.main(venv, set()) == 0
    assert [("-m venv" in line, "pip install" in line) for line in commands] == [
        (True, False),
        (False, True),
    ]
    assert environment.main(venv, set()) == 0
    assert len(commands) == 2


def test_the_test_tools_are_added_to_an_environment_without_them(
    environment: ModuleType, commands: list[str], tmp_path: Path
) -> None:
    environment.main(tmp_path / "venv", set())
    environment.main(tmp_path / "venv", {"dev"})
    assert commands[-1].endswith(f"{ROOT}[dev]")
    environment.main(tmp_path / "venv", set())
    assert len(commands) == 3


def test_an_install_that_failed_is_not_taken_for_good(
    environment: ModuleType, commands: list[str], tmp_path: Path
) -> None:
    environment.fail.append(True)
    assert environment.main(tmp_path / "venv", set()) == 1
    environment.fail.clear()
    assert environment.main(tmp_path / "venv", set()) == 0


def test_an_install_cut_short_starts_again_from_an_empty_folder(
    environment: ModuleType, commands: list[str], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    environment.main(venv, set())
    (venv / "apsim-stamp.json").unlink()
    (venv / "apsim-install-under-way").touch()
    (venv / "bin" / "python").unlink()
    environment.main(venv, set())
    assert "-m venv --clear" in commands[2]


def test_a_change_of_the_project_file_makes_the_environment_stale(
    environment: ModuleType, commands: list[str], tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    environment.main(venv, set())
    stamp = json.loads((venv / "apsim-stamp.json").read_text())
    (venv / "apsim-stamp.json").write_text(json.dumps(stamp | {"fingerprint": "of before"}))
    environment.main(venv, set())
    assert len(commands) == 3

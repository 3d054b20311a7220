"""What a release consists of: a wheel that installs into an empty environment, and a source distribution."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

from tests.test_documentation import blocks
from tests.test_documentation import CHECK_TUS

ROOT = Path(__file__).parents[1]
# What git does not have, or what a release does not need.
NOT_COPIED = shutil.ignore_patterns(".*", "node_modules", "*.egg-info", "build", "dist", "_build", "bin", "__pycache__")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, without the package of this tree in its way."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": "/"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this tree."""
    folder = tmp_path_factory.mktemp("release")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_COPIED)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ".", cwd=folder / "source")
    return folder / "dist"


@pytest.mark.slow
def test_the_files_are_as_an_index_wants_them(built: Path) -> None:
    """The metadata can be shown, the wheel has the package and nothing else, and the sources can be tested."""
    (wheel,), (sources,) = list(built.glob("*.whl")), list(built.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sources, cwd=built)
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=built)
    with tarfile.open(sources) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CHANGELOG.md", "LICENSE", "README.md", "docs/index.md", "tests/conftest.py"} <= names


@pytest.mark.slow
def test_the_quickstart_runs_from_the_wheel(built: Path, tmp_path: Path) -> None:
    """In an environment that has nothing else."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)
    (tmp_path / "app.py").write_text(blocks("quickstart.md", "python")[0])
    (tmp_path / "check.py").write_text(CHECK_TUS)
    assert "a.csv has arrived" in run(python, "check.py", cwd=tmp_path)
    assert "delete_expired" in run(python, "-m", "flask", "tus", "--help", cwd=tmp_path)

"""What a release consists of: a wheel that installs into an empty environment, and a source distribution."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from functools import cache
from importlib.metadata import distribution
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.prerequisites import Missing
from tests.test_architecture import _imports as imports_of
from tests.test_architecture import MODULES
from tests.test_documentation import blocks
from tests.test_documentation import CHECK_TUS
from tests.upgrade import frozen

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What git does not have, or what a release does not need.
NOT_COPIED = shutil.ignore_patterns("node_modules", "*.egg-info", "build", "dist", "_build", "bin", "__pycache__")
# Made by the build.
METADATA = {"PKG-INFO", "setup.cfg"}
# The parts of the package that need an extra, and what may be imported wherever it is installed already.
PARTS = {
    "models.mongoengine": "mongoengine",
    "repositories.mongo": "mongoengine",
    "storage.s3": "s3",
    "metrics": "metrics",
    "tracing": "tracing",
}
WITHOUT_EXTRA = {"testing": {"pytest"}, "core.checksum": {"blake3", "xxhash"}, "wsgi.gevent": {"gevent"}}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, without the package of this tree in its way."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": "/"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked() -> list[str] | None:
    """The files that git has or is about to get; ``None`` if this is no clone."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this tree."""
    folder = tmp_path_factory.mktemp("release")
    names = tracked()
    if names is None:
        shutil.copytree(ROOT, folder / "source", ignore=NOT_COPIED)
    else:
        for name in names:
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ".", cwd=folder / "source")
    return folder / "dist"


@pytest.mark.slow
def test_the_files_are_as_an_index_wants_them(built: Path) -> None:
    """The metadata can be shown, and the wheel has the package and nothing else."""
    (wheel,), (sources,) = list(built.glob("*.whl")), list(built.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sources, cwd=built)
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=built)
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "flask_resumable").rglob("*") if path.is_file()}
    assert names == {name for name in package if "__pycache__" not in name}


@pytest.mark.slow
def test_the_sources_are_all_that_git_has(built: Path) -> None:
    """The tests can be run from them, and nothing is in them by accident."""
    (sources,) = built.glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if not member.isdir()}
    found = {name for name in names if ".egg-info/" not in name} - METADATA
    known = tracked()
    assert {"CHANGELOG.md", "LICENSE", "README.md", "docs/index.md", "tests/conftest.py"} <= found
    assert known is None or found == set(known)


@pytest.mark.slow
def test_links_of_the_description_lead_somewhere(built: Path) -> None:
    """An index shows the README without the files beside it."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        description = archive.read(name).decode().partition("\n\n")[2]
    links = re.findall(r"\]\(([^)\s]+)\)", description)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    (picture,) = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", description)
    assert "/raw/" in picture


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
    (tmp_path / "app.py").unlink()  # the next command needs none
    assert "flask create_tables" in run(python, "-m", "flask", "tus", "init", "box", cwd=tmp_path)
    assert f"[flask-sqlalchemy]~={PROJECT['version']}\n" in (tmp_path / "box" / "requirements.txt").read_text()


@pytest.fixture(params=sorted(path.name for path in frozen.HERE.iterdir() if path.name[:1].isdigit()))
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The package of a release, unpacked: as pip finds it, or as this tree builds it if it is that version."""
    version = str(request.param)
    if version == PROJECT["version"]:
        (wheel,) = request.getfixturevalue("built").glob("*.whl")
    else:
        (tmp_path / "wheel").mkdir()
        name = f"Flask-Resumable=={version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "wheel", name]
        if subprocess.run(command, cwd=tmp_path).returncode:
            raise Missing(f"{name} is missing: pip download {name}")
        (wheel,) = (tmp_path / "wheel").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "released")
    return tmp_path / "released"


@pytest.mark.slow
@pytest.mark.parametrize("is_upgrade", [True, False], ids=["upgrade", "going back"])
def test_one_version_finishes_what_another_began(released: Path, is_upgrade: bool, tmp_path: Path) -> None:
    """With the columns of an app's model: a release and this tree, in both directions."""
    folder = tmp_path / "app"
    folder.mkdir()
    packages = [released, ROOT] if is_upgrade else [ROOT, released]
    frozen.run("begin", "sqlite", frozen.sqlite_in(folder), folder, packages[0])
    said = frozen.run("finish", "sqlite", frozen.sqlite_in(folder), folder, packages[1])
    assert said == "finished 16\n"


def test_the_changelog_has_this_version() -> None:
    """It is the first one that has a date; what comes before it is not released."""
    headings = re.findall(r"^## (\S+)\n\n(\S.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [name for name, line in headings if re.fullmatch(r"Released \d{4}-\d\d-\d\d", line)]
    assert all(line == "Unreleased" for name, line in headings if name not in released)
    assert PROJECT["version"].partition(".dev")[0] in (released[0], headings[0][0])


def test_the_text_of_a_release(tmp_path: Path) -> None:
    """It is the section of the changelog, with links that lead to the files of the tag."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    commands = workflow["jobs"]["upload"]["steps"][-1]["run"].partition("gh release")[0]
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    environ = {**os.environ, "GITHUB_REF_NAME": f"v{PROJECT['version']}", "GITHUB_REPOSITORY": "someone/something"}
    subprocess.run(["sh", "-euc", commands], cwd=tmp_path, env=environ, check=True)
    text = (tmp_path / "notes.md").read_text()
    assert text.strip().startswith("Released ") and "\n## " not in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    pages = f"https://github.com/someone/something/blob/v{PROJECT['version']}/"
    assert links and all(link.startswith(pages) for link in links)


@cache
def installed_with(*requirements: str) -> set[str]:
    """The names of the distributions that pip installs for these requirements."""
    found: set[str] = set()
    todo = [Requirement(line) for line in requirements]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            todo += map(Requirement, distribution(name).requires or ())
    return found


def parts(name: str) -> list[str]:
    """The parts of ``PARTS`` and ``WITHOUT_EXTRA`` that a module belongs to."""
    inner = name.partition(".")[2]
    return [part for part in (*PARTS, *WITHOUT_EXTRA) if f"{inner}.".startswith(f"{part}.")]


def test_each_module_imports_what_its_extra_installs() -> None:
    """Or what is always installed. So each extra works in an environment without the others."""
    owners = packages_distributions()
    extras = PROJECT["optional-dependencies"]
    for name in MODULES:
        lines = [line for part in parts(name) if part in PARTS for line in extras[PARTS[part]]]
        free = {package for part in parts(name) for package in WITHOUT_EXTRA.get(part, ())}
        imported = {module.partition(".")[0] for module in imports_of(name)}
        for package in imported - {"flask_resumable", *sys.stdlib_module_names, *free}:
            installed = installed_with(*PROJECT["dependencies"], *lines)
            assert installed & set(map(canonicalize_name, owners.get(package, ()))), f"{name} imports {package}"

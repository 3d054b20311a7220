"""What a machine lacks costs a line for each thing, and no error; on a CI machine it is a failure."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import prerequisites
from tests.browser.browser import Chromium
from tests.databases.servers import MariaDB
from tests.databases.servers import MongoWire
from tests.databases.servers import PostgreSQL
from tests.nodes.nginx import Nginx
from tests.nodes.proxies import Proxy
from tests.prerequisites import Missing
from tests.prerequisites import require_module
from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_strace
from tests.prerequisites import require_user
from tests.prerequisites import ROOT
from tests.s3.ceph import Ceph
from tests.s3.moto import Moto
from tests.s3.versity import Versity

TESTS = ROOT / "tests"
STARTS: dict[str, Callable[[Path], object]] = {
    "mariadbd is missing: apt-get install mariadb-server": lambda folder: MariaDB(),
    "initdb is missing: apt-get install postgresql": lambda folder: PostgreSQL(),
    "secantusd-py is missing: pip install SecantusDB==0.7.0b3": lambda folder: MongoWire(),
    "moto_server is missing: pip install 'moto[s3,server]'": Moto,
    "ceph-mon is missing: apt-get install ceph-mon ceph-osd radosgw ceph-common": Ceph,
    "versitygw is missing: make bench-peers, and put bench/peers/bin into the PATH": Versity,
    "nginx is missing: apt-get install nginx": lambda folder: Nginx(folder / "nginx", [1]),
    "caddy is missing: apt-get install caddy": lambda folder: Proxy("caddy", folder / "caddy", [1, 1]),
    "haproxy is missing: apt-get install haproxy": lambda folder: Proxy("haproxy", folder / "haproxy", [1, 1]),
    "node is missing: apt-get install nodejs": lambda folder: Chromium("chromium", folder),
    "strace is missing: apt-get install strace": lambda folder: require_strace(),
    "no_such_module is missing: pip install it": lambda folder: require_module("no_such_module", "pip install it"),
}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no program at all; an empty folder."""
    monkeypatch.setattr(prerequisites, "FOLDERS", ())
    monkeypatch.setattr(prerequisites, "SCRIPTS", tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("message", STARTS)
def test_what_is_missing_is_named_with_the_way_to_get_it(message: str, bare: Path) -> None:
    """One line, and nothing is left behind."""
    with pytest.raises(Missing) as error:
        STARTS[message](bare)
    assert str(error.value) == message
    assert list(bare.iterdir()) == []


@pytest.mark.parametrize("kind", [MariaDB, PostgreSQL])
def test_a_user_that_is_missing_is_named(
    kind: type[MariaDB | PostgreSQL], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root finds the programs of a server, but not the user of the package that should have brought them."""
    for name in ("mariadbd", "mariadb-install-db", "mariadb-admin", "initdb"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kind, "user", "no-such-user")
    with pytest.raises(Missing, match=f"no user no-such-user, .*: {kind.install}"):
        kind()


def test_npm_that_fails_is_quoted_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, for example."""
    for name, script in (("node", "exit 0"), ("npm", "echo 'no network\nmore' >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "package.json").write_text('{"dependencies": {"fish": "1.0.0"}}')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match=r"^npm cannot install the packages of \S+: no network$"):
        require_npm_packages(tmp_path)


@pytest.mark.parametrize("is_allowed", [False, True])
def test_strace_must_be_allowed_to_attach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_allowed: bool) -> None:
    """Many systems let nobody but root look into processes that are not their children."""
    if is_allowed:
        try:
            strace = require_strace()
        except Missing as error:
            pytest.skip(str(error))
        assert Path(strace).name == "strace"
        return
    (tmp_path / "strace").write_text("#!/bin/sh\necho 'strace: attach:\nOperation not permitted' >&2; exit 1\n")
    (tmp_path / "strace").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="strace: attach: Operation not permitted$"):
        require_strace()


NEEDY = """
import pytest
from tests.conftest import pytest_runtest_call, pytest_runtest_setup
from tests.prerequisites import require_program

@pytest.fixture(scope="session")
def fish():
    require_program("fish-server", "apt-get install fish")

def test_one(fish): pass
def test_two(fish): pass
def test_three(): require_program("bird", "apt-get install bird")
def test_four(): pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_ci", [False, True])
def test_tests_are_skipped_but_fail_on_a_ci_machine(tmp_path: Path, is_ci: bool) -> None:
    """A line for each thing that is missing, however many tests want it; on a CI machine none of them passes unseen."""
    (tmp_path / "test_needy.py").write_text(NEEDY)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rsfE", "-p", "no:cacheprovider", "-n", "0", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "true" if is_ci else ""}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if is_ci:
        assert done.returncode == 1
        assert lines[-1].startswith("1 failed, 1 passed, 2 errors")
        errors = [line for line in lines if line.startswith("ERROR test_needy")]
        assert [line.endswith("fish-server is missing: apt-get install fish") for line in errors] == [True, True]
    else:
        assert done.returncode == 0
        assert lines[-1].startswith("1 passed, 3 skipped")
        reasons = [line.split(": ", 1)[1] for line in lines if line.startswith("SKIPPED")]
        assert reasons == ["fish-server is missing: apt-get install fish", "bird is missing: apt-get install bird"]


def test_root_and_nobody_are_users() -> None:
    """The look-up finds who is there."""
    require_user("root", "")
    require_module("flask", "")


def _programs(tree: ast.Module) -> Iterator[str]:
    """The first words of all commands that are written out."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("subprocess."):
            continue
        if node.args and isinstance(node.args[0], ast.List):
            yield ast.unparse(node.args[0].elts[0])
        elif node.args:
            yield ast.unparse(node.args[0])


def test_every_program_is_asked_for_before_it_is_started() -> None:
    """No test names a program where it starts it: ``require_program`` finds it. ``sh`` is everywhere."""
    for path in TESTS.rglob("*.py"):
        literals = {word for word in _programs(ast.parse(path.read_text())) if word.startswith(("'", "f'"))}
        assert literals <= {"'sh'"}, f"{path.relative_to(ROOT)} starts {', '.join(literals)}"

"""The dependency rules, checked against the code."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flask_resumable
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import TRANSITIONS

PACKAGE = Path(flask_resumable.__file__).parent
MODULES = {
    ".".join(("flask_resumable", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

# What each module may import of the package, besides errors and itself. Imports for types count, too.
ALLOWED = {
    "errors": set(),
    "signals": set(),
    "processes": set(),
    "core": set(),
    "interfaces": {"core"},
    "service": {"core", "interfaces", "processes"},
    "models": {"core"},
    "settings": {"core"},
    "repositories": {"core", "interfaces", "models", "settings"},
    "storage": {"core", "interfaces", "processes", "settings"},
    "signing": {"core"},
    "starter": set(),
    "startup": {"core", "interfaces", "settings"},
    "state": {"core", "interfaces", "service", "settings", "signing", "wsgi"},
    "wsgi": {"core", "interfaces"},
    "downloads": {"core", "interfaces", "state"},
    "protocols": {"core", "downloads", "interfaces", "service", "settings", "state", "wsgi"},
    "cli": {"core", "interfaces", "service", "starter", "state"},
    "hooks": {"core", "signals"},
    "logs": {"core", "interfaces"},
    "observing": {"core", "interfaces"},
    "metrics": {"core", "interfaces"},
    "tracing": {"core", "interfaces"},
    "testing": {"core", "interfaces", "storage"},
}
# Folders that have nothing to do with one another, and files beside them that nobody in them may import.
APART = {
    "protocols": ({"tus", "flow", "ietf"}, {"registry"}),
    "repositories": ({"sql", "mongo"}, set()),
    "storage": ({"local", "multipart", "s3"}, {"factory"}),
}
ON_TOP_OF = {"s3": {"multipart"}}
# What the checksums may import if it is installed: pure functions, too.
HASHES = {"blake3", "xxhash"}
# What every protocol has that must be pure: it decides without Flask, databases, disks or clocks.
PURE = ("errors", "messages", "replies", "multipart", "versions", "structured_fields", "disposition", "digests")
# Who may know which of the world outside.
OUTSIDE = {
    "flask": {
        "cli",
        "downloads",
        "extension",
        "hooks",
        "models",
        "protocols",
        "repositories",
        "state",
        "testing",
        "wsgi",
        "metrics",
    },
    "werkzeug": {"downloads", "hooks", "protocols", "testing", "wsgi"},
    "sqlalchemy": {"models", "repositories"},
    "flask_sqlalchemy": set(),
    "flask_sqlalchemy_lite": set(),
    "mongoengine": {"models", "repositories"},
    "pymongo": {"repositories"},
    "pytest": {"testing"},
    "click": {"cli"},
    "boto3": {"storage"},
    "botocore": {"storage"},
    "blinker": {"signals"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"tracing"},
    "itsdangerous": {"signing"},
}


@cache
def _imports(name: str) -> set[str]:
    """All that a module imports, as absolute names; for types, and within functions, too."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join((*base, *([node.module] if node.module else [])))
            found |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module for alias in node.names
            }
    return found


def _top(name: str) -> str:
    return (name.split(".") + [""])[1]


def _is_pure(name: str) -> bool:
    _, top, *rest = (*name.split("."), "")
    return top == "core" or (top == "protocols" and len(rest) > 1 and rest[1] in PURE)


def _is_group(name: str) -> bool:
    """Whether it is a package of pure modules, named to import one of them."""
    return MODULES[name].name == "__init__.py"


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_downwards_only(name: str) -> None:
    """A module imports only the modules below it; the extension alone knows everybody."""
    top = _top(name)
    if top in ("extension", ""):
        return
    inner = {_top(imported) for imported in _imports(name) if imported.startswith("flask_resumable")}
    assert inner <= ALLOWED[top] | {"errors", top}


# What each folder of a kind of storage may import of the others.
KNOWN_STORAGES: dict[str, set[str]] = {"local": set(), "multipart": set(), "s3": {"multipart"}}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("flask_resumable.storage.")])
def test_kinds_of_storage_do_not_know_one_another(name: str) -> None:
    """A disk and an object store know only what is beside both; a store knows what works over all stores."""
    folder = name.split(".")[2]
    imported = {(name.split(".") + [""])[2] for name in _imports(name) if name.startswith("flask_resumable.storage")}
    if folder in KNOWN_STORAGES:
        assert imported & set(KNOWN_STORAGES) <= KNOWN_STORAGES[folder] | {folder}


@pytest.mark.parametrize("name", MODULES)
def test_backends_are_known_only_where_they_belong(name: str) -> None:
    """Flask, the ORM and the rest of the world are imported only by the modules that are about them."""
    for imported in _imports(name):
        top = imported.split(".")[0]
        if top in OUTSIDE:
            assert _top(name) in OUTSIDE[top], f"{name} imports {top}"


@pytest.mark.parametrize("name", MODULES)
def test_folders_that_are_apart_stay_apart(name: str) -> None:
    """A protocol knows no other, a database no other; what they share knows none of them, but for the list of them."""
    _, top, *rest = (*name.split("."), "", "")
    folders, lists = APART.get(top, (set(), set()))
    allowed = ({rest[0]} | ON_TOP_OF.get(rest[0], set())) & folders or (folders if rest[0] in lists else set())
    if name == f"flask_resumable.{top}" and top in ("repositories", "storage"):
        allowed = folders  # it chooses
    found = {imported.split(".")[2] for imported in _imports(name) if imported.startswith(f"flask_resumable.{top}.")}
    assert found & folders <= allowed


@pytest.mark.parametrize("name", [name for name in MODULES if _is_pure(name)])
def test_rules_and_messages_are_pure(name: str) -> None:
    """They import the standard library, the rules and each other."""
    for imported in _imports(name):
        top, _, inner = imported.partition(".")
        if top == "flask_resumable":
            is_fine = not inner or _is_pure(imported) or inner in ("errors", "protocols.reply") or _is_group(imported)
            assert is_fine, f"{name} imports {imported}"
        else:
            is_hash = name == "flask_resumable.core.checksum" and top in HASHES
            assert top in sys.stdlib_module_names or is_hash, f"{name} imports {imported}"


def test_there_is_no_import_cycle() -> None:
    """The modules can be sorted by what they import."""
    graph = {name: {imported for imported in _imports(name) if imported in MODULES} - {name} for name in MODULES}
    TopologicalSorter(graph).prepare()


def test_every_public_name_exists() -> None:
    """``__all__`` is what can be seen."""
    visible = {
        name for name, value in vars(flask_resumable).items() if not name.startswith("_") and isinstance(value, type)
    }
    assert visible == set(flask_resumable.__all__)


def test_every_status_can_be_reached_and_left() -> None:
    """Every status can be reached, and from each, the upload can be removed."""
    reached: set[Status | None] = {None}
    todo: list[Status | None] = [None]
    while todo:
        new = TRANSITIONS[todo.pop()] - reached
        reached |= new
        todo += new
    assert reached == {None, *Status} == set(TRANSITIONS)
    removing = {Status.DELETING, Status.GONE, None}
    assert all(removing & TRANSITIONS[status] for status in Status)

"""Exchanges the code of a function that is in use, wherever it is referred to."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType

from proof.mutation.mutants import Mutant


def functions_of(package: Path) -> list[FunctionType]:
    """Return all functions of a package that exist now."""
    functions = [found for found in gc.get_objects() if isinstance(found, FunctionType)]
    return [function for function in functions if function.__code__.co_filename.startswith(f"{package}/")]


def swap(functions: Sequence[FunctionType], path: Path, mutant: Mutant) -> None:
    """Let the function be the mutant in this process.

    :raises LookupError: The function was not found, so the mutant would seem to survive.
    """
    named = [function for function in functions if function.__code__.co_qualname == mutant.function]
    found = [function for function in named if function.__code__.co_filename == str(path)]
    if not found:
        raise LookupError(mutant.key)
    nearest = min(_distance(function, mutant) for function in found)
    for function in found:  # several if a decorator has made a copy
        if _distance(function, mutant) == nearest:
            _become(function, mutant)


def _distance(function: FunctionType, mutant: Mutant) -> int:
    """In lines; a decorator may or may not belong to the function. Getters and setters have the same name."""
    return abs(function.__code__.co_firstlineno - mutant.line)


def _become(function: FunctionType, mutant: Mutant) -> None:
    names = dict(vars(sys.modules[function.__module__]))
    tree = ast.parse(mutant.source)
    if "__class__" in function.__code__.co_freevars:  # super() needs that cell, and may have been left out
        _code(tree).append(ast.Expr(ast.Name("__class__", ast.Load())))
    exec(compile(ast.fix_missing_locations(tree), function.__code__.co_filename, "exec"), names)
    first, *others = mutant.function.split(".")
    found = names[first]
    for name in others:
        found = vars(found)[name]
    function.__code__ = found.__code__
    function.__defaults__ = found.__defaults__
    function.__kwdefaults__ = found.__kwdefaults__


def _code(tree: ast.Module) -> list[ast.stmt]:
    """The statements of the only function."""
    body = tree.body
    while isinstance(body[-1], ast.ClassDef | ast.FunctionDef):
        is_found = isinstance(body[-1], ast.FunctionDef)
        body = body[-1].body
        if is_found:
            break
    return body

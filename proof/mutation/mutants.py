"""The mutants of a module: copies of it with one small change each.

The changes are those of mutmut, which leaves out decorated functions: properties and context managers. Here they are
changed, too. In addition, calls whose result is not used, and ``raise`` statements, are left out, and plain conditions
are negated. Texts for people are not changed.
"""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper
from libcst.metadata import ParentNodeProvider
from libcst.metadata import PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.mutators import operator_arg_removal
from mutmut.mutation.mutators import operator_assignment
from mutmut.mutation.mutators import operator_string
from mutmut.mutation.pragma_handling import IgnoredCode


@dataclass(frozen=True)
class Mutant:
    """One change to one function."""

    module: str  # such as "core/upload.py"
    function: str  # such as "Upload.is_whole"
    before: str  # the lines that are changed, joined
    after: str
    count: int  # 1, or more if the function has such a change several times
    line: int  # of the function's definition
    lines: tuple[int, ...]  # of the statement
    source: str  # of a module that has only this function, in classes of the same names

    @property
    def key(self) -> str:
        """What remains the same if lines move."""
        again = f" ({self.count})" if self.count > 1 else ""
        return f"{self.module} {self.function}{again}\n- {self.before}\n+ {self.after}"


def mutants_of(path: Path, module: str) -> list[Mutant]:
    """Return all mutants of a module, in its order."""
    wrapper = MetadataWrapper(cst.parse_module(path.read_text()), unsafe_skip_copy=True)
    visitor = _Visitor(_OPERATORS, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    parents: Any = wrapper.resolve(ParentNodeProvider)
    originals: dict[cst.FunctionDef, tuple[str, str | None]] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    mutants, known = [], set()
    for mutation in visitor.mutations:
        node = mutation.original_node
        around = [found for found in (node, *_upwards(node, parents)) if isinstance(found, cst.FunctionDef)]
        if not around or _is_for_people(node, parents):
            continue
        function = around[-1]
        if function not in originals:
            code = wrapper.module.code_for_node(function.with_changes(decorators=[], leading_lines=[]))
            originals[function] = code, _tree(code)
        original, tree = originals[function]
        if tree is None:
            continue
        changed = function.with_changes(decorators=[], leading_lines=[]).deep_replace(node, mutation.mutated_node)
        mutated = wrapper.module.code_for_node(changed)
        classes = [parent.name.value for parent in _upwards(function, parents) if isinstance(parent, cst.ClassDef)][
            ::-1
        ]
        name = ".".join([*classes, function.name.value])
        if (name, mutated) in known or not _is_other(mutated, tree):
            continue
        known.add((name, mutated))
        before, after = _difference(original, mutated)
        seen[name, before, after] += 1
        mutants.append(
            Mutant(
                module=module,
                function=name,
                before=before,
                after=after,
                count=seen[name, before, after],
                line=positions[function].start.line,
                lines=_lines(node, parents, positions),
                source=_alone(_with_class(mutated, original), classes),
            )
        )
    return mutants


def _with_class(mutated: str, original: str) -> str:
    """The code of a function that refers to its class if the original does: only then can they be exchanged."""
    is_left_out = "super()" in original and "super()" not in mutated
    return mutated.rstrip() + "\n    if False:\n        super()\n" if is_left_out else mutated


def _alone(function: str, classes: list[str]) -> str:
    """A module with this function, in classes of the names of its own."""
    for name in reversed(classes):
        function = f"class {name}:\n{textwrap.indent(function, '    ')}"
    return f"from __future__ import annotations\n{function}"


class _Visitor(MutationVisitor):  # type: ignore[misc]
    """Enters decorated functions, too: only the code of functions is exchanged, so decorators do no harm."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef) and node.decorators:
            node = node.with_changes(decorators=[])
        return bool(super()._skip_node_and_children(node))


def _one_string(node: cst.BaseString) -> Iterator[cst.CSTNode]:
    """The first change of mutmut: the other two only change the case."""
    yield from list(operator_string(node))[:1]


def _left_out(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    statement = node.body[0]
    is_call = isinstance(statement, cst.Expr) and isinstance(statement.value, cst.Call)
    if is_call or isinstance(statement, cst.Raise):
        yield node.with_changes(body=[cst.Pass()])


def _assigned(node: cst.Assign | cst.AnnAssign) -> Iterator[cst.CSTNode]:
    if node.value is None or not m.matches(node.value, m.Name("False")):  # None would do the same
        yield from operator_assignment(node)


def _called(node: cst.Call) -> Iterator[cst.CSTNode]:
    is_big = bool(node.args) and m.matches(node.args[-1].value, m.SimpleString('"big"'))
    for mutated in operator_arg_removal(node):
        if is_big and len(mutated.args) < len(node.args) and [*mutated.args] == [*node.args[:-1]]:
            continue  # of to_bytes() and from_bytes(), which have it as the default
        pairs = zip(node.args, mutated.args, strict=False)
        is_kept = len(node.args) == len(mutated.args)
        if not is_kept or not any(a is not b and m.matches(a.value, m.Name("False")) for a, b in pairs):
            yield mutated


def _negated(node: cst.If | cst.While) -> Iterator[cst.CSTNode]:
    is_plain = isinstance(node.test, cst.Name | cst.Attribute | cst.Call | cst.NamedExpr)
    if is_plain and not m.matches(node.test, m.Name("True")):
        test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))


_INSTEAD: Any = {operator_string: _one_string, operator_assignment: _assigned, operator_arg_removal: _called}
_OPERATORS: Any = [
    *((kind, _INSTEAD.get(operator, operator)) for kind, operator in mutation_operators),
    (cst.SimpleStatementLine, _left_out),
    (cst.If, _negated),
    (cst.While, _negated),
]


def _is_for_people(node: cst.CSTNode, parents: Any) -> bool:
    """Whether a node is a text: an error's, or one of a type checker."""
    if not isinstance(node, cst.BaseString):
        return False
    for parent in _upwards(node, parents):
        if isinstance(parent, cst.Raise):
            return True
        if isinstance(parent, cst.Call) and isinstance(parent.func, cst.Name) and parent.func.value == "cast":
            return True
        if isinstance(parent, cst.Call) and isinstance(parent.func, cst.Attribute):
            if parent.func.attr.value in ("debug", "info", "warning", "error", "exception"):
                return True
        if isinstance(parent, cst.BaseStatement):
            return False
    return False


def _upwards(node: cst.CSTNode, parents: Any) -> Iterator[cst.CSTNode]:
    while node in parents:
        node = parents[node]
        yield node


def _lines(node: cst.CSTNode, parents: Any, positions: Any) -> tuple[int, ...]:
    """The lines of the statement that contains the node, without those of the statements in it."""
    for statement in (node, *_upwards(node, parents)):
        if isinstance(statement, cst.BaseStatement | cst.BaseSmallStatement):
            break
    first, last = positions[statement].start.line, positions[statement].end.line
    body = getattr(statement, "body", None)
    if isinstance(statement, cst.FunctionDef):  # a default, which is only seen by what is in the function
        first = positions[body].start.line
    elif isinstance(body, cst.BaseSuite):
        last = max(first, positions[body].start.line - 1)
    return tuple(range(first, last + 1))


def _tree(code: str) -> str | None:
    """What a function does, in a form that can be compared; ``None`` if it does nothing, as in protocols."""
    module = ast.parse(code)
    body = module.body[0].body  # type: ignore[attr-defined]
    is_empty = all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in body)
    return None if is_empty else ast.dump(module)


def _is_other(mutated: str, original: str) -> bool:
    """Whether this is valid, and not the same code in other words."""
    try:
        return ast.dump(ast.parse(mutated)) != original
    except SyntaxError:
        return False


def _difference(source: str, mutated: str) -> tuple[str, str]:
    """The lines that differ, without what is equal before and after them."""
    old, new = source.splitlines(), mutated.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return _joined(old), _joined(new)


def _joined(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip()) or "(nothing)"

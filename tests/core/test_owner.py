"""Who an upload belongs to, as text."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum
from enum import IntEnum
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from werkzeug.local import LocalProxy

from flask_resumable.core.owner import owner_of

A_UUID = UUID("0123456789abcdef0123456789abcdef")


class Number(IntEnum):
    """Users by number."""

    ALICE = 7


class Name(StrEnum):
    """Users by name."""

    ALICE = "alice"


class OldName(str, Enum):  # noqa: UP042
    """The same as it was written before Python 3.11: str() gives the name of the member."""

    ALICE = "alice"


class Shown(str):
    """A string that people see differently."""

    def __str__(self) -> str:
        return f"User {self!r}"


class Shy(int):
    """A number that does the same."""

    def __str__(self) -> str:
        return "?"


class Plain(Enum):
    """Neither text nor number."""

    ALICE = "alice"


async def alice() -> str:
    """Is to be awaited."""
    return "alice"


@pytest.mark.parametrize(
    ("value", "owner"),
    [
        (None, None),
        ("alice", "alice"),
        ("", ""),
        (" alice ", " alice "),
        ("日本 🙂", "日本 🙂"),
        ("x" * 255, "x" * 255),
        (0, "0"),
        (-3, "-3"),
        (2**63, str(2**63)),
        (A_UUID, "01234567-89ab-cdef-0123-456789abcdef"),
        (ObjectId("0123456789abcdef01234567"), "0123456789abcdef01234567"),
        (Number.ALICE, "7"),
        (Name.ALICE, "alice"),
        (OldName.ALICE, "alice"),
        (Shown("alice"), "alice"),
        (Shy(7), "7"),
        (Markup("<b>"), "<b>"),
        (LocalProxy(lambda: "alice"), "alice"),
        (LocalProxy(lambda: 7), "7"),
        (LocalProxy(lambda: None), None),
    ],
    ids=repr,
)
def test_what_names_somebody_becomes_plain_text(value: object, owner: str | None) -> None:
    """Every value has one text, whatever its class shows to people."""
    found = owner_of(value)
    assert found == owner
    assert type(found) in (str, type(None))


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (True, TypeError, "bool: it must be a str, an int, a UUID or None; return what identifies the user"),
        (b"alice", TypeError, "bytes.*; decode it"),
        (bytearray(b"alice"), TypeError, "bytearray.*; decode it"),
        (1.5, TypeError, "float"),
        (type("ObjectId", (), {})(), TypeError, "ObjectId: it must be"),
        (("alice",), TypeError, "tuple"),
        (object(), TypeError, "object"),
        (Plain.ALICE, TypeError, "Plain"),
        ("x" * 256, ValueError, "str: it has 256 characters.*255"),
        ("é" * 256, ValueError, "str: it has 256 characters"),
        (10**255, ValueError, "int: it has 256 characters"),
        ("al\0ice", ValueError, "str: it contains a NUL"),
        ("\ud800", ValueError, "str: it contains a lone surrogate"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_is_named(value: object, error: type[Exception], words: str) -> None:
    """The error says who returned it, of which type, and what is wrong, and not what it was."""
    with pytest.raises(error, match=rf"current_owner\(\) returned a value of type {words}") as caught:
        owner_of(value)
    assert "alice" not in str(caught.value) and "xxx" not in str(caught.value)


def test_a_coroutine_is_told_from_a_user(recwarn: pytest.WarningsRecorder) -> None:
    """It is closed, too: Python would complain that it was never awaited."""
    coroutine: Awaitable[Any] = alice()
    with pytest.raises(TypeError, match="coroutine: it must be awaited; write 'async def"):
        owner_of(coroutine)
    del coroutine
    assert not [*recwarn]


@given(st.text() | st.integers() | st.uuids() | st.none())
def test_an_owner_stays_who_it_is(value: str | int | UUID | None) -> None:
    """What was kept is the same owner when it is said again."""
    try:
        owner = owner_of(value)
    except ValueError:
        return
    assert owner_of(owner) == owner == owner_of(value)

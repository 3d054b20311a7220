"""MongoEngine's ``reverse_delete_rule``: whether one of them denies a removal, before anything is removed."""

from __future__ import annotations

from typing import Any

from mongoengine import CASCADE
from mongoengine import DENY

from ...errors import RemovalRefused


def check_references(model: type[Any], documents: Any, seen: set[tuple[Any, Any]] | None = None) -> None:
    """Follow the rules as MongoEngine would, through all that goes with ``documents``, and change nothing.

    :param documents: A query set of ``model``.
    :raises RemovalRefused: A rule denies it; the reason says which.
    """
    seen = set() if seen is None else seen
    for (other, field), rule in (model._meta.get("delete_rules") or {}).items():
        if other._meta.get("abstract") or rule not in (DENY, CASCADE):
            continue
        referring = other.objects(**{f"{field}__in": documents})
        if rule == DENY:
            if referring.first() is not None:
                raise RemovalRefused(f"{other.__name__}.{field} refers to it, and denies its removal.")
            continue
        fresh = [key for key in referring.scalar("pk") if (other, key) not in seen]
        seen |= {(other, key) for key in fresh}
        if fresh:
            check_references(other, other.objects(pk__in=fresh), seen)

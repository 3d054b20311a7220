"""MongoEngine's ``reverse_delete_rule``: whether one of them denies a removal, before anything is removed."""

from __future__ import annotations

from typing import Any

from mongoengine import CASCADE
from mongoengine import DENY

from ...errors import RemovalRefused


def check_references(documents: Any, seen: set[tuple[Any, Any]] | None = None) -> None:
    """Follow the rules as MongoEngine would, through all that goes with ``documents``, and change nothing.

    :param documents: A query set.
    :raises RemovalRefused: A rule denies it; the reason says which.
    """
    seen = set() if seen is None else seen
    for (model, field), rule in (documents._document._meta.get("delete_rules") or {}).items():
        if model._meta.get("abstract") or rule not in (DENY, CASCADE):
            continue
        referring = model.objects(**{f"{field}__in": documents})
        if rule == DENY:
            if referring.first() is not None:
                raise RemovalRefused(f"{model.__name__}.{field} refers to it, and denies its removal.")
            continue
        fresh = [key for key in referring.scalar("pk") if (model, key) not in seen]
        seen |= {(model, key) for key in fresh}
        if fresh:
            check_references(model.objects(pk__in=fresh), seen)

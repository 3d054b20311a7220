"""Between frozen uploads, MongoDB's documents, and the app's own model instances for the hooks."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ...core.upload import Upload
from ...models.record import FIELDS
from ...models.record import OWN_FIELDS
from ...models.record import values_of

Change = dict[str, dict[str, Any]]


class Documents:
    """The documents of one model. ``names`` are those of the model's attributes; keys are those in the database."""

    def __init__(self, model: type[Any]) -> None:
        self._model = model
        self._fields = {name: model._fields[name] for name in (*FIELDS, *OWN_FIELDS)}

    def names(self, names: Iterable[str]) -> list[str]:
        """The keys of fields."""
        return [self._fields[name].db_field for name in names]

    def new(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A document to insert, with the defaults of the app's own fields."""
        document: dict[str, Any] = self._model(**values).to_mongo()
        return document

    def record(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """What a document says, by name."""
        return {name: _value(field, document) for name, field in self._fields.items()}

    def change(
        self, values: Mapping[str, Any], own: Change | None = None, *, grows: Iterable[str] = ("version",)
    ) -> Change:
        """An update that sets ``values``, and what a hook has changed in the app's ``own`` fields."""
        own = own or {}
        sets = own.get("$set", {}) | {
            self._fields[name].db_field: self._fields[name].to_mongo(value)
            for name, value in values.items()
            if value is not None
        }
        # Not null: only documents that lack the key are outside the unique index.
        unsets = own.get("$unset", {}) | {
            self._fields[name].db_field: "" for name, value in values.items() if value is None
        }
        return _without_empty({"$set": sets, "$unset": unsets, "$inc": {name: 1 for name in grows}})

    def instance(self, document: Mapping[str, Any], upload: Upload) -> Any:
        """The app's own instance: its own fields are the document's, those of the extension are ``upload``'s."""
        told = self.change(values_of(upload))
        kept = {key: value for key, value in document.items() if key not in told.get("$unset", {})}
        return self._model._from_son(kept | told["$set"] | {"_id": upload.id})

    def watch(self, instance: Any) -> OwnFields:
        """Look at the app's own fields now, to learn later what was changed."""
        return OwnFields(instance, {"_id", "_cls", *self.names(self._fields)})


class OwnFields:
    """The fields of an instance that are the app's."""

    def __init__(self, instance: Any, kept: set[str]) -> None:
        self._instance = instance
        self._kept = kept  # keys that are not the app's to change
        self._before = deepcopy(self._now())

    def changes(self) -> Change:
        """An update that saves what was changed since, validated as MongoEngine's ``save()`` does."""
        if self._now() == self._before:
            return {}
        self._instance.validate()
        now = self._now()
        sets = {key: value for key, value in now.items() if key not in self._before or self._before[key] != value}
        return _without_empty({"$set": sets, "$unset": {key: "" for key in self._before if key not in now}})

    def _now(self) -> dict[str, Any]:
        return {key: value for key, value in self._instance.to_mongo().items() if key not in self._kept}


def _value(field: Any, document: Mapping[str, Any]) -> Any:
    value = document.get(field.db_field)
    return field.default if value is None else field.to_python(value)


def _without_empty(change: Change) -> Change:
    return {operator: fields for operator, fields in change.items() if fields}

"""Calls the app's hooks and notifies its signal receivers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from flask import current_app
from werkzeug.exceptions import HTTPException

from . import signals
from .core.answer import Answer
from .errors import UploadRejected

NAMES = (*signals.BY_NAME, "post_complete")  # the last one comes with the signal on_complete


class AppHooks:
    """Finds the app's hooks.

    :param extension: The extension object, whose methods are the hooks.
    :param base: The class whose hooks do nothing. Hooks that are inherited from it are skipped.
    """

    def __init__(self, extension: object, base: type[Any]) -> None:
        self._hooks = {name: _answering(hook(extension, base, name)) for name in NAMES}

    def named(self, name: str) -> Callable[[Any], Answer | None] | None:
        return self._hooks[name]

    def observer(self, name: str) -> Callable[[Any], object] | None:
        signal = signals.BY_NAME.get(name)
        if signal is None or not signal.receivers:
            return None

        def send(upload: Any) -> None:
            app = current_app._get_current_object()  # type: ignore[attr-defined]
            try:
                signal.send(app, upload=upload)
            except Exception:  # the event has happened, so an observer's error must not undo or repeat it
                app.logger.exception("A receiver of the signal %s failed.", name)

        return send


_running: ContextVar[tuple[str, ...]] = ContextVar("resumable_hooks", default=())  # the ids of uploads


def is_in_hook(upload_id: str) -> bool:
    """Whether a hook is running for this upload in the current context."""
    return upload_id in _running.get()


def _answering(method: Callable[[Any], Any] | None) -> Callable[[Any], Answer | None] | None:
    """Wrap a hook so that it returns an ``Answer`` or ``None``, whatever the app's method returns."""
    if method is None:
        return None

    def call(upload: Any) -> Answer | None:
        result = method(upload)
        return result if isinstance(result, Answer) else None

    return call


def hook(extension: object, base: type[Any], name: str) -> Callable[[Any], Any] | None:
    """Return the app's hook, or ``None`` if it is the one of ``base``, for which nothing needs to be loaded."""
    method = getattr(extension, name)
    if getattr(method, "__func__", None) is getattr(base, name):
        return None
    takes_upload = bool(inspect.signature(method).parameters)

    def call(upload: Any) -> object:
        before = _running.set((*_running.get(), upload.id))
        try:
            return current_app.ensure_sync(method)(*((upload,) if takes_upload else ()))
        except HTTPException as error:
            if error.code is not None and 400 <= error.code < 500:
                raise UploadRejected(error.code, error.description or error.name) from error
            raise
        finally:
            _running.reset(before)

    return call

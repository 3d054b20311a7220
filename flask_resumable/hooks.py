"""Calls the app's hooks and notifies its signal receivers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from flask import current_app
from flask import has_request_context
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from . import signals
from .core.answer import Answer
from .errors import UploadRejected

NAMES = (*signals.BY_NAME, "on_progress", "post_complete")  # post_complete comes with the signal on_complete


class AppHooks:
    """Finds the app's hooks.

    :param extension: The extension object, whose methods are the hooks.
    :param base: The class whose hooks do nothing. Hooks that are inherited from it are skipped.
    """

    def __init__(self, extension: object, base: type[Any]) -> None:
        self._hooks = {name: _answering(name, hook(extension, base, name)) for name in NAMES}

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


def _answering(name: str, method: Callable[[Any], Any] | None) -> Callable[[Any], Answer | None] | None:
    """Wrap a hook so that it returns an ``Answer`` or ``None``. Only ``on_complete`` can answer."""
    if method is None:
        return None

    def call(upload: Any) -> Answer | None:
        result = method(upload)
        return answer_of(result) if name == "on_complete" else None

    return call


def answer_of(result: Any) -> Answer | None:
    """Convert what ``on_complete`` returned, which may be what a view may return, apart from streams.

    :raises TypeError: It is something else.
    :raises ValueError: It has a status or a header field that is not allowed, or it is too large.
    """
    if result is None or isinstance(result, Answer):
        return result
    status: Any = None
    added: Any = {}
    body = result
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict | list):
        body, added = result
    elif isinstance(result, tuple) and len(result) == 2:
        body, status = result
    elif isinstance(result, tuple) and len(result) == 3:
        body, status, added = result
    if not isinstance(status, int | None) or isinstance(status, bool):
        raise TypeError(f"on_complete returned {status!r} as a status; return a number.")
    headers = {} if isinstance(body, bytes) else {"Content-Type": "text/plain; charset=utf-8"}
    if isinstance(body, Response):
        if body.is_streamed or body.direct_passthrough:
            raise TypeError("on_complete returned a response that streams, which cannot be stored; return its content.")
        headers = _joined(body.headers)
        status = body.status_code if status is None else status
        body = body.get_data()
    elif isinstance(body, dict | list):
        headers = {"Content-Type": "application/json"}
        body = current_app.json.dumps(body)
    elif not isinstance(body, str | bytes):
        raise TypeError(
            f"on_complete returned {type(body).__name__}; return None, or what a view may return: a str, bytes, dict "
            "or list, a tuple of that and a status, headers or both, or a Response."
        )
    if added:
        given = _joined(Headers(added))
        names = {name.title() for name in given}
        headers = {name: value for name, value in headers.items() if name.title() not in names} | given
    if not body:
        headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
    return Answer(body, headers, 200 if status is None else status)


_NO_REQUEST = (
    "{} was called without a request, by a command or a job. Use upload.owner instead of current_user, and what "
    "on_create has stored instead of request and session. With RESUMABLE_COMMAND_REQUESTS = True, commands call hooks "
    "within a test request, in which url_for works and nobody is logged in."
)


def _misses_request(error: BaseException) -> bool:
    """Whether an error looks as if a hook needs a request. Without one, Flask-Login's ``current_user`` is ``None``."""
    text = str(error)
    if isinstance(error, RuntimeError):
        return "request context" in text or "Unable to build URLs outside an active request" in text
    return isinstance(error, AttributeError) and text.startswith("'NoneType' object")


def _joined(headers: Headers) -> dict[str, str]:
    """Return headers with one value for each name."""
    return {name: ", ".join(headers.getlist(name)) for name in headers.keys()}


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
        except Exception as error:
            if not has_request_context() and _misses_request(error):
                error.add_note(_NO_REQUEST.format(name))
            raise
        finally:
            _running.reset(before)

    return call

"""Signals that are sent after each event, with the app as sender and ``upload`` as argument.

::

    from flask_resumable import signals

    @signals.on_complete.connect_via(app)
    def notify(sender, upload):
        ...

A receiver cannot refuse anything. To decide, override the hook of the same name.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

on_create = _signals.signal("resumable-on-create")
pre_save = _signals.signal("resumable-pre-save")
post_save = _signals.signal("resumable-post-save")
on_complete = _signals.signal("resumable-on-complete")
pre_delete = _signals.signal("resumable-pre-delete")
post_delete = _signals.signal("resumable-post-delete")

BY_NAME = {
    "on_create": on_create,
    "pre_save": pre_save,
    "post_save": post_save,
    "on_complete": on_complete,
    "pre_delete": pre_delete,
    "post_delete": post_delete,
}

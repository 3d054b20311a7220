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

#: Sent after ``on_create`` has returned and the upload is created.
on_create = _signals.signal("resumable-on-create")
#: Sent after ``pre_save`` has returned, before the content of a request is saved.
pre_save = _signals.signal("resumable-pre-save")
#: Sent after the content of a request was received and saved.
post_save = _signals.signal("resumable-post-save")
#: Sent after the upload is complete and committed.
on_complete = _signals.signal("resumable-on-complete")
#: Sent after ``pre_delete`` has returned, before the upload is removed.
pre_delete = _signals.signal("resumable-pre-delete")
#: Sent after the upload was removed.
post_delete = _signals.signal("resumable-post-delete")

BY_NAME = {
    "on_create": on_create,
    "pre_save": pre_save,
    "post_save": post_save,
    "on_complete": on_complete,
    "pre_delete": pre_delete,
    "post_delete": post_delete,
}

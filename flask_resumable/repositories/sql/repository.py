"""State in the app's own SQL database, with hooks in the app's own session."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...core.answer import Answer
from ...core.processing import collecting_mark
from ...core.processing import Processing
from ...core.replacing import replace
from ...core.selection import Selection
from ...core.upload import Upload
from ...interfaces import Claim
from .database import Pooled
from .engines import hook_db_errors
from .instances import Instances
from .records import Records
from .sessions import begin
from .sessions import save_with_next_commit
from .sessions import Sessions


class SQLAlchemyRepository(Records):
    """Keeps records in the app's database. What a hook writes is committed together with the upload's status."""

    def __init__(self, model: type[Any], database: Pooled, sessions: Sessions) -> None:
        super().__init__(model, database)
        self._pool = database
        self._sessions = sessions
        self._instances = Instances(model)

    def remove(self, upload: Upload, claim: Claim, hook: Callable[[Any], object] | None = None) -> None:
        if hook is None:
            return self._remove(claim)
        with self._app_session() as session:
            instance = self._instances.detached(session, upload)
            session.commit()  # returns its connection, which may be the only one
            self._remove(claim)
            hook(instance)
            session.commit()

    def save_with_hook(
        self, upload: Upload, claim: Claim, hook: Callable[[Any], Answer | None], *, until: datetime | None
    ) -> Upload:
        with (
            self._app_session() as session,
            self._digests.at_work(upload, session) as work,
            collecting_mark(upload.id) as mark,
        ):
            answer: Answer | None = None
            saved: list[tuple[Answer | None, Processing | None]] = []
            limit = upload.max_size

            def save() -> None:
                nonlocal limit
                saved.append((answer, mark.processing))
                limit = instance.max_size
                digests, work.digests = work.digests, None
                statement, parameters = self._hook_save(
                    replace(upload, answer=answer, max_size=limit), claim, until, digests
                )
                # By the mapper, because a session that is bound by base classes finds no engine for a table.
                connection = session.connection(bind_arguments={"mapper": self.model})
                self._check(self._pool.change_in(connection, statement, parameters))
                if mark.processing is not None:
                    self._pool.change_in(connection, *self._hook_mark(upload, mark.processing))

            with save_with_next_commit(session, save):
                instance = self._instances.attached(session, upload)
                answer = hook(instance)
                limit = vars(instance).get("max_size", limit)  # a commit of the hook's may have expired it
                session.commit()
        saved_answer, saved_mark = saved[-1]
        if saved_mark is not mark.processing and mark.processing is not None:
            known = replace(upload, processing=saved_mark or upload.processing)
            self._database.change(*self._hook_mark(known, mark.processing))
        marked = mark.processing or upload.processing
        upload = replace(upload, max_size=limit, answer=answer or upload.answer, processing=marked)
        if saved_answer != answer:  # the hook committed before it returned this
            self._check(self._database.change(*self._hook_save(upload, claim, until)))
        return upload

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        with (
            self._app_session() as session,
            self._digests.at_work(upload, session),
            collecting_mark(upload.id) as mark,
        ):
            hook(self._instances.attached(session, upload))
            if mark.processing is not None:
                connection = session.connection(bind_arguments={"mapper": self.model})
                self._pool.change_in(connection, *self._hook_mark(upload, mark.processing))
            session.commit()

    def instance(self, upload_id: str) -> Any | None:
        with self._sessions.app_session() as session, hook_db_errors():
            return session.get(self.model, upload_id)

    def instances(self, selection: Selection, *, limit: int, after: str = "") -> Sequence[Any]:
        query = self._page(select(self.model), selection, limit=limit, after=after)
        with self._sessions.app_session() as session, hook_db_errors():
            found: Sequence[Any] = session.scalars(query).all()
            return found

    def release_connection(self) -> None:
        self._sessions.release_connection()

    @contextmanager
    def _app_session(self) -> Iterator[Session]:
        """The session that the app's hooks use. The caller commits what they wrote; errors roll it back here."""
        with self._sessions.app_session() as session, hook_db_errors():
            try:
                begin(session, self.model, self.engine)
                yield session
            except BaseException:
                session.rollback()
                raise

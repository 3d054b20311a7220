"""State in the app's own SQL database, with its hooks in the app's own session."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...core.answer import Answer
from ...core.owner import Anybody
from ...core.upload import Upload
from ...interfaces import Claim
from .database import Database
from .engines import hook_db_errors
from .instances import Instances
from .records import Records
from .sessions import begin
from .sessions import save_with_next_commit
from .sessions import Sessions


class SQLAlchemyRepository(Records):
    """Hooks get the app's own instance; what they write commits together with the state that they are about."""

    def __init__(self, model: type[Any], database: Database, sessions: Sessions) -> None:
        super().__init__(model, database)
        self._sessions = sessions
        self._instances = Instances(model)

    def remove(self, upload: Upload, claim: Claim, hook: Callable[[Any], object] | None = None) -> None:
        if hook is None:
            return self._remove(claim)
        with self._app_session() as session:
            instance = self._instances.detached(session, upload)
            session.commit()  # gives its connection back, which may be the only one
            self._remove(claim)
            hook(instance)
            session.commit()

    def save_with_hook(
        self, upload: Upload, claim: Claim, hook: Callable[[Any], Answer | None], *, until: datetime | None
    ) -> Upload:
        with self._app_session() as session, self._digests.at_work(upload, session) as work:
            answer: Answer | None = None
            saved: list[Answer | None] = []

            def save() -> None:
                saved.append(answer)
                digests, work.digests = work.digests, None
                statement, parameters = self._settled(replace(upload, answer=answer), claim, until, digests)
                # By the mapper: of a table alone, a session that is bound by base classes knows no engine.
                done = session.execute(statement, parameters, bind_arguments={"mapper": self.model})
                self._check(done.rowcount)  # type: ignore[attr-defined]

            with save_with_next_commit(session, save):
                answer = hook(self._instances.attached(session, upload))
                session.commit()
        upload = replace(upload, answer=answer)
        if saved[-1] != answer:  # the hook has committed by itself, before it returned this
            self._check(self._database.change(*self._settled(upload, claim, until)))
        return upload

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        with self._app_session() as session, self._digests.at_work(upload, session):
            hook(self._instances.attached(session, upload))
            session.commit()

    def instance(self, upload_id: str) -> Any | None:
        with self._sessions.app_session() as session, hook_db_errors():
            return session.get(self.model, upload_id)

    def instances(
        self, *, status: str | None, owner: str | None | Anybody, parts: bool, limit: int, after: str = ""
    ) -> Sequence[Any]:
        query = self._wanted(select(self.model), status=status, owner=owner, parts=parts, limit=limit, after=after)
        with self._sessions.app_session() as session, hook_db_errors():
            found: Sequence[Any] = session.scalars(query).all()
            return found

    def release_connection(self) -> None:
        self._sessions.release_connection()

    @contextmanager
    def _app_session(self) -> Iterator[Session]:
        """The session that the app's hooks work in. What they wrote is committed by the caller, or rolled back here."""
        with self._sessions.app_session() as session, hook_db_errors():
            try:
                begin(session, self.model, self.engine)
                yield session
            except BaseException:
                session.rollback()
                raise

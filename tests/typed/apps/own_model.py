"""An app with a model of its own: hooks get its instances, with their columns."""

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy import ForeignKey
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable.models import SQLAlchemyMixin


class Base(DeclarativeBase):
    """The app's."""


class Project(Base):
    """What uploads belong to."""

    __tablename__ = "project"
    id: Mapped[int] = mapped_column(primary_key=True)


class MyUpload(SQLAlchemyMixin, Base):
    """Columns and a relationship."""

    __tablename__ = "upload"
    caption: Mapped[str] = mapped_column(default="")
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"))
    project: Mapped[Project | None] = relationship()


engine = create_engine("sqlite://")
session = scoped_session(sessionmaker(engine))


class Uploads(FlaskResumable[MyUpload]):
    """Named in the base class, the model is what hooks are annotated with."""

    def on_create(self, upload: MyUpload) -> None:
        upload.project = session.get(Project, 1)
        upload.max_size = 10 * 2**20

    def on_complete(self, upload: MyUpload) -> None:
        upload.caption = f"{upload.filename}, {describe(upload)}"


class Others(FlaskResumable):
    """Nobody has to: ``Upload`` is what all models are."""

    def on_complete(self, upload: Upload) -> None:
        print(describe(upload))


def describe(upload: Upload) -> str:
    """A function for uploads of any kind."""
    return f"{upload.length} bytes"


app = Flask(__name__)
resumable = Uploads(app, model=MyUpload, db=session)
others = Others(model=MyUpload, db=session)
inferred = FlaskResumable(model=MyUpload, db=session)


@app.get("/captions")
def captions() -> list[str]:
    """Columns of the extension and of the app's, in queries and on instances."""
    finished = session.scalars(select(MyUpload).where(MyUpload.status == "complete", MyUpload.owner.is_(None)))
    more = [upload.caption for upload in inferred.uploads(parts=True)]
    first = resumable.get("0" * 32)
    return [first.caption if first else "", *(upload.caption for upload in finished), *more]

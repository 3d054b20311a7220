"""An app with the ready-made model, in Flask-SQLAlchemy."""

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
db = SQLAlchemy(app)
resumable = FlaskResumable(app, model=SQLAlchemyModel, db=db)


@app.get("/finished")
def finished() -> list[str | None]:
    """Names, the last ones first."""
    query = db.select(resumable.model).where(resumable.model.status == "complete")
    names: list[str | None] = [upload.filename for upload in db.session.scalars(query)]
    return [*names, *(upload.filename for upload in resumable.uploads(status="complete"))]

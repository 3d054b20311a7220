"""The application factory: Flask-SQLAlchemy, -Login, -WTF, -Migrate, -Admin and -Limiter around the uploads."""

from __future__ import annotations

from typing import Any

from flask import abort
from flask import Blueprint
from flask import flash
from flask import Flask
from flask import redirect
from flask import render_template
from flask import request
from flask import url_for
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import current_user
from flask_login import login_required
from flask_login import login_user
from flask_login import LoginManager
from flask_login import logout_user
from flask_migrate import Migrate
from flask_wtf import CSRFProtect
from flask_wtf import FlaskForm
from flask_wtf.csrf import validate_csrf
from sqlalchemy import event
from sqlalchemy import select
from sqlalchemy import update
from werkzeug.wrappers import Response
from wtforms import PasswordField
from wtforms import StringField
from wtforms import ValidationError
from wtforms.validators import DataRequired
from wtforms.validators import Length

from flask_resumable import FlaskResumable
from flask_resumable import Quota
from flask_resumable import UploadRejected

from .models import db
from .models import Document
from .models import Upload
from .models import User

login_manager = LoginManager()
login_manager.login_view = "pages.login"
csrf = CSRFProtect()
migrate = Migrate()


def visitor() -> str:
    """Whom a limit applies to."""
    return str(current_user.get_id() or get_remote_address())


limiter = Limiter(visitor, default_limits=["30 per hour"], storage_uri="memory://")
new_uploads = limiter.shared_limit("5 per hour", scope="uploads")


class Uploads(FlaskResumable[Upload]):
    """Uploads belong to users, and become documents."""

    def current_owner(self) -> str:
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            try:
                validate_csrf(request.headers.get("X-CSRFToken"))
            except ValidationError as error:
                abort(400, str(error))
        return str(current_user.get_id() or abort(401, "Log in first."))

    def quota(self, owner: str) -> Quota:
        user = db.session.scalars(select(User).filter_by(id=int(owner))).one()
        return Quota(bytes=user.space - user.used)

    def on_create(self, upload: Upload) -> None:
        with new_uploads:
            pass

    def on_complete(self, upload: Upload) -> None:
        assert upload.owner is not None and upload.length is not None  # see current_owner
        has_space = User.used + upload.length <= User.space
        change = update(User).where(User.id == int(upload.owner), has_space).values(used=User.used + upload.length)
        if not getattr(db.session.execute(change), "rowcount"):  # noqa: B009 - mypy knows it of some results only
            raise UploadRejected(413, "You have no space left.")
        title = upload.filename or "Untitled"
        db.session.add(Document(title=title, user_id=int(upload.owner), upload_id=upload.id))

    def pre_delete(self, upload: Upload) -> None:
        if upload.complete:
            assert upload.owner is not None and upload.length is not None
            change = update(User).where(User.id == int(upload.owner)).values(used=User.used - upload.received)
            db.session.execute(change)


uploads = Uploads(model=Upload, db=db)


class UploadAdmin(ModelView):  # type: ignore[misc]
    """All uploads, for admins."""

    can_create = can_edit = False
    column_list = ("filename", "owner", "status", "length", "created_at")
    column_searchable_list = ("filename", "owner")
    column_filters = ("status", "filename")
    fast_mass_delete = False

    def is_accessible(self) -> bool:
        return bool(current_user.is_authenticated and current_user.is_admin)

    def delete_model(self, model: Upload) -> bool:
        return uploads.delete(model)


pages = Blueprint("pages", __name__)


class LoginForm(FlaskForm):  # type: ignore[misc]
    """Name and password."""

    name = StringField(validators=[DataRequired()])
    password = PasswordField(validators=[DataRequired()])


class TitleForm(FlaskForm):  # type: ignore[misc]
    """The new title of a document."""

    title = StringField(validators=[DataRequired(), Length(max=80)])


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_user(user_id: str) -> User | None:
    """The user of a session."""
    return db.session.get(User, int(user_id))


@pages.route("/login", methods=["GET", "POST"])
def login() -> str | Response:
    """Log a user in."""
    form = LoginForm()
    if form.validate_on_submit():
        user = db.session.scalar(select(User).filter_by(name=form.name.data))
        if user is not None and user.has_password(form.password.data):
            login_user(user)
            return redirect(url_for("pages.index"))
        flash("Name or password is wrong.")
    return render_template("login.html", form=form)


@pages.post("/logout")
def logout() -> Response:
    """Log a user out."""
    logout_user()
    return redirect(url_for("pages.login"))


@pages.get("/")
@login_required  # type: ignore[untyped-decorator]
def index() -> str:
    """A user's documents, and what uploads more."""
    documents = db.session.scalars(select(Document).filter_by(user_id=current_user.id).order_by(Document.id))
    return render_template("index.html", documents=documents, form=TitleForm(), uploads=uploads)


def own_document(document_id: int) -> Document:
    """A document of the user who asks."""
    return db.one_or_404(select(Document).filter_by(id=document_id, user_id=current_user.id))  # type: ignore[no-any-return]


@pages.post("/documents/<int:document_id>")
@login_required  # type: ignore[untyped-decorator]
def rename(document_id: int) -> Response:
    """Change the title of a document."""
    document, form = own_document(document_id), TitleForm()
    if form.validate_on_submit():
        document.title = form.title.data
        db.session.commit()
    return redirect(url_for("pages.index"))


@pages.post("/documents/<int:document_id>/delete")
@login_required  # type: ignore[untyped-decorator]
def delete(document_id: int) -> Response:
    """Remove a document with its upload."""
    uploads.delete(own_document(document_id).upload)
    return redirect(url_for("pages.index"))


def enable_foreign_keys(connection: Any, record: Any) -> None:
    """SQLite ignores them otherwise."""
    connection.execute("PRAGMA foreign_keys=ON")


def create_app(instance_path: str | None = None, **settings: Any) -> Flask:
    """The app; its tables come from Flask-Migrate.

    :param settings: What replaces the defaults and the environment.
    """
    app = Flask(__name__, instance_path=instance_path)
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite:///accounts.sqlite",
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,
        RESUMABLE_MAX_SIZE="100MB",
        RESUMABLE_DOWNLOADS=True,
    )
    app.config.from_prefixed_env()
    app.config.update(settings)
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", enable_foreign_keys)
    migrate.init_app(app, db)
    login_manager.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)
    uploads.init_app(app)
    for blueprint in uploads.blueprints(app).values():
        csrf.exempt(blueprint)
        limiter.exempt(blueprint)
    admin = Admin(app)
    admin.add_view(UploadAdmin(Upload, db, name="Uploads", endpoint="uploads"))
    app.register_blueprint(pages)
    return app

"""PostgreSQL, MariaDB and a MongoDB-wire server, each in a scratch folder, on a free port, and stopped by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path

from tests.folders import has_memory
from tests.folders import MEMORY
from tests.ports import free_port
from tests.prerequisites import require_program
from tests.prerequisites import require_script
from tests.prerequisites import require_user

PATIENCE = 60.0  # seconds that a server may take to come up


class DatabaseServer(ABC):
    """A server that can be killed and started again on the same files and port."""

    user: str | None = None  # who runs it when the tests are run by root
    install: str  # the command that installs it

    def __init__(self, parent: Path | None = None) -> None:
        """Start it.

        :param parent: Where its folder is made; default: in memory, where a sync costs nothing, or if there is none
            where temporary files are.
        """
        self.find()
        self._as_user: list[str] = []  # what commands begin with
        if self.user is not None:
            require_user(self.user, self.install)
            setpriv = require_program("setpriv", "apt-get install util-linux")
            self._as_user = [setpriv, f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        if parent is None and has_memory():
            parent = MEMORY
        # Not pytest's folder: the server's user must be able to get there.
        self.folder = Path(tempfile.mkdtemp(prefix="resumable-", dir=parent))
        self.folder.chmod(0o755)
        # A MariaDB that starts removes the temporary tables of all others in the same folder.
        self._env = {**os.environ, "TMPDIR": str(self.folder / "tmp")}
        _own(self.folder / "tmp", self.user)
        self.log = self.folder / "log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.prepare()
        self.start()

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None
        return self._process.pid

    @property
    @abstractmethod
    def uri(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def find(self) -> None:
        """Look for the programs, and skip the test if one is missing."""

    @abstractmethod
    def prepare(self) -> None:
        """Lay out the files."""

    @abstractmethod
    def command(self) -> list[str]:
        """What runs the server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes clients by now."""

    def start(self) -> None:
        """Start, or start again, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, *self.command()],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._env,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert self._process.poll() is None, f"The server ended at once:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"The server does not answer:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash does, with all its processes."""
        assert self._process is not None
        pid = self._process.pid
        # PostgreSQL's are in groups of their own, and would keep a new server from starting until they notice.
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        os.killpg(pid, signal.SIGKILL)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        self._process = None
        deadline = time.monotonic() + PATIENCE
        while any(_is_running(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        """End it and remove its files."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)

    def run(self, *command: str | Path) -> None:
        """Run a tool of the server's to its end."""
        words = [*self._as_user, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=self.folder, env=self._env)
        assert done.returncode == 0, done.stdout + done.stderr


class PostgreSQL(DatabaseServer):
    """From Debian's package."""

    user = "postgres" if os.getuid() == 0 else None
    install = "apt-get install postgresql"

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg://test@127.0.0.1:{self.port}/postgres"

    def find(self) -> None:
        self._bin = Path(require_program("initdb", self.install)).resolve().parent  # a link to one of them would do

    def prepare(self) -> None:
        data = self.folder / "data"
        _own(data, self.user)
        self.run(self._bin / "initdb", "-D", data, "-A", "trust", "-U", "test", "--no-sync", "-E", "UTF8", "--locale=C")

    def command(self) -> list[str]:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        options += ["-c", "dynamic_shared_memory_type=mmap"]  # in its folder: what is killed leaves nothing elsewhere
        return [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def answers(self) -> bool:
        check = [str(self._bin / "pg_isready"), "-q", "-U", "test", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(check, capture_output=True).returncode == 0


class MariaDB(DatabaseServer):
    """From Debian's package, with its defaults: REPEATABLE READ, and names that differ in case only are the same."""

    user = "mysql" if os.getuid() == 0 else None
    install = "apt-get install mariadb-server"

    @property
    def uri(self) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/test?charset=utf8mb4"

    def find(self) -> None:
        self._server = require_program("mariadbd", self.install)
        self._lay_out = require_program("mariadb-install-db", self.install)
        self._admin = require_program("mariadb-admin", self.install)

    def prepare(self) -> None:
        data = self.folder / "data"
        _own(data, self.user)
        self.run(
            self._lay_out,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        (data / "test").mkdir()  # a database is a folder
        _own(data / "test", self.user)
        (data / "test" / "db.opt").write_text("default-character-set=utf8mb4\ndefault-collation=utf8mb4_general_ci\n")

    def command(self) -> list[str]:
        return [
            self._server,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self.folder / 'data' / 'socket'}",
            f"--pid-file={self.folder / 'data' / 'pid'}",
        ]

    def answers(self) -> bool:
        check = [self._admin, "--no-defaults", "-h127.0.0.1", f"-P{self.port}", "-uroot", "--silent", "ping"]
        return subprocess.run(check, capture_output=True).returncode == 0


class MongoWire(DatabaseServer):
    """SecantusDB: speaks MongoDB's protocol, over WiredTiger."""

    options: tuple[str, ...] = ()
    install = "pip install SecantusDB==0.7.0b3"

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/test?uuidRepresentation=standard"

    def find(self) -> None:
        self._program = require_script("secantusd-py", self.install)

    def prepare(self) -> None:
        pass

    def command(self) -> list[str]:
        # What a real server promises by itself: what was acknowledged survives a crash.
        where = ["--port", str(self.port), "--storage-path", str(self.folder / "data"), "--sync-on-commit"]
        return [self._program, *where, "--log-level", "WARNING", *self.options]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class MongoWireAlone(MongoWire):
    """No replica set: the driver repeats nothing by itself."""

    options = ("--standalone",)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _own(folder: Path, user: str | None) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    if user is not None:
        shutil.chown(folder, user, user)

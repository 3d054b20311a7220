"""Where the nodes keep bytes: a disk that they share, or a bucket whose store stands on such a disk."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from abc import ABC
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

from proof.soak.relay import Relay
from tests.prerequisites import Missing
from tests.prerequisites import require_program
from tests.s3.conftest import Store as Bucket
from tests.s3.moto import Moto
from tests.s3.versity import Versity

MIB = 1024 * 1024
DISK = 8 * 1024 * MIB  # of which little is used: what clients leave in an hour must fit
TOOLS = Path(__file__).resolve().parents[2] / "bench" / "peers" / "bin"
NOTHING = "nothing"  # in the place of a digest


class Disk:
    """ext4 on a file, or a folder where that is not possible: then it never fills up and never stops."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True)
        image = path.with_name(f"{path.name}.image")
        with image.open("wb") as file:
            file.truncate(DISK)
        quiet = {"capture_output": True, "check": True}
        try:
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], **quiet)  # type: ignore[call-overload]
            subprocess.run(["mount", "-o", "loop", str(image), str(self.path)], **quiet)  # type: ignore[call-overload]
            self.is_own = True
        except (OSError, subprocess.CalledProcessError):
            image.unlink()
            self.is_own = False
        self._filler = self.path / "filler"
        self._freezing = threading.Lock()
        self._closing = threading.Lock()

    def fill(self) -> None:
        """Leave no room. Once the disk is taken away, do nothing: the folder is then on the machine's own disk."""
        with self._closing:
            if not os.path.ismount(self.path):
                return
            file = self._filler.open("wb")
        with file, suppress(OSError):
            for size in (1 << 20, 1 << 12):  # what cannot be reserved at once is reserved in smaller pieces
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def freeze(self, seconds: float) -> None:
        """Let every write wait for a while."""
        program = require_program("fsfreeze", "apt-get install util-linux")
        with self._freezing:
            subprocess.run([program, "-f", str(self.path)], check=True)
            try:
                time.sleep(seconds)
            finally:
                subprocess.run([program, "-u", str(self.path)], check=True)

    def close(self) -> None:
        """Take it away."""
        if self.is_own:
            for _ in range(50):
                with self._closing:
                    if subprocess.run(["umount", str(self.path)], capture_output=True).returncode == 0:
                        return
                time.sleep(0.2)
            with self._closing:
                subprocess.run(["umount", "-l", str(self.path)])


class Store(ABC):
    """What the campaign does with bytes behind the nodes' backs."""

    disk: Disk  # on which everything is
    large: tuple[int, ...] = ()  # sizes of the largest files, which few clients send

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the nodes must know."""

    @abstractmethod
    def names(self) -> list[str]:
        """Everything that is there: the ids of finished uploads, and names of all else."""

    @abstractmethod
    def digest(self, upload_id: str) -> str:
        """The SHA-256 of a finished upload, or ``"nothing"``."""

    @abstractmethod
    def remove(self, upload_id: str) -> None:
        """Remove a finished upload by hand, if it is there."""

    @abstractmethod
    def remove_unfinished(self, upload_id: str) -> bool:
        """Remove what there is of an unfinished upload; whether there was something."""

    def repair(self) -> None:
        """Let everything work again."""
        self.disk.empty()

    @abstractmethod
    def close(self) -> None:
        """Take it away."""


class SharedDisk(Store):
    """One disk that all nodes have."""

    def __init__(self, folder: Path) -> None:
        self.disk = Disk(folder / "disk")
        self._root = self.disk.path / "uploads"

    @property
    def settings(self) -> dict[str, Any]:
        return {"RESUMABLE_UPLOAD_DIR": str(self._root)}

    def names(self) -> list[str]:
        return sorted(path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())

    def digest(self, upload_id: str) -> str:
        try:
            return hashlib.sha256((self._root / upload_id).read_bytes()).hexdigest()
        except FileNotFoundError:
            return NOTHING

    def remove(self, upload_id: str) -> None:
        with suppress(FileNotFoundError):
            (self._root / upload_id).unlink()

    def remove_unfinished(self, upload_id: str) -> bool:
        try:
            (self._root / ".partial" / f"{upload_id}.part").unlink()
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        self.disk.close()


class SharedBucket(Store):
    """A bucket of the Versity gateway, or of moto where that is not installed: then it cannot be killed or fill up."""

    large = (6_000_000, 11_000_000)  # more than a part

    def __init__(self, folder: Path) -> None:
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(TOOLS)])
        self.disk = Disk(folder / "data")
        self._server: Versity | Moto
        try:
            self._server = Versity(folder)
        except Missing:
            self._server = Moto(folder)
        self.is_durable = isinstance(self._server, Versity)  # if it is killed
        self._server.start()
        try:
            self._bucket = Bucket(self._server)
            self.relay = Relay(self._server.port)
        except BaseException:
            self._server.kill()
            raise

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "RESUMABLE_STORAGE": "s3",
            "RESUMABLE_S3_BUCKET": self._bucket.bucket,
            "RESUMABLE_S3_PREFIX": self._bucket.prefix,
            "RESUMABLE_S3_ENDPOINT_URL": self.relay.url,
            "RESUMABLE_S3_ACCESS_KEY": self._server.access_key,
            "RESUMABLE_S3_SECRET_KEY": self._server.secret_key,
            "RESUMABLE_S3_PART_SIZE": 5 * MIB,
            "RESUMABLE_S3_MEMORY": 32 * MIB,
        }

    def names(self) -> list[str]:
        return sorted(name.removeprefix(self._bucket.prefix) for name in self._bucket.kept())

    def digest(self, upload_id: str) -> str:
        try:
            return hashlib.sha256(self._bucket.content(self._key(upload_id))).hexdigest()
        except self._bucket.client.exceptions.NoSuchKey:
            return NOTHING

    def remove(self, upload_id: str) -> None:
        self._bucket.client.delete_object(Bucket=self._bucket.bucket, Key=self._key(upload_id))

    def remove_unfinished(self, upload_id: str) -> bool:
        client, bucket = self._bucket.client, self._bucket.bucket
        found = client.list_objects_v2(Bucket=bucket, Prefix=self._key(f".partial/{upload_id}/")).get("Contents", [])
        for entry in found:
            client.delete_object(Bucket=bucket, Key=entry["Key"])
        return bool(found)

    def _key(self, name: str) -> str:
        return f"{self._bucket.prefix}{name}"

    def kill(self) -> None:
        """End the server at once."""
        self._server.kill()

    def start(self) -> None:
        """Start it again."""
        self._server.start()

    def freeze(self, seconds: float) -> None:
        """Let the server not answer for a while, and then answer everything."""
        process = self._server._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(process.pid, signal.SIGCONT)

    def repair(self) -> None:
        super().repair()
        self.relay.be("open")

    def close(self) -> None:
        self.relay.close()
        self._server.kill()
        self.disk.close()


STORES: dict[str, type[SharedDisk] | type[SharedBucket]] = {"disk": SharedDisk, "s3": SharedBucket}

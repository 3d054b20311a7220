"""Ceph's gateway: one monitor, one disk in a file, one gateway, on loopback. What it holds survives ``kill -9``."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path

from tests.ports import free_port
from tests.prerequisites import require_program

from .moto import answers
from .moto import PATIENCE

CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon}/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_bind_msgr1 = false
ms_bind_port_min = {first}
ms_bind_port_max = {last}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
osd_crush_chooseleaf_type = 0
osd_objectstore = bluestore
bluestore_block_size = 8589934592
rgw_gc_obj_min_wait = 5
run_dir = {home}/run
admin_socket = {home}/run/$name.$pid.asok
pid_file = {home}/run/$name.pid
log_file = {home}/log/$name.log
mon_data = {home}/mon
osd_data = {home}/osd
keyring = {home}/keyring
"""
GATEWAY = "client.rgw.a"


class Ceph:
    """A cluster of the smallest kind."""

    access_key = "test"
    secret_key = "testtest"
    min_part = 5 * 1024 * 1024

    def __init__(self, home: Path) -> None:
        for name in ("ceph-mon", "ceph-osd", "radosgw", "ceph"):
            require_program(name, "apt-get install ceph-mon ceph-osd radosgw ceph-common")
        self._home = home
        self.port = free_port()
        self._environ = {**os.environ, "CEPH_CONF": str(home / "ceph.conf")}
        self._environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"

    @property
    def url(self) -> str:
        """Where the gateway is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Make the cluster and start it."""
        for name in ("mon", "osd", "run", "log"):
            (self._home / name).mkdir(parents=True)
        monitor, first = free_port(), self._range_of_ports()
        (self._home / "ceph.conf").write_text(
            CONFIGURATION.format(fsid=uuid.uuid4(), mon=monitor, first=first, last=first + 10, home=self._home)
        )
        (self._home / "keyring").touch()
        disk = str(uuid.uuid4())
        fsid = next(line for line in (self._home / "ceph.conf").read_text().splitlines() if "fsid" in line).split()[-1]
        address = f"[v2:127.0.0.1:{monitor}]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, "monmap")
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", "monmap")
        self._run("ceph-mon", "-i", "a")
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._run("ceph-osd", "-i", "0")
        self.start_gateway()
        keys = (f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")
        self._run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", *keys)

    def start_gateway(self) -> None:
        """Start the gateway, or start it again."""
        self._run("radosgw", "-n", GATEWAY, f"--rgw-frontends=beast endpoint=127.0.0.1:{self.port}")
        deadline = time.monotonic() + PATIENCE
        while not answers(self.port):
            assert time.monotonic() < deadline, "The gateway does not answer."
            time.sleep(0.1)

    def kill_gateway(self) -> None:
        """End the gateway at once; the cluster behind it goes on."""
        self._kill(self._home / "run" / f"{GATEWAY}.pid")

    def kill(self) -> None:
        """End all of it."""
        for file in (self._home / "run").glob("*.pid"):
            self._kill(file)

    @staticmethod
    def _kill(file: Path) -> None:
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int(file.read_text())
            os.kill(pid, signal.SIGKILL)
            while True:
                os.kill(pid, 0)
                time.sleep(0.01)

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            env=self._environ,
            cwd=self._home,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=2 * PATIENCE,
        )

    @staticmethod
    def _range_of_ports() -> int:
        """The first of eleven ports for the disk's process, which looks for free ones among them."""
        return free_port()

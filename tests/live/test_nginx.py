"""The documented configuration in real nginx: restarts of the app, long headers, TLS, and paths that it renames."""

from __future__ import annotations

import http.client
import json
import random
import re
import signal
import socket
import subprocess
import textwrap
from collections.abc import Callable
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.nginx import CONFIGURATION
from tests.nodes.nginx import Nginx
from tests.nodes.nginx import require_nginx
from tests.nodes.nginx import without_resolving
from tests.prerequisites import require_npm_packages
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

from .conftest import Serve
from .journal import PATIENCE
from .raw import Headers
from .raw import Tus
from .servers import id_of
from .servers import Server
from .tls import Certificate

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).with_name("upload_through_restart.mjs")
PAGE = (ROOT / "docs" / "nginx.md").read_text()
CONTENT = random.Random(17).randbytes(3_000_000)
STEP = 500_000  # bytes in a PATCH of tus-js-client
PARTS = 120
DRAFT = {"Upload-Draft-Interop-Version": "8"}
LINES = {"listen": r"listen 8080;", "keepalive": r"keepalive(_timeout)? \w+;"}  # what variants replace
MakeProxy = Callable[..., Nginx]


@pytest.fixture(autouse=True)
def _nginx() -> None:
    """Everything here needs it."""
    require_nginx()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[MakeProxy]:
    """Start nginx in front of servers, with the documented configuration or a variant of it."""
    running: list[Nginx] = []

    def start(*servers: Server, **replaced: str) -> Nginx:
        text = CONFIGURATION.read_text()
        for name, new in replaced.items():
            text, count = re.subn(LINES[name], lambda _, new=new: new, text)  # type: ignore[misc]
            assert count
        running.append(Nginx(tmp_path / f"nginx{len(running)}", [server.port for server in servers], text))
        return running[-1]

    yield start
    for nginx in running:
        nginx.close()


class Client:
    """tus-js-client in node, as the demo has it."""

    def __init__(self, folder: Path, endpoint: str, **options: Any) -> None:
        library = require_npm_packages(ROOT / "demo") / "tus-js-client"
        node = require_program("node", "apt-get install nodejs")
        file = folder / "content"
        file.write_bytes(CONTENT)
        command = [node, str(SCRIPT), str(library), str(file), endpoint, json.dumps(options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def until(self, line: str) -> None:
        """Read what it says until it says this."""
        while not self.lines or self.lines[-1] != line:
            self._read()

    def go_on(self) -> None:
        """Send the PATCH that it holds back."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """What became of the upload."""
        while not self.lines or not self.lines[-1].startswith("{"):
            self._read()
        self._process.communicate()
        outcome: dict[str, Any] = json.loads(self.lines[-1])
        return outcome

    def _read(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.lines
        self.lines.append(line.rstrip())

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Start an upload."""
    running: list[Client] = []

    def start(endpoint: str, **options: Any) -> Client:
        running.append(Client(tmp_path, endpoint, **options))
        return running[-1]

    yield start
    for client in running:
        client.close()


def is_there_once(server: Server, path: str) -> None:
    """The file is whole, and on_complete has taken effect once; there is no other file."""
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [sha256(CONTENT).hexdigest()]
    assert server.query("SELECT count(*) FROM receipt") == [(1,)]


def kill(server: Server) -> None:
    """``kill -9``, and nobody listens any more."""
    server.signal_group(signal.SIGKILL)
    server.wait()
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)):
                return


# --- what the documentation shows ---


def blocks(page: str, kind: str = "nginx") -> list[str]:
    """The blocks of code of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_readme_docs_and_demo_share_one_configuration() -> None:
    """What they show is what the demo and these tests run."""
    text = without_resolving(CONFIGURATION.read_text())
    shared = textwrap.dedent(text[text.index("    upstream app {") : text.rindex("}")]).strip()
    assert blocks(PAGE)[0].strip() == shared
    assert "./demo/nginx.conf:/etc/nginx/nginx.conf:ro" in (ROOT / "docker-compose.yml").read_text()


def test_containers_share_the_upstream_of_the_demo() -> None:
    """In Compose, nginx asks again for the addresses of the app."""
    text = CONFIGURATION.read_text()
    shared = textwrap.dedent(text[text.index("    resolver ") : text.index("    # HEAD of tus")]).strip()
    (shown,) = blocks((ROOT / "docs" / "containers.md").read_text())
    assert shown.strip() == shared


def test_the_other_blocks_of_the_docs_are_sound(tmp_path: Path, certificate: Certificate) -> None:
    """nginx accepts the configuration with TLS, with two nodes and with another path."""
    _, tls, nodes, rewriting = blocks(PAGE)
    text = without_resolving(CONFIGURATION.read_text()).replace("listen 8080;", tls + rewriting)
    text, count = re.subn(r"    upstream app \{.*?\n    \}\n", lambda _: nodes, text, flags=re.DOTALL)
    assert count
    text = text.replace("/tmp/", f"{tmp_path}/").replace("/etc/ssl/example.org.pem", str(certificate.certificate))
    (tmp_path / "nginx.conf").write_text(text.replace("/etc/ssl/example.org.key", str(certificate.key)))
    done = subprocess.run(
        [require_nginx(), "-t", "-p", tmp_path, "-c", "nginx.conf", "-e", "stderr"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "[warn]" not in done.stderr, done.stderr


def test_the_script_that_tries_a_deployment_sends_a_file(serve: Serve, proxy: MakeProxy, tmp_path: Path) -> None:
    """And says how far it is."""
    require_program("curl", "apt-get install curl")
    server = serve("gevent")
    (script,) = (text for text in blocks((ROOT / "docs" / "servers.md").read_text(), "sh") if "# slowly.sh" in text)
    (tmp_path / "movie.mp4").write_bytes(CONTENT[:300_000])
    url = f"http://127.0.0.1:{proxy(server).port}/files/"
    command = ["sh", "-c", script, "slowly.sh", url, "movie.mp4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "204, 300000 of 300000\n", done.stderr
    ((upload_id,),) = server.query("SELECT id FROM upload")
    assert server.finished(f"/files/{upload_id}").read_bytes() == CONTENT[:300_000]


# --- restarts ---


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_nginx_answers_for_a_server_that_is_down(serve: Serve, proxy: MakeProxy, kind: str) -> None:
    """A HEAD of tus gets a 423, all else a 503, with Retry-After; what had arrived is there when the server is back."""
    server = serve(kind)
    tus = Tus(proxy(server).port)
    path = tus.create(len(CONTENT))
    with tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)})
        connection.send(CONTENT[:STEP])
        while not server.part(path).exists() or server.part(path).stat().st_size < STEP:
            assert connection.is_silent()
        kill(server)
        cut = connection.answer("PATCH")
    flow = "/flow/?flowChunkNumber=1&flowChunkSize=9&flowTotalSize=9&flowIdentifier=a&flowFilename=a&flowTotalChunks=1"
    answers = {
        "PATCH in the middle": cut,
        "HEAD": tus.head(path),
        "HEAD of anybody": tus.request("HEAD", path, {"Tus-Resumable": ""}),
        "HEAD of the draft": tus.request("HEAD", path, DRAFT),
        "PATCH": tus.patch(path, STEP, CONTENT[STEP:]),
        "POST": tus.request("POST", "/files/", {"Upload-Length": 1}),
        "DELETE": tus.request("DELETE", path),
        "chunk": tus.request("POST", flow, {"Content-Type": "x/y"}, b"x" * 9),
        "test of a chunk": tus.request("GET", flow),
    }
    statuses = {name: answer.status for name, answer in answers.items()}
    assert statuses == dict.fromkeys(answers, 503) | {"HEAD": 423, "HEAD of anybody": 423}
    assert {answer.headers["retry-after"] for answer in answers.values()} == {"2"}
    assert not any(b"<html" in answer.body for answer in answers.values())
    server.start()
    assert tus.offset(path) == STEP
    tus.resume(path, CONTENT)
    is_there_once(server, path)


def test_answers_of_the_app_pass_unchanged(serve: Serve, proxy: MakeProxy) -> None:
    """A 503 of the app itself keeps its headers and its text."""
    server = serve("gthread")
    tus = Tus(proxy(server).port)
    path = tus.create(len(CONTENT))
    server.order("pre_save", "fail")
    answer = tus.patch(path, 0, CONTENT)
    assert (answer.status, server.tus.patch(path, 0, CONTENT).body) == (500, answer.body)
    assert "tus-resumable" in answer.headers and "retry-after" not in answer.headers


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_tus_js_client_goes_on_after_a_restart(
    serve: Serve, proxy: MakeProxy, client: Callable[..., Client], kind: str
) -> None:
    """It keeps its upload while the server is away, and sends nothing twice."""
    server = serve(kind)
    upload = client(f"http://127.0.0.1:{proxy(server).port}/files/", chunkSize=STEP)
    upload.until("ready")
    kill(server)
    upload.go_on()
    upload.until("HEAD 423")
    server.start()
    path = "/files/" + id_of(upload.end()["url"])
    is_there_once(server, path)
    assert upload.lines.count("POST 201") == 1
    assert upload.lines.count("PATCH 204") == len(CONTENT) // STEP
    assert "PATCH 503" in upload.lines


def test_one_of_two_nodes_is_restarted(
    serve: Serve, proxy: MakeProxy, client: Callable[..., Client], tmp_path: Path
) -> None:
    """Its clients go on at the other one, and at both when it is back."""
    nodes = [serve("gthread", home=tmp_path / "shared") for _ in range(2)]
    upload = client(f"http://127.0.0.1:{proxy(*nodes).port}/files/", chunkSize=STEP)
    upload.until("ready")
    kill(nodes[0])
    upload.go_on()
    path = "/files/" + id_of(upload.end()["url"])
    nodes[0].start()
    is_there_once(nodes[0], path)
    assert upload.lines.count("POST 201") == 1
    assert not any(line.startswith("HEAD 4") for line in upload.lines)


@pytest.mark.parametrize("victim", [0, 1])
def test_no_content_is_sent_to_two_nodes(serve: Serve, proxy: MakeProxy, tmp_path: Path, victim: int) -> None:
    """The node that has a PATCH is killed: its client learns it, and the other node has not been asked."""
    nodes = [serve("gthread", home=tmp_path / "shared", LEASE=1) for _ in range(2)]
    tus = Tus(proxy(*nodes).port)
    path = tus.create(len(CONTENT))
    for _ in range(victim):
        tus.head(path)
    with tus.connect() as connection:
        connection.start_patch(path, 0, {"Content-Length": len(CONTENT)})
        connection.send(CONTENT[:STEP])
        part = nodes[0].part(path)
        while not part.exists() or part.stat().st_size < STEP:
            assert connection.is_silent()
        (holder,) = (node for node in nodes if any(_has_open(pid, part) for pid in node.workers()))
        kill(holder)
        answer = connection.answer("PATCH")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert len(nodes[0].journal.notes("pre_save", id_of(path))) == 1
    tus.resume(path, CONTENT)
    is_there_once(nodes[0], path)


def _has_open(pid: int, file: Path) -> bool:
    links = Path(f"/proc/{pid}/fd").iterdir()
    return any(link.exists() and link.resolve() == file for link in links)


# --- other addresses ---


def test_tls_ends_at_nginx(serve: Serve, proxy: MakeProxy, certificate: Certificate) -> None:
    """With the three lines of the docs, clients upload by https."""
    server = serve("gthread")
    lines = blocks(PAGE)[1].replace("listen 443 ssl;", "listen 8080 ssl;")
    lines = lines.replace("/etc/ssl/example.org.pem", str(certificate.certificate))
    lines = lines.replace("/etc/ssl/example.org.key", str(certificate.key))
    tus = Tus(proxy(server, listen=lines).port, certificate.context)
    path = tus.create(len(CONTENT))
    tus.resume(path, CONTENT)
    is_there_once(server, path)


def test_a_path_is_renamed_on_the_way(serve: Serve, proxy: MakeProxy, client: Callable[..., Client]) -> None:
    """With PUBLIC_URL, clients get full URLs that lead back through nginx; those of parts, too."""
    server = serve("gthread", PUBLIC_URL="http://localhost/api")
    server.stop()
    rewriting = blocks(PAGE)[3]
    nginx = proxy(server, listen=f"listen 8080; {rewriting}")
    base = f"http://127.0.0.1:{nginx.port}/api"
    server.environ = {"LIVE_SETTINGS": json.dumps({"RESUMABLE_PUBLIC_URL": base, "TUS_PUBLIC_PATH": "/uploads"})}
    server.start()
    outcome = client(f"{base}/uploads/", parallelUploads=3, pauseAt=0).end()
    assert all(url.startswith(f"{base}/uploads/") for url in [outcome["url"], *outcome["parts"]])
    is_there_once(server, outcome["url"])


# --- long headers ---


def options_for(server: str) -> tuple[str, ...]:
    """What the table of the docs says."""
    (row,) = re.findall(rf"^\| {server}\b.*\|(.*)\|$", PAGE, re.MULTILINE)
    return tuple(row.strip(" `").split())


def create_parts(tus: Tus, endpoint: str, count: int) -> list[str]:
    """Parts with one byte each; their URLs."""
    return [endpoint + id_of(tus.create(1, {"Upload-Concat": "partial"}, bytes([number]))) for number in range(count)]


@pytest.mark.parametrize("kind", ["gthread", "gevent", "uwsgi", "granian", "werkzeug"])
@pytest.mark.parametrize("through", ["nginx", "direct"])
def test_parts_whose_urls_make_a_long_header(serve: Serve, proxy: MakeProxy, kind: str, through: str) -> None:
    """With the documented options, 120 long URLs fit into Upload-Concat, and HEAD returns them."""
    options = {"gthread": "gunicorn", "gevent": "gunicorn", "uwsgi": "uWSGI"}.get(kind)
    server = serve(kind, options=options_for(options) if options else ())
    variant = {"keepalive": ""} if kind == "uwsgi" else {}
    tus = Tus(proxy(server, **variant).port) if through == "nginx" else server.tus
    count = PARTS if kind == "gthread" else 4  # a part may be named several times
    endpoint = "https://some-bucket.uploads.region-7.example.org/customers/4711/files/"
    parts = create_parts(tus, endpoint, count) * (PARTS // count)
    concat = "final;" + " ".join(parts)
    metadata = "filename " + "QUFB" * 2000
    assert len(concat) > 12_000
    headers: Headers = {"Upload-Concat": concat, "Upload-Metadata": metadata}
    answer = tus.request("POST", "/files/", headers)
    assert answer.status == 201, answer
    path = "/files/" + answer.headers["location"]
    head = tus.head(path)
    assert (head.status, head.headers["upload-concat"], head.headers["upload-metadata"]) == (200, concat, metadata)
    assert server.finished(path).read_bytes() == bytes(range(count)) * (PARTS // count)


def test_how_many_parts_fit(serve: Serve, proxy: MakeProxy) -> None:
    """The numbers of the docs are right: so many parts, and not one more."""
    numbers = re.search(
        r"with `(\S+)`, 8,190 bytes hold\s(\d+) parts, and 32 KiB hold (\d+).*?hold (\d+)", PAGE, re.DOTALL
    )
    assert numbers is not None
    endpoint, *counts = numbers.groups()
    default, larger = serve("gthread"), serve("gthread", options=options_for("gunicorn"))
    ways = [(default.tus, endpoint), (Tus(proxy(larger).port), endpoint), (default.tus, "")]
    for (tus, prefix), count in zip(ways, map(int, counts), strict=True):
        (part,) = create_parts(tus, prefix, 1)
        statuses = [
            tus.request("POST", "/files/", {"Upload-Concat": "final;" + " ".join([part] * number)}).status
            for number in (count, count + 1)
        ]
        assert statuses[0] == 201 and statuses[1] in (400, 431), (prefix, count, statuses)


def test_ids_alone_fit_without_options(serve: Serve, proxy: MakeProxy) -> None:
    """They are relative URLs, and twice as many of them fit."""
    server = serve("gthread")
    tus = Tus(proxy(server).port)
    ids = create_parts(tus, "", 8) * 30
    answer = tus.request("POST", "/files/", {"Upload-Concat": "final;" + " ".join(ids)})
    assert answer.status == 201, answer
    path = "/files/" + answer.headers["location"]
    assert server.finished(path).read_bytes() == bytes(range(8)) * 30


def test_a_long_name_of_a_flow_chunk(serve: Serve, proxy: MakeProxy) -> None:
    """A test for a chunk of a file with a long Japanese name fits into the request line."""
    (option,) = re.findall(r"`(--limit-request-line \d+)`", PAGE)
    server = serve("gthread", options=tuple(option.split()))
    name = "%E6%97%A5" * 250
    query = f"flowIdentifier=9-a&flowFilename={name}&flowRelativePath={name}&flowChunkNumber=1&flowChunkSize=9"
    target = f"/flow/?{query}&flowTotalSize=9&flowTotalChunks=1&flowCurrentChunkSize=9"
    connection = http.client.HTTPConnection("127.0.0.1", proxy(server).port, timeout=PATIENCE)
    connection.request("GET", target)
    assert connection.getresponse().status == 204
    connection.close()

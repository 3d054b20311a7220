"""The limit of Python: HTTP as far as the benchmark needs it, and bodies spliced from the socket to a file."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import socket
import sys
import threading

PIPE = 1024 * 1024
_ids = itertools.count()


def main(port: int, folder: str) -> None:
    """Serve; a thread a connection."""
    os.chdir(folder)
    server = socket.create_server(("127.0.0.1", port))
    while True:
        client, _ = server.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def serve(client: socket.socket) -> None:
    """Request by request; the client never sends the next one before the answer."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    source, sink = os.pipe()
    fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE)
    with client, open(source, "rb"), open(sink, "wb"):
        while True:
            data = b""
            while b"\r\n\r\n" not in data:
                data += (got := client.recv(8192))
                if not got:
                    return
            head, _, ready = data.partition(b"\r\n\r\n")
            client.sendall(answer(client, source, sink, head, ready))


def answer(client: socket.socket, source: int, sink: int, head: bytes, ready: bytes) -> bytes:
    """What is sent back."""
    method, path, _ = head.split(b" ", 2)
    if method == b"POST":
        name = b"%d" % next(_ids)
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        return b"HTTP/1.1 201 Created\r\nLocation: /files/%b\r\nContent-Length: 0\r\n\r\n" % name
    name = path.rpartition(b"/")[2]
    if method == b"HEAD":
        size = os.stat(name).st_size
        return b"HTTP/1.1 200 OK\r\nUpload-Offset: %d\r\nContent-Length: 0\r\n\r\n" % size
    rest, position = number(head, b"content-length"), number(head, b"upload-offset")
    file = os.open(name, os.O_WRONLY)
    try:
        done = os.pwrite(file, ready, position) if ready else 0
        position, rest = position + done, rest - done
        while rest:
            got = os.splice(client.fileno(), sink, min(rest, PIPE))
            if not got:
                raise ConnectionError
            rest -= got
            while got:
                put = os.splice(source, file, got, offset_dst=position)
                position, got = position + put, got - put
    finally:
        os.close(file)
    return b"HTTP/1.1 204 No Content\r\nUpload-Offset: %d\r\n\r\n" % position


def number(head: bytes, name: bytes) -> int:
    """The value of a field."""
    found = re.search(rb"(?i)\r\n%b: *(\d+)" % name, head)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

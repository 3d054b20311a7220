"""The kernel's pipes: none is used again with bytes in it, none shared with a parent, none taken on trust.

What changes a whole process (its limits, its user, its children) happens in a process of its own.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_resumable.storage.local.files import splice_all
from flask_resumable.wsgi import pipes
from flask_resumable.wsgi.pipes import hand_back_pipe
from flask_resumable.wsgi.pipes import MAX_SPARE_PIPES
from flask_resumable.wsgi.pipes import MIN_PIPED_SIZE
from flask_resumable.wsgi.pipes import Pipe
from flask_resumable.wsgi.pipes import take_pipe

pytestmark = pytest.mark.skipif(not hasattr(os, "splice"), reason="This system cannot splice.")

ROOT = Path(__file__).resolve().parents[1]
PRELUDE = """
import fcntl, os, resource
from flask_resumable.wsgi import pipes
from flask_resumable.wsgi.pipes import hand_back_pipe, take_pipe
"""


@pytest.fixture(autouse=True)
def no_spare_pipes() -> Iterator[None]:
    """Nothing is left of earlier tests, nor for later ones."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    while pipes._spare:
        pipes._spare.pop().close()


def taken() -> Pipe:
    """A pipe, which there must be."""
    pipe = take_pipe()
    assert pipe is not None
    return pipe


def is_open(descriptor: int) -> bool:
    """Whether the kernel knows it."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def run(script: str) -> str:
    """What a script prints in a process of its own, which may do anything to itself."""
    command = [sys.executable, "-c", PRELUDE + script]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_an_empty_pipe_is_used_again() -> None:
    """The next request gets the same one, without a call to the kernel."""
    pipe = taken()
    os.write(pipe.entrance, b"abc")
    assert os.read(pipe.exit, 3) == b"abc"
    hand_back_pipe(pipe)
    assert take_pipe() is pipe
    pipe.close()


@pytest.mark.parametrize("read", [0, 1, 99_999])
def test_a_pipe_with_bytes_left_is_never_handed_out_again(read: int) -> None:
    """Left-over bytes would be taken for the next body: the pipe is closed, however few there are."""
    pipe = taken()
    os.write(pipe.entrance, bytes(100_000))
    assert len(os.read(pipe.exit, read)) == read
    hand_back_pipe(pipe)
    assert not is_open(pipe.entrance) and not is_open(pipe.exit)
    following = taken()
    assert following is not pipe and following.is_empty
    following.close()


def test_no_more_pipes_are_kept_than_there_is_use_for() -> None:
    """After a crowd has left, its pipes do not hold descriptors and memory for ever."""
    crowd = [taken() for _ in range(MAX_SPARE_PIPES + 5)]
    for pipe in crowd:
        hand_back_pipe(pipe)
    assert sum(is_open(pipe.exit) for pipe in crowd) == MAX_SPARE_PIPES


def test_a_pipe_is_as_large_as_it_says_and_no_program_inherits_it() -> None:
    """All of its size fits in at once; what the app starts does not get its descriptors."""
    pipe = taken()
    assert pipe.size >= MIN_PIPED_SIZE
    os.set_blocking(pipe.entrance, False)
    assert os.write(pipe.entrance, bytes(pipe.size)) == pipe.size
    assert not os.get_inheritable(pipe.entrance) and not os.get_inheritable(pipe.exit)
    pipe.close()


def test_a_forked_process_has_none_of_the_parents_pipes() -> None:
    """A server that loads the app before it forks: bytes that one worker moves never come out at another."""
    script = """
pipe = take_pipe()
hand_back_pipe(pipe)
child = os.fork()
if child == 0:
    for descriptor in (pipe.entrance, pipe.exit):
        try:
            os.fstat(descriptor)
            os._exit(1)
        except OSError:
            pass
    own = take_pipe()
    os.write(own.entrance, b"of the child")
    os._exit(0 if os.read(own.exit, 100) == b"of the child" else 2)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert take_pipe() is pipe and pipe.is_empty
print("apart")
"""
    assert run(script) == "apart"


def test_without_descriptors_there_is_no_pipe() -> None:
    """Too many open files: ``None``, and a pipe again as soon as there is room; nothing is lost on the way."""
    script = """
lowest = os.dup(0)
os.close(lowest)
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
for room in (0, 1):  # a pipe needs two
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, most))
    assert take_pipe() is None, room
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, most))
assert take_pipe() is not None
print("none")
"""
    assert run(script) == "none"


@pytest.mark.skipif(os.geteuid() != 0, reason="Becomes a user of its own, whose pages in pipes are all taken.")
def test_a_kernel_that_refuses_the_size_is_made_do_with() -> None:
    """A user's pages in pipes are counted: with few left, the pipe stays at 64 KiB; with none, there is none."""
    limit = int(Path("/proc/sys/fs/pipe-user-pages-soft").read_text())
    if not 512 <= limit <= 1 << 17:
        pytest.skip(f"This machine lets a user have {limit} pages in pipes.")
    page = os.sysconf("SC_PAGESIZE")
    script = f"""
os.setgid(61_234)
os.setuid(61_234)
kept, left = [], {limit}

def make(pages):
    kept.append(os.pipe())
    assert fcntl.fcntl(kept[-1][1], fcntl.F_SETPIPE_SZ, pages * {page}) == pages * {page}

while left > 256:
    make(256)
    left -= 256
for pages in (128, 64, 32):
    make(pages)
    left -= pages
smaller = take_pipe()
print(left, smaller.size, end=" ")
while fcntl.fcntl(os.dup(smaller.exit), fcntl.F_GETPIPE_SZ) >= {MIN_PIPED_SIZE}:
    smaller = kept.append(os.pipe()) or kept[-1]
    smaller = pipes.Pipe(smaller[1], smaller[0], 0)
before = len(os.listdir("/proc/self/fd"))
print(take_pipe(), len(os.listdir("/proc/self/fd")) - before)
"""
    assert run(script) == f"32 {MIN_PIPED_SIZE} None 0"


def test_what_the_kernel_cannot_splice_is_copied(tmp_path: Path) -> None:
    """A file that is open for appending takes no splice (EINVAL): the bytes get there all the same, once."""
    content = os.urandom(300_000)
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pipe = taken()
    for start in range(0, len(content), 60_000):
        os.write(pipe.entrance, content[start : start + 60_000])
        splice_all(pipe.exit, 60_000, file, start)
        assert pipe.is_empty
    os.close(file)
    pipe.close()
    assert (tmp_path / "file").read_bytes() == content


def test_splicing_takes_no_more_than_it_was_told(tmp_path: Path) -> None:
    """A pipe may have more in it than belongs to this block; a file's other bytes stay."""
    (tmp_path / "file").write_bytes(b"0123456789")
    file = os.open(tmp_path / "file", os.O_WRONLY)
    pipe = taken()
    os.write(pipe.entrance, b"abcdef")
    splice_all(pipe.exit, 4, file, 3)
    assert (tmp_path / "file").read_bytes() == b"012abcd789"
    assert os.read(pipe.exit, 100) == b"ef"
    os.close(file)
    pipe.close()


def test_a_pipe_with_less_in_it_than_promised_is_an_error(tmp_path: Path) -> None:
    """Bytes that are missing are never reported as stored."""
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    pipe = taken()
    os.write(pipe.entrance, b"abc")
    os.close(pipe.entrance)
    with pytest.raises(OSError, match="less in it"):
        splice_all(pipe.exit, 4, file, 0)
    os.close(file)
    os.close(pipe.exit)


def test_small_pipes_are_asked_of_the_kernel() -> None:
    """The size is what the kernel says, not what was wished for."""
    pipe = taken()
    assert pipe.size == fcntl.fcntl(pipe.exit, fcntl.F_GETPIPE_SZ)
    pipe.close()

"""The tests that a mutant may fail: in one process, and quick."""

TESTS = (
    "tests/core",
    "tests/service",
    "tests/test_claims.py",
    "tests/test_fence.py",
    "tests/test_fence_ahead.py",
    "tests/test_locks.py",
    "tests/test_moving.py",
    "tests/test_storage.py",
    "tests/test_takeover.py",
)

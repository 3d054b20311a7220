"""The tests that a mutant may fail: in one process, and quick (``--fast``)."""

TESTS = (
    "tests/core",
    "tests/service",
    "tests/conformance",
    "tests/flow",
    "tests/test_claim_rules.py",
    "tests/test_claims.py",
    "tests/test_fence.py",
    "tests/test_fence_ahead.py",
    "tests/test_health.py",
    "tests/test_hook_order.py",
    "tests/test_locks.py",
    "tests/test_moving.py",
    "tests/test_own_ids.py",
    "tests/test_processing.py",
    "tests/test_progress.py",
    "tests/test_quotas.py",
    "tests/test_storage.py",
    "tests/test_takeover.py",
    "tests/test_takeover_rules.py",
    "tests/test_verify.py",
)

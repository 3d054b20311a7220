"""tus 1.0 over HTTP, one file per section of the protocol; the numbers in the names are the checklist's."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.tus_client", f"{__name__}.server")

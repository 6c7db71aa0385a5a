"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples every time: a test must not fail on Tuesdays. ANYA_TEST_HYPOTHESIS=explore looks
# for new ones. A deadline would be a timed test.
settings.register_profile("anya", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("ANYA_TEST_HYPOTHESIS", "anya"))

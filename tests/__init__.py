"""All tests and what they share; pytest shows both sides of a comparison that fails there, too."""

import pytest

pytest.register_assert_rewrite("tests.support", "tests.conformance.conversation")

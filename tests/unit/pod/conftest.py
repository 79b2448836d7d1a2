"""The double answers at once: do not rest long between two tries."""

import pytest

from peitho.pod import calls


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_FIRST_PAUSE_SECONDS", 0.01)

"""What the checks found last, for the status page: made anew when somebody looks, now and then."""

import time

from peitho.api.page.checks import Checked, Found
from peitho.clients.kubernetes.api import Kubernetes
from peitho.core.tasks import BackgroundTasks
from peitho.program.checks import all as checks
from peitho.settings.live import Live
from peitho.settings.models import Settings

_AGE_SECONDS = 600.0


class KeptChecks:
    """The checks that ask little of anybody; nobody waits for them."""

    def __init__(
        self, settings: Live[Settings], kubernetes: Kubernetes, tasks: BackgroundTasks
    ) -> None:
        self._settings = settings
        self._kubernetes = kubernetes
        self._tasks = tasks
        self._last = Checked()
        self._is_running = False

    def look(self) -> Checked:
        """Return what was found last; if that is long ago, the checks are made meanwhile."""
        if not self._is_running and time.time() - self._last.at > _AGE_SECONDS:
            self._is_running = True
            self._tasks.spawn(self._make(), name="checks")
        return Checked(self._last.found, self._last.at, self._is_running)

    async def _make(self) -> None:
        found: list[Found] = []
        try:
            async for each in checks.with_little(self._settings.now, self._kubernetes):
                found.append(  # noqa: PERF401  those before a failure are kept
                    Found(each.name, each.status, each.said, each.do)
                )
        except Exception as error:
            said = f"they could not all be made: {type(error).__name__}"
            found.append(Found("checks", "wrong", said, "see Peitho's log"))
            raise
        finally:
            # Those that fail are no reason to make them at each look.
            self._last = Checked(found, time.time())
            self._is_running = False

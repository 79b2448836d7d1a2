"""
Reloading: a running Peitho follows its settings file, and files that variables name.

The content is read again at intervals: in a mounted ConfigMap no file is written to, a link is
turned to another folder.
"""

import asyncio
from contextlib import suppress

import structlog

from peitho import audit, logs, metrics
from peitho.core.pods import template_check
from peitho.errors import PeithoError, TemplateRefused
from peitho.program import composition, options
from peitho.program.composition import Shared
from peitho.settings import changes
from peitho.settings.changes import SettingsChange
from peitho.settings.loading import LoadedSettings, SettingsError, SettingsSource
from peitho.settings.models import Settings

log = structlog.get_logger()

_LOOK_SECONDS = 2.0


class Reloading:
    """Watches the settings, and has all parts follow; wrong settings change nothing."""

    def __init__(self, source: SettingsSource, loaded: LoadedSettings) -> None:
        self._source = source
        self._dealt_with = self._noticed = loaded.digest
        self._told = asyncio.Event()

    def tell(self) -> None:
        """Read the settings again at once."""
        self._told.set()

    async def run(self, shared: Shared) -> None:
        """Look for changes for ever; what goes wrong is logged, and the settings stay."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._told.wait()
            try:
                await self.look(shared)
            except Exception:
                log.exception("settings not looked at")

    async def look(self, shared: Shared) -> None:
        """
        Look for a change once.

        A change counts if two looks see the same: before that, a file may be half written.
        """
        is_told = self._told.is_set()
        self._told.clear()
        before, self._noticed = self._noticed, await asyncio.to_thread(self._source.digest)
        is_new = self._noticed == before and self._noticed != self._dealt_with
        if not (is_told or is_new):
            return
        try:
            # Settings that could not be checked are tried again, even if they were followed once.
            self._dealt_with = self._noticed if await self._reload(shared) else b""
        except Exception:
            self._dealt_with = self._noticed
            metrics.SETTINGS_REFUSED.set(1)
            raise

    async def _reload(self, shared: Shared) -> bool:
        """Follow the settings as they are now, unless they are wrong; False if nobody can tell."""
        try:
            loaded = await asyncio.to_thread(self._source.load)
            change = changes.change(shared.settings.now, loaded.settings)
            await self._check(change.settings, shared)
        except SettingsError as error:
            _refuse(error.problems)
            return True
        except TemplateRefused as error:
            _refuse(str(error).splitlines())
            return True
        except PeithoError as error:
            log.warning("settings not checked yet", cause=str(error))
            return False
        self._apply(change, shared)
        logs.warn_of_settings(loaded.notes)
        return True

    async def _check(self, wanted: Settings, shared: Shared) -> None:
        """Ask those who know. Raises SettingsError, TemplateRefused, Unavailable."""
        if problems := shared.account.obstacles(options.registry_account(wanted)):
            raise SettingsError(problems)
        trials = composition.templates(wanted)
        if trials != composition.templates(shared.settings.now):
            await template_check.check(shared.kubernetes, trials)

    def _apply(self, change: SettingsChange, shared: Shared) -> None:
        metrics.SETTINGS_REFUSED.set(0)
        shared.follow(change.settings)
        if any(key.startswith("log.") for key in change.followed):
            logs.configure(change.settings.log)
        audit.record("settings followed", keys=change.followed, waiting=change.waiting)
        log.info("settings followed", changed=change.followed)
        if change.waiting:
            log.warning("settings need a restart", keys=change.waiting)


def _refuse(problems: list[str]) -> None:
    metrics.SETTINGS_REFUSED.set(1)
    audit.record("settings refused", outcome="; ".join(problems))
    log.error("settings refused", problems=problems)

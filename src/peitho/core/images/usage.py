"""
Which peer last used which image, and when each peer was last seen; kept in a file.

A peer is the address that it calls from. A peer that restarts with another address asks for all its
installed packages at once (Fabric 2.x), so its images soon belong to the new address.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from peitho.clients.disk.storage import Storage
from peitho.core.clock import SteadyClock

log = structlog.get_logger()

_FILE = "usage.json"
# If notes are older, Peitho was away or could not write: peers may have called since.
_FRESH_SECONDS = 3600.0


class ImageUsage:
    """
    Remembers peers and their images. A crash loses what is not saved yet, without harm.

    No image counts as unseen for longer than notes have been kept without a gap.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._clock = SteadyClock()
        self._open: Counter[str] = Counter()
        self._peers: dict[str, float] = {}
        self._images: dict[str, tuple[str, float]] = {}
        self._kept_since = self._clock.now()
        self._read()

    def now(self) -> float:
        """Return the time by which all these notes are made, in Unix seconds."""
        return self._clock.now()

    @contextmanager
    def serving(self, peer: str) -> Iterator[None]:
        """Count the peer as there while its request is open."""
        self._open[peer] += 1
        self._peers[peer] = self._clock.now()
        try:
            yield
        finally:
            self._peers[peer] = self._clock.now()
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]

    def touch(self, image: str, peer: str) -> None:
        """Note that a peer built an image, asked for it, or launches it."""
        self._images[image] = (peer, self._clock.now())

    def used_at(self, image: str, *, default: float) -> float:
        """Return when an image was last used, in Unix seconds."""
        return self._images.get(image, ("", default))[1]

    def seen_at(self, image: str, *, default: float) -> float:
        """Return when the peer that last used an image was last seen, in Unix seconds."""
        peer, at = self._images.get(image, ("", default))
        if peer in self._open:
            return self._clock.now()
        return max(at, self._peers.get(peer, 0.0), self._kept_since)

    async def save(self, images: Collection[str]) -> None:
        """
        Save the notes on these images and their peers, and forget all others.

        Raises StorageFull.
        """
        self._images = {name: use for name, use in self._images.items() if name in images}
        for peer in self._open:
            self._peers[peer] = self._clock.now()
        used = {peer for peer, _ in self._images.values()}
        self._peers = {peer: at for peer, at in self._peers.items() if peer in used}
        kept = {"since": self._kept_since, "until": self._clock.now()}
        content = {"kept": kept, "peers": self._peers, "images": self._images}
        # Made in the event loop, where nobody changes it meanwhile; a thread waits for the disk.
        await asyncio.to_thread(self._storage.save_file, _FILE, json.dumps(content).encode())

    def _read(self) -> None:
        try:
            notes: dict[str, Any] = json.loads(self._storage.read_file(_FILE) or b"{}")
            peers = {str(peer): float(at) for peer, at in notes.get("peers", {}).items()}
            images = {
                str(name): (str(peer), float(at))
                for name, (peer, at) in notes.get("images", {}).items()
            }
            kept = notes.get("kept", {"since": 0, "until": 0})
            since, until = float(kept["since"]), float(kept["until"])
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            # All images count as seen now, so that none is removed too early.
            log.warning("usage of images is damaged and forgotten", cause=str(error))
            return
        self._peers, self._images = peers, images
        if self._clock.now() - until < _FRESH_SECONDS:
            self._kept_since = since

"""
Calls of other processes, for measurements: `ping URL SECONDS`, or `upload URL FOLDER ID...`.

A ping prints how many milliseconds 99 of 100 took at most; an upload sends each file of a folder
to each container, all containers at once.
"""

import http.client
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit


def ping(url: str, seconds: float) -> float:
    """Milliseconds that 99 of 100 pings took at most."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        connection.request("GET", "/_ping")
        connection.getresponse().read()
        took.append(time.monotonic() - began)
        time.sleep(0.005)
    return sorted(took)[len(took) * 99 // 100] * 1000


def upload(url: str, folder: Path, container: str) -> None:
    """Send each file of a folder to a container; it may be refused."""
    for number, path in enumerate(sorted(folder.iterdir())):
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        with suppress(OSError, http.client.HTTPException):
            target = f"/containers/{container}/archive?path=/a{number}"
            connection.request("PUT", target, path.read_bytes())
            connection.getresponse().read()
        connection.close()


if __name__ == "__main__":
    command, url, *rest = sys.argv[1:]
    if command == "ping":
        print(ping(url, float(rest[0])))
    else:
        threads = [
            threading.Thread(target=upload, args=(url, Path(rest[0]), container))
            for container in rest[1:]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

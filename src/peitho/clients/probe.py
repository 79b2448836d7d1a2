"""A probe of an address: does somebody listen there?"""

import asyncio
import errno
import socket
from contextlib import suppress

_TIMEOUT_SECONDS = 5.0


async def is_refused(host: str, port: int) -> bool:
    """
    Whether a connection is refused, or there is no such host.

    Silence is no refusal: a NetworkPolicy between Peitho and a peer drops packets. Neither is a
    missing route, or a name server that does not answer: the peer has not said anything then.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return False
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    except (ValueError, OverflowError):
        return False  # no address at all: then nothing is known of whoever was meant
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return False

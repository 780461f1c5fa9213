"""A steady load from many connections, by asyncio in a thread of its own.

Every request has to be answered 200: a refused connection, a reset, an early end or another status is
a failure. A connection that the server said it would close (`Connection: close`) is no failure, and is
opened anew.
"""

import asyncio
import threading

ANSWER_LIMIT = 30  # seconds for one answer; longer is a failure


class Load:
    """Sends one request over and over while the `with` block runs; then `answered` and `failures` tell."""

    def __init__(self, host, request, *, connections, keep_alive):
        self.address = host.split(":")
        self.request = request
        self.keep_alive = keep_alive
        self.connections = connections
        self.answered = 0
        self.failures = []
        self.stopping = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join(timeout=ANSWER_LIMIT + 10)
        assert not self.thread.is_alive(), "the load does not end"

    async def run(self):
        """All connections until the block ends."""
        await asyncio.gather(*(self.client() for _ in range(self.connections)))

    async def client(self):
        """One connection after another."""
        while not self.stopping:
            try:
                await asyncio.wait_for(self.connection(), None if self.keep_alive else ANSWER_LIMIT)
            except Exception as error:  # noqa: BLE001  (whatever it is, the request failed)
                self.failures.append(repr(error))
                await asyncio.sleep(0.02)

    async def connection(self):
        """Requests over one connection: one, or as many as it lives."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            while not self.stopping:
                writer.write(self.request)
                await writer.drain()
                goes_on = await asyncio.wait_for(answer(reader), ANSWER_LIMIT)
                self.answered += 1
                if not (goes_on and self.keep_alive):
                    return
        finally:
            writer.close()


async def answer(reader):
    """Reads one answer; returns whether the connection stays open. Fails unless it is a whole 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
    body = await reader.readexactly(length)
    if not head.startswith("http/1.1 200 "):
        raise ValueError(head.partition("\r\n")[0], body[:200])
    return "\r\nconnection: close" not in head

"""What user code writes, on its way to the agent.

Three sources end in one ordered queue: ``sys.stdout`` and ``sys.stderr`` of this process, the file
descriptors 1 and 2 (child processes, C libraries), and rich output. One thread sends the queue, so
that an interrupt, which Python raises in the main thread only, can never cut a frame in two. The
queue is bounded: while the agent does not read, whoever prints waits.
"""

import codecs
import collections
import io
import json
import os
import select
import struct
import threading

QUEUE_LIMIT = 1 << 20  # characters waiting before writers are held
CHUNK = 1 << 16  # characters of one text record
MEDIA_LIMIT = 8 << 20  # characters of one rich record


class Guard:
    """Puts an interrupt off while the main thread is inside the console."""

    def __init__(self):
        self.main = threading.main_thread()
        self.depth = 0
        self.pending = False

    def __enter__(self):
        if threading.current_thread() is self.main:
            self.depth += 1

    def __exit__(self, *_exc):
        if threading.current_thread() is self.main:
            self.depth -= 1
            if self.depth == 0 and self.pending:
                self.pending = False
                raise KeyboardInterrupt

    def waits_in_vain(self):
        return self.pending and threading.current_thread() is self.main


class Console:
    def __init__(self):
        self.owner = os.getpid()
        self.guard = Guard()
        self.changed = threading.Condition(threading.Lock())
        self.queue = collections.deque()
        self.level = 0
        self.link = None
        self.sending = False
        self.pumping = threading.Lock()
        self.pipes = {}
        self.waiting = select.poll()  # the pump thread's: one thread at a time may use a poll object
        self.ready = select.poll()  # to be used with `pumping` held

    # The agent's side.

    def attach(self, link):
        with self.changed:
            self.link = link
            self.changed.notify_all()

    def detach(self, link):
        with self.changed:
            if self.link is link:
                self.link = None

    def send_forever(self):
        while True:
            with self.changed:
                while not self.queue or self.link is None:
                    self.changed.wait()
                link = self.link
                record = self.queue.popleft()
                self.sending = True
            sent = send_frame(link, record)
            with self.changed:
                self.sending = False
                if sent:
                    self.level -= weight(record)
                else:
                    self.queue.appendleft(record)
                    if self.link is link:
                        self.link = None
                self.changed.notify_all()

    def drained(self, timeout):
        """Waits until all is sent, as long as the agent reads and the time lasts."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.queue and not self.sending, timeout)

    # The writers' side.

    def put(self, record):
        """Queues a record that must not wait: a status, an answer."""
        with self.guard, self.changed:
            self._append(record)

    def text(self, kind, text):
        """Queues text in pieces, waiting for room."""
        self.pump()
        for start in range(0, len(text), CHUNK):
            self._put_with_room({"t": "out", "k": kind, "d": text[start : start + CHUNK]})

    def rich(self, kind, data):
        size = len(data[1]) if kind == "media" else len(data)
        if size > MEDIA_LIMIT:
            self.text("stderr", "(an output of %d characters was left out: too large)\n" % size)
        else:
            self.pump()
            self._put_with_room({"t": "out", "k": kind, "d": data})

    def _put_with_room(self, record):
        with self.guard, self.changed:
            while self.level >= QUEUE_LIMIT and not self.guard.waits_in_vain():
                self.changed.wait(0.1)
            self._append(record)

    def _append(self, record):
        last = self.queue[-1] if self.queue else None
        if last is not None and joins(last, record):
            last["d"] += record["d"]
        else:
            self.queue.append(record)
        self.level += weight(record)
        self.changed.notify_all()

    # The file descriptors 1 and 2.

    def capture(self, fd, kind):
        """Makes `fd` a pipe whose content is queued as `kind`."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.dup2(writer, fd)
        os.close(writer)
        self.pipes[reader] = (kind, codecs.getincrementaldecoder("utf-8")("replace"))
        self.waiting.register(reader, select.POLLIN)
        self.ready.register(reader, select.POLLIN)

    def pump(self):
        """Queues what has come through the pipes before what is written now."""
        if os.getpid() != self.owner:
            return
        with self.guard:
            if self.pumping.acquire(False):
                try:
                    self._read_pipes()
                finally:
                    self.pumping.release()

    def pump_all(self):
        """At a run's end: what its finished children wrote, also when the pump thread is at it."""
        if os.getpid() != self.owner:
            return
        for _ in range(16):
            with self.guard, self.pumping:
                if not self._read_pipes():
                    return

    def pump_forever(self):
        while True:
            self.waiting.poll()
            with self.changed:
                while self.level >= QUEUE_LIMIT:
                    self.changed.wait(0.1)
            with self.pumping:
                self._read_pipes()

    def _read_pipes(self):
        """Reads what is there, once; whether there was anything."""
        events = self.ready.poll(0)
        for reader, _event in events:
            kind, decoder = self.pipes[reader]
            try:
                text = decoder.decode(os.read(reader, CHUNK))
            except BlockingIOError:
                continue
            if text:
                with self.changed:
                    self._append({"t": "out", "k": kind, "d": text})
        return bool(events)


def joins(last, record):
    """Consecutive pieces of one text stream travel as one record."""
    return (
        last["t"] == record["t"] == "out"
        and last["k"] == record["k"]
        and last["k"] in ("stdout", "stderr")
        and len(last["d"]) + len(record["d"]) <= CHUNK
    )


def weight(record):
    data = record.get("d") if record["t"] == "out" else None
    if data is None:
        return 0
    return len(data) if isinstance(data, str) else len(data[1])


def send_frame(link, record):
    """One frame: a 4-byte big-endian length and JSON. False when the agent is gone."""
    body = json.dumps(record).encode("ascii")
    try:
        link.sendall(struct.pack(">I", len(body)) + body)
        return True
    except OSError:
        return False


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr``. In a forked child it writes to the descriptor instead."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, console, kind, fd):
        super().__init__()
        self._console = console
        self._kind = kind
        self._fd = fd
        self.buffer = Bytes(self)

    name = property(lambda self: "<%s>" % self._kind)
    mode = "w"

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def isatty(self):
        return False

    def flush(self):
        pass

    def close(self):
        pass

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        if os.getpid() != self._console.owner:
            write_all(self._fd, text.encode("utf-8", "backslashreplace"))
        elif text:
            clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
            self._console.text(self._kind, clean)
        return len(text)


class Bytes(io.RawIOBase):
    """``sys.stdout.buffer``."""

    def __init__(self, stream):
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()

    def write(self, data):
        self._stream.write(self._decoder.decode(bytes(data)))
        return len(data)


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data) :]

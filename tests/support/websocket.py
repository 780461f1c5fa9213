"""A WebSocket client for tests that does just what it is told, also what it should not."""

import base64
import json
import os
import socket
import struct
import threading

from api import Answer, Raw
from sign import signed_headers

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


class Closed(Exception):
    """The server closed: .code and .reason of its frame, or None where it sent none."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code, self.reason = code, reason


def request(client, target, *, signed=True, method="GET", **headers):
    """A connection on which the handshake was sent, and its answer. Headers that are None are left out."""
    key = base64.b64encode(os.urandom(16)).decode()
    everything = {"Host": client.host, **HANDSHAKE, "Sec-WebSocket-Key": key}
    if signed:
        everything |= signed_headers(method, target, client.host, client.access_key, client.secret_key, body=b"")
    everything |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in everything.items() if value is not None)
    raw = Raw(client.host, timeout=30, tls=client.tls)
    raw.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
    return raw, raw.receive()


class WebSocket:
    """An open WebSocket. Text frames are JSON."""

    def __init__(self, client, target, **options):
        self.raw, answer = request(client, target, **options)
        assert isinstance(answer, Answer) and answer.status == 101, answer
        self.answer = answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.__exit__()

    def frame(self, opcode, payload=b"", *, final=True, masked=True):
        """Sends a frame."""
        length = len(payload)
        head = bytes([opcode | (0x80 if final else 0)])
        mask_bit = 0x80 if masked else 0
        if length < 126:
            head += bytes([length | mask_bit])
        elif length < 65536:
            head += bytes([126 | mask_bit]) + struct.pack(">H", length)
        else:
            head += bytes([127 | mask_bit]) + struct.pack(">Q", length)
        mask = os.urandom(4) if masked else b""
        body = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)) if masked else payload
        self.raw.send(head + mask + body)

    def send(self, value):
        """Sends a value as JSON, or a text as it is."""
        self.frame(TEXT, (value if isinstance(value, str) else json.dumps(value)).encode())

    def receive_frame(self):
        """(opcode, payload) of the next frame, whatever it is."""
        head = self.raw.reader.read(2)
        if len(head) < 2:
            raise Closed(None, "")
        length = head[1] & 0x7F
        assert head[0] & 0x80 and not head[1] & 0x80, head
        if length == 126:
            (length,) = struct.unpack(">H", self.raw.reader.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.raw.reader.read(8))
        return head[0] & 0x0F, self.raw.reader.read(length)

    def receive(self):
        """The next JSON message; pings are answered, a close is acknowledged and raised."""
        while True:
            opcode, payload = self.receive_frame()
            if opcode == TEXT:
                return json.loads(payload)
            if opcode == PING:
                self.frame(PONG, payload)
            if opcode == CLOSE:
                self.frame(CLOSE, payload[:2])
                raise Closed(struct.unpack(">H", payload[:2])[0], payload[2:].decode())

    def closed(self):
        """(code, messages before it): reads until the server closes."""
        messages = []
        while True:
            try:
                messages.append(self.receive())
            except Closed as closed:
                return closed.code, messages
            except ConnectionResetError:
                return None, messages

    def shrink(self):
        """Makes the socket's receive buffer small, so that what is not read is soon noticed."""
        self.raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


class Terminal(WebSocket):
    """A viewer of a session's terminal."""

    def __init__(self, client, session, **options):
        super().__init__(client, f"/v4/stream/kernel/{session}/pty", **options)
        self.seen = b""

    def type(self, keys):
        """Sends keys."""
        self.send({"type": "stdin", "chars": base64.b64encode(keys).decode()})

    def output(self):
        """The next piece of output."""
        message = self.receive()
        assert message["type"] == "out", message
        return base64.b64decode(message["data"])

    def shows(self, wanted):
        """Reads until this was shown; gives all that was shown up to there."""
        while wanted not in self.seen:
            self.seen += self.output()
        end = self.seen.index(wanted) + len(wanted)
        shown, self.seen = self.seen[:end], self.seen[end:]
        return shown

    def echoes(self, keys):
        """Types until the agent's terminal shows it, doubled.

        Keys that a kernel before took are gone, and so is output before the subscription: a publisher of libzmq looks
        at new subscriptions once in about a millisecond.
        """
        shown = threading.Event()

        def keep_typing():
            self.type(keys)
            while not shown.wait(0.5):
                self.type(keys)

        typist = threading.Thread(target=keep_typing)
        typist.start()
        try:
            self.shows(keys * 2)
        finally:
            shown.set()
            typist.join()

    def error(self):
        """The next message, which has to be an error's."""
        message = self.receive()
        assert message["type"] == "error", message
        return message["data"]


class Events:
    """Server-sent events of a session."""

    def __init__(self, client, session, *, last=None, ticket=None, query=""):
        target = f"/v4/stream/kernel/{session}/events?{query}" + (f"&_auth={ticket}" if ticket else "")
        headers = {"Host": client.host}
        if not ticket:
            headers |= signed_headers("GET", target, client.host, client.access_key, client.secret_key, body=b"")
        if last is not None:
            headers["Last-Event-ID"] = last
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.raw = Raw(client.host, timeout=30)
        self.raw.send(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
        line = self.raw.reader.readline()
        if b" 200 " not in line:
            self.raw.send(b"")
            raise AssertionError(line)
        self.headers = {}
        while (line := self.raw.reader.readline()) != b"\r\n":
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value.strip()
        self.buffer, self.at = "", self.raw.chunks()
        self.id = None
        self.first = self.fields()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.__exit__()

    def fields(self):
        """The fields of the next block, or None at the end; comments are left out."""
        while "\n\n" not in self.buffer:
            try:
                self.buffer += next(self.at).decode()
            except (StopIteration, ValueError):
                return None
        block, _, self.buffer = self.buffer.partition("\n\n")
        pairs = (line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        found = {pair[0]: pair[1] for pair in pairs}
        self.id = found.get("id", self.id)
        return found

    def event(self):
        """(name, data) of the next event, or None at the end."""
        while (found := self.fields()) is not None:
            if "event" in found:
                return found["event"], json.loads(found["data"])
        return None

"""A gateway on libzmq, for the tests of the agent: calls it, takes its events, uses its terminals.

    agent_peer.py AGENT_PORT EVENTS_PORT    says `listening`, then `all is well` when everything was so

The agent is to be told of EVENTS_PORT once `listening` was said.
"""

import struct
import sys
import time

import msgpack
import zmq

PATIENCE_MS = 60_000


def say(*words):
    print(*words, flush=True)


class Gateway:
    def __init__(self, context, port):
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.request = 0

    def send(self, method, *args):
        self.request += 1
        header = struct.pack("<HHLd", 3, 4, self.request, time.time())
        self.socket.send_multipart([header, method.encode(), msgpack.packb(args), msgpack.packb({})])
        return self.request

    def receive(self):
        header, body = self.socket.recv_multipart()
        _pid, _random, request, _time, is_error = struct.unpack("<HHLd?", header)
        return request, is_error, msgpack.unpackb(body)

    def call(self, method, *args):
        request, (answered, is_error, value) = self.send(method, *args), self.receive()
        assert answered == request and not is_error, (method, value)
        return value

    def query(self, kernel, code):
        run = f"run{self.request}"
        answer = self.call("execute", 2, kernel, run, "query", code, {})
        assert answer["status"] == "finished", answer
        return answer["console"]


class Events:
    def __init__(self, context, port):
        self.socket = context.socket(zmq.PULL)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.socket.bind(f"tcp://127.0.0.1:{port}")

    def next(self, wanted, kernel=None):
        while True:
            name, agent, body = self.socket.recv_multipart()
            args = msgpack.unpackb(body)
            assert agent == b"i-agent"
            if name == wanted and (kernel is None or args[0] == kernel):
                return args


class Terminal:
    def __init__(self, context, stdin_port, stdout_port):
        self.stdin, self.stdout = context.socket(zmq.PUB), context.socket(zmq.SUB)
        self.stdin.connect(f"tcp://127.0.0.1:{stdin_port}")
        self.stdout.connect(f"tcp://127.0.0.1:{stdout_port}")
        self.stdout.subscribe(b"")
        self.seen = b""

    def type(self, text):
        self.stdin.send(text.encode())

    def look(self, milliseconds):
        if self.stdout.poll(milliseconds):
            frames = self.stdout.recv_multipart()
            assert len(frames) == 1, frames
            self.seen += frames[0]
            return True
        return False

    def open(self):
        """Says something until it is heard: publishers drop what nobody subscribed to yet."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while b"open" not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self.type("echo op''en\r")
            while self.look(200):
                pass

    def until(self, text):
        while text not in self.seen:
            assert self.look(PATIENCE_MS), self.seen
        _, _, self.seen = self.seen.partition(text)


def calls(gateway, events):
    assert gateway.call("ping", "hello") == "hello"
    gateway.send("no_such_method", 1)
    _, is_error, value = gateway.receive()
    assert is_error and value[0] == "aiozmq.rpc.base.NotFoundError", value
    config = {"lang": "python:latest", "limits": {"mem_slot": 256, "cpu_slot": 1.0, "gpu_slot": 0.0}}
    config |= {"mounts": [], "environ": {}}
    made = gateway.call("create_kernel", "python-1", config)
    assert (made["id"], made["stdin_port"], made["stdout_port"]) == ("python-1", 0, 0), made
    assert gateway.query("python-1", "print('hello')\n6 * 7") == [["stdout", "hello\n42\n"]]
    big = bytes(range(256)) * 40_000  # 10 MB in one frame
    gateway.call("upload_file", "python-1", "big", big)
    assert gateway.query("python-1", "import os; os.path.getsize('big')") == [["stdout", f"{len(big)}\n"]]
    # Two calls at once come back by their ids, in whatever order.
    sent = {gateway.send("ping", "1"): "1", gateway.send("ping", "2"): "2"}
    got = [gateway.receive() for _ in sent]
    assert {request: value for request, _, value in got} == sent, got
    gateway.call("destroy_kernel", "python-1")
    assert events.next(b"kernel_terminated", "python-1")[1] == "user-requested"


def terminals(context, gateway, events):
    config = {"lang": "git", "limits": {"mem_slot": 256, "cpu_slot": 1.0, "gpu_slot": 0.0}}
    made = gateway.call("create_kernel", "shell-1", config)
    ports = made["stdin_port"], made["stdout_port"]
    first, second = Terminal(context, *ports), Terminal(context, *ports)
    first.open()
    second.open()
    said = gateway.query("shell-1", "%resize 40 100")
    assert said == [["stdout", "OK; terminal resized to 40 rows and 100 cols"]], said
    assert gateway.query("shell-1", "%ping") == [["stdout", "pong!"]]
    first.type("stty size; echo hel''lo\r")
    for terminal in (first, second):
        terminal.until(b"40 100\r\n")
        terminal.until(b"hello\r\n")
    # A restart closes both ports and binds them again; libzmq comes back by itself.
    made = gateway.call("restart_kernel", "shell-1", config)
    assert (made["stdin_port"], made["stdout_port"]) == ports, made
    first.seen = b""
    first.open()
    gateway.call("destroy_kernel", "shell-1")
    assert events.next(b"kernel_terminated", "shell-1")[1] == "user-requested"


def main(agent_port, events_port):
    context = zmq.Context()
    events = Events(context, events_port)
    say("listening")
    gateway = Gateway(context, agent_port)
    heartbeat = events.next(b"instance_heartbeat")[0]
    assert heartbeat["addr"] == f"tcp://127.0.0.1:{agent_port}", heartbeat
    calls(gateway, events)
    terminals(context, gateway, events)
    say("all is well")
    context.destroy(linger=0)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""An agent on libzmq whose only kernel has a terminal.

    terminal_agent.py [--mute] [--deaf] [--slow-ping] [--events HOST:PORT]

Says `{"agent": port, "ports": [stdin, stdout]}` in a line of JSON, and then one for each thing that happens:
{"call": [method, arguments…]} and {"input": text}. What the terminal reads it shows again, doubled; `flood N` makes it
show N times 16 KiB (libzmq keeps a thousand pieces for whoever is slow, and drops those beyond), `die KERNEL` makes it
end, and the agent say so. A restart moves the terminal to other ports. With --mute there is no terminal behind them;
with --deaf it takes nothing of what is typed. It sends no heartbeats, so that it is pinged all the time; with
--slow-ping it takes 3.5 s to answer, and says so then.
"""

import json
import struct
import sys
import time

import msgpack
import zmq

PORTS = (20000, 32000)
STATISTICS = {"cpu_used": 1.5, "mem_max_bytes": 1024}


def say(**what):
    print(json.dumps(what), flush=True)


class Terminal:
    """The two sockets of a kernel's terminal."""

    def __init__(self, context, died, deaf=False):
        self.died = died
        self.stdin, self.stdout = context.socket(zmq.SUB), context.socket(zmq.PUB)
        if deaf:
            # What libzmq would take in advance, so that it is the network that fills.
            self.stdin.setsockopt(zmq.RCVHWM, 1)
            self.stdin.setsockopt(zmq.RCVBUF, 4096)
        self.stdin.subscribe(b"")
        self.ports = [socket.bind_to_random_port("tcp://127.0.0.1", *PORTS) for socket in (self.stdin, self.stdout)]

    def read(self):
        """Shows what is read; False where it ends."""
        data = self.stdin.recv()
        say(input=data.decode(errors="replace"))
        word, _, number = data.partition(b" ")
        if word == b"flood":
            for n in range(int(number)):
                self.stdout.send(f"{n:8}:".encode() + b"x" * 16375)
            self.stdout.send(b"flooded")
        elif word == b"die":
            self.died(number.decode())
            return False
        else:
            self.stdout.send(data * 2)
        return True

    def close(self):
        self.stdin.close(linger=0)
        self.stdout.close(linger=0)


class Agent:
    def __init__(self, context, mute, deaf, events):
        self.context, self.mute, self.deaf, self.left = context, mute, deaf, 0
        self.events = context.socket(zmq.PUSH)
        self.events.connect(f"tcp://{events}")
        self.socket = context.socket(zmq.ROUTER)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1", *PORTS)
        self.terminal = Terminal(context, self.tell_end, deaf)

    def serve(self):
        say(agent=self.port, ports=self.terminal.ports)
        if self.mute:
            self.terminal.close()
        while True:
            poller = zmq.Poller()
            poller.register(self.socket, zmq.POLLIN)
            if not self.terminal.stdin.closed and not self.deaf:
                poller.register(self.terminal.stdin, zmq.POLLIN)
            ready = dict(poller.poll())
            if self.socket in ready:
                self.answer(*self.socket.recv_multipart())
            if self.terminal.stdin in ready and not self.terminal.stdin.closed and not self.terminal.read():
                self.terminal.close()

    def tell_end(self, kernel):
        self.events.send_multipart([b"kernel_terminated", b"i-terminal", msgpack.packb([kernel, "self-terminated", None])])

    def answer(self, peer, header, method, arguments, _keywords):
        _pid, _random, request, _time = struct.unpack("<HHLd", header)
        method, arguments = method.decode(), msgpack.unpackb(arguments)
        slow = method == "ping" and "--slow-ping" in sys.argv
        if slow:
            time.sleep(3.5)
        if method != "ping" or slow:
            say(call=[method, *arguments])
        result = self.call(method, arguments)
        start = struct.pack("<HHLd?", 1, 2, request, time.time(), False)
        self.socket.send_multipart([peer, start, msgpack.packb(result)])

    def call(self, method, arguments):
        if method == "ping":
            return arguments[0]
        if method == "execute":
            run, mode, code = arguments[2], arguments[3], arguments[4]
            return self.execute(run, mode, code)
        if method == "restart_kernel":
            self.terminal.close()
            self.deaf = False
            self.terminal = Terminal(self.context, self.tell_end)
            stdin, stdout = self.terminal.ports
            ports = {"repl_in_port": 1, "repl_out_port": 2, "stdin_port": str(stdin), "stdout_port": str(stdout)}
            return {"container_id": "c", "cpu_set": [0], "gpu_set": [], **ports}
        return STATISTICS if method == "destroy_kernel" else None

    def execute(self, run, mode, code):
        status, console = "finished", [("stdout", f"{mode}:{code}")]
        if code == "ask":
            status = "waiting-input"
        elif code == "odd":
            status = "dancing"
        elif code == "long" or (mode == "continue" and self.left):
            self.left = 3 if code == "long" else self.left - 1
            status = "continued" if self.left else "finished"
            time.sleep(0.05)
        return {"runId": run, "status": status, "console": console, "completions": (), "options": {}, "files": ()}


if __name__ == "__main__":
    events = sys.argv[sys.argv.index("--events") + 1] if "--events" in sys.argv else "127.0.0.1:5002"
    Agent(zmq.Context(), "--mute" in sys.argv, "--deaf" in sys.argv, events).serve()

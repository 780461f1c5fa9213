"""An agent of release 1.0.6 or 1.3.7 as their recorded conversations show them, or 1.4 with its two methods more, on libzmq.

    old_agent.py --release 1.0.6|1.3.7|1.4.0 --etcd HOST:PORT --port N [--namespace NAME] [--id ID]
                 [--faults FILE] [--calls FILE]

What these releases do wrong is done here too: an `execute` of API version 3 wedges the kernel for good, and in 1.0.6 a
second one at the same time; batch options that are null, a restart without cores and kernels that end in the middle of
a call raise; 1.3.7 writes uploads wherever their names lead. Kernels run Python (old_kernel.py) in a folder each.

FILE of --faults is JSON, read anew for each call: a method's name and how it fails: `hang` (no answer), `exception`
(RuntimeError), `malformed` (no msgpack), `nonsense` (a number instead of a result), `close` (the connection is lost).
FILE of --calls gets one line of JSON for each call: the method, its arguments, and how many were at that kernel.

Ends with `instance_terminated` on SIGTERM and SIGINT.
"""

import argparse
import asyncio
import io
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from pathlib import Path

import msgpack
import zmq
import zmq.asyncio

HEARTBEAT_EVERY = 3
POLL_LIMIT = 2  # seconds until `execute` answers `continued`
KERNEL = Path(__file__).with_name("old_kernel.py")
# Methods by the release that brought them.
METHODS = {
    (1, 0): {
        "ping", "create_kernel", "destroy_kernel", "restart_kernel", "interrupt_kernel", "get_completions", "execute",
        "upload_file", "reset",
    },
    (1, 1): {"get_logs"},
    (1, 4): {"download_file", "list_files"},
}  # fmt: skip
IMAGES = bytes([4, 3 << 2, 0x90, 0, 0, 0])  # some compressed msgpack, which nobody reads


class Raised(Exception):
    """An exception as it goes over the wire: its type with its module, its arguments."""

    def __init__(self, kind, *args, text=None):
        super().__init__(kind, args)
        name, shown = kind.rpartition(".")[2], ", ".join(map(repr, args)) + ("," if len(args) == 1 else "")
        self.wire = (kind, args, text or f"{name}({shown})")


class Agent:
    def __init__(self, options):
        self.options = options
        self.release = tuple(int(part) for part in options.release.split("."))[:2]
        self.known = set().union(*(names for since, names in METHODS.items() if since <= self.release))
        self.context = zmq.asyncio.Context()
        self.kernels = {}
        self.root = Path(tempfile.mkdtemp(prefix="old-agent-"))
        self.tasks = set()
        self.next_port = 30100

    # Start and end

    async def run(self):
        self.etcd("put", f"nodes/agents/{self.options.id}", "starting")
        self.etcd("put", f"nodes/agents/{self.options.id}/ip", "127.0.0.1")
        events = await self.await_key("nodes/manager/event_addr")
        for key in ("nodes/redis", "nodes/manager"):
            await self.await_key(key)
        self.events = self.context.socket(zmq.PUSH)
        self.events.connect(f"tcp://{events}")
        self.listen()
        beats = self.spawn(self.heartbeats())
        self.spawn(self.serve())
        self.etcd("put", f"nodes/agents/{self.options.id}", "running")
        await self.event("instance_started")
        print("running", flush=True)
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
        beats.cancel()
        await self.event("instance_terminated", "shutdown")
        for kernel in list(self.kernels.values()):
            kernel.kill()
        self.etcd("del", f"nodes/agents/{self.options.id}", "--prefix")
        self.events.close(linger=2000)
        self.socket.close(linger=0)
        shutil.rmtree(self.root, ignore_errors=True)

    def etcd(self, action, key, *more):
        command = ["etcdctl", "--endpoints", self.options.etcd, action, f"/sorna/{self.options.namespace}/{key}", *more]
        done = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    async def await_key(self, key):
        while not (found := self.etcd("get", key, "--print-value-only")):
            await asyncio.sleep(0.2)
        return found[0]

    def listen(self):
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.bind(f"tcp://127.0.0.1:{self.options.port}")

    async def listen_again(self):
        """libzmq gives the port back a moment after the socket is closed."""
        while True:
            try:
                return self.listen()
            except zmq.ZMQError:
                self.socket.close(linger=0)
                await asyncio.sleep(0.01)

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # Events

    async def event(self, name, *arguments):
        await self.events.send_multipart([name.encode(), self.options.id.encode(), msgpack.packb(arguments)])

    async def heartbeats(self):
        beat = {"ip": "127.0.0.1", "region": "local/unknown", "addr": f"tcp://127.0.0.1:{self.options.port}"}
        beat |= {"mem_slots": 65536, "cpu_slots": 32, "gpu_slots": 0}
        if self.release >= (1, 1):
            beat["images"] = IMAGES
        while True:
            await self.event("instance_heartbeat", beat)
            await asyncio.sleep(HEARTBEAT_EVERY)

    # Calls

    async def serve(self):
        while True:
            try:
                frames = await self.socket.recv_multipart()
            except (zmq.ZMQError, asyncio.CancelledError):
                await asyncio.sleep(0.01)  # closed for a fault
                continue
            if len(frames) == 5:
                self.spawn(self.answer(self.socket, *frames))

    async def answer(self, socket, peer, header, method, arguments, keywords):
        _pid, _random, request, _time = struct.unpack("<HHLd", header)
        method, arguments = method.decode(), msgpack.unpackb(arguments, use_list=False)
        self.note(method, arguments)
        fault = self.fault(method)
        if fault == "hang":
            return
        if fault == "close":
            self.socket.close(linger=0)
            await self.listen_again()
            return
        try:
            if fault == "exception":
                raise Raised("builtins.RuntimeError", "boom", 1)
            result = 42 if fault == "nonsense" else await self.call(method, arguments)
            is_error, body = False, b"\xc1" if fault == "malformed" else msgpack.packb(result)
        except Raised as raised:
            is_error, body = True, msgpack.packb(raised.wire)
        start = struct.pack("<HHLd?", os.getpid() & 0xFFFF, 30866, request, time.time(), is_error)
        if not socket.closed:
            await socket.send_multipart([peer, start, body])

    def note(self, method, arguments):
        if self.options.calls:
            kernel = self.kernels.get(arguments[1] if method == "execute" else arguments[0] if arguments else None)
            line = {"method": method, "args": arguments, "executing": kernel.executing if kernel else 0}
            with open(self.options.calls, "a") as calls:
                calls.write(json.dumps(line, default=lambda value: f"{len(value)} bytes") + "\n")

    def fault(self, method):
        try:
            return json.loads(Path(self.options.faults).read_text()).get(method) if self.options.faults else None
        except FileNotFoundError:
            return None

    async def call(self, method, arguments):
        if method not in self.known:
            raise Raised("aiozmq.rpc.base.NotFoundError", method)
        function = getattr(self, method)
        wanted = function.__code__.co_argcount - 1
        if len(arguments) != wanted:
            inner = "too many positional arguments" if len(arguments) > wanted else "missing a required argument"
            raise Raised("aiozmq.rpc.base.ParametersError", f"TypeError({inner!r},)")
        return await function(*arguments)

    async def ping(self, msg):
        return str(msg)

    async def create_kernel(self, kernel_id, config):
        await self.event("kernel_creating", kernel_id)
        if set(config["limits"]) != {"mem_slot", "cpu_slot", "gpu_slot"}:
            raise Raised("builtins.AssertionError")
        kernel = Kernel(self, kernel_id, config, cpu_set=[1])
        self.kernels[kernel_id] = kernel
        await kernel.start()
        ports = dict(zip(("repl_in_port", "repl_out_port", "stdin_port", "stdout_port"), self.ports()))
        answer = {"id": kernel_id, **ports, "container_id": uuid.uuid4().hex, "cpu_set": [1], "gpu_set": []}
        return answer | ({"kernel_host": "127.0.0.1"} if self.release >= (1, 3) else {})

    async def restart_kernel(self, kernel_id, config):
        kernel = self.kernel(kernel_id, "builtins.KeyError")
        await kernel.stop()
        await self.event("kernel_terminated", kernel_id, "self-terminated", None)
        if not config["cpu_set"]:
            del self.kernels[kernel_id]
            raise Raised("aiodocker.exceptions.DockerError", text="DockerError(500, 'invalid cpuset')")
        await self.event("kernel_creating", kernel_id)
        kernel = self.kernels[kernel_id] = Kernel(self, kernel_id, config, config["cpu_set"], kernel.folder)
        await kernel.start()
        names = ("repl_in_port", "repl_out_port", "stdin_port", "stdout_port")
        ports = {name: str(port) for name, port in zip(names, self.ports())}
        return {"container_id": uuid.uuid4().hex, "cpu_set": config["cpu_set"], "gpu_set": config["gpu_set"], **ports}

    async def destroy_kernel(self, kernel_id):
        kernel = self.kernels.pop(kernel_id, None)
        if kernel is None:
            return None
        await kernel.stop()
        await self.event("kernel_terminated", kernel_id, "self-terminated", None)
        await asyncio.sleep(0.2)  # the event comes before the answer
        shutil.rmtree(kernel.folder, ignore_errors=True)
        names = ("net_rx_bytes", "net_tx_bytes", "io_read_bytes", "io_write_bytes")
        names += ("io_max_scratch_size", "io_cur_scratch_size")
        stats = {"cpu_used": 1364.565504, "mem_max_bytes": 63774720, "mem_cur_bytes": 59711488}
        return stats | dict.fromkeys(names, 0)

    async def interrupt_kernel(self, kernel_id):
        self.kernel(kernel_id, "builtins.KeyError").interrupt()

    async def get_completions(self, kernel_id, text, opts):
        self.kernel(kernel_id, "builtins.KeyError")

    async def get_logs(self, kernel_id):
        self.kernel(kernel_id, "builtins.KeyError")
        return {"logs": "the container's log\n"}

    async def execute(self, api_version, kernel_id, run_id, mode, code, opts):
        return await self.kernel(kernel_id).execute(api_version, run_id, mode, code, opts)

    async def upload_file(self, kernel_id, filename, filedata):
        folder = self.kernels[kernel_id].folder if kernel_id in self.kernels else self.root / "no-such-kernel"
        path = folder / filename
        if self.release == (1, 0):
            if ".." in Path(filename).parts or Path(filename).is_absolute():
                raise Raised("builtins.AssertionError", "malformed upload filename and path.")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(filedata)
        except FileNotFoundError:
            raise Raised("builtins.FileNotFoundError", 2, "No such file or directory") from None

    async def download_file(self, kernel_id, path):
        found, archive = self.kernel(kernel_id, "builtins.KeyError").folder / path, io.BytesIO()
        if not found.exists():
            raise Raised("builtins.FileNotFoundError", 2, "No such file or directory")
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(found, found.name)
        return archive.getvalue()

    async def list_files(self, kernel_id, path):
        folder = self.kernel(kernel_id, "builtins.KeyError").folder / path
        files = [
            {"mode": stat.filemode(one.stat().st_mode), "size": one.stat().st_size, "filename": one.name}
            for one in folder.iterdir()
        ]
        return {"files": json.dumps(files), "errors": "", "abspath": str(folder)}

    async def reset(self):
        for kernel_id in list(self.kernels):
            await self.destroy_kernel(kernel_id)

    def kernel(self, kernel_id, kind="builtins.RuntimeError"):
        if kernel_id not in self.kernels:
            why = f"The container for kernel {kernel_id} is not found! (might be terminated)"
            raise Raised(kind, why if kind == "builtins.RuntimeError" else kernel_id)
        return self.kernels[kernel_id]

    def ports(self):
        self.next_port += 4
        return range(self.next_port, self.next_port - 4, -1)


class Kernel:
    """A container with a runner in it."""

    def __init__(self, agent, kernel_id, config, cpu_set, folder=None):
        self.agent, self.id, self.config, self.cpu_set = agent, kernel_id, config, cpu_set
        self.folder = folder or agent.root / kernel_id
        self.folder.mkdir(exist_ok=True)
        self.console, self.status, self.options = [], None, None
        self.news = asyncio.Event()
        self.run_id, self.steps, self.batch = None, [], None
        self.executing, self.wedged, self.ended, self.stopping = 0, False, False, False
        self.idle = asyncio.Lock()

    async def start(self):
        environment = {**os.environ, **self.config["environ"]}
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, KERNEL, cwd=self.folder, env=environment, stdin=pipe, stdout=pipe, start_new_session=True,
            limit=1 << 24,
        )  # fmt: skip
        self.agent.spawn(self.listen())

    async def listen(self):
        while line := await self.process.stdout.readline():
            message = json.loads(line)
            if "console" in message:
                self.console.append(message["console"])
            elif "wait" in message:
                self.status, self.options = "waiting-input", {"is_password": message["wait"]}
            else:
                self.status = "finished"
            if "console" not in message:
                self.news.set()
        self.ended = True
        self.news.set()
        if not self.stopping:
            self.agent.kernels.pop(self.id, None)
            await self.agent.event("kernel_terminated", self.id, "self-terminated", None)

    async def stop(self):
        self.stopping = True
        self.kill()
        await self.process.wait()
        self.ended = True
        self.news.set()
        await asyncio.sleep(0.01)  # calls under way fail first

    def kill(self):
        for process in (self.process, self.batch):
            if process and process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)

    def interrupt(self):
        process = self.batch or self.process
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGINT)

    async def execute(self, api_version, run_id, mode, code, opts):
        if self.wedged:
            await asyncio.Event().wait()  # for ever
        if api_version == 1 and self.agent.release == (1, 0):
            raise Raised("builtins.KeyError", "console")
        if api_version != 2:
            self.wedged = True
            raise Raised("builtins.AssertionError", "Unrecognized API version")
        breaks = self.executing and self.agent.release == (1, 0)
        self.executing += 1
        try:
            async with self.idle:
                if breaks:
                    self.wedged = True
                    raise Raised("builtins.KeyError", run_id)
                return await self.step(run_id, mode, code, opts)
        finally:
            self.executing -= 1

    async def step(self, run_id, mode, code, opts):
        self.news.clear()
        if mode == "input":
            await self.say(input=code)
        elif mode == "query":
            self.run_id, self.status = run_id, None
            await self.say(code=code)
        elif mode == "batch":
            self.run_id, self.status = run_id, None
            self.steps = [opts.get("build", ""), opts.get("exec", "")]
            if None in self.steps:
                raise Raised("builtins.AttributeError", "'NoneType' object has no attribute 'encode'")
            self.agent.spawn(self.next_step())
        elif self.status == "build-finished":
            self.agent.spawn(self.next_step())
        elif self.status is not None:
            self.news.set()
        if not self.ended:
            try:
                await asyncio.wait_for(self.news.wait(), POLL_LIMIT)
            except asyncio.TimeoutError:
                pass
        if self.ended:
            raise Raised("builtins.TypeError", "'NoneType' object is not iterable")
        return self.result(run_id)

    async def say(self, **message):
        self.status, self.options = None, None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def next_step(self):
        """Builds, or runs, by a shell; the default commands are those of the Python image."""
        command, self.status = self.steps.pop(0), None
        is_build = len(self.steps) == 1
        if command == "*":
            command = "" if is_build else f"{sys.executable} main.py"
            if is_build:
                missing = 'python-kernel: skipping build phase due to missing "setup.py" file\n'
                self.console.append(["stderr", missing])
        if command:
            pipe = asyncio.subprocess.PIPE
            self.batch = await asyncio.create_subprocess_shell(
                command, cwd=self.folder, stdout=pipe, stderr=pipe, start_new_session=True
            )
            out, err = await self.batch.communicate()
            self.batch = None
            self.console += [[name, data.decode()] for name, data in (("stdout", out), ("stderr", err)) if data]
        self.status = "build-finished" if is_build else "finished"
        self.news.set()

    def result(self, run_id):
        console, self.console = [tuple(record) for record in joined(self.console)], []
        status = self.status or "continued"
        if self.agent.release == (1, 0):
            options = self.options if status == "waiting-input" else {} if status == "finished" else None
            return {"status": status, "console": console, "completions": (), "options": options, "files": ()}
        options = self.options if status == "waiting-input" else None
        answer = {"runId": run_id, "status": status, "exitCode": None, "options": options}
        return answer | {"console": console, "files": ()}


def joined(console):
    """Neighbours of one stream as one record."""
    records = []
    for stream, text in console:
        if records and records[-1][0] == stream:
            records[-1][1] += text
        else:
            records.append([stream, text])
    return records


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--release", choices=["1.0.6", "1.3.7", "1.4.0"], required=True)
    parser.add_argument("--etcd", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--namespace", default="local")
    parser.add_argument("--id", default="i-old")
    parser.add_argument("--faults")
    parser.add_argument("--calls")
    asyncio.run(Agent(parser.parse_args()).run())

"""The Python runtime of a kernel: runs user code in this process's main thread.

Started by the agent with a listening Unix socket as file descriptor 0. Frames are a 4-byte
big-endian length and JSON. From the agent: ``query``, ``step``, ``input``, ``complete``. To the
agent: ``hello``, ``out``, ``waiting``, ``done``, ``completions``. Runs on Python 3.6 and later.
"""

import ast
import builtins
import getpass
import json
import linecache
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
import types

import __future__
from _backendai_complete import complete
from _backendai_console import Console, Stream, write_all
from _backendai_rich import display_function, display_hook

FILE_NAME = "<input>"
FRAME_LIMIT = 64 << 20
FUTURES = [getattr(__future__, name) for name in __future__.all_feature_names]


class Runner:
    def __init__(self, listener, keep, work):
        self.listener = listener
        self.keep = keep
        self.work = work
        self.owner = os.getpid()
        self.console = Console()
        self.jobs = queue.Queue()
        self.inputs = queue.Queue()
        self.run = None
        self.state = "idle"
        self.password = False
        self.last = None
        self.flags = 0
        self.module = types.ModuleType("__main__")
        self.namespace = self.module.__dict__
        self.namespace["display"] = display_function(self.console)

    def start(self):
        self.take_over_streams()
        signal.signal(signal.SIGINT, self.on_interrupt)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # these threads inherit it: main gets SIGINT
        for loop in (self.serve, self.console.send_forever, self.console.pump_forever):
            threading.Thread(target=loop, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        while True:
            self.perform(self.jobs.get())

    def take_over_streams(self):
        self.console.capture(1, "stdout")
        self.console.capture(2, "stderr")
        sys.stdout = sys.__stdout__ = Stream(self.console, "stdout", 1)
        sys.stderr = sys.__stderr__ = Stream(self.console, "stderr", 2)
        sys.stdin = sys.__stdin__ = Input(self)
        sys.displayhook = display_hook(self.console)
        sys.modules["__main__"] = self.module
        builtins.input = self.input
        getpass.getpass = self.getpass
        os._exit = self.leave(os._exit)

    # The agent's connection.

    def serve(self):
        while True:
            link, _ = self.listener.accept()
            self.greet(link)
            try:
                while True:
                    self.receive(read_frame(link))
            except (OSError, EOFError, ValueError, KeyError):
                self.console.detach(link)
                link.close()
            if not self.keep:
                os.kill(os.getpid(), signal.SIGKILL)

    def greet(self, link):
        """Says first where the kernel stands, for an agent that comes back to a running one."""
        hello = {"t": "hello", "run": self.run, "state": self.state, "password": self.password, "last": self.last}
        body = json.dumps(hello).encode("ascii")
        link.sendall(struct.pack(">I", len(body)) + body)
        self.console.attach(link)

    def receive(self, frame):
        kind = frame["t"]
        if kind in ("query", "step"):
            self.jobs.put(frame)
        elif kind == "input":
            self.inputs.put(frame["d"])
        elif kind == "complete":
            threading.Thread(target=self.complete, args=(frame,), daemon=True).start()

    def complete(self, frame):
        try:
            found = complete(self.namespace, frame["text"], frame["options"])
        except Exception:
            found = []
        self.console.put({"t": "completions", "id": frame["id"], "d": found})

    # Runs.

    def perform(self, job):
        self.run = job["run"]
        self.state = "running"
        exit_code = None
        try:
            exit_code = self.query(job["code"]) if job["t"] == "query" else self.step(job)
            self.leave_if_forked(exit_code)
            self.console.pump_all()
        except KeyboardInterrupt:  # between the code's end and here
            self.state = "ending"
            self.report_interrupt()
        finally:
            self.state = "ending"
        self.drop_interrupt()
        self.last = self.run
        self.console.put({"t": "done", "run": self.run, "exit": exit_code})
        self.run = None
        self.state = "idle"

    def query(self, code):
        try:
            self.execute(code)
            return None
        except SystemExit as leaving:
            return self.exit_code(leaving.code)
        except KeyboardInterrupt:
            self.state = "ending"
            self.report_interrupt()
            return None
        except BaseException as error:
            self.state = "ending"
            self.report(error)
            return None

    def execute(self, code):
        tree = compile(code, FILE_NAME, "exec", self.flags | ast.PyCF_ONLY_AST, True)
        shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        self.run_part(tree, "exec")
        if shown is not None:
            self.run_part(ast.Interactive([shown]), "single")

    def run_part(self, tree, mode):
        part = compile(tree, FILE_NAME, mode, self.flags, True)
        for future in FUTURES:
            self.flags |= part.co_flags & future.compiler_flag
        exec(part, self.namespace)

    def report(self, error):
        try:
            text = "".join(user_traceback(error))
        except BaseException:  # no memory for it, or a broken __str__
            text = type(error).__name__ + "\n"
        error.__traceback__ = None
        sys.stderr.write(text)

    def report_interrupt(self):
        self.console.pump_all()
        sys.stderr.write("Interrupted!\n")

    @staticmethod
    def exit_code(code):
        if code is None:
            return 0
        if isinstance(code, int):
            return code
        sys.stderr.write(str(code) + "\n")
        return 1

    # Batch steps.

    def step(self, job):
        command = self.command(job["step"], job["command"])
        if command is None:
            return 127 if job["step"] == "exec" else None
        if not command.strip():
            return None
        child = subprocess.Popen(["/bin/sh", "-c", command], cwd=self.work, stdin=subprocess.DEVNULL)
        try:
            return child.wait()
        except KeyboardInterrupt:
            self.state = "ending"
            child.kill()
            child.wait()
            self.report_interrupt()
            return 130

    def command(self, step, given):
        """The command; None, with a notice, where the default one has nothing to work on."""
        if given != "*":
            return given
        needs, command = {
            "clean": ("setup.py", "python setup.py clean"),
            "build": ("setup.py", "python setup.py develop"),
            "exec": ("main.py", "python main.py"),
        }[step]
        if os.path.exists(os.path.join(self.work, needs)):
            return command
        notice = 'python-kernel: skipping %s phase due to missing "%s" file\n'
        sys.stderr.write(notice % ({"exec": "execution"}.get(step, step), needs))
        return None

    # Input.

    def ask(self, password):
        if os.getpid() != self.owner:
            raise EOFError("a forked process cannot ask for input")
        self.console.pump_all()
        self.password = password
        self.state = "waiting"
        self.console.put({"t": "waiting", "run": self.run, "password": password})
        try:
            while True:
                try:
                    # A signal that comes just before the thread sleeps is not seen until it wakes.
                    return self.inputs.get(timeout=0.2)
                except queue.Empty:
                    pass
        except KeyboardInterrupt:
            self.console.put({"t": "running", "run": self.run})
            raise
        finally:
            self.state = "running"

    def input(self, prompt=""):
        sys.stdout.write(str(prompt))
        return self.ask(False)

    def getpass(self, prompt="Password: ", stream=None):
        (stream or sys.stdout).write(str(prompt))
        return self.ask(True)

    # Interrupts and ends.

    def on_interrupt(self, _number, _frame):
        if os.getpid() != self.owner:
            raise KeyboardInterrupt
        if self.state not in ("running", "waiting"):
            return
        if self.console.guard.depth:
            self.console.guard.pending = True
        else:
            raise KeyboardInterrupt

    def drop_interrupt(self):
        self.console.guard.pending = False
        while not self.inputs.empty():
            self.inputs.get_nowait()

    def leave_if_forked(self, exit_code):
        """A child of `os.fork()` that comes to the end of the code ends here."""
        if os.getpid() != self.owner:
            os._exit(exit_code or 0)

    def leave(self, really):
        """`os._exit` that first lets the agent read what was printed."""

        def _exit(status):
            if os.getpid() == self.owner:
                self.console.pump_all()
                self.console.drained(2)
            really(status)

        return _exit


class Input:
    """``sys.stdin``: every line is asked for."""

    encoding = "utf-8"
    errors = "strict"
    closed = False

    def __init__(self, runner):
        self._runner = runner

    def readline(self, _limit=-1):
        return self._runner.ask(False) + "\n"

    def read(self, _limit=-1):
        return self.readline()

    def __iter__(self):
        return self

    def __next__(self):
        return self.readline()

    def readable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return 0

    def close(self):
        pass


def user_traceback(error):
    """The lines of a traceback that begins in the user's code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != FILE_NAME:
        trace = trace.tb_next
    if trace is None and isinstance(error, SyntaxError):
        header = ["Traceback (most recent call last):\n"]
        return header + traceback.format_exception_only(type(error), error)
    linecache.cache.pop(FILE_NAME, None)
    return traceback.format_exception(type(error), error, trace or None)


def read_frame(link):
    size = struct.unpack(">I", read_exactly(link, 4))[0]
    if size > FRAME_LIMIT:
        raise ValueError("frame too large")
    return json.loads(read_exactly(link, size).decode("utf-8"))


def read_exactly(link, size):
    data = bytearray()
    while len(data) < size:
        piece = link.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def listening_socket():
    """The socket that came as descriptor 0, which then becomes /dev/null."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(0))
    listener.setblocking(True)
    os.set_inheritable(listener.fileno(), False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return listener


def main():
    work = os.getcwd()
    sys.path[0] = ""
    sys.argv[:] = [""]
    keep = os.environ.pop("BACKENDAI_RUNNER_KEEP", "") == "1"
    log = os.dup(2)
    try:
        Runner(listening_socket(), keep, work).start()
    except BaseException:
        write_all(log, traceback.format_exc().encode("utf-8", "replace"))
        raise


if __name__ == "__main__":
    main()

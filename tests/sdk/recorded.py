"""Runs programs of a released client and records which of the client's functions they called.

    recorded.py LOG tour.py            a script
    recorded.py LOG backend.ai run …   a program that the release installs: backend.ai, lcc, lpython
    recorded.py LOG -c CODE …          a line of Python
    recorded.py LOG                    each of these that a line of its input names, in a process that has the
                                       client's libraries loaded: most of a short program's time is theirs

Each function of `ai.backend.client` is appended to LOG at its first call, as `file:line:name` (the line of its first
decorator, where it has one), so that nothing is lost where a program is killed. Runs under Python 3.6 and later.
"""

import contextlib
import importlib
import json
import os
import runpy
import sys
import threading

HOME = os.path.join("ai", "backend", "client") + os.sep
LIBRARIES = "aiohttp.web click configargparse dateutil.tz humanize requests tabulate tqdm ai.backend.client".split()


def record(path):
    # By identity, since comparing code is slow; kept, so that no other takes its place.
    seen = {}
    log = open(path, "a")

    def called(frame, event, _argument, home=HOME):
        if event != "call":
            return
        code = frame.f_code
        if id(code) in seen:
            return
        seen[id(code)] = code
        _, found, name = code.co_filename.rpartition(home)
        if found:
            log.write("%s:%d:%s\n" % (name, code.co_firstlineno, code.co_name))
            log.flush()

    threading.setprofile(called)
    sys.setprofile(called)


def run(program, arguments):
    if program == "-c":
        sys.argv = arguments
        exec(arguments[0], {"__name__": "__main__"})
        return
    if not program.endswith(".py"):
        program = os.path.join(os.path.dirname(sys.executable), program)
    sys.argv = [program] + arguments
    runpy.run_path(program, run_name="__main__")


def serve():
    """Prints `null` when it is ready, and then the exit status of each program."""
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    print("null", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            become(asked["files"], asked["environment"])
            run(asked["program"], asked["arguments"])
            return
        status = os.waitpid(child, 0)[1]
        print(os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), flush=True)


def become(files, environment):
    """Makes this process one that was started with these three files and this environment."""
    os.environ.clear()
    os.environ.update(environment)
    for number, (name, how) in enumerate(zip(files, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY))):
        os.dup2(os.open(name, how), number)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)


if __name__ == "__main__":
    record(sys.argv[1])
    if len(sys.argv) > 2:
        run(sys.argv[2], sys.argv[3:])
    else:
        serve()

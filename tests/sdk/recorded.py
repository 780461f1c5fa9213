"""Runs a program of a released client and records which of the client's functions it called.

    recorded.py LOG tour.py            a script
    recorded.py LOG backend.ai run …   a program that the release installs: backend.ai, lcc, lpython
    recorded.py LOG -c CODE …          a line of Python

Each function of `ai.backend.client` is appended to LOG at its first call, as `file:line:name` (the line of its first
decorator, where it has one), so that nothing is lost where a program is killed. Runs under Python 3.6 and later.
"""

import os
import runpy
import sys
import threading

HOME = os.path.join("ai", "backend", "client") + os.sep


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


def main(path, program, arguments):
    record(path)
    if program == "-c":
        sys.argv = arguments
        exec(arguments[0], {"__name__": "__main__"})
        return
    if not program.endswith(".py"):
        program = os.path.join(os.path.dirname(sys.executable), program)
    sys.argv = [program] + arguments
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

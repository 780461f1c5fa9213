"""Runs a program of a released client and records which of the client's functions it called.

    recorded.py LOG tour.py            a script
    recorded.py LOG backend.ai run …   the client's command line

Each function of `ai.backend.client` is appended to LOG at its first call, as `file:name` (`kernel.py:Kernel.execute`
is `kernel.py:execute`), so that nothing is lost where a program is killed. Runs under Python 3.6 and later.
"""

import os
import runpy
import sys
import threading

HOME = os.path.join("ai", "backend", "client") + os.sep


def record(path):
    seen = set()
    log = open(path, "a")

    def called(frame, event, _argument, home=HOME):
        code = frame.f_code
        if event != "call" or code in seen:
            return
        seen.add(code)
        _, found, name = code.co_filename.rpartition(home)
        if found:
            log.write("%s:%s\n" % (name, code.co_name))
            log.flush()

    threading.setprofile(called)
    sys.setprofile(called)


if __name__ == "__main__":
    _, path, program, *arguments = sys.argv
    sys.argv = [program] + arguments
    record(path)
    if program == "backend.ai":
        from ai.backend.client.cli import main

        sys.exit(main())
    runpy.run_path(program, run_name="__main__")

"""The kernel of tests/peers/old_agent.py: runs Python snippets, one line of JSON in and out for each step.

In: {"code": text} and, while it waits, {"input": text}. Out: {"console": [stream, text]}, {"wait": is_password},
{"finished": true}. A SIGINT interrupts what runs. The runner of the original agents did this over ZeroMQ.
"""

import builtins
import getpass
import io
import json
import os
import sys
import traceback

TO_AGENT = os.fdopen(os.dup(1), "w", buffering=1)
FROM_AGENT = os.fdopen(os.dup(0), "r")


def tell(**message):
    TO_AGENT.write(json.dumps(message) + "\n")
    TO_AGENT.flush()


class Console(io.TextIOBase):
    """stdout or stderr of the user's code."""

    def __init__(self, stream):
        self.stream = stream

    def writable(self):
        return True

    def write(self, text):
        if text:
            tell(console=[self.stream, text])
        return len(text)


def ask(prompt, is_password):
    if prompt:
        sys.stdout.write(prompt)
    tell(wait=is_password)
    return json.loads(FROM_AGENT.readline())["input"]


def run(code, variables):
    try:
        exec(compile(code, "<input>", "exec"), variables)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted!\n")
    except SystemExit:
        pass
    except BaseException as error:
        lines = traceback.format_exception(type(error), error, error.__traceback__.tb_next)
        sys.stderr.write("".join(lines))


def main():
    sys.stdout, sys.stderr = Console("stdout"), Console("stderr")
    builtins.input = lambda prompt="": ask(prompt, False)
    getpass.getpass = lambda prompt="Password: ", stream=None: ask(prompt, True)
    variables = {"__name__": "__main__"}
    while True:
        try:
            line = FROM_AGENT.readline()
        except KeyboardInterrupt:
            continue  # nothing ran
        if not line:
            return
        run(json.loads(line)["code"], variables)
        tell(finished=True)


if __name__ == "__main__":
    main()

"""What a user's program does with a released client; runs under that client's own Python (3.6 or later).

Prints one JSON object of what happened. Written against the clients' public interface alone, which is a
`Kernel` class in all of them: global up to 1.3, an attribute of a `Session` from 1.5 on.
"""

import contextlib
import json
import sys
import uuid


@contextlib.contextmanager
def kernel_class():
    """The Kernel class, however this release offers it."""
    try:
        from ai.backend.client.session import Session
    except ImportError:
        from ai.backend.client import request
        from ai.backend.client.kernel import Kernel

        yield Kernel
        # 1.3 keeps a thread of its own, which the program has to end.
        getattr(request, "shutdown", lambda: None)()
    else:
        with Session() as session:
            yield session.Kernel


def follow(kernel, code, inputs=(), knows_modes=True):
    """A run to its end, as the client's own command line follows it; returns (statuses, console)."""
    inputs = iter(inputs)
    run_id = None if knows_modes else uuid.uuid4().hex[:16]
    mode, statuses, console = "query", [], []
    for _ in range(60):
        result = kernel.execute(run_id, code, mode=mode)
        if knows_modes:
            run_id = result["runId"]
        statuses.append(result["status"])
        console.extend(result["console"])
        if result["status"] == "finished":
            return statuses, console
        waits = result["status"] == "waiting-input"
        code = next(inputs) if waits else ""
        if knows_modes:
            mode = "input" if waits else "continue"
    raise SystemExit("the run does not end: %r" % statuses)


def failure(call):
    """(status, problem type) of an API error; 1.0.6 derives its errors from BaseException."""
    try:
        call()
    except BaseException as error:
        return [error.args[0], error.args[2]["type"]]
    return None


def main(release):
    """Every call that the first routes serve."""
    knows_modes = release != "1.0.6"
    told = {}
    with kernel_class() as kernels:
        token = "sdk-" + uuid.uuid4().hex
        kernel = kernels.get_or_create("python", client_token=token)
        told["token"], told["kernel_id"] = token, kernel.kernel_id
        told["created"] = getattr(kernel, "created", None)
        told["again"] = getattr(kernels.get_or_create("python", client_token=token), "created", None)
        told["assign"] = follow(kernel, "x = 20", knows_modes=knows_modes)
        told["variable"] = follow(kernel, "print(x + 22)", knows_modes=knows_modes)
        code = "import sys\nfor n in range(6): print(n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)"
        told["order"] = follow(kernel, code, knows_modes=knows_modes)
        told["long"] = follow(kernel, "import time\ntime.sleep(3)\nprint('late')", knows_modes=knows_modes)
        told["input"] = follow(kernel, "print('Hi', input('? '))", ["Ann"], knows_modes=knows_modes)
        told["error"] = follow(kernel, "1 / 0", knows_modes=knows_modes)
        told["info"] = kernel.get_info()
        told["destroyed"] = kernel.destroy()
        told["after"] = failure(kernel.get_info)
        told["unknown_image"] = failure(lambda: kernels.get_or_create("no-such-image", client_token=token))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])

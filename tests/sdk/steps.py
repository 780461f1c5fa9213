"""Steps that the parts of tour.py share."""

import sys
import uuid


def outcome(call, *arguments, **options):
    """What a call gives, or what a release that is not finished raises."""
    try:
        return call(*arguments, **options)
    except (AssertionError, AttributeError, NotImplementedError, TypeError) as error:
        return type(error).__name__


def follow(kernel, code, mode="query", opts=None):
    """The console of a run, followed to its end."""
    run, console = uuid.uuid4().hex[:16], []
    knows_modes = sys.argv[1] != "1.0.6"
    for _ in range(60):
        result = kernel.execute(run, code, mode=mode, opts=opts)
        console.extend(result["console"])
        if result["status"] == "finished":
            return "".join(data for _, data in console)
        opts, code = None, ""
        if knows_modes:
            mode = "continue"
    raise SystemExit("the run does not end")

"""The first session of `./dev up`: create, run a line of code, destroy, through the public API."""

import sys
import time

from api import environment_client, new_token, text_of

CODE = "print('Hello from a session:', 6 * 7)"


def main():
    """Prints each step with how long it took; returns the exit code."""
    client, token = environment_client(), new_token()
    began = time.monotonic()
    answer = client.create(token)
    if answer.status != 201:
        print(f"dev: creating the session: {answer}", file=sys.stderr)
        return 1
    created = time.monotonic()
    _, console = client.run(token, CODE)
    ran = time.monotonic()
    gone = client.destroy(token)
    print(f"created a session in {created - began:.2f} s")
    print(f"  >>> {CODE}\n  {text_of(console).rstrip()}\n  in {ran - created:.2f} s")
    print(f"destroyed it in {time.monotonic() - ran:.2f} s" if gone.status == 200 else f"dev: destroying it: {gone}")
    return 0 if gone.status == 200 and "42" in text_of(console) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Signs requests to the gateway: the tests' own reading of the rules, and what `./dev curl` runs.

Only the standard library, and nothing shared with the gateway's code, so that a mistake there cannot
hide here. `signed_headers` is pure: the date is an argument.
"""

import datetime
import hashlib
import hmac
import http.client
import os
import shlex
import sys
import urllib.parse

LATEST = "v4.20181215"


def string_to_sign(method, target, date, host, content_type, version, body, digest, *, legacy=False):
    """The seven lines that a signature covers; an old header family names its own version line."""
    family = "sorna" if legacy else "backendai"
    body = b"" if content_type.startswith("multipart/") or version >= LATEST else body
    return "\n".join(
        [
            method,
            target,
            date,
            f"host:{host}",
            f"content-type:{content_type.partition(';')[0].strip()}",
            f"x-{family}-version:{version}",
            hashlib.new(digest, body).hexdigest(),
        ]
    ).encode()


def signature(secret_key, day, host, message, digest):
    """Hexadecimal HMAC under the key derived for the day (YYYYMMDD) and the host."""
    key = hmac.new(secret_key.encode(), day.encode(), digest).digest()
    key = hmac.new(key, host.encode(), digest).digest()
    return hmac.new(key, message, digest).hexdigest()


def signed_headers(
    method,
    target,
    host,
    access_key,
    secret_key,
    *,
    body=b"",
    content_type="application/json",
    version=LATEST,
    now=None,
    date=None,
    day=None,
    date_header="Date",
    digest="sha256",
    method_name=None,
    legacy=False,
):
    """All headers of a signed request, the content type included (left out where it is None).

    `date` and `day` replace the text of the date header and the day in the key; otherwise both come
    from `now`, a datetime with a zone, or the clock.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    date = now.isoformat() if date is None else date
    day = day or now.strftime("%Y%m%d")
    signed_type = content_type or "application/octet-stream"
    message = string_to_sign(method, target, date, host, signed_type, version, body, digest, legacy=legacy)
    scheme, family = ("Sorna", "Sorna") if legacy else ("BackendAI", "BackendAI")
    sign_method = method_name or "HMAC-" + digest.replace("_", "-").upper()
    headers = {
        "Host": host,
        date_header: date,
        f"X-{family}-Version": version,
        "Authorization": f"{scheme} signMethod={sign_method}, "
        f"credential={access_key}:{signature(secret_key, day, host, message, digest)}",
    }
    if content_type is not None:
        headers["Content-Type"] = content_type
    return headers


def main(arguments):
    """METHOD PATH [BODY] with the endpoint and key of the environment; prints like `curl -i`."""
    print_only = arguments[:1] == ["--print"]
    arguments = arguments[1:] if print_only else arguments
    if len(arguments) not in (2, 3):
        print("dev: curl takes METHOD PATH [BODY] (./dev --help)", file=sys.stderr)
        return 2
    method, target = arguments[0].upper(), arguments[1]
    body = arguments[2].encode() if len(arguments) == 3 else b""
    endpoint = os.environ["BACKEND_ENDPOINT"]
    host = urllib.parse.urlsplit(endpoint).netloc
    headers = signed_headers(
        method, target, host, os.environ["BACKEND_ACCESS_KEY"], os.environ["BACKEND_SECRET_KEY"], body=body
    )
    if print_only:
        command = ["curl", "-i", "-X", method, *(x for k, v in headers.items() for x in ("-H", f"{k}: {v}"))]
        command += ["--data-binary", body.decode()] if body else []
        print(shlex.join([*command, endpoint + target]))
        return 0
    return show_answer(host, method, target, body, headers)


def show_answer(host, method, target, body, headers):
    """Sends it, prints status, headers and body; 0 where the status is below 400, else 22 as `curl --fail`."""
    connection = http.client.HTTPConnection(host, timeout=330)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    except OSError as error:
        print(f"dev: http://{host}: {error}", file=sys.stderr)
        return 7
    print(f"HTTP/1.1 {answer.status} {answer.reason}")
    for name, value in answer.getheaders():
        print(f"{name}: {value}")
    print()
    sys.stdout.flush()
    sys.stdout.buffer.write(text + b"\n" if text else b"")
    return 0 if answer.status < 400 else 22


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

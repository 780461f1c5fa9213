"""What is below a released client's functions: its settings, requests, answers and errors. Part of tour.py.

The releases are of three kinds: up to 1.3 a request sends itself, in 1.4 it is fetched in a session, and from 1.5 on
that is a context in which the answer is read.
"""

import asyncio
import os
from pathlib import Path

from ai.backend.client import config
from ai.backend.client.exceptions import BackendAPIError
from ai.backend.client.request import Request
from steps import outcome

try:
    from ai.backend.client.request import ExtendedJSONEncoder as Encoder  # of 18.12, which takes paths as texts
except ImportError:
    Encoder = None

TEXT = "back again"


def settings(told):
    """Settings given in the program stand for those of the environment."""
    given = {
        "endpoint": os.environ["BACKEND_ENDPOINT"],
        "version": config.get_config().version,
        "user_agent": "a tour",
        "access_key": os.environ["BACKEND_ACCESS_KEY"],
        "secret_key": os.environ["BACKEND_SECRET_KEY"],
        "hash_type": "SHA256",
    }
    made = config.APIConfig(**given)
    told["settings"] = {name: str(getattr(made, name)).lower() == value.lower() for name, value in given.items()}
    told["settings"]["no_folders"] = not getattr(made, "vfolder_mounts", None)
    config.set_config(made)
    told["settings"]["set"] = config.get_config() is made


def errors(told, call):
    """An error as a program reads it. In 1.0 it is no Exception."""
    try:
        call()
    except BackendAPIError as error:
        told["error"] = [error.status, error.reason, error.data["type"]]


def requests(offers, told):
    """A request made by hand, which the gateway answers with what it was sent."""
    if not hasattr(Request, "fetch"):
        whole(told, Request, Request.send)
    elif not hasattr(Request, "set_json"):
        whole(told, lambda *arguments: Request(offers, *arguments), Request.fetch)
        streamed(offers, told)
    else:
        in_context(offers, told)


def whole(told, make, send):
    """Up to 1.4."""
    request = make("POST", "/authorize", {"echo": TEXT})
    contents = [request.content]
    answer = send(request)
    request.content = "some text"
    contents.append(request.content)
    request.content = b"some bytes"
    contents.append(request.content.decode())
    told["contents"] = contents
    told["answer"] = {
        "status": answer.status,
        "reason": answer.reason,
        "type": answer.content_type,
        "length": int(answer.content_length) == len(answer.content),
        "same": answer.text() == answer.content.decode(),
        "echo": answer.json()["echo"],
    }
    told["charset"] = getattr(answer, "charset", "utf-8")
    if hasattr(answer, "headers"):
        told["answer"]["same"] &= answer.raw_response.headers is answer.headers and answer.session is not None


def streamed(offers, told):
    """1.4 alone: an answer to be read bit by bit, which it closes before it gives it away."""
    request = Request(offers, "POST", "/authorize", {"echo": TEXT}, streaming=True)
    answer = request.fetch()
    told["streamed_answer"] = {
        "type": answer.content_type,
        "stream": answer.stream is answer.raw_response.content,
        "read": answer.read(4).decode(),
        "readall": outcome(answer.readall),
    }

    async def rest():
        try:
            return len(await asyncio.wait_for(answer.areadall(), 30)) >= 0
        except Exception as error:
            return type(error).__name__

    told["streamed_answer"]["areadall"] = offers.worker_thread.execute(rest())


def in_context(offers, told):
    """From 1.5 on."""
    request = Request(offers, "POST", "/authorize")
    request.set_content("some text")
    told["contents"] = [request.content.decode(), request.content_type]
    request.set_json({"echo": Path(TEXT) if Encoder else TEXT})
    with request.fetch() as answer:
        told["answer"] = {
            "status": answer.status,
            "reason": answer.reason,
            "type": answer.content_type,
            "length": answer.content_length == len(answer.text()),
            "same": answer.raw_response.headers is answer.headers and answer.session is offers,
            "echo": answer.json()["echo"],
        }
    with request.fetch() as answer:
        read = answer.read(4) + offers.worker_thread.execute(answer.areadall())
        # It calls a function by a name that is not the function's.
        told["parts"] = [TEXT in read.decode(), answer.content.at_eof(), outcome(answer.readall)]

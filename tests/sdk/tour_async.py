"""The coroutines of a released client, and its terminal. Part of tour.py.

By itself it is the tour of 1.0.6 under an aiohttp of its time: coroutines that a later one cannot run.
"""

import asyncio
import base64
import inspect
import json
import sys
from types import SimpleNamespace

from ai.backend.client.exceptions import BackendClientError

try:
    from ai.backend.client.session import AsyncSession
except ImportError:
    AsyncSession = None


def asynchronous(told, release):
    """Every coroutine that the release can run here."""

    async def in_session():
        async with AsyncSession() as offers:
            told["async_settings"] = [offers.closed, offers.config.access_key != ""]
            await coroutines(offers, told)

    if AsyncSession:
        run(in_session())
        return
    from ai.backend.client.asyncio.kernel import Kernel

    if release == "1.0.6":
        try:
            run(Kernel.get_or_create("python"))
        except TypeError as error:
            told["of_another_time"] = str(error)
        run(refused_terminal(Kernel("any-session"), told))
    else:
        run(coroutines(SimpleNamespace(Kernel=Kernel), told))


def run(coroutine):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


async def done(result):
    """What a function gives, which 1.0.6 makes a coroutine here and there."""
    return await result if inspect.isawaitable(result) else result


async def coroutines(offers, told):
    kernel = await offers.Kernel.get_or_create("python")
    result = await kernel.execute("run-of-coroutines", "print(6 * 7)")
    told["async_query"] = result["console"]
    if hasattr(kernel, "stream_execute"):
        told["streamed"] = await streamed(kernel)
    await kernel.destroy()
    shell = await offers.Kernel.get_or_create("shell")
    await in_terminal(shell, told)
    await shell.destroy()


async def streamed(kernel):
    """The states and the console of a run that asks for input, and of a batch, as the command line follows them."""
    seen = []
    batch = {"build": "echo built", "exec": "echo executed"}
    for options in ({"code": "print('Hi', input('? '))"}, {"mode": "batch", "opts": batch}):
        states, console = [], ""
        async with kernel.stream_execute(**options) as stream:
            async for message in stream:
                result = json.loads(message.data)
                states += [] if result["status"] in states else [result["status"]]
                console += "".join(text for _, text in result["console"])
                if result["status"] == "waiting-input":
                    await stream.send_str("Ann")
        seen.append([states, console])
    return seen


async def refused_terminal(kernel, told):
    """1.0.6 does not sign the handshake."""
    try:
        await kernel.stream_pty()
    except BackendClientError as error:
        # Its name in an aiohttp of 2017 is the second one.
        told["refused_terminal"] = getattr(error.__cause__, "status", None) or error.__cause__.code


async def in_terminal(shell, told):
    """Opens a terminal as the release does, uses it and closes it."""
    stream = shell.stream_pty()
    if not hasattr(stream, "__aenter__"):
        stream = await stream
        await terminal(stream, told)
        await stream.close()
        told["closed"] = stream.closed
        return
    async with stream as stream:
        pty = await mended(stream, told)
        await terminal(pty, told)
        await any_frames(stream, told)
        await stream.close()
        told["closed"] = stream.closed


async def mended(stream, told):
    """18.12.3 forgets that the stream was to be a StreamPty, and no StreamPty gets the `ws` that it writes to."""
    from ai.backend.client.kernel import StreamPty

    pty = StreamPty(stream.session, stream.raw_weboscket)
    try:
        await pty.resize(33, 111)
    except AttributeError as error:
        told["terminal_is"] = [type(stream).__name__, str(error)]
    pty.ws = stream
    return pty


async def any_frames(stream, told):
    """What a WebSocket of 18.12 offers beside the terminal's own functions."""
    received = []
    await stream.send_json(json.loads(keys(b"echo one\n")))
    received.append(json.loads(await stream.receive_str())["type"])
    await stream.send_str(keys(b"echo two\n"))
    received.append((await stream.receive_json())["type"])
    await stream.send_str(keys(b"echo three\n"))
    try:
        received.append(await stream.receive_bytes())
    except TypeError as error:
        # A terminal sends text alone.
        received.append(type(error).__name__)
    told["frames"] = received
    await stream.send_bytes(b"nothing that a terminal takes")
    told["after_bytes"] = await output_until(stream, b"no such output")


async def terminal(stream, told):
    await done(stream.resize(33, 111))
    sized = b"until stty size | grep '33 111'; do sleep 0.1; done; x=kept; echo sized=$((6*7))\n"
    await done(stream.send_str(keys(sized)))
    told["sized"] = await output_until(stream, b"sized=42")
    await done(stream.restart())
    await done(stream.send_str(keys(b"echo again=$((6*7))[$x]\n")))
    told["restarted"] = await output_until(stream, b"again=42[]")
    told["broken"] = stream.exception() is not None


async def output_until(stream, wanted):
    """Whether the terminal shows it; or what it says instead, or that it closes."""
    seen = b""
    async for message in stream:
        message = json.loads(message.data)
        if message["type"] != "out":
            return message["data"]
        seen += base64.b64decode(message["data"])
        if wanted in seen:
            return True
    return False


def keys(text):
    return json.dumps({"type": "stdin", "chars": base64.b64encode(text).decode()})


# 1.0.6 in its time


async def of_2017(told):
    from ai.backend.client.asyncio.kernel import Kernel, StreamPty
    from ai.backend.client.request import Request

    kernel = await Kernel.get_or_create("python")
    result = await kernel.execute("run-of-coroutines", "print(6 * 7)")
    told["async_query"] = result["console"]
    with open("up.txt", "w") as file:
        file.write("upwards")
    # No aiohttp that it says it works with gives it the part that it goes on with.
    try:
        await kernel.upload(["up.txt"])
    except AttributeError as error:
        told["upload"] = str(error)
    await kernel.destroy()
    shell = await Kernel.get_or_create("shell")
    await refused_terminal(shell, told)
    # Signed by hand, it is a terminal like any.
    request = Request("GET", "/stream/kernel/%s/pty" % shell.kernel_id)
    request._sign()
    stream = StreamPty(shell.kernel_id, *await request.connect_websocket())
    await terminal(stream, told)
    await stream.close()
    told["closed"] = stream.closed
    await shell.destroy()


def main():
    told = {}
    run(of_2017(told))
    print(json.dumps(told))


if __name__ == "__main__":
    sys.exit(main())

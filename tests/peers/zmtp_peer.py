"""Peers on libzmq, for the tests of our own ZMTP.

    zmtp_peer.py router             an agent's RPC socket: says `port N`, then answers until it is ended
    zmtp_peer.py pinging_router     the same, and closes connections that leave its PINGs unanswered
    zmtp_peer.py kernel             a kernel's terminal: says `port IN OUT`, publishes what it reads, twice
    zmtp_peer.py push ADDR AGENT N  pushes a heartbeat, N kernels' events and the agent's end, then ends
    zmtp_peer.py stream ADDR AGENT  pushes the end of each kernel that standard input names, says `sent N` at its end
    zmtp_peer.py dealer ADDR        calls the agent at ADDR and checks its answers; ends with 0 if all is well
    zmtp_peer.py sub ADDR PREFIX    subscribes, says `got TEXT` for one message, then ends
"""

import struct
import sys
import time

import msgpack
import zmq

PORTS = (20000, 32000)


def say(*words):
    print(*words, flush=True)


def bind(socket):
    return socket.bind_to_random_port("tcp://127.0.0.1", *PORTS)


def answer(method, args, peer):
    """What the agent's methods give: (is_error, value)."""
    if method == b"echo":
        return 0, args[0]
    if method == b"who":
        return 0, peer.hex()
    if method == b"size":
        return 0, len(args[0])
    if method == b"give":
        return 0, b"x" * args[0]
    if method == b"raise":
        return 1, ("builtins.RuntimeError", tuple(args), "RuntimeError(...)")
    name = method.decode()
    return 1, ("aiozmq.rpc.base.NotFoundError", (name,), f"NotFoundError({name!r},)")


def pinging_router(context):
    socket = context.socket(zmq.ROUTER)
    # Without a PONG in time libzmq closes the connection, and the next one has another id.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 50)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 1000)
    serve(socket)


def router(context):
    serve(context.socket(zmq.ROUTER))


def serve(socket):
    say("port", bind(socket))
    while True:
        peer, header, method, args, _kwargs = socket.recv_multipart()
        _pid, _random, request, _time = struct.unpack("<HHLd", header)
        is_error, value = answer(method, msgpack.unpackb(args), peer)
        start = struct.pack("<HHLd?", 1, 2, request, time.time(), is_error)
        socket.send_multipart([peer, start, msgpack.packb(value)])


def kernel(context):
    stdin, stdout = context.socket(zmq.SUB), context.socket(zmq.PUB)
    stdin.subscribe(b"")
    say("port", bind(stdin), bind(stdout))
    while True:
        data = stdin.recv()
        stdout.send(data * 2)


def push(context, addr, agent, count):
    socket = context.socket(zmq.PUSH)
    socket.connect(addr)

    def event(name, *args):
        socket.send_multipart([name.encode(), agent.encode(), msgpack.packb(args)])

    slots = {"mem_slots": 1024, "cpu_slots": 2, "gpu_slots": 0.5}
    event("instance_heartbeat", {"ip": "127.0.0.1", "region": "local", "addr": "tcp://127.0.0.1:6001", **slots})
    event("instance_started")
    for number in range(int(count)):
        event("kernel_terminated", f"kernel-{number}", "self-terminated", {"cpu_used": number})
    event("instance_terminated", "shutdown")
    socket.close(linger=20_000)
    context.term()


def stream(context, addr, agent):
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.connect(addr)
    sent = 0
    for line in sys.stdin:
        socket.send_multipart([b"kernel_terminated", agent.encode(), msgpack.packb((line.strip(), "numbered", None))])
        sent += 1
    socket.close(linger=20_000)
    context.term()
    say("sent", sent)


def dealer(context, addr):
    socket = context.socket(zmq.DEALER)
    socket.connect(addr)
    socket.setsockopt(zmq.RCVTIMEO, 20_000)

    def call(request, method, *args):
        header = struct.pack("<HHLd", 3, 4, request, time.time())
        socket.send_multipart([header, method, msgpack.packb(args), msgpack.packb({})])

    big = b"y" * 1_000_000
    call(7, b"echo", {"text": "é", "bytes": big, "list": [1, 2.5, None]})
    call(8, b"no_such_method")
    header, value = socket.recv_multipart()
    assert struct.unpack("<HHLd?", header)[2::2] == (7, False), header
    assert msgpack.unpackb(value) == {"text": "é", "bytes": big, "list": [1, 2.5, None]}
    header, value = socket.recv_multipart()
    assert struct.unpack("<HHLd?", header)[2::2] == (8, True), header
    expected = ["aiozmq.rpc.base.NotFoundError", ["no_such_method"], "NotFoundError('no_such_method')"]
    assert msgpack.unpackb(value) == expected, value


def sub(context, addr, prefix):
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, 20_000)
    socket.connect(addr)
    socket.subscribe(prefix)
    say("got", socket.recv().decode())


if __name__ == "__main__":
    roles = [router, pinging_router, kernel, push, stream, dealer, sub]
    {role.__name__: role for role in roles}[sys.argv[1]](zmq.Context(), *sys.argv[2:])

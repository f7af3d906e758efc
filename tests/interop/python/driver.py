"""A CSI driver's Identity service on Python's grpcio: the flags and the lines on
stdout are those of examples/csi_driver.rs, which explains them."""

import argparse
import os
import platform
import re
import signal
import threading
import time
from concurrent import futures

# The sidecar's C-core closes each connection with an error code, and the C-core of this
# driver would write a line about each. The variable is read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc

# More than a test has in flight; a Probe that hangs keeps its worker.
WORKERS = 64
# How long calls in flight may take when the driver stops.
GRACE = 30.0


def duration(text):
    match = re.fullmatch(r"(\d+)(ms|s)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 500ms or 2s")
    return int(match[1]) * {"ms": 0.001, "s": 1.0}[match[2]]


def parse():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    version = f"grpcio {grpc.__version__}, Python {platform.python_version()}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--address", default="/tmp/csi-driver/csi.sock")
    parser.add_argument("--name", default="example.csi.livenessprobe")
    parser.add_argument("--ready", action="store_true")
    parser.add_argument("--ready-absent", action="store_true")
    parser.add_argument("--not-ready", action="store_true")
    parser.add_argument("--error", type=int)
    parser.add_argument("--message", default="")
    parser.add_argument("--info-error", type=int)
    parser.add_argument("--padding", type=int, default=0)
    parser.add_argument("--delay", type=duration, default=0.0)
    parser.add_argument("--hang", action="store_true")
    return parser.parse_args()


def event(line):
    """A line on stdout, whole and at once, whichever thread it comes from."""
    os.write(1, f"{line}\n".encode())


def varint(number):
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(number, content):
    """A protobuf field of bytes: a string or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def code(number):
    for known in grpc.StatusCode:
        if known.value[0] == number:
            return known
    # grpcio has no constant for such a code, and turns it into UNKNOWN.
    return number


def identity(options):
    """The service, its messages written by hand."""
    # It is made once, because the padding may be hundreds of megabytes.
    reply = b""
    if not options.ready_absent:
        reply += field(1, b"" if options.not_ready else b"\x08\x01")
    if options.padding > 0:
        reply += field(1000, b"x" * options.padding)

    def get_plugin_info(_, context):
        event("GetPluginInfo")
        if options.info_error is not None:
            context.abort(code(options.info_error), "")
        return field(1, options.name.encode()) + field(2, grpc.__version__.encode())

    def probe(_, context):
        event("probe begin")
        if options.hang:
            threading.Event().wait()
        time.sleep(options.delay)
        event("probe end")
        if options.error is not None:
            context.abort(code(options.error), options.message)
        return reply

    # Without serialisers and deserialisers, messages are bytes.
    return grpc.method_handlers_generic_handler(
        "csi.v1.Identity",
        {
            "GetPluginInfo": grpc.unary_unary_rpc_method_handler(get_plugin_info),
            "Probe": grpc.unary_unary_rpc_method_handler(probe),
        },
    )


def listen(server, address):
    if address.startswith("/"):
        address = f"unix:{address}"
    if address.startswith("unix:"):
        os.makedirs(os.path.dirname(address[len("unix:"):]) or ".", exist_ok=True)
    server.add_insecure_port(address)


def main():
    options = parse()
    # sigwait() below waits for it; threads that start from here on inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pool = futures.ThreadPoolExecutor(max_workers=WORKERS)
    server = grpc.server(pool, handlers=[identity(options)])
    listen(server, options.address)
    server.start()
    event("listening")
    signal.sigwait({signal.SIGTERM})
    server.stop(GRACE).wait()


main()

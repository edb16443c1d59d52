"""Talks to immudb through the edge with immudb-py, and prints what it saw as JSON.

Each connection is one gRPC channel of its own. The roles come from the servers' own behaviour: a
replica refuses writes with a fixed text, a primary takes them.
"""

import argparse
import json
import os
import sys
import threading

import grpc
from immudb import ImmudbClient

READ_ONLY = "database is read-only because it's a replica"


def connect(options):
    """A client of immudb-py, logged in."""
    client = open_channel(options)
    client.login("immudb", os.environ["IMMUDB_PASSWORD"])
    return client


def open_channel(options):
    """A client of immudb-py whose channel is TLS (it has no option for that)."""
    client = ImmudbClient(options.address, timeout=options.timeout)
    if not options.plaintext:
        client.channel.close()
        with open(options.ca, "rb") as authority:
            credentials = grpc.ssl_channel_credentials(authority.read())
        client.channel = grpc.secure_channel(
            options.address,
            credentials,
            options=[
                # The name that is asked for (SNI) and checked against the certificate.
                ("grpc.ssl_target_name_override", options.name),
                # Else all channels of a process to one address share a connection.
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        client._resetStub()
    return client


def write(client, key, value):
    """Which role answered: `primary` if it took the write, `replica` if it refused as one."""
    try:
        client.set(key, value)
        return "primary"
    except grpc.RpcError as error:
        if error.details() == READ_ONLY:
            return "replica"
        raise


def round_trip(options):
    client = connect(options)
    client.set(b"edge", b"through TLS")
    return client.get(b"edge").value.decode()


def roles(options):
    """For each of some connections, the role that answered each of some writes."""
    seen = []
    for _ in range(options.connections):
        client = connect(options)
        seen.append([write(client, b"edge-role", b"x") for _ in range(5)])
        client.shutdown()
    return seen


def read(options):
    """The value of `round_trip` as each of some connections sees it, null where it is missing."""
    values = []
    for _ in range(options.connections):
        client = connect(options)
        found = client.get(b"edge")
        values.append(found and found.value.decode())
        client.shutdown()
    return values


class Writer(threading.Thread):
    """Writes keys of its own, and remembers those that were acknowledged.

    A write that fails may have happened or not: its key is left out, and the next one is tried over a new
    connection.
    """

    def __init__(self, options, name, counted, stop):
        super().__init__(daemon=True)
        self.options, self.name_, self.counted, self.stop = options, name, counted, stop
        self.acknowledged = {}

    def run(self):
        client, number = None, 0
        while not self.stop.is_set():
            number += 1
            key = f"writer-{self.name_}-{number:06}"
            try:
                client = client or connect(self.options)
                answer = client.set(key.encode(), f"value of {key}".encode())
                self.acknowledged[key] = answer.id
                self.counted.release()
            except grpc.RpcError:
                if client:
                    client.shutdown()
                client = None
            if client is None or len(self.acknowledged) > self.options.count:
                # All that were asked for are written, or nobody takes them: from now on slowly.
                self.stop.wait(0.1)


def write_on(options):
    """Writes from several connections until stdin ends, and says `enough` when there are `count` each."""
    stop, counted = threading.Event(), threading.Semaphore(0)
    writers = [Writer(options, n, counted, stop) for n in range(options.connections)]
    for writer in writers:
        writer.start()
    for _ in range(options.count * options.connections):
        if not counted.acquire(timeout=60):
            sys.exit("no write was acknowledged for a minute")
    print("enough", flush=True)
    sys.stdin.read()
    stop.set()
    acknowledged = {}
    for writer in writers:
        writer.join()
        acknowledged.update(writer.acknowledged)
    return acknowledged


def scan(options):
    """Every key of the writers with its value."""
    client, found, last = connect(options), {}, b""
    while page := client.scan(last, b"writer-", False, 1000):
        last = max(page)
        before = len(found)
        found.update((key.decode(), value.decode()) for key, value in page.items())
        if len(found) == before:
            break
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["round_trip", "roles", "read", "write_on", "scan"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--name")
    parser.add_argument("--ca")
    parser.add_argument("--plaintext", action="store_true")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=5)
    options = parser.parse_args()
    actions = [round_trip, roles, read, write_on, scan]
    action = {action.__name__: action for action in actions}[options.action]
    try:
        print(json.dumps({"ok": action(options)}))
    except grpc.RpcError as error:
        print(json.dumps({"code": error.code().name, "details": error.details()}))


main()

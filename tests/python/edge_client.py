"""Talks to immudb through the edge with immudb-py, and prints what it saw as JSON.

Each connection is one gRPC channel of its own. The roles come from the servers' own behaviour: a
replica refuses writes with a fixed text, a primary takes them.
"""

import argparse
import json
import os

import grpc
from immudb import ImmudbClient

READ_ONLY = "database is read-only because it's a replica"


def connect(options):
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
    client.login("immudb", os.environ["IMMUDB_PASSWORD"])
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["round_trip", "roles", "read"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--plaintext", action="store_true")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=5)
    options = parser.parse_args()
    action = {"round_trip": round_trip, "roles": roles, "read": read}[options.action]
    try:
        print(json.dumps({"ok": action(options)}))
    except grpc.RpcError as error:
        print(json.dumps({"code": error.code().name, "details": error.details()}))


main()

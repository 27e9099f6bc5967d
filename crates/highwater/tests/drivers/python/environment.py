"""What both Python programs share: where to connect, and how to check."""

import os
import sys

HOST = "127.0.0.1"
PORT = int(os.environ["DRIVER_PORT"])
DATABASE = os.environ["DRIVER_DATABASE"]
USER = os.environ["DRIVER_USER"]
PASSWORD = os.environ["DRIVER_PASSWORD"]


def same(what, got, wanted):
    """Ends the program with a clear sentence when two values differ."""
    if got != wanted:
        sys.exit(f"{what}: got {got!r}, wanted {wanted!r}")


def step(name):
    """Says how far the program has come."""
    print(f"ok {name}", flush=True)

# SPDX-License-Identifier: Apache-2.0
"""Calls between processes, over ZeroMQ: an `RpcServer` with a table of methods, and an `RpcClient` for each server.

A client also says every second that it is there and hears so of the server (`on_beat`), and takes what the server
pushes (`on_push`). Read `server.py` and `client.py` for what is promised, `calls.py` for what is sent.
"""

from penstock.wire.client import Reply, RpcClient
from penstock.wire.framing import Peer
from penstock.wire.limits import Limits
from penstock.wire.server import Handler, Method, Result, RpcServer

__all__ = ["Handler", "Limits", "Method", "Peer", "Reply", "Result", "RpcClient", "RpcServer"]

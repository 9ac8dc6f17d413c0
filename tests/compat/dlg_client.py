"""Run by a Python that has daliuge-common: every method of its unmodified clients, against one manager.

Usage: python dlg_client.py LEVEL PORT [NODE [ISLAND]], with the addresses of the node and the island where drops shall
live. Prints one line of JSON: {method: answer or exception class}.
"""

import json
import sys
import time

from dlg import clients, exceptions
from dlg.restutils import RestClientException

LEVELS = {
    "node": clients.NodeManagerClient,
    "island": clients.DataIslandManagerClient,
    "master": clients.MasterManagerClient,
}
NODE, ISLAND = [*sys.argv[3:], "localhost:8000:5555:6666", "localhost:8000:5555:6666"][:2]
ENDED = (4, 5, 6)


def drop(oid, kind, **fields):
    cls = {"Data": "dlg.data.drops.memory.InMemoryDROP", "Application": "dlg.apps.simple.CopyApp"}[kind]
    return {"oid": oid, "categoryType": kind, "dropclass": cls, "node": NODE, "island": ISLAND, **fields}


GRAPH = [
    drop("A", "Data", consumers=[{"B": "in"}], content="x", pydata={"value": "x", "type": "String"}),
    drop("B", "Application", inputs=[{"A": "in"}], outputs=["C"]),
    drop("C", "Data", producers=["B"]),
    {},
]


def ended(status):
    return all(map(ended, status.values())) if isinstance(status, dict) else status in ENDED


def main(level, port):
    client = LEVELS[level]("localhost", port)
    told = {}

    def ask(name, *args):
        try:
            told[name] = getattr(client, name)(*args)
        except exceptions.DaliugeException as exc:
            told[name] = type(exc).__name__
        if isinstance(told[name], tuple):
            told[name] = told[name][0].read() if told[name][0] else ""

    ask("create_session", "s")
    ask("append_graph", "s", GRAPH)
    ask("graph_size", "s")
    ask("session_status", "s")
    if level == "node":
        ask("add_node_subscriptions", "s", {NODE: [["Z", 0, "C"]]})
    ask("deploy_session", "s", ["A"])
    until = time.monotonic() + 60
    while not ended(client.session_status("s")) and time.monotonic() < until:
        time.sleep(0.02)  # as these clients do
    for name in (
        "graph_status",
        "graph",
        "session",
        "session_dir",
        "session_repro_status",
        "session_repro_data",
    ):
        ask(name, "s")
    ask("get_drop_status", "s", "B")
    ask("get_drop_data", "s", "C")
    ask("sessions")
    ask("get_submission_method")
    told["before"] = told["session_status"]
    ask("session_status", "s")
    client.create_session("t")
    told["t"] = client.session("t")
    client.append_graph("t", GRAPH)
    client.deploy_session("t")
    if level == "node":
        ask("trigger_drops", "t", ["A"])
        ask("get_log_file", "s")
    else:
        for name, args in (("nodes", ()), ("add_node", ("n:1:2:3",)), ("remove_node", ("n:1:2:3",))):
            ask(name, *args)
    if level == "master":
        for name, args in (
            ("dims", ()),
            ("add_dim", ("d:1",)),
            ("remove_dim", ("d:1",)),
            ("create_island", ("d", ["n"])),
            ("add_node_to_dim", ("d", "n")),
            ("remove_node_from_dim", ("d", "n")),
        ):
            ask(name, *args)
    ask("cancelSession", "s")
    ask("destroy_session", "s")
    told["destroyed"] = "s" not in [session["sessionId"] for session in client.sessions()]
    faults = {}
    for name, method, *args in (
        ("again", "create_session", "t"),
        ("bad id", "create_session", "../x"),
        ("unknown", "session", "nope"),
        ("unknown status", "session_status", "nope"),
        ("unknown size", "graph_size", "nope"),
        ("deployed", "append_graph", "t", GRAPH),
        ("no drop", "get_drop_status", "t", "nope"),
    ):
        try:
            getattr(client, method)(*args)
            faults[name] = "nothing"
        except exceptions.DaliugeException as exc:
            faults[name] = type(exc).__name__
    told["faults"] = faults
    ask("stop")
    if level == "node":
        ask("shutdown_node_manager")
    print(json.dumps(told))


assert RestClientException
main(sys.argv[1], int(sys.argv[2]))

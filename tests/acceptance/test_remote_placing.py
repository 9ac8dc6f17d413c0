"""`penstock map` and `penstock keys`."""

import json
from pathlib import Path

from tests.acceptance.command import app, memory, penstock, write
from tests.acceptance.remote import deployment, pair

HOSTS = "a,b:8010,c:8020"


def places(path: str | Path, key: str = "node") -> dict[str, str]:
    return {drop["oid"]: drop.get(key, "") for drop in json.loads(Path(path).read_text())}


def test_map_writes_a_node_on_every_drop() -> None:
    done = penstock("map", pair(), "--nodes", HOSTS, "-o", "placed.json")
    assert done.code == 0
    assert set(places("placed.json").values()) <= set(HOSTS.split(","))
    assert "" not in places("placed.json").values()
    assert penstock("check", "placed.json").code == 0


def test_map_writes_to_standard_output_and_shares_nodes_out_over_islands() -> None:
    done = penstock("map", pair(), "--nodes", HOSTS, "--islands", "x:8001,y:8001")
    island_of = {drop["node"]: drop["island"] for drop in done.json}
    known = {"a": "x:8001", "b:8010": "x:8001", "c:8020": "y:8001"}
    assert island_of.items() <= known.items()


def test_drops_that_are_placed_stay_unless_all_are_wanted() -> None:
    graph = write("some.json", app("one", outputs=["two"], node="z"), memory("two"))
    penstock("map", graph, "--nodes", "a", "-o", "kept.json")
    assert places("kept.json") == {"one": "z", "two": "a"}
    penstock("map", graph, "--nodes", "a", "--all", "-o", "anew.json")
    assert places("anew.json") == {"one": "a", "two": "a"}


def test_nodes_come_from_a_manager_too_and_it_takes_what_was_written(tmp_path: Path) -> None:
    with deployment(tmp_path / "state") as managers:
        assert managers.ask("map", pair(), "-o", "placed.json").code == 0
        assert set(places("placed.json").values()) <= {node.address for node in managers.nodes}
        assert managers.ask("submit", "placed.json", "--wait").code == 0
        refused = managers.ask("map", pair(), url=managers.nodes[0].url)
        assert refused.code == 2
        assert "is a node" in refused.err


def test_map_needs_to_know_the_nodes_in_one_way() -> None:
    assert penstock("map", pair()).code == 2
    assert penstock("map", pair(), "--nodes", "a", "--url", "http://127.0.0.1:9").code == 2
    assert "twice" in penstock("map", pair(), "--nodes", "a,a").err
    assert "2 islands cannot share 1 nodes" in penstock("map", pair(), "--nodes", "a", "--islands", "x,y").err


def test_new_keys_are_made_and_never_overwritten() -> None:
    done = penstock("keys", "new", "keys")
    assert done.code == 0
    secret = Path("keys/secret.key").read_bytes()
    assert secret.strip().decode() not in done.out
    assert Path("keys/token").read_text().strip() not in done.out
    again = penstock("keys", "new", "keys")
    assert again.code == 2
    assert "holds keys already" in again.err
    assert Path("keys/secret.key").read_bytes() == secret


def test_a_guest_has_keys_of_its_own_and_knows_the_deployment() -> None:
    penstock("keys", "new", "keys")
    done = penstock("keys", "new", "guest", "--guest-of", "keys/public.key", "--json")
    assert done.json["guest_of"] == Path("keys/public.key").read_text().strip()
    assert Path("guest/server.key").read_bytes() == Path("keys/public.key").read_bytes()


def test_a_file_without_a_public_key_makes_no_guest() -> None:
    penstock("keys", "new", "keys")
    Path("text").write_text("no key")
    for name in ("text", "keys/secret.key", "absent"):
        assert penstock("keys", "new", "guest", "--guest-of", name).code == 2
    assert not Path("guest").exists()

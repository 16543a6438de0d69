"""The folder in which nodes of Crossbar.io are found: what is paired, and what is not touched."""

import pytest
from twisted.internet.task import Clock

from controlplane.errors import AlreadyExists
from controlplane.master.pairing import LOOK_EVERY_S, PairingFolder, read_tags

KEY = "0123456789abcdef" * 4


def key_file(directory, name="edge1", key=KEY, address="10.0.0.7"):
    directory.mkdir(parents=True)
    lines = {"creator": "me@here", "node-authid": name, "node-cluster-ip": address, "public-key-ed25519": key}
    text = "Crossbar.io node public key\n\n" + "".join(f"{tag}: {value}\n" for tag, value in lines.items())
    (directory / "key.pub").write_text(text)
    return directory


class Master:
    def __init__(self):
        self.paired = []

    async def pair(self, arguments):
        if any(each["pubkey"] == arguments["pubkey"] for each in self.paired):
            raise AlreadyExists("another node has this pubkey", subject={"type": "node"}, next_step="-")
        self.paired.append(arguments)
        return {"oid": "the-oid", "authid": arguments["authid"], "cluster_ip": arguments["authextra"].get("cluster_ip")}


@pytest.fixture
def master():
    return Master()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "nodes"
    made.mkdir(mode=0o755)
    return made


@pytest.fixture
def look(master, folder):
    clock = Clock()
    watching = PairingFolder(clock, lambda: 0, folder, "ws://master:8080/ws", master.pair)
    watching.start()
    yield lambda: clock.advance(LOOK_EVERY_S)
    watching.close()


def test_a_node_that_appears_is_paired_and_told_its_master(master, folder, look):
    directory = key_file(folder / "edge1" / ".crossbar")
    look()
    assert master.paired == [
        {"pubkey": KEY, "realm_name": "default", "authid": "edge1", "authextra": {"cluster_ip": "10.0.0.7"}}
    ]
    tags = read_tags(directory / "key.activate")
    assert (tags["management-url"], tags["node-authid"], tags["node-oid"]) == (
        "ws://master:8080/ws",
        "edge1",
        "the-oid",
    )
    look()
    assert len(master.paired) == 1


def test_a_file_that_is_there_is_not_written_over(folder, look, tmp_path):
    directory = key_file(folder / "edge1")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (directory / "key.activate").symlink_to(precious)
    look()
    assert precious.read_text() == "mine"


def test_a_node_that_is_known_already_is_left_alone(master, folder, look):
    master.paired.append({"pubkey": KEY})
    directory = key_file(folder / "edge1")
    look()
    assert not (directory / "key.activate").exists()


def test_links_and_things_that_are_no_key_files_are_passed_over(master, folder, look, tmp_path):
    outside = key_file(tmp_path / "outside")
    (folder / "link").symlink_to(outside)
    (folder / "file").mkdir()
    (folder / "file" / "key.pub").symlink_to(outside / "key.pub")
    (folder / "odd").mkdir()
    (folder / "odd" / "key.pub").mkdir()
    (folder / "bad").mkdir()
    (folder / "bad" / "key.pub").write_bytes(b"\xff\x00")
    look()
    assert master.paired == []


def test_a_folder_that_everybody_can_write_to_is_not_used(master, folder, look):
    key_file(folder / "edge1")
    folder.chmod(0o777)
    look()
    assert master.paired == []
    folder.chmod(0o755)
    look()
    assert len(master.paired) == 1

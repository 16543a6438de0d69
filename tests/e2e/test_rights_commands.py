"""Every command of the page about rights, run as it stands there."""

import json
import subprocess
import sys
from pathlib import Path

from controlplane.core.audit_chain import digest_of
from tests.e2e.commands import commands_of, run_commands

ROOT = Path(__file__).parents[2]


def test_every_command_of_the_page_about_rights_works(tmp_path):
    commands = commands_of(ROOT / "docs" / "rights.rst")
    assert len(commands) > 20
    said = run_commands(commands, tmp_path)
    assert said.count(" are whole; note ") == 2
    for file in ("state/admin.key", "state/connection.json", "state/master/master.key", "ann/connection.json"):
        assert (tmp_path / file).stat().st_mode & 0o777 == 0o600
    for directory in ("state", "state/master", "state/router", "ann"):
        assert (tmp_path / directory).stat().st_mode & 0o777 == 0o700
    # The export can be verified by anybody, and an altered one is found out.
    links = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    actions = [json.loads(link["body"])["action"].rpartition(".")[2] for link in links]
    assert actions[:2] == ["init", "invite_node"]
    assert {"join_node", "register_key", "give_routercluster"} <= set(actions)
    for link in links:
        assert digest_of(bytes.fromhex(link["previous"]), link["body"].encode()).hex() == link["digest"]
    links[3]["body"] = links[3]["body"].replace("done", "DONE")
    (tmp_path / "forged.jsonl").write_text("\n".join(json.dumps(link) for link in links))
    verify = [sys.executable, "-m", "controlplane", "audit", "verify"]
    for arguments, told in (
        (["forged.jsonl"], "entry 4 was altered"),
        (["audit.jsonl", "--expect", f"2:{'0' * 64}"], "is not the one that was noted"),
    ):
        done = subprocess.run([*verify, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert told in done.stderr
    noted = f"2:{links[1]['digest']}"
    subprocess.run([*verify, "audit.jsonl", "--expect", noted], cwd=tmp_path, check=True, capture_output=True)

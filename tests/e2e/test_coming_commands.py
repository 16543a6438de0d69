"""Every command of the page for whoever comes from Crossbar.io's master, run as it stands there."""

from pathlib import Path

from tests.e2e.commands import commands_of, run_commands
from tests.upstream_store import CLUSTER, make_master

ROOT = Path(__file__).parents[2]


def test_every_command_of_the_page_for_users_of_crossbar_works(crossbar, tmp_path):
    commands = commands_of(ROOT / "docs" / "coming-from-crossbar.rst")
    assert len(commands) == 11
    make_master(tmp_path / "old-master")
    said = run_commands(
        [*commands, f"controlplane call get_routercluster {CLUSTER} --field name"], tmp_path, crossbar.parent
    )
    assert "router cluster: 1 taken" in said
    assert "not taken: web cluster pages" in said
    assert "\nshop\n" in said

"""What is said of the configuration of a router cluster, word for word: users read it, and consoles show it."""

import json
from pathlib import Path

from controlplane.core.router_configs import check_config

EVERYTHING = {"uri": "", "match": "prefix", "allow": {"call": True}}
REALM = {
    "name": "realm1",
    "roles": [{"name": "anonymous", "permissions": [EVERYTHING]}, {"name": "user", "permissions": [EVERYTHING]}],
}
REALMS = [REALM, {"name": "realm2", "roles": [{"name": "admin", "permissions": []}]}]
TICKET = {"type": "static", "principals": {"joe": {"ticket": "sesame", "role": "user"}}}


def given(line):
    """Read a configuration, with what is left out of it for the sake of those who read it."""
    config = json.loads(line)
    if not isinstance(config, dict):
        return config
    if "transport" in config:
        config = config if "realms" in config else {"realms": REALMS, **config}
        auth = config["transport"].get("auth") if isinstance(config["transport"], dict) else None
        if isinstance(auth, dict) and auth.get("ticket") == "TICKET":
            auth["ticket"] = TICKET
    if config.get("realms", 0) is None:
        del config["realms"]
    if isinstance(config.get("realms"), list):
        config["realms"] = [REALM if realm == "REALM" else realm for realm in config["realms"]]
    return config


def told(config):
    return [f"{problem.path}: {problem.message}" for problem in check_config(config)] or ["is good"]


def test_users_are_told_in_these_words():
    text = Path(__file__).with_name("router_problems.txt").read_text(encoding="utf-8")
    _, *parts = text.split("\n\n")
    for part in parts:
        config, *said = part.strip("\n").split("\n")
        assert told(given(config)) == [line.strip() for line in said], config

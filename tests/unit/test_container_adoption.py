"""What profile a container has that was not made by us, from what an engine says of it."""

import pytest

from controlplane.drivers.container.adoption import UNSAYABLE, properties_of

ID = "ab" * 32
PORTS = (8000, 8100)


def told(host=None, state=None, mounts=(), ports=None, **config):
    return {
        "Id": ID,
        "State": {"Running": True, "Status": "running", **(state or {})},
        "Config": {"Image": "web:1", "Hostname": ID[:12], "Cmd": ["run"], "Env": ["PATH=/bin", "A=b"], **config},
        "HostConfig": {"NetworkMode": "default", "ShmSize": 67108864, "IpcMode": "private", **(host or {})},
        "Mounts": list(mounts),
        "NetworkSettings": {"Ports": ports or {}},
    }


IMAGE = {"Config": {"Cmd": ["run"], "Env": ["PATH=/bin"], "Labels": {"made": "here"}}}


def read(*args, **kwargs):
    properties, problems = properties_of(told(*args, **kwargs), IMAGE, PORTS)
    return properties, [problem.message for problem in problems]


def test_only_what_differs_from_the_image_is_a_property():
    assert read(Labels={"made": "here", "team": "red"}) == (
        {
            "image": "web:1",
            "read_only": False,
            "overlap": False,
            "env": {"A": "b"},
            "labels": {"team": "red"},
            "volumes": [],
            "ports": {},
            "limits": {},
        },
        [],
    )


def test_everything_that_a_profile_has_words_for_is_said():
    properties, problems = read(
        host={
            "ReadonlyRootfs": True,
            "Memory": 64 * 2**20,
            "NanoCpus": 1_500_000_000,
            "PidsLimit": 9,
            "Ulimits": [{"Name": "nofile", "Soft": 50, "Hard": 50}],
            "NetworkMode": "backend",
            "PortBindings": {"80/tcp": [{"HostPort": ""}]},
        },
        ports={
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            "9/tcp": None,
        },
        mounts=[
            {"Type": "bind", "Source": "/srv/{name}", "Destination": "/data", "RW": False},
            {"Type": "volume", "Name": "kept", "Destination": "/kept", "RW": True},
        ],
        Cmd=["serve", "{index}"],
        Entrypoint=["/init"],
        WorkingDir="/app",
        User="web",
        StopSignal="SIGINT",
        StopTimeout=3,
        Healthcheck={"Test": ["CMD-SHELL", "ok {name}"], "Interval": 2_000_000_000, "Retries": 4},
    )
    assert problems == []
    assert properties == {
        "image": "web:1",
        "read_only": True,
        "overlap": False,
        "command": ["serve", "{{index}}"],
        "entrypoint": ["/init"],
        "cwd": "/app",
        "user": "web",
        "env": {"A": "b"},
        "labels": {},
        "volumes": [
            {"source": "/srv/{{name}}", "target": "/data", "read_only": True},
            {"source": "kept", "target": "/kept", "read_only": False},
        ],
        "ports": {"tcp80": {"target": 80, "number": 8080}},
        "limits": {"memory": 64 * 2**20, "cpus": 1.5, "pids": 9, "open_files": 50},
        "network": "backend",
        "stop": {"signal": "SIGINT", "grace": 3},
        "health": {
            "check": {"kind": "command", "command": ["/bin/sh", "-c", "ok {{name}}"]},
            "interval": 2.0,
            "failures": 4,
        },
    }


def test_quotas_are_processors():
    assert read(host={"CpuQuota": 50_000, "CpuPeriod": 100_000})[0]["limits"] == {"cpus": 0.5}
    assert read(host={"CpuQuota": -1, "PidsLimit": -1})[0]["limits"] == {}


@pytest.mark.parametrize("name", UNSAYABLE)
def test_what_a_profile_cannot_say_is_named(name):
    assert read(host={name: True})[1] == [f"{UNSAYABLE[name]} ({name})"]
    assert read(host={name: None})[1] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": {"Running": False, "Status": "exited"}}, "is exited, and has to run"),
        ({"state": {"Paused": True, "Status": "paused"}}, "is paused, and has to run"),
        ({"Labels": {"io.controlplane.owner": "x"}}, "is a worker already, of this control plane or of another one"),
        ({"Tty": True}, "has a terminal"),
        ({"Hostname": "web"}, "has a host name of its own"),
        ({"host": {"NetworkMode": "container:x"}}, "shares the network of another container"),
        ({"host": {"IpcMode": "host"}}, "shares memory with others"),
        ({"host": {"ShmSize": 1}}, "has its own size of shared memory"),
        ({"host": {"Ulimits": [{"Name": "core", "Soft": 1, "Hard": 1}]}}, "has limits besides that of open files"),
        ({"host": {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 9}]}}, "has two limits of open files"),
        ({"StopSignal": "SIGRTMIN+3"}, "is stopped by SIGRTMIN+3"),
        ({"mounts": [{"Type": "tmpfs", "Destination": "/x"}]}, "has a mount of type tmpfs"),
        ({"ports": {"53/udp": [{"HostPort": "8053"}]}}, "listens by udp (53/udp)"),
        (
            {"ports": {"1/tcp": [{"HostPort": "8001"}, {"HostPort": "8002"}]}},
            "has more than one port of the node for 1/tcp",
        ),
        (
            {"ports": {"1/tcp": [{"HostPort": "80"}]}},
            "has port 80 of the node; workers of its node may have 8000 to 8100",
        ),
    ],
)
def test_what_would_be_lost_is_told_of(changes, said):
    assert read(**changes)[1] == [said]


def test_what_is_no_property_is_told_with_its_path():
    _, problems = properties_of(told(host={"Memory": 1}), IMAGE, PORTS)
    assert [problem.path for problem in problems] == ["$.properties.limits.memory"]

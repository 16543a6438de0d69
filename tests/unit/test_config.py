import pytest

from controlplane.config import AgentSettings, MasterSettings, load_settings
from controlplane.errors import InvalidConfiguration


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('[agent]\nurl = "ws://file/ws"\ncapacity = 3\naddress = "10.0.0.1"\n[master]\nevents_kept = 5\n')
    return str(path)


def test_flags_go_before_the_environment_and_that_before_the_file(file, monkeypatch):
    assert load_settings(AgentSettings, "agent", None, {}).url == ""
    assert load_settings(AgentSettings, "agent", file, {}).url == "ws://file/ws"
    monkeypatch.setenv("CONTROLPLANE_AGENT_URL", "ws://environment/ws")
    monkeypatch.setenv("CONTROLPLANE_AGENT_CAPACITY", "7")
    settings = load_settings(AgentSettings, "agent", file, {"url": None})
    assert (settings.url, settings.capacity, settings.address) == ("ws://environment/ws", 7, "10.0.0.1")
    assert load_settings(AgentSettings, "agent", file, {"url": "ws://flag/ws"}).url == "ws://flag/ws"


def test_every_process_reads_its_own_section(file):
    assert load_settings(MasterSettings, "master", file, {}).events_kept == 5


def test_an_empty_variable_means_no_value(monkeypatch):
    monkeypatch.setenv("CONTROLPLANE_AGENT_CAPACITY", "")
    assert load_settings(AgentSettings, "agent", None, {}).capacity is None


def test_everything_that_is_wrong_is_said_at_once(tmp_path, monkeypatch):
    path = tmp_path / "settings.toml"
    path.write_text('[agent]\nurrl = "x"\nfirst_port = 70000\n')
    monkeypatch.setenv("CONTROLPLANE_AGENT_KEEP_WORKERS", "perhaps")
    with pytest.raises(InvalidConfiguration) as caught:
        load_settings(AgentSettings, "agent", str(path), {"log_format": "xml"})
    assert {problem.path for problem in caught.value.problems} == {
        "[agent] urrl",
        "[agent] first_port",
        "[agent] keep_workers",
        "[agent] log_format",
    }


@pytest.mark.parametrize("content", ["not toml", "agent = 5", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidConfiguration, match=r"settings\.toml"):
        load_settings(AgentSettings, "agent", str(path), {})

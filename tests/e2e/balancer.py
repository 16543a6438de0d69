"""haproxy as a cluster's load balancer, and clients that count what fails.

As a program, with the path of haproxy's master socket: have it read its file anew, and return when it has.
"""

import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

WITHIN_S = 30.0
ANSWER_WITHIN_S = 5.0
ANSWERS_KEPT = 100
BEFORE = """
global
    stats socket {directory}/stats level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 3
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    balance roundrobin
"""
EACH = "    server {name} {address}\n"


class Haproxy:
    """A master process of haproxy that reads its file anew when it is told to."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.file = directory / "web.cfg"
        self.socket = directory / "master.sock"
        self.before = BEFORE.format(directory=directory, port=port)
        self.log = (directory / "haproxy.log").open("wb")
        self.file.write_text(self.before)
        command = ["haproxy", "-W", "-db", "-f", str(self.file), "-S", str(self.socket)]
        self._process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        end = monotonic() + WITHIN_S
        while not self._listens():
            assert self._process.poll() is None, (directory / "haproxy.log").read_text()
            assert monotonic() < end, "haproxy does not listen"
            sleep(0.05)

    @property
    def reload(self) -> str:
        """The command that has it read its file."""
        return f"{sys.executable} {Path(__file__).resolve()} {self.socket}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.log.close()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def reload(path: str) -> None:
    """Have haproxy read its file anew; return when another process of it serves."""
    before = serving(path)
    say(path, "reload")
    end = monotonic() + WITHIN_S
    while not (now := serving(path)) or now & before:
        if monotonic() > end:
            sys.exit("haproxy has not read its file")
        sleep(0.02)


def serving(path: str) -> set[str]:
    """Return the processes that take new connections; none while haproxy starts anew."""
    listed = say(path, "show proc").partition("# workers")[2].partition("# old workers")[0]
    return {line.split()[0] for line in listed.splitlines() if " worker " in line.replace("\t", " ")}


def say(path: str, command: str) -> str:
    """Return what haproxy's master answers; nothing while it does not listen."""
    said = b""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_WITHIN_S)
            line.connect(path)
            line.sendall(f"{command}\n".encode())
            line.shutdown(socket.SHUT_WR)
            while not said.endswith(b"\n\n") and (more := line.recv(65_536)):
                said += more
    except OSError:
        pass
    return said.decode()


class Clients:
    """Asks the balancer again and again, each time on a new connection."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/index"
        self._open = build_opener(ProxyHandler({}))
        self._ends = threading.Event()
        self._answers: deque[str] = deque(maxlen=ANSWERS_KEPT)
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._ask_on)
        self._thread.start()

    def answered_by(self, count: int) -> set[str]:
        """Who has given the last so many answers; nobody while there are fewer."""
        answers = list(self._answers)[-count:]
        return set(answers) if len(answers) == count else set()

    def forget(self) -> None:
        """Have only answers count that are still to come."""
        self._answers.clear()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()

    def _ask_on(self) -> None:
        while not self._ends.wait(0.01):
            try:
                with self._open.open(self._url, timeout=20) as answer:
                    self._answers.append(answer.read().decode().strip())
            except (URLError, OSError) as problem:
                self.failures.append(str(problem))


if __name__ == "__main__":
    reload(sys.argv[1])

"""Crossbar.io's own programs, unmodified, as processes: its edge nodes and its shell.

They come from PyPI into an environment of their own, which has nothing of ours in it: see `scripts/setup-crossbar`.
"""

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from controlplane.clock import limit

KEY_TAG = "public-key-ed25519:"
END_WITHIN_S = 10.0
SHELL_WITHIN_S = 90.0
INSTALLED_WITHIN_S = 300.0
ENVIRONMENT = Path(__file__).parents[2] / ".venv-crossbar"


def installed_crossbar() -> Path | str:
    """Return the program in its own environment, once it is installed, or why it is not."""
    end = time.monotonic() + INSTALLED_WITHIN_S
    while _being_installed():
        if time.monotonic() > end:
            return f"crossbar is not installed after {INSTALLED_WITHIN_S:g} s"
        time.sleep(0.5)
    if list(ENVIRONMENT.glob(".installed-*")):
        return ENVIRONMENT / "bin" / "crossbar"
    try:
        said = ENVIRONMENT.with_suffix(".log").read_text().strip()
    except FileNotFoundError:
        return "crossbar has no environment of its own; scripts/test makes one"
    return f"crossbar could not be installed from PyPI: {said[-500:]}"


def _being_installed() -> bool:
    try:
        with open(ENVIRONMENT.with_suffix(".lock"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


class EdgeNode:
    """`crossbar edge start` in a directory of its own, as it comes from PyPI."""

    def __init__(self, crossbar: Path, directory: Path, url: str | None = None, **settings: str) -> None:
        """`settings` are environment variables; without a url the node waits to be told one by a file."""
        self.crossbar = crossbar
        self.directory = directory
        self.cbdir = directory / ".crossbar"
        self.cbdir.mkdir(parents=True)
        self._settings = {**settings, **({"CROSSBAR_FABRIC_URL": url} if url else {})}
        self.process: subprocess.Popen | None = None

    def start(self) -> "EdgeNode":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSBAR_")}
        (self.cbdir / "node.pid").unlink(missing_ok=True)
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(self.crossbar), "edge", "start", "--cbdir", str(self.cbdir), "--loglevel", "info"],
                env={**environment, **self._settings, "PYTHONUNBUFFERED": "1"},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def pubkey(self) -> str | None:
        """The key that the node makes for itself when it first starts."""
        try:
            lines = (self.cbdir / "key.pub").read_text().splitlines()
        except FileNotFoundError:
            return None
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(KEY_TAG)), None)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children() if self.running() else []

    def kill(self) -> None:
        """End the node as kill -9 does; its workers notice and end."""
        workers = self.workers()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        psutil.wait_procs(workers, timeout=END_WITHIN_S)

    def stop(self) -> None:
        if self.running():
            workers = self.workers()
            self.process.terminate()
            try:
                self.process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            _, alive = psutil.wait_procs(workers, timeout=END_WITHIN_S)
            for worker in alive:
                worker.kill()


class Shell:
    """`crossbar shell` with a profile of its own."""

    def __init__(self, crossbar: Path, directory: Path) -> None:
        self.crossbar = crossbar
        self.dotdir = directory / "dotdir"
        self._home = directory

    async def init(self) -> Path:
        """Make a profile and a key, as a new user does; returns the file with the public key."""
        await self.run("init", "--yes")
        return self.dotdir / "default.pub"

    def use(self, url: str) -> None:
        """Have the profile lead to a router."""
        config = (self.dotdir / "config.ini").read_text()
        lines = [f"url={url}" if line.startswith("url=") else line for line in config.splitlines()]
        (self.dotdir / "config.ini").write_text("\n".join(lines) + "\n")

    async def run(self, *arguments: str) -> "Outcome":
        """Run a command and wait until it ends."""
        command = [str(self.crossbar), "shell", "--dotdir", str(self.dotdir), *arguments]
        environment = {**os.environ, "HOME": str(self._home)}

        def run() -> Outcome:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SHELL_WITHIN_S
            )
            return Outcome(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

        return await limit(reactor, deferToThread(run), SHELL_WITHIN_S + 10, " ".join(arguments))


class Outcome:
    """What a command said."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors

    def __repr__(self) -> str:
        return f"exit {self.status}\n{self.output}\n{self.errors}"


def lines_of(outcome: Outcome) -> list[Any]:
    return [line for line in outcome.output.splitlines() if line.strip()]

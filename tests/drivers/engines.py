"""A container engine of the tests' own: dockerd with everything in one directory, and an image that is made here.

It needs to be root, and Debian's packages docker.io and busybox-static, which `scripts/test` installs where it may.
"""

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import psutil

from controlplane.drivers.container.engine import connect
from controlplane.process import end_with_parent

IMAGE = "controlplane-test:1"
PROGRAMS = ("sh", "sleep", "httpd", "cat", "echo", "env", "false", "id", "ls", "mkdir", "test", "touch", "true", "wc")
START_LIMIT_S = 60
SOCKET = "engine.sock"


class NoEngine(Exception):
    """Why there is none."""


class Engine:
    """One dockerd; it can be killed and started again."""

    def __init__(self):
        # Short, for the path of a unix socket; and mounted upon, so not where others clean up.
        self.directory = Path(tempfile.mkdtemp(prefix="cp-engine-"))
        self.url = f"unix://{self.directory}/{SOCKET}"
        self.process = None
        self.log = self.directory / "log"

    def start(self):
        """Start it, and return when it answers; raises `NoEngine`."""
        command = [
            "dockerd",
            f"--host={self.url}",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/pid",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            # Containers outlive it, so that tests can tell its own death from theirs.
            "--live-restore",
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=end_with_parent)
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                return self.client().version()
            except Exception:
                time.sleep(0.1)
        said = self.log.read_text().strip().splitlines()[-1:]
        self.end()
        raise NoEngine(f"dockerd does not run here: {' '.join(said)}")

    def client(self):
        return connect(self.url, 30)

    def kill(self):
        """End it as kill -9 does; what it has started lives on."""
        self.process.kill()
        self.process.wait()
        (self.directory / "pid").unlink(missing_ok=True)
        # Its containerd dies with it; when nobody buries that, the next one would believe that it still runs.
        (self.directory / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def end(self):
        """End it and everything of it, and leave nothing."""
        if self.process.poll() is None:
            try:
                client = self.client()
                for container in client.containers(all=True):
                    client.remove_container(container["Id"], force=True, v=True)
            except Exception:
                pass  # It is ended all the same.
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for shim in psutil.process_iter(["cmdline"]):
            # Of containers that an engine that was killed could not be asked to end.
            if str(self.directory) in " ".join(shim.info["cmdline"] or []) and shim.pid != os.getpid():
                for each in (*shim.children(recursive=True), shim):
                    with contextlib.suppress(psutil.Error):
                        each.kill()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((each for each in mounts if each.startswith(str(self.directory))), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def start_engine():
    """Return an engine that has the image; raises `NoEngine` with the reason."""
    if os.getuid() != 0:
        raise NoEngine("dockerd needs to be root")
    if shutil.which("dockerd") is None:
        raise NoEngine("dockerd is not installed (apt-get install docker.io)")
    busybox = shutil.which("busybox")
    if busybox is None:
        raise NoEngine("busybox is not installed (apt-get install busybox-static)")
    engine = Engine()
    engine.start()
    engine.client().import_image_from_data(_rootfs(busybox), repository=IMAGE.split(":")[0], tag=IMAGE.split(":")[1])
    return engine


def _rootfs(busybox):
    """A file system with one program under several names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "www"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for name in PROGRAMS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        page = tarfile.TarInfo("www/index.html")
        page.size = 3
        tar.addfile(page, io.BytesIO(b"hi\n"))
    return packed.getvalue()

"""Images: whether the engine has one, and fetching it."""

import time
from typing import Any

from twisted.internet.defer import DeferredLock

from controlplane.clock import Clock, limit
from controlplane.drivers.container.engine import Engine, EngineProblem, Missing
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.profiles import ContainerProperties
from controlplane.records.types import Seconds


class Images:
    """The images of one engine; each is fetched once, however many wait for it."""

    def __init__(self, clock: Clock, engine: Engine) -> None:
        self._clock = clock
        self._engine = engine
        self._fetching: dict[str, DeferredLock] = {}

    async def provide(self, properties: ContainerProperties) -> None:
        """Return when the engine has the image; raises `WorkerFailed`."""
        image = properties.image
        async with self._fetching.setdefault(image, DeferredLock()):
            if properties.pull != "always" and await self._has(image):
                return
            if properties.pull == "never":
                raise WorkerFailed(
                    f"there is no image {image} on this node",
                    next_step='load it into the container engine, or say "pull": "missing" in the profile',
                )
            await self._fetch(image, properties.pull_timeout)

    async def _has(self, image: str) -> bool:
        try:
            await self._engine.call(lambda client: client.inspect_image(image))
        except Missing:
            return False
        return True

    async def _fetch(self, image: str, within: Seconds) -> None:
        def fetch(client: Any) -> None:
            from docker.utils import parse_repository_tag

            repository, tag = parse_repository_tag(image)
            end = time.monotonic() + within
            for line in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in line:
                    raise EngineProblem(str(line["error"]))
                if time.monotonic() > end or self._engine.closed:
                    raise EngineProblem(f"that took more than {within:g} s (pull_timeout)")

        # The SDK would wait for a registry without end, and so it does, in its thread; we do not.
        fetching = self._engine.call(fetch, apart=True)
        try:
            await limit(self._clock, fetching, within, "its registry")
        except (EngineProblem, NoAnswer) as problem:
            raise WorkerFailed(
                f"the image {image} is not on this node and could not be fetched: {problem}",
                next_step="look for a mistake in its name, or load it into the container engine",
            ) from None

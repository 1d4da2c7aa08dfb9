"""What the tests of `flm connect` share: situations, and files that lie in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flm.errors import Conflict
from flm.ports.machine import Platform
from flm.ports.user_files import Seen
from flm.services.connect.situation import Chosen, Situation

HOMES: Mapping[Platform, str] = {
    "linux": "/home/user",
    "darwin": "/Users/you",
    "win32": "C:\\Users\\you",
}
MODEL = Chosen("qwen3:8b", "ollama", context=65_536, trained=131_072, tools=True)
KEY = "flm_UDLTSGBbAF_pH8CIzN7ldHefAI8bqJuSafaebA8ACYp96hFrj841yS0vu27W"


def situation(
    platform: Platform = "linux",
    environ: Mapping[str, str] | None = None,
    *,
    model: Chosen = MODEL,
    key: str | None = None,
    home: str | None = None,
) -> Situation:
    """FLM on its usual port, in that user's home."""
    return Situation(
        platform, environ or {}, home or HOMES[platform], "http://127.0.0.1:8356/v1", model, key
    )


class OwnFiles:
    """Files in memory. Implements `UserFiles`."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, int]] = {}

    def read(self, path: str) -> Seen | None:
        """What was put there."""
        found = self.files.get(path)
        return None if found is None else Seen(path, path, *found)

    def replace(self, path: str, data: bytes, mode: int, was: Seen | None) -> tuple[str, ...]:
        """Nothing has to be made for it."""
        if self.read(path) != was:
            raise Conflict("changed")
        self.files[path] = (data, mode)
        return ()

    def back_up(self, was: Seen, suffix: str) -> str:
        """Beside it."""
        path = f"{was.path}.{suffix}"
        self.files[path] = (was.data, 0o600)
        return path

    def remove(self, was: Seen, folders: Sequence[str]) -> None:
        """Gone."""
        del self.files[was.path]


class PlainSecrets:
    """Seals nothing, so that a thousand examples are quick. Implements `Secrets`."""

    def pepper(self) -> bytes:
        """The same for everybody."""
        return bytes(32)

    def seal(self, clear: bytes, purpose: str) -> bytes:
        """As it is."""
        return purpose.encode() + clear

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """As it was."""
        return sealed.removeprefix(purpose.encode())

"""`engines.<engine>.path`, read and written as one thing."""

from __future__ import annotations

from flm.domain.engines import EngineId
from flm.services.settings import SettingsService


class EnginePath:
    """`engines.<engine>.path` as the settings hold it."""

    def __init__(self, settings: SettingsService, engine: EngineId) -> None:
        self._settings = settings
        self._engine = engine
        self._name = f"engines.{engine}.path"

    def get(self) -> str:
        """What is set."""
        return self._settings.settings().engine(self._engine).path

    def set(self, path: str) -> None:
        """Store it; returns when what runs applies it."""
        self._settings.set(self._name, path)

    def reset(self) -> None:
        """Forget what is stored."""
        self._settings.reset(self._name)

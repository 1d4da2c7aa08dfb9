"""What the services keep, as Protocols; `flm.store` implements them. Here: settings, engines, keys
and the rest of config.db and security.db; what telemetry.db keeps stands in `flm.ports.telemetry`.

Every method is one transaction (`BEGIN IMMEDIATE` when it writes). A writing method bumps its
database's revision in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from flm.domain.engines import Engine, EngineDefinition, EngineId, KnownEngine
from flm.domain.keys import ApiKey, KeyId
from flm.domain.models import GgufFile, Model
from flm.domain.policy import Policy
from flm.domain.publications import Profile, PromptTemplate, Publication
from flm.ports.telemetry import (
    HealthRepository,
    RecordRepository,
    ResponseRepository,
    UsageRepository,
)


class SettingsRepository(Protocol):
    """Settings the user changed, as their JSON text by name (config.db)."""

    def all(self) -> dict[str, str]: ...
    def set(self, name: str, value: str | None) -> None:
        """Store a value; None forgets it, so that the default holds again."""
        ...


class EngineRepository(Protocol):
    """Engine definitions and the cache of what was seen (config.db)."""

    def definitions(self) -> list[EngineDefinition]: ...
    def add(self, definition: EngineDefinition) -> None:
        """Raises `Conflict` when the id is taken."""
        ...

    def remove(self, engine: EngineId) -> bool: ...
    def set_key(self, engine: EngineId, sealed: bytes | None) -> bool:
        """The engine's own key, of an added one or one that was found; False for neither."""
        ...

    def known(self) -> list[KnownEngine]:
        """The engines that were ever found, by id: their ids survive restarts."""
        ...

    def note(self, found: Sequence[KnownEngine]) -> None:
        """Remember ids; a known id keeps its place and key. Does not bump the revision."""
        ...

    def rename(
        self,
        old: EngineId,
        new: EngineId,
        moved: Mapping[str, str],
        sealed: bytes | None = None,
    ) -> bool:
        """Give an engine another id; False when `old` is unknown.

        ``moved``: the settings that go with it, old name → new name; ``sealed``: its key, sealed
        anew for its new id (the id is part of the seal). Raises `Conflict` when `new` is taken.
        """
        ...

    def cached(self) -> list[tuple[Engine, list[Model]]]:
        """What was last seen, with `Engine.checked_at` as its age."""
        ...

    def cache(self, seen: Sequence[tuple[Engine, Sequence[Model]]]) -> None:
        """Replace the cache. Does not bump the revision: it is no change of the user's."""
        ...


class GgufRepository(Protocol):
    """GGUF files given to the embedded engine (config.db)."""

    def all(self) -> list[GgufFile]: ...
    def add(self, file: GgufFile) -> None:
        """Raises `Conflict` when the name is taken."""
        ...

    def remove(self, name: str) -> bool: ...


class KeyRepository(Protocol):
    """API keys (security.db)."""

    def all(self) -> list[ApiKey]: ...
    def get(self, key: KeyId) -> ApiKey | None: ...
    def add(self, key: ApiKey) -> None:
        """Raises `Conflict` when the id is taken, or ``keyless_from`` is another key's."""
        ...

    def update(self, key: ApiKey) -> bool:
        """Keep its label, expiry and ``keyless_from``; False when there is none of its id.

        Raises `Conflict` when ``keyless_from`` is another key's.
        """
        ...

    def revoke(self, key: KeyId, at: float) -> bool:
        """False when there is no such key or it was revoked before."""
        ...

    def rotate(self, old: KeyId, new: ApiKey, at: float) -> None:
        """Add `new`, and revoke `old` from `at` on (UTC seconds, the future for a grace period)."""
        ...


class PublicationRepository(Protocol):
    """Publications (config.db)."""

    def all(self) -> list[Publication]:
        """By name."""
        ...

    def get(self, name: str) -> Publication | None: ...
    def add(self, publication: Publication) -> None:
        """Raises `Conflict` when the name is taken."""
        ...

    def replace(self, publication: Publication) -> bool:
        """Put it in place of the one of its name; False when there is none."""
        ...

    def remove(self, name: str) -> bool: ...


class PromptRepository(Protocol):
    """Prompt templates by name and version (config.db). A number is never used twice."""

    def all(self) -> list[PromptTemplate]:
        """Every version, by name, the oldest first."""
        ...

    def add(self, template: PromptTemplate) -> PromptTemplate:
        """Keep it as the next version of its name, which is in the answer."""
        ...

    def remove(self, name: str, version: int | None = None) -> int:
        """One version, or all of them; how many went."""
        ...


class ProfileRepository(Protocol):
    """Model profiles (config.db)."""

    def all(self) -> list[Profile]:
        """By name."""
        ...

    def save(self, profile: Profile) -> None:
        """Add it, or put it in place of the one of its name."""
        ...

    def remove(self, name: str) -> bool: ...


class PolicyRepository(Protocol):
    """The policy document (security.db)."""

    def get(self) -> Policy: ...
    def set(self, policy: Policy) -> None: ...


class Revisions(NamedTuple):
    """The revisions of the two databases that make a snapshot."""

    config: int
    security: int


class Everything(NamedTuple):
    """What a snapshot is compiled from. Each half is read in one transaction with its revision."""

    revisions: Revisions
    settings: dict[str, str]
    definitions: list[EngineDefinition]
    files: list[GgufFile]
    keys: list[ApiKey]
    policy: Policy
    known: Sequence[KnownEngine] = ()
    publications: Sequence[Publication] = ()
    templates: Sequence[PromptTemplate] = ()
    profiles: Sequence[Profile] = ()


class Store(Protocol):
    """The three databases of one data directory."""

    @property
    def settings(self) -> SettingsRepository: ...
    @property
    def engines(self) -> EngineRepository: ...
    @property
    def files(self) -> GgufRepository: ...
    @property
    def keys(self) -> KeyRepository: ...
    @property
    def publications(self) -> PublicationRepository: ...
    @property
    def prompts(self) -> PromptRepository: ...
    @property
    def profiles(self) -> ProfileRepository: ...
    @property
    def policy(self) -> PolicyRepository: ...
    @property
    def records(self) -> RecordRepository: ...
    @property
    def usage(self) -> UsageRepository: ...
    @property
    def health(self) -> HealthRepository: ...
    @property
    def responses(self) -> ResponseRepository: ...

    def revisions(self) -> Revisions:
        """Cheap: two single-row reads."""
        ...

    def everything(self) -> Everything: ...
    def close(self) -> None: ...


class Secrets(Protocol):
    """The installation's secrets: the pepper, and the sealing of others at rest."""

    def pepper(self) -> bytes:
        """32 random bytes, made on first use, in their own 0600 file."""
        ...

    def seal(self, clear: bytes, purpose: str) -> bytes:
        """AES-256-GCM under the master key; `purpose` is authenticated and needed to open."""
        ...

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Raises `StoreError` when it was sealed under another key or purpose, or is damaged."""
        ...

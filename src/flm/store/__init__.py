"""The store: three SQLite databases in one data directory, and its secrets.

SQLAlchemy Core, synchronous: the CLI calls it directly, the controller from a worker thread.
"""

from __future__ import annotations

from flm.paths import DataPaths
from flm.ports.repositories import Everything, Revisions, Store
from flm.store.database import Database
from flm.store.engines import SqlEngines
from flm.store.files import SqlFiles
from flm.store.health import SqlHealth
from flm.store.keys import SqlKeys
from flm.store.migrate import migrate
from flm.store.policy import SqlPolicy
from flm.store.profiles import SqlProfiles
from flm.store.prompts import SqlPrompts
from flm.store.publications import SqlPublications
from flm.store.records import SqlRecords
from flm.store.responses import SqlResponses
from flm.store.secrets import FileSecrets
from flm.store.settings import SqlSettings
from flm.store.tables import config_revision, security_revision
from flm.store.usage import SqlUsage

__all__ = ["FileSecrets", "SqlStore", "migrate", "open_store"]


class SqlStore:
    """`Store` over the databases of `paths`, which are migrated already. Threads may share it."""

    def __init__(self, paths: DataPaths) -> None:
        self._config = Database(paths.config_db, revision=config_revision)
        self._security = Database(paths.security_db, revision=security_revision)
        # Records survive a kill either way; a power cut may cost the last of them, and the
        # journal is gone by then. Waiting for the disk with every batch would cost throughput.
        self._telemetry = Database(paths.telemetry_db, durability="NORMAL")
        self.settings = SqlSettings(self._config)
        self.engines = SqlEngines(self._config)
        self.files = SqlFiles(self._config)
        self.publications = SqlPublications(self._config)
        self.prompts = SqlPrompts(self._config)
        self.profiles = SqlProfiles(self._config)
        self.keys = SqlKeys(self._security)
        self.policy = SqlPolicy(self._security)
        self.records = SqlRecords(self._telemetry)
        self.usage = SqlUsage(self._telemetry)
        self.health = SqlHealth(self._telemetry)
        self.responses = SqlResponses(self._telemetry)

    def revisions(self) -> Revisions:
        """Cheap: two single-row reads."""
        with self._config.read() as connection:
            config = self._config.revision(connection)
        with self._security.read() as connection:
            return Revisions(config, self._security.revision(connection))

    def everything(self) -> Everything:
        """What a snapshot is compiled from, each half read in one transaction."""
        with self._config.read() as connection:
            config = self._config.revision(connection)
            settings = self.settings.read(connection)
            definitions = self.engines.read(connection)
            known = self.engines.read_known(connection)
            files = self.files.read(connection)
            publications = self.publications.read(connection)
            templates = self.prompts.read(connection)
            profiles = self.profiles.read(connection)
        with self._security.read() as connection:
            return Everything(
                revisions=Revisions(config, self._security.revision(connection)),
                settings=settings,
                definitions=definitions,
                files=files,
                keys=self.keys.read(connection),
                policy=self.policy.read(connection),
                known=known,
                publications=tuple(publications),
                templates=tuple(templates),
                profiles=tuple(profiles),
            )

    def close(self) -> None:
        """Close every connection; call it when no transaction runs."""
        for database in (self._config, self._security, self._telemetry):
            database.close()


def open_store(paths: DataPaths) -> Store:
    """The store of a data directory whose databases `migrate` has brought up to date."""
    return SqlStore(paths)

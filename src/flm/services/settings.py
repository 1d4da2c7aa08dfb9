"""Settings: show, set, reset."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flm.ports.notify import Notify
from flm.ports.repositories import SettingsRepository
from flm.setting_kinds import Value
from flm.settings import REGISTRY, Setting, Settings, Source, decoded, member, resolve, setting

_FIXED = frozenset(item.name for item in REGISTRY)


class SettingView(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as `flm config` shows it. ``value`` and ``default`` None: not set."""

    name: str
    value: Value | None
    default: Value | None
    source: Source
    variable: str
    doc: str


class SettingsService:
    """The use cases of settings. ``overrides``: what this command line gave, by name."""

    def __init__(
        self,
        repository: SettingsRepository,
        environ: Mapping[str, str],
        overrides: Mapping[str, Value],
        notify: Notify,
    ) -> None:
        self._repository = repository
        self._environ = environ
        self._overrides = overrides
        self._notify = notify

    def settings(self) -> Settings:
        """All settings in force, typed."""
        return resolve(self._repository.all(), self._environ, self._overrides)

    def get(self, name: str) -> SettingView:
        """One setting. Raises `NotFound`, naming the nearest ones, for an unknown name."""
        return self._view(setting(name), self._repository.all())

    def list(self) -> tuple[SettingView, ...]:
        """Every setting, then what is set for single engines, by name."""
        stored = self._repository.all()
        family = sorted(name for name in stored if name not in _FIXED and member(name) is not None)
        shown = [*REGISTRY, *(setting(name) for name in family)]
        return tuple(self._view(item, stored) for item in shown)

    def set(self, name: str, text: str) -> SettingView:
        """Store the value that `text` says.

        The view tells when something stronger hides it (``source`` is not 'stored'). Raises
        `NotFound` and `InvalidValue`; returns when what runs applies the change.
        """
        item = setting(name)
        value = item.kind.parse(name, text)
        self._repository.set(name, msgspec.json.encode(value).decode())
        self._notify.poke()
        return self.get(name)

    def reset(self, name: str) -> SettingView:
        """Forget the stored value, so that the default holds again."""
        setting(name)
        self._repository.set(name, None)
        self._notify.poke()
        return self.get(name)

    def _view(self, item: Setting, stored: Mapping[str, str]) -> SettingView:
        value: Value | None
        if item.name not in _FIXED:
            text = stored.get(item.name)
            value = None if text is None else item.kind.check(item.name, decoded(item.name, text))
            source: Source = "default" if text is None else "stored"
            default, variable = None, ""
        else:
            value, source = item.resolve(stored, self._environ, self._overrides)
            default, variable = item.default, item.variable
        return SettingView(
            name=item.name,
            value=value,
            default=default,
            source=source,
            variable=variable,
            doc=item.doc,
        )

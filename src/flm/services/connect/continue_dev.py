"""Continue: a model in `config.yaml` of its global folder.

By docs.continue.dev: reference, yaml-migration, model providers (2026-11). `name`, `version` and
`schema` are required at the root.
"""

from __future__ import annotations

from typing import Any

from flm.services.connect.places import folder
from flm.services.connect.situation import (
    Element,
    Entry,
    Facts,
    FileSettings,
    Settings,
    Situation,
)

NAME = "FLM"
_BEGINNING = (
    Entry(("name",), "Local Config", only_new=True),
    Entry(("version",), "1.0.0", only_new=True),
    Entry(("schema",), "v1", only_new=True),
)


class Continue:
    """The extension for editors, and its command line."""

    facts = Facts("continue", "Continue", "chat")

    def settings(self, situation: Situation) -> Settings:
        """One model for chat, edits and applying them."""
        model = situation.model
        capabilities = [
            name for name, has in (("tool_use", model.tools), ("image_input", model.vision)) if has
        ]
        entry: dict[str, Any] = {
            "name": NAME,
            "provider": "openai",
            "model": model.name,
            "apiBase": situation.base_url,
            "apiKey": situation.secret,
            "roles": ["chat", "edit", "apply"],
            "capabilities": capabilities,
        }
        if model.context is not None:
            entry["defaultCompletionOptions"] = {"contextLength": model.context}
        path = folder(situation, "CONTINUE_GLOBAL_DIR", ".continue") / "config.yaml"
        entries = (*_BEGINNING, Entry(("models", Element("name", NAME)), entry))
        return Settings((FileSettings(str(path), "yaml", entries),))

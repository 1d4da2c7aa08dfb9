"""Zed: an OpenAI-compatible provider in `settings.json`.

By zed.dev/docs: ai/use-api-access, configuring-zed, and Zed's `paths` (2026-11). The key comes from
the keychain or from the provider's name in capitals with `_API_KEY`, never from the file. The
context is a required field.
"""

from __future__ import annotations

from typing import Any

from flm.errors import N_
from flm.services.connect.places import config_folder
from flm.services.connect.situation import (
    VARIABLE,
    Entry,
    Facts,
    FileSettings,
    Settings,
    Situation,
    note,
)

PROVIDER = "FLM"
"""Zed makes the variable's name of it: `FLM_API_KEY`."""

_UNKNOWN_CONTEXT = 8_192


class Zed:
    """The editor, with its agent."""

    facts = Facts("zed", "Zed", "chat", wants_tools=True, keeps_key=False, variable=True)

    def settings(self, situation: Situation) -> Settings:
        """A provider with the one model; the key goes into Zed's own environment."""
        model = situation.model
        entry: dict[str, Any] = {
            "name": model.name,
            "display_name": model.name,
            "max_tokens": model.context or _UNKNOWN_CONTEXT,
            "capabilities": {
                "tools": model.tools,
                "images": model.vision,
                "parallel_tool_calls": False,
                "prompt_cache_key": False,
            },
        }
        provider = {"api_url": situation.base_url, "available_models": [entry]}
        folder = "Zed" if situation.platform == "win32" else "zed"
        path = config_folder(situation) / folder / "settings.json"
        entries = (Entry(("language_models", "openai_compatible", PROVIDER), provider),)
        return Settings(
            (FileSettings(str(path), "json", entries),),
            notes=(
                note(
                    "zed_key",
                    N_("Zed takes the key from {variable} in the environment it is started in, or "
                       "from its Settings, AI, LLM Providers, FLM, where it goes to the keychain."),
                    variable=VARIABLE,
                ),
                note("zed_picker", N_("In Zed's agent panel choose the model {model} of FLM."),
                     model=model.name),
            ),
        )  # fmt: skip

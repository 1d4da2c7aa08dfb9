"""Claude Code: the `env` block of `settings.json`.

By code.claude.com/docs: env-vars, settings, model-config, llm-gateway (2026-11). The base URL is
without `/v1`; `ANTHROPIC_SMALL_FAST_MODEL` is deprecated for `ANTHROPIC_DEFAULT_HAIKU_MODEL`; of a
model it does not know it takes the context for 200,000 tokens unless
`CLAUDE_CODE_MAX_CONTEXT_TOKENS` says otherwise.
"""

from __future__ import annotations

from flm.domain.engines import Finding
from flm.errors import N_
from flm.services.connect.places import folder
from flm.services.connect.situation import (
    Entry,
    Facts,
    FileSettings,
    Settings,
    Situation,
    warning,
)

_MODELS = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
_RIVALS = (
    ("env", "ANTHROPIC_API_KEY"),
    ("env", "ANTHROPIC_SMALL_FAST_MODEL"),
    ("env", "CLAUDE_CODE_USE_BEDROCK"),
    ("env", "CLAUDE_CODE_USE_VERTEX"),
    ("apiKeyHelper",),
)
_OUTPUT = 32_000
"""The answer it asks for by itself, which has to fit into the context beside the question."""


class Claude:
    """Anthropic's coding agent. Its system prompt and tools alone take some 20,000 tokens."""

    facts = Facts("claude", "Claude Code", "messages", needs=65_536, wants_tools=True)

    def settings(self, situation: Situation) -> Settings:
        """All model names lead to the one model, the background ones included."""
        model = situation.model
        env = {
            "ANTHROPIC_BASE_URL": situation.root_url,
            "ANTHROPIC_AUTH_TOKEN": situation.secret,
            **dict.fromkeys(_MODELS, model.name),
        }
        if model.context is not None:
            env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(model.context)
            if model.context < 4 * _OUTPUT:
                env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(model.context // 4)
        path = folder(situation, "CLAUDE_CONFIG_DIR", ".claude") / "settings.json"
        entries = tuple(Entry(("env", name), value) for name, value in env.items())
        files = (FileSettings(str(path), "json", entries),)
        return Settings(files, notes=_notes(situation), rivals=_RIVALS)


def _notes(situation: Situation) -> tuple[Finding, ...]:
    if not situation.environ.get("ANTHROPIC_API_KEY"):
        return ()
    return (
        warning(
            "two_keys",
            N_("ANTHROPIC_API_KEY is set in this shell: Claude Code sends it beside FLM's key, and "
               "FLM refuses a request with two different keys of its own."),
            N_("Unset it for Claude Code: `{line}`."),
            line="set ANTHROPIC_API_KEY="
            if situation.platform == "win32"
            else "unset ANTHROPIC_API_KEY",
        ),
    )  # fmt: skip

"""Every client on every platform: where its files lie, and what they hold."""

from __future__ import annotations

import pytest

from flm.ports.machine import Platform
from flm.services.connect.formats import applied
from flm.services.connect.registry import REGISTRY
from flm.services.connect.shells import Shell, assigned, copied, shell_of
from flm.services.connect.situation import CLIENTS, ClientName
from services.connect_support import KEY, MODEL, situation

HOME = "/home/user"
WINDOWS = "C:\\Users\\you"


@pytest.mark.parametrize(
    ("client", "platform", "environ", "paths"),
    [
        ("claude", "linux", {}, [f"{HOME}/.claude/settings.json"]),
        ("claude", "darwin", {}, ["/Users/you/.claude/settings.json"]),
        ("claude", "win32", {}, [f"{WINDOWS}\\.claude\\settings.json"]),
        ("claude", "linux", {"CLAUDE_CONFIG_DIR": "/c"}, ["/c/settings.json"]),
        ("claude", "linux", {"CLAUDE_CONFIG_DIR": "c"}, [f"{HOME}/.claude/settings.json"]),
        ("codex", "linux", {}, [f"{HOME}/.codex/config.toml"]),
        ("codex", "darwin", {}, ["/Users/you/.codex/config.toml"]),
        ("codex", "win32", {}, [f"{WINDOWS}\\.codex\\config.toml"]),
        ("codex", "win32", {"CODEX_HOME": "D:\\cx"}, ["D:\\cx\\config.toml"]),
        ("continue", "linux", {}, [f"{HOME}/.continue/config.yaml"]),
        ("continue", "darwin", {}, ["/Users/you/.continue/config.yaml"]),
        ("continue", "win32", {}, [f"{WINDOWS}\\.continue\\config.yaml"]),
        ("continue", "linux", {"CONTINUE_GLOBAL_DIR": "/co"}, ["/co/config.yaml"]),
        ("aider", "linux", {}, [f"{HOME}/.aider.conf.yml", f"{HOME}/.aider.model.metadata.json"]),
        (
            "aider",
            "darwin",
            {},
            ["/Users/you/.aider.conf.yml", "/Users/you/.aider.model.metadata.json"],
        ),
        (
            "aider",
            "win32",
            {},
            [f"{WINDOWS}\\.aider.conf.yml", f"{WINDOWS}\\.aider.model.metadata.json"],
        ),
        ("zed", "linux", {}, [f"{HOME}/.config/zed/settings.json"]),
        ("zed", "linux", {"XDG_CONFIG_HOME": "/x"}, ["/x/zed/settings.json"]),
        ("zed", "linux", {"XDG_CONFIG_HOME": "x"}, [f"{HOME}/.config/zed/settings.json"]),
        ("zed", "linux", {"FLATPAK_XDG_CONFIG_HOME": "/f"}, ["/f/zed/settings.json"]),
        ("zed", "darwin", {"XDG_CONFIG_HOME": "/x"}, ["/Users/you/.config/zed/settings.json"]),
        ("zed", "win32", {}, [f"{WINDOWS}\\AppData\\Roaming\\Zed\\settings.json"]),
        ("zed", "win32", {"APPDATA": "D:\\r"}, ["D:\\r\\Zed\\settings.json"]),
        ("open-webui", "linux", {}, []),
        ("open-webui", "darwin", {}, []),
        ("open-webui", "win32", {}, []),
        ("env", "linux", {}, []),
        ("env", "darwin", {}, []),
        ("env", "win32", {}, []),
    ],
)
def test_a_clients_files_lie_where_it_looks(
    client: ClientName, platform: Platform, environ: dict[str, str], paths: list[str]
) -> None:
    """By its own documents, its variables before its habit; relative ones are left aside."""
    settings = REGISTRY[client].settings(situation(platform, environ))

    assert [file.path for file in settings.files] == paths


def shown(client: ClientName, key: str | None = KEY) -> list[str]:
    """What files that held nothing else would hold."""
    settings = REGISTRY[client].settings(situation(key=key))
    return [applied(file.format, "", file.entries) for file in settings.files]


def test_claude_codes_settings() -> None:
    """The base URL without /v1, the key as a token, and one model under all names."""
    (text,) = shown("claude")

    assert (
        text
        == f"""{{
  "env": {{
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:8356",
    "ANTHROPIC_AUTH_TOKEN": "{KEY}",
    "ANTHROPIC_MODEL": "qwen3:8b",
    "ANTHROPIC_DEFAULT_OPUS_MODEL": "qwen3:8b",
    "ANTHROPIC_DEFAULT_SONNET_MODEL": "qwen3:8b",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "qwen3:8b",
    "ANTHROPIC_DEFAULT_FABLE_MODEL": "qwen3:8b",
    "CLAUDE_CODE_SUBAGENT_MODEL": "qwen3:8b",
    "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "65536",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "16384"
  }}
}}
"""
    )


def test_codexs_settings_with_a_key_in_the_file() -> None:
    """Its documented way for keys that every program of its family finds."""
    (text,) = shown("codex")

    assert (
        text
        == f"""model = "qwen3:8b"
model_provider = "flm"
model_context_window = 65536

[model_providers.flm]
name = "FLM"
base_url = "http://127.0.0.1:8356/v1"
wire_api = "responses"
experimental_bearer_token = "{KEY}"
"""
    )


def test_codexs_settings_as_they_are_shown() -> None:
    """Without a key they name the variable."""
    (text,) = shown("codex", None)

    assert text.endswith('wire_api = "responses"\nenv_key = "FLM_API_KEY"\n')


def test_continues_settings() -> None:
    """A model among the models, and what a new file cannot be without."""
    (text,) = shown("continue")

    assert (
        text
        == f"""name: "Local Config"
version: "1.0.0"
schema: v1
models:
  - name: FLM
    provider: openai
    model: "qwen3:8b"
    apiBase: "http://127.0.0.1:8356/v1"
    apiKey: {KEY}
    roles: [chat, edit, apply]
    capabilities: [tool_use]
    defaultCompletionOptions:
      contextLength: 65536
"""
    )


def test_aiders_settings() -> None:
    """The configuration, and the context in the models' metadata."""
    conf, metadata = shown("aider")

    assert (
        conf
        == f"""openai-api-base: "http://127.0.0.1:8356/v1"
openai-api-key: {KEY}
model: "openai/qwen3:8b"
"""
    )
    assert (
        metadata
        == """{
  "openai/qwen3:8b": {
    "max_input_tokens": 65536,
    "max_output_tokens": 65536,
    "max_tokens": 65536,
    "input_cost_per_token": 0,
    "output_cost_per_token": 0,
    "litellm_provider": "openai",
    "mode": "chat"
  }
}
"""
    )


def test_zeds_settings() -> None:
    """A provider, whose name makes the variable's; never the key."""
    (text,) = shown("zed")

    assert (
        text
        == """{
  "language_models": {
    "openai_compatible": {
      "FLM": {
        "api_url": "http://127.0.0.1:8356/v1",
        "available_models": [
          {
            "name": "qwen3:8b",
            "display_name": "qwen3:8b",
            "max_tokens": 65536,
            "capabilities": {
              "tools": true,
              "images": false,
              "parallel_tool_calls": false,
              "prompt_cache_key": false
            }
          }
        ]
      }
    }
  }
}
"""
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_settings_that_are_shown_hold_no_key(client: ClientName) -> None:
    """A key is asked for by itself."""
    made = REGISTRY[client].settings(situation())

    assert "flm_" not in repr(made)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_model_of_unknown_context_is_not_given_one(client: ClientName) -> None:
    """Where the field is required it is a small one."""
    model = MODEL._replace(context=None)
    made = REGISTRY[client].settings(situation(model=model))
    text = "".join(applied(file.format, "", file.entries) for file in made.files)

    assert "65536" not in text
    assert "null" not in text


def test_open_webui_on_linux_shares_the_hosts_network() -> None:
    """A container has no other way to a loopback address."""
    lines = REGISTRY["open-webui"].settings(situation()).lines

    assert lines == (
        "export OPENAI_API_BASE_URL=http://127.0.0.1:8356/v1",
        'export OPENAI_API_KEY="$FLM_API_KEY"',
        "export ENABLE_OLLAMA_API=false",
        "open-webui serve",
        "",
        (
            "docker run -d --network=host -e OPENAI_API_BASE_URL=http://127.0.0.1:8356/v1 "
            '-e OPENAI_API_KEY="$FLM_API_KEY" -e ENABLE_OLLAMA_API=false '
            "-v open-webui:/app/backend/data --name open-webui ghcr.io/open-webui/open-webui:main"
        ),
    )


def test_open_webui_elsewhere_goes_by_dockers_name_for_the_host() -> None:
    """Which FLM has to be told, for it answers to names it knows only."""
    *_, allow, docker = REGISTRY["open-webui"].settings(situation("darwin")).lines

    assert allow == "flm config set server.allowed_hosts host.docker.internal"
    assert docker == (
        "docker run -d -p 3000:8080 "
        "-e OPENAI_API_BASE_URL=http://host.docker.internal:8356/v1 "
        '-e OPENAI_API_KEY="$FLM_API_KEY" -e ENABLE_OLLAMA_API=false '
        "-v open-webui:/app/backend/data --name open-webui ghcr.io/open-webui/open-webui:main"
    )


@pytest.mark.parametrize(
    ("platform", "environ", "lines"),
    [
        (
            "linux",
            {},
            (
                "export OPENAI_BASE_URL=http://127.0.0.1:8356/v1",
                'export OPENAI_API_KEY="$FLM_API_KEY"',
                "export ANTHROPIC_BASE_URL=http://127.0.0.1:8356",
                'export ANTHROPIC_AUTH_TOKEN="$FLM_API_KEY"',
                "export OLLAMA_HOST=http://127.0.0.1:8356",
                'export OLLAMA_API_KEY="$FLM_API_KEY"',
            ),
        ),
        (
            "win32",
            {"USERPROFILE": WINDOWS, "PSModulePath": f"{WINDOWS}\\Documents\\PowerShell\\Modules"},
            (
                "$env:OPENAI_BASE_URL = 'http://127.0.0.1:8356/v1'",
                "$env:OPENAI_API_KEY = $env:FLM_API_KEY",
                "$env:ANTHROPIC_BASE_URL = 'http://127.0.0.1:8356'",
                "$env:ANTHROPIC_AUTH_TOKEN = $env:FLM_API_KEY",
                "$env:OLLAMA_HOST = 'http://127.0.0.1:8356'",
                "$env:OLLAMA_API_KEY = $env:FLM_API_KEY",
            ),
        ),
        (
            "win32",
            {"USERPROFILE": WINDOWS, "PSModulePath": "C:\\Windows\\system32\\Modules"},
            (
                'set "OPENAI_BASE_URL=http://127.0.0.1:8356/v1"',
                'set "OPENAI_API_KEY=%FLM_API_KEY%"',
                'set "ANTHROPIC_BASE_URL=http://127.0.0.1:8356"',
                'set "ANTHROPIC_AUTH_TOKEN=%FLM_API_KEY%"',
                'set "OLLAMA_HOST=http://127.0.0.1:8356"',
                'set "OLLAMA_API_KEY=%FLM_API_KEY%"',
            ),
        ),
    ],
)
def test_variables_are_set_in_this_shells_words(
    platform: Platform, environ: dict[str, str], lines: tuple[str, ...]
) -> None:
    """The key stands in none of them."""
    assert REGISTRY["env"].settings(situation(platform, environ)).lines == lines


@pytest.mark.parametrize(
    ("platform", "environ", "shell"),
    [
        ("linux", {"SHELL": "/usr/bin/fish"}, "fish"),
        ("darwin", {"SHELL": "/bin/zsh"}, "sh"),
        ("linux", {}, "sh"),
        ("win32", {"MSYSTEM": "MINGW64", "USERPROFILE": WINDOWS}, "sh"),
        ("win32", {}, "cmd"),
    ],
)
def test_the_shell_is_known_by_its_variables(
    platform: Platform, environ: dict[str, str], shell: Shell
) -> None:
    """Where they tell nothing, it is the platform's oldest."""
    assert shell_of(platform, environ) == shell


def test_values_are_quoted_for_their_shell() -> None:
    """What a shell would read stands between quotes."""
    assert assigned("sh", "A", "it's") == "export A='it'\"'\"'s'"
    assert assigned("fish", "A", "it's \\") == "set -gx A 'it\\'s \\\\'"
    assert assigned("powershell", "A", "it's $x") == "$env:A = 'it''s $x'"
    assert copied("fish", "A") == 'set -gx A "$FLM_API_KEY"'


@pytest.mark.parametrize(
    ("platform", "line"),
    [("linux", "unset ANTHROPIC_API_KEY"), ("win32", "set ANTHROPIC_API_KEY=")],
)
def test_a_second_key_in_claude_codes_environment_is_warned_of(
    platform: Platform, line: str
) -> None:
    """It sends both, and FLM takes no request with two keys."""
    environ = {"ANTHROPIC_API_KEY": "sk-ant-1"}
    (found,) = REGISTRY["claude"].settings(situation(platform, environ)).notes

    assert (found.code, found.values) == ("two_keys", {"line": line})

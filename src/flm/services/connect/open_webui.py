"""Open WebUI: environment variables, or its own pages. It keeps what it was told in its database.

By docs.openwebui.com: reference/env-configuration, features/openai (2026-11). The variables count
at the first start only, unless `ENABLE_PERSISTENT_CONFIG` is False. A container reaches the host's
loopback as `host.docker.internal` with Docker Desktop; on Linux only by sharing the host's
network.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flm.domain.engines import Finding
from flm.errors import N_
from flm.services.connect.shells import assigned, copied, reference, shell_of
from flm.services.connect.situation import Facts, Settings, Situation, note

DOCKER_HOST = "host.docker.internal"
_IMAGE = "ghcr.io/open-webui/open-webui:main"


class OpenWebUi:
    """The web page for chats."""

    facts = Facts("open-webui", "Open WebUI", "chat", keeps_key=False, variable=True, writes=False)

    def settings(self, situation: Situation) -> Settings:
        """For an Open WebUI that runs here, and the line that starts one in Docker."""
        shell = shell_of(situation.platform, situation.environ)
        lines = (
            assigned(shell, "OPENAI_API_BASE_URL", situation.base_url),
            copied(shell, "OPENAI_API_KEY"),
            assigned(shell, "ENABLE_OLLAMA_API", "false"),
            "open-webui serve",
        )
        return Settings(lines=(*lines, "", *_docker(situation)), notes=_notes(situation))


def _docker(situation: Situation) -> tuple[str, ...]:
    """On Linux it shares the host's network; elsewhere it goes by Docker's name for the host."""
    key = reference(shell_of(situation.platform, situation.environ))
    if situation.platform == "linux":
        network, url = "--network=host", situation.base_url
    else:
        network, url = "-p 3000:8080", _for_docker(situation.base_url)
    line = (
        f'docker run -d {network} -e OPENAI_API_BASE_URL={url} -e OPENAI_API_KEY="{key}" '
        f"-e ENABLE_OLLAMA_API=false -v open-webui:/app/backend/data --name open-webui {_IMAGE}"
    )
    if situation.platform == "linux":
        return (line,)
    return (f"flm config set server.allowed_hosts {DOCKER_HOST}", line)


def _for_docker(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{DOCKER_HOST}:{parts.port}{parts.path}"


def _notes(situation: Situation) -> tuple[Finding, ...]:
    return (
        note(
            "open_webui_pages",
            N_("One that was started before takes it from its pages only: Admin Panel, Settings, "
               "Connections, OpenAI API, +, with the URL {url} and the key."),
            url=situation.base_url,
        ),
    )  # fmt: skip

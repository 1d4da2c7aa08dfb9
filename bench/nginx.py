"""nginx, twice: as the static engine, and as the plain reverse proxy that FLM is compared with."""

from __future__ import annotations

import os
from pathlib import Path

from bench.machine import program
from bench.upstream import ANSWERS

_FRAME = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    client_max_body_size 0;
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""

_PROXY = """
    upstream engine {{
        server 127.0.0.1:{engine};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering {buffering};
        }}
    }}
"""


def static_engine(folder: Path, port: int) -> list[str]:
    """The command of an nginx that gives every request of a path the same answer."""
    locations = "".join(
        f"        location = {path.decode()} {{ return 200 '{answer}'; }}\n"
        for path, answer in ANSWERS.items()
    )
    server = f"    server {{\n        listen 127.0.0.1:{port} backlog=4096;\n{locations}"
    return _command(folder, server + "        location / { return 404 '{}'; }\n    }\n")


def reverse_proxy(folder: Path, port: int, engine: int, *, streams: bool) -> list[str]:
    """The command of an nginx in front of an engine; without buffering where it streams."""
    buffering = "off" if streams else "on"
    return _command(folder, _PROXY.format(port=port, engine=engine, buffering=buffering))


def _command(folder: Path, servers: str) -> list[str]:
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(_FRAME.format(folder=folder, servers=servers, user=user))
    nginx = program("nginx")
    assert nginx is not None
    return [nginx, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]

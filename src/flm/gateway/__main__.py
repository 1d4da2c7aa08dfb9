"""`python -P -m flm.gateway --channel FD --parent PID`: started by the controller only."""

from __future__ import annotations

import logging
import os
import socket
import sys

from flm import compiled
from flm.ports.clock import SystemClock
from flm.ports.processes import current
from flm.settings import environment

logger = logging.getLogger("flm.gateway")


def main(arguments: list[str]) -> int:
    """Serve until drained. 0: as asked; 1: the parent is gone or the arguments are no such."""
    if len(arguments) != 4 or arguments[0] != "--channel" or arguments[2] != "--parent":
        sys.stderr.write("python -m flm.gateway is started by FLM's controller.\n")
        return 1
    processes = current()
    # It outlives its controller by the 3 s in which it ends what it began: the channel tells it.
    if not processes.harden_child(int(arguments[3]), outlives=True):
        return 1
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s gateway %(levelname)s %(name)s %(message)s",
    )
    reason = compiled.use(environment())  # before anything of the gateway is imported
    logger.info("compiled" if reason is None else f"plain Python: {reason}")
    from flm.gateway.process import GatewayProcess

    channel = socket.socket(fileno=int(arguments[1]))
    channel.setblocking(False)
    loop = processes.new_event_loop()
    try:
        gateway = GatewayProcess(os.getpid(), SystemClock(), processes)
        loop.run_until_complete(gateway.run(channel))
    finally:
        loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Loading and unloading by the controller that runs: it alone can send requests elsewhere first."""

from __future__ import annotations

from flm.ports.engines import Progress, Step
from flm.services.operations import OperationService
from flm.services.proxies import ProxyService
from flm.wire.control import EngineKey, EngineKeyRequest, Operation

_KEY_SECONDS = 5.0


class RunningModels:
    """Implements `flm.services.model_keeping.Controller`."""

    def __init__(self, proxies: ProxyService, operations: OperationService) -> None:
        self._proxies = proxies
        self._operations = operations

    def serves(self) -> bool:
        """Whether something serves this data directory."""
        status = self._proxies.status()
        return status is not None and status.state == "started"

    def key(self, engine: str) -> str | None:
        """The key of an engine that the controller started or knows. Raises `NotRunning`."""
        return self._proxies.demand(EngineKeyRequest(engine=engine), EngineKey, _KEY_SECONDS).key

    def load(self, target: str, progress: Progress) -> None:
        """Have `engine/name` in memory."""
        self._follow(self._operations.load_model(target), progress)

    def unload(self, target: str, progress: Progress) -> None:
        """Have `engine/name` out of memory, when what runs on it has ended."""
        self._follow(self._operations.unload_model(target), progress)

    def _follow(self, begun: Operation, progress: Progress) -> None:
        for turn in self._operations.follow(begun):
            if turn.doing:
                progress(Step(turn.doing, turn.values))

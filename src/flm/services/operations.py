"""What takes long and is done by the controller that runs: begun here, followed turn by turn."""

from __future__ import annotations

from collections.abc import Iterator

from flm.services.proxies import ANSWER_SECONDS, ProxyService, error_of
from flm.wire.control import (
    LoadModelRequest,
    Operation,
    OperationRequest,
    StartEngineRequest,
    StopEngineRequest,
    UnloadModelRequest,
)

TURN_SECONDS = 20.0


class OperationService:
    """The operations of the controller of one data directory.

    Every method raises `NotRunning` when nothing runs, and what the controller refuses with.
    """

    def __init__(self, proxies: ProxyService) -> None:
        self._proxies = proxies

    def start_engine(self, engine: str, arguments: tuple[str, ...] = ()) -> Operation:
        """Begin to start an engine. () stands for the arguments that are set for it."""
        return self._begin(StartEngineRequest(engine=engine, arguments=arguments))

    def stop_engine(self, engine: str) -> Operation:
        """Begin to stop an engine that FLM started."""
        return self._begin(StopEngineRequest(engine=engine))

    def load_model(self, target: str) -> Operation:
        """Begin to take `engine/name` into memory."""
        return self._begin(LoadModelRequest(target=target))

    def unload_model(self, target: str) -> Operation:
        """Begin to take `engine/name` out of memory."""
        return self._begin(UnloadModelRequest(target=target))

    def _begin(
        self,
        request: StartEngineRequest | StopEngineRequest | LoadModelRequest | UnloadModelRequest,
    ) -> Operation:
        return self._proxies.demand(request, Operation, ANSWER_SECONDS)

    def follow(self, operation: Operation) -> Iterator[Operation]:
        """Every turn of it that is seen, the last one included, then the error it ended with."""
        yield operation
        while not operation.over:
            seen = operation.turn
            request = OperationRequest(id=operation.id, seen=seen, wait=TURN_SECONDS)
            seconds = TURN_SECONDS + ANSWER_SECONDS
            operation = self._proxies.demand(request, Operation, seconds)
            if operation.turn != seen:
                yield operation
        if operation.failure is not None:
            raise error_of(operation.failure)

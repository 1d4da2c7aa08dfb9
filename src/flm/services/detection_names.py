"""Ids of found engines: the ones they had before, else new ones that nobody has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from flm.domain.engines import Address, EngineId, EngineKind, KnownEngine
from flm.ports.engines import GENERIC, Identity

PRODUCTS: tuple[str, ...] = (
    *("KoboldCpp", "TabbyAPI", "LocalAI", "Docker Model Runner", "Lemonade", "SGLang"),
    *("FastFlowLM", "Jan", "mlx_lm", "llamafile"),
)
"""The products that have an id of their own; see `flm.engines.fingerprint`."""


def base_of(kind: EngineKind, product: str) -> str:
    """What an engine is called unless that is taken: `vllm`, `koboldcpp`, `custom`."""
    if kind != "custom" or product == GENERIC:
        return kind
    return re.sub("[^a-z0-9._]+", "-", product.lower()).strip("-._") or kind


class Names:
    """Gives ids during one look. ``taken``: ids that are others' in this look.

    ``known``: the engines that were ever found, what the user renamed included.
    """

    def __init__(self, known: Sequence[KnownEngine], taken: Iterable[EngineId]) -> None:
        self._known = known
        self._taken = set(taken)

    def of(self, identity: Identity, address: Address) -> EngineId:
        """The id of what was found there; nobody else gets it in this look."""
        before = self.before(identity.kind, identity.product, address)
        id_ = before if before is not None and before not in self._taken else None
        made = id_ or self._new(base_of(identity.kind, identity.product), address)
        self._taken.add(made)
        return made

    def again(self, kind: EngineKind, product: str, address: Address, last: EngineId) -> EngineId:
        """The id of what was there at the last look as `last`; the user may have renamed it."""
        before = self.before(kind, product, address)
        id_ = before if before is not None and before not in self._taken else last
        self._taken.add(id_)
        return id_

    def before(self, kind: EngineKind, product: str, address: Address) -> EngineId | None:
        """The id it had there; None when it is new, or another product than the one that had it."""
        others = {base_of("custom", name) for name in PRODUCTS} - {base_of(kind, product)}
        for each in self._known:
            if each.kind != kind or each.address != address:
                continue
            if kind != "custom" or re.sub(r"(-\d+)+$", "", each.id) not in others:
                return each.id
        return None

    def of_installed(self, kind: EngineKind, places: Sequence[Address]) -> EngineId | None:
        """The id of a program that is here and does not run; None when it is taken."""
        for each in self._known:
            if each.kind == kind and each.address in places and each.id not in self._taken:
                return each.id
        plain = EngineId(kind)
        others = {each.id for each in self._known if each.kind != kind}
        return None if plain in self._taken or plain in others else plain

    def _new(self, base: str, address: Address) -> EngineId:
        """`vllm`; `vllm-8001` for a second one; `vllm-8001-6` for one on [::1] besides."""
        spoken_for = self._taken | {each.id for each in self._known}
        plain = f"{base}-{address.port}"
        for text in (base, plain, f"{plain}-6"):
            if text not in spoken_for:
                return EngineId(text)
        number = 7
        while f"{plain}-{number}" in spoken_for:
            number += 1
        return EngineId(f"{plain}-{number}")

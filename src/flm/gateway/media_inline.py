"""Putting the images that a request names by URL into it, so that no engine fetches any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from flm.dialects.media import Part, remote_image
from flm.dialects.openai_chat import ChatRequest
from flm.errors import Refusal
from flm.gateway.media_fetch import fetch_failed
from flm.gateway.running import in_task

SECONDS = 10.0
"""For all images of a request, waiting for others' included."""

MOST = 8
TOTAL = 32 << 20
"""Of all images of a request, in base64: what a body may have that holds them itself."""


class Fetcher(Protocol):
    """Who fetches one image."""

    async def fetch(self, url: str, param: str) -> str:
        """The image as a `data:` URL. Raises `Refusal` 400; ``param`` is where its URL stands."""
        ...


async def inline_media(
    chat: ChatRequest, fetcher: Fetcher, hold: Callable[[int], bool] = lambda size: True
) -> ChatRequest:
    """`chat` with every remote image in it as a `data:` URL; the same where there is none.

    `hold` counts bytes that are kept with the request; False: more than all may hold. Raises
    `Refusal`: 400 `too_many_images`, `image_fetch_failed`, `unsupported_image_url` with the place
    in its ``param``; 503 `overloaded`.
    """
    if not chat.remote_media:
        return chat
    wanted = _wanted(chat)
    if len(wanted) > MOST:
        raise Refusal(
            400, "too_many_images", f"At most {MOST} images of a request are fetched.",
            param="messages",
        )  # fmt: skip
    await in_task()
    return _with(chat, await _fetched(wanted, fetcher, hold))


def _wanted(chat: ChatRequest) -> dict[str, str]:
    """URL → where it stands first."""
    wanted: dict[str, str] = {}
    for index, message in enumerate(chat.params.messages):
        if isinstance(message.content, list):
            for place, part in enumerate(message.content):
                url = remote_image(part)
                if url is not None:
                    wanted.setdefault(url, f"messages[{index}].content[{place}].image_url")
    return wanted


async def _fetched(
    wanted: dict[str, str], fetcher: Fetcher, hold: Callable[[int], bool]
) -> dict[str, str]:
    found: dict[str, str] = {}
    kept = 0

    async def one(url: str, param: str) -> None:
        nonlocal kept
        found[url] = image = await fetcher.fetch(url, param)
        kept += len(image)
        if kept > TOTAL:
            raise fetch_failed("the images of the request are too large together", param)
        if not hold(len(image)):
            raise Refusal(
                503, "overloaded", "Too many request bodies are being received.",
                kind="server_error", retry_after=2,
            )  # fmt: skip

    try:
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            for url, param in wanted.items():
                group.create_task(one(url, param), name="image")
    except TimeoutError:
        raise fetch_failed("it took too long", next(iter(wanted.values()))) from None
    except BaseExceptionGroup as errors:  # what a TaskGroup raises; all but refusals goes on
        refusals = errors.subgroup(Refusal)
        if refusals is None:
            raise
        raise _first(refusals) from None
    return found


def _first(errors: BaseExceptionGroup[Refusal]) -> Refusal:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _with(chat: ChatRequest, images: dict[str, str]) -> ChatRequest:
    """`chat` with the images in place of their URLs, in the fields and in what was decoded."""
    messages = msgspec.json.decode(chat.fields["messages"], type=list[dict[str, msgspec.Raw]])
    judged = []
    for raw, message in zip(messages, chat.params.messages, strict=True):
        content = message.content
        if isinstance(content, list) and any(remote_image(part) for part in content):
            content = [_inlined(part, images) for part in content]
            raw["content"] = msgspec.Raw(msgspec.json.encode(content))
            judged.append(msgspec.structs.replace(message, content=content))
        else:
            judged.append(message)
    fields = {**chat.fields, "messages": msgspec.Raw(msgspec.json.encode(messages))}
    params = msgspec.structs.replace(chat.params, messages=judged)
    return msgspec.structs.replace(chat, fields=fields, params=params, remote_media=False)


def _inlined(part: Part, images: dict[str, str]) -> Part:
    """The part with the image itself; of what stood beside its URL only the detail stays."""
    url = remote_image(part)
    if url is None:
        return part
    image = {"url": images[url]}
    given = msgspec.json.decode(part["image_url"])
    detail = given.get("detail") if isinstance(given, dict) else None
    if isinstance(detail, str):
        image["detail"] = detail
    return {**part, "image_url": msgspec.Raw(msgspec.json.encode(image))}

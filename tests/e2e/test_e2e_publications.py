"""APIs, templates and profiles on a gateway that runs: in force as soon as the command returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e_house import CHAT, House, Reply, call, chat


def ask(house: House, model: str, key: str | None = None, **more: Any) -> Reply:
    """A chat with that model."""
    return call(house.served.port, CHAT, key or house.key, chat(model, **more))


def last(house: House) -> dict[str, Any]:
    """What the engine was asked last."""
    return house.switch.asked[-1]


@pytest.fixture
def cleared(house: House) -> Iterator[House]:
    """The house, and afterwards without any API."""
    yield house
    for api in house.flm.tell("api", "list")["apis"]:
        house.flm.tell("api", "delete", api["name"])
    house.flm.tell("config", "set", "models.default", "--default")


def test_a_template_and_a_profile_reach_the_engine(cleared: House) -> None:
    """The client reads its own name for the model, and what was lowered."""
    tell = cleared.flm.tell
    tell("api", "prompts", "set", "e2e", "--system", "Be {{how}}.", "--user", "Q: {{input}}")
    tell(
        "model-profiles", "save", "e2e", "--set", "temperature=0.25", "--cap", "max_tokens=64",
        "--option", "num_ctx=4096",
    )  # fmt: skip
    tell("api", "create", "mine", "--model", "switch/shared", "--prompt-template", "e2e",
         "--var", "how=brief {{input}}", "--profile", "e2e")  # fmt: skip
    answer = ask(cleared, "mine", max_tokens=9000)
    asked = last(cleared)
    assert (answer.status, answer.json["model"]) == (200, "mine")
    assert answer.headers["x-flm-dropped"] == "max_tokens(capped)"
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief {{input}}."},
        {"role": "user", "content": "Q: hi"},
    ]
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("shared", 0.25, 64)
    assert "num_ctx" not in asked
    tell("api", "prompts", "set", "e2e", "--user", "A: {{input}}")
    assert ask(cleared, "mine").status == 200
    assert last(cleared)["messages"] == [{"role": "user", "content": "A: hi"}]


def test_a_pattern_and_the_default_answer_for_names_nobody_has(cleared: House) -> None:
    """And no longer once they are gone."""
    tell = cleared.flm.tell
    assert ask(cleared, "claude-sonnet-4").code == "model_not_found"
    tell("api", "create", "claude-*", "--model", "switch/shared")
    assert ask(cleared, "claude-sonnet-4").json["model"] == "claude-sonnet-4"
    assert ask(cleared, "gpt-4o").status == 404
    tell("config", "set", "models.default", "switch/shared")
    assert ask(cleared, "gpt-4o").json["model"] == "gpt-4o"
    tell("config", "set", "models.default", "--default")
    tell("api", "delete", "claude-*")
    assert (ask(cleared, "claude-sonnet-4").status, ask(cleared, "gpt-4o").status) == (404, 404)


def test_an_api_is_there_for_its_keys_alone(cleared: House) -> None:
    """Others see a name nobody gave, in the list as well; with its last key it is nobody's."""
    tell = cleared.flm.tell
    made = tell("api-keys", "create", "--label", "e2e-team")
    tell("api", "create", "team", "--model", "switch/shared", "--keys", "e2e-team")
    theirs = made["api_key"]

    def listed(key: str) -> list[str]:
        models = call(cleared.served.port, "/v1/models", key).json["data"]
        return [each["owned_by"] for each in models if each["id"] == "team"]

    assert (ask(cleared, "team", theirs).status, listed(theirs)) == (200, ["flm"])
    unknown = ask(cleared, "team")
    assert (unknown.status, unknown.code, listed(cleared.key)) == (404, "model_not_found", [])
    assert call(cleared.served.port, "/v1/models/team", theirs).status == 200
    assert call(cleared.served.port, "/v1/models/team", cleared.key).status == 404
    new = tell("api-keys", "rotate", made["id"])
    assert ask(cleared, "team", new["api_key"]).status == 200
    tell("api-keys", "revoke", new["id"])
    assert (ask(cleared, "team").status, tell("api", "show", "team")["working_keys"]) == (404, [])
    tell("api", "update", "team", "--all-keys")
    assert ask(cleared, "team").status == 200


def test_a_model_that_is_not_there_hands_over_to_the_next(cleared: House) -> None:
    """By the same name."""
    cleared.flm.tell("api", "create", "sure", "--model", "gone", "--fallback", "switch/shared")
    answer = ask(cleared, "sure")
    assert (answer.status, answer.json["model"]) == (200, "sure")

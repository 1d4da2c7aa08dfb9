"""How each kind of engine is started: for this machine only, with secrets in no command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from flm.engines.environment import engine_environment
from flm.engines.llamacpp.launch import LlamaCppStarter
from flm.engines.lmstudio.launch import LmStudioStarter
from flm.engines.ollama.launch import OllamaStarter
from flm.engines.text_generation_webui.launch import TextGenerationWebuiStarter
from flm.engines.vllm.launch import VllmStarter
from flm.errors import InvalidValue, NotPermitted
from flm.ports.engines import Installation, LaunchPlan, Starter

OPENING: list[tuple[Starter, tuple[str, ...], str]] = [
    (VllmStarter(), ("m", "--host", "0.0.0.0"), "--host 0.0.0.0"),
    (VllmStarter(), ("m", "--host=::"), "--host ::"),
    (VllmStarter(), ("m", "--hos", "0.0.0.0"), "--hos"),
    (VllmStarter(), ("m", "--host"), "--host"),
    (VllmStarter(), ("m", "--port", "80"), "--port"),
    (VllmStarter(), ("m", "--api_key", "secret"), "--api-key"),
    (VllmStarter(), ("m", "--allowed-origins", '["*"]'), "--allowed-origins"),
    (LlamaCppStarter(), ("--host", "192.168.1.2"), "--host 192.168.1.2"),
    (LlamaCppStarter(), ("--api-key", "secret"), "--api-key"),
    (LmStudioStarter(), ("--bind", "0.0.0.0"), "--bind 0.0.0.0"),
    (LmStudioStarter(), ("--cors",), "--cors"),
    (OllamaStarter(), ("OLLAMA_HOST=0.0.0.0",), "OLLAMA_HOST=0.0.0.0"),
    (OllamaStarter(), ("OLLAMA_ORIGINS=*",), "OLLAMA_ORIGINS=*"),
]


def plan(
    starter: Starter, program: str, arguments: Sequence[str] = (), port: int = 8123
) -> LaunchPlan:
    """What the starter would do."""
    return starter.plan(Installation(program=program), arguments, port, "the-token")


@pytest.mark.parametrize(("starter", "arguments", "named"), OPENING)
def test_what_would_open_an_engine_or_show_its_key_is_refused(
    starter: Starter, arguments: tuple[str, ...], named: str
) -> None:
    """Whatever the way it is written in; the message begins with the flag."""
    with pytest.raises(InvalidValue) as refused:
        plan(starter, "/bin/lms", arguments)
    assert refused.value.message.startswith(f"{named} ")
    with pytest.raises(InvalidValue) as refused:
        starter.check(arguments)
    assert refused.value.message.startswith(f"{named} ")


@pytest.mark.parametrize(
    ("starter", "arguments"),
    [
        (VllmStarter(), ("m", "--host", "localhost")),
        (LlamaCppStarter(), ("-m", "x")),
        (LmStudioStarter(), ()),
        (OllamaStarter(), ("OLLAMA_NUM_PARALLEL=4",)),
        (TextGenerationWebuiStarter(), ("--model", "x")),
    ],
)
def test_arguments_that_any_start_would_take_are_taken(
    starter: Starter, arguments: tuple[str, ...]
) -> None:
    """Wherever the engine is installed, and whether it is."""
    starter.check(arguments)


def test_vllm_serves_its_model_with_a_key_of_its_own() -> None:
    """FLM's flags come last, so that they count; the key is in the environment only."""
    made = plan(VllmStarter(), "/bin/vllm", ["Qwen/Qwen3-8B", "--max-model-len", "8192"])
    assert made.arguments == (
        "/bin/vllm", "serve", "Qwen/Qwen3-8B", "--max-model-len", "8192",
        "--host", "127.0.0.1", "--port", "8123",
    )  # fmt: skip
    assert made.environment == {"VLLM_API_KEY": "the-token"}
    assert (made.key, made.address.url) == ("the-token", "http://127.0.0.1:8123")
    assert made.ready_seconds == 1800.0


def test_an_address_that_says_what_flm_says_is_no_fault() -> None:
    """It is left out, however it is written."""
    made = plan(VllmStarter(), "/bin/vllm", ["m", "--host", "localhost", "--host=127.0.0.1", "-x"])
    assert made.arguments[:4] == ("/bin/vllm", "serve", "m", "-x")


@pytest.mark.parametrize("arguments", [(), ("--max-model-len", "8")])
def test_vllm_needs_a_model(arguments: tuple[str, ...]) -> None:
    """The remedy shows how one is named."""
    with pytest.raises(InvalidValue) as refused:
        plan(VllmStarter(), "/bin/vllm", arguments)
    assert "flm engines start vllm -- Qwen/Qwen3-8B" in refused.value.remedy


@pytest.mark.parametrize("arguments", [("--model", "m"), ("--config", "vllm.yaml")])
def test_vllm_takes_its_model_from_a_flag_or_a_file_too(arguments: tuple[str, ...]) -> None:
    """Both name one."""
    assert plan(VllmStarter(), "/bin/vllm", arguments).arguments[2:4] == arguments


def test_llamacpp_serves_a_file_or_as_a_router() -> None:
    """The unified program has the server as a command; without a model it is the router."""
    fixed = ("--host", "127.0.0.1", "--port", "8123", "--no-webui", "--metrics")
    one = plan(LlamaCppStarter(), "/bin/llama-server", ["-m", "x.gguf"])
    assert one.arguments == ("/bin/llama-server", "-m", "x.gguf", *fixed)
    assert one.environment == {"LLAMA_API_KEY": "the-token"}
    assert one.key == "the-token"
    router = plan(LlamaCppStarter(), "/bin/llama")
    assert router.arguments == ("/bin/llama", "serve", *fixed)


def test_ollama_listens_where_flm_says() -> None:
    """It knows no key; what it can be told are variables."""
    made = plan(OllamaStarter(), "/bin/ollama", ["OLLAMA_NUM_PARALLEL=4"])
    assert made.arguments == ("/bin/ollama", "serve")
    assert made.environment == {"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_HOST": "127.0.0.1:8123"}
    assert made.key is None
    with pytest.raises(InvalidValue):
        plan(OllamaStarter(), "/bin/ollama", ["--verbose"])


@pytest.mark.parametrize(
    ("installed", "remedy"),
    [
        (Installation(program="/bin/ollama", service="ollama"), "`systemctl start ollama`"),
        (
            Installation(program="/brew/ollama", service="homebrew.mxcl.ollama"),
            "`brew services start ollama`",
        ),
        (Installation(program="/app/ollama", managed_by="Ollama.app"), "Open Ollama.app"),
    ],
)
def test_what_others_keep_running_is_not_started_besides(
    installed: Installation, remedy: str
) -> None:
    """The remedy says how it is started, and how to have FLM start one of the user's own."""
    with pytest.raises(NotPermitted) as refused:
        OllamaStarter().plan(installed, (), 11434, "")
    assert remedy in refused.value.remedy
    assert "flm config set engines.ollama.path" in refused.value.remedy


def test_lm_studio_is_told_by_its_command() -> None:
    """It does not stay, and is stopped by it too; the app alone cannot be told."""
    made = plan(LmStudioStarter(), "/home/me/.lmstudio/bin/lms", ())
    assert made.arguments[1:] == ("server", "start", "--port", "8123", "--bind", "127.0.0.1")
    assert made.stop == ("/home/me/.lmstudio/bin/lms", "server", "stop")
    assert not made.stays
    with pytest.raises(NotPermitted):
        plan(LmStudioStarter(), "/Applications/LM Studio.app")


@pytest.fixture
def webui(tmp_path: Path) -> Path:
    """A folder with text-generation-webui and its Python."""
    (tmp_path / "server.py").touch()
    python = tmp_path / "installer_files" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    return tmp_path


def test_text_generation_webui_runs_in_its_folder_with_its_python(webui: Path) -> None:
    """Its port is in its own variable too, which goes before the flag."""
    made = plan(TextGenerationWebuiStarter("linux"), str(webui), ["--model", "m.gguf"])
    assert made.arguments == (
        f"{webui}/installer_files/env/bin/python", f"{webui}/server.py",
        "--model", "m.gguf", "--api", "--api-port", "8123", "--nowebui",
    )  # fmt: skip
    assert made.environment == {"OPENEDAI_PORT": "8123"}
    assert made.directory == str(webui)
    assert made.key is None


@pytest.mark.parametrize(
    ("platform", "script"),
    [("linux", "start_linux.sh"), ("darwin", "start_macos.sh"), ("win32", "start_windows.bat")],
)
def test_text_generation_webui_without_a_python_is_run_by_its_script(
    tmp_path: Path, platform: str, script: str
) -> None:
    """Each system has one; a folder with neither is none of it."""
    with pytest.raises(InvalidValue):
        plan(TextGenerationWebuiStarter(platform), str(tmp_path))
    (tmp_path / script).touch()
    made = plan(TextGenerationWebuiStarter(platform), str(tmp_path / script))
    assert made.arguments[0] == str(tmp_path / script)


@pytest.mark.parametrize("flag", ["--listen", "--listen_host", "--lis", "--share", "--public-api"])
def test_text_generation_webui_is_not_opened_by_a_flag(webui: Path, flag: str) -> None:
    """Python's parser takes beginnings of flags, and `_` for `-`."""
    with pytest.raises(InvalidValue):
        plan(TextGenerationWebuiStarter("linux"), str(webui), [flag])


def test_text_generation_webui_is_not_opened_by_its_file_of_flags(webui: Path) -> None:
    """The file counts as if its flags were given; comments and harmless flags are fine."""
    flags = webui / "user_data" / "CMD_FLAGS.txt"
    flags.parent.mkdir()
    flags.write_text("# --listen\n--api --cpu\n")
    plan(TextGenerationWebuiStarter("linux"), str(webui))
    flags.write_text("--cpu --listen --api\n")
    with pytest.raises(InvalidValue) as refused:
        plan(TextGenerationWebuiStarter("linux"), str(webui))
    assert refused.value.remedy == f"Take it out of {flags}."


def test_an_engine_gets_what_engines_read_and_no_secret() -> None:
    """Neither FLM's nor that of anything else the user runs."""
    ours = {
        "PATH": "/bin", "HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": "hf",
        "https_proxy": "http://proxy", "LC_ALL": "C", "FLM_MASTER_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret", "OPENAI_API_KEY": "secret", "PYTHONPATH": "/x",
    }  # fmt: skip
    assert sorted(engine_environment(ours)) == [
        "CUDA_VISIBLE_DEVICES", "HF_TOKEN", "HOME", "LC_ALL", "PATH", "https_proxy",
    ]  # fmt: skip

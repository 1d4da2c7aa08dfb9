"""What the embedded engine runs on. Asked of a child, because the library is large."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from flm.errors import N_

ON_CPU = N_(
    "runs on the CPU; wheels for NVIDIA (CUDA), AMD (ROCm) and Vulkan: "
    "pip install xllamacpp --force-reinstall "
    "--index-url https://xorbitsai.github.io/xllamacpp/whl/cu128 (or cu132, rocm-7.2.4, vulkan)"
)
ON_CPU_MAC = N_("runs on the CPU; on Apple silicon the same wheel uses the GPU")
UNKNOWN = N_("could not say what it runs on")

_SECONDS = 5.0


class Device(msgspec.Struct, frozen=True):
    """One device as llama.cpp names it. ``kind``: CPU, GPU, IGPU or ACCEL."""

    kind: str
    name: str


def device_sentence(executable: str) -> str:
    """One sentence on what a model would run on. Starts a child and waits for it (about 0.2 s)."""
    try:
        told = subprocess.run(  # noqa: S603 - our own module
            [executable, "-P", "-m", "flm.engines.embedded.child", "--devices"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        ).stdout
        return sentence(msgspec.json.decode(told, type=list[Device]), sys.platform)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return UNKNOWN


def sentence(devices: list[Device], platform: str) -> str:
    """What these devices mean to somebody who waits for answers."""
    gpus = [device.name for device in devices if device.kind in ("GPU", "IGPU")]
    if gpus:
        return f"runs on the GPU ({', '.join(gpus)})"
    return ON_CPU_MAC if platform == "darwin" else ON_CPU

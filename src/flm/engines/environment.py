"""What an engine that FLM starts gets of FLM's environment: what engines read, and no more.

FLM's own variables may hold secrets, and so may those of whatever else the user runs; a model
server executes code of others (templates, custom kernels, plugins).
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM",
    "TMPDIR", "TMP", "TEMP", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV",
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "USERNAME",
    "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)", "HOMEDRIVE",
    "HOMEPATH", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
})  # fmt: skip
"""Variables of the system, in upper case."""

_PREFIXES = (
    "LC_", "XDG_", "DYLD_", "CONDA_", "CC", "CXX",
    "OLLAMA_", "VLLM_", "LLAMA_", "GGML_", "LMS_", "LMSTUDIO_", "OPENEDAI_", "GRADIO_",
    "HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "TOKENIZERS_", "SENTENCE_",
    "CUDA_", "NVIDIA_", "NCCL_", "HIP_", "HSA_", "ROCM_", "ROCR_", "GPU_", "ONEAPI_", "ZE_",
    "SYCL_", "VK_", "MESA_", "TORCH", "PYTORCH_", "TRITON_", "FLASHINFER_", "RAY_",
    "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "NUMEXPR_",
)  # fmt: skip
"""What the names of engines', libraries' and accelerators' variables begin with."""


def engine_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The variables of `ours` that an engine needs."""
    return {
        name: value
        for name, value in ours.items()
        if name.upper() in _NAMES or name.upper().startswith(_PREFIXES)
    }

"""Commit, versions and machine of this process, for the manifests and for each run."""

import hashlib
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from sb3_course.common.tracking.code import git_commit, versions

PROCESSOR = ("system", "cpu", "cpu_kind")
"""Names of what :func:`of_a_run` knows of the machine; the rest is code and versions."""


@cache
def of_a_run() -> dict[str, str | None]:
    """Return the provenance of a run of this process: commit, versions, system and processor.

    Processors of different models share names, and C libraries choose their code by the features of
    the processor: ``cpu_kind`` distinguishes processors that may compute other last bits.
    """
    system = " ".join([platform.system(), platform.machine(), *platform.libc_ver()])
    return {
        "git_commit": git_commit(),
        **versions(),
        "system": system.strip(),
        "cpu": _cpu_model(),
        "cpu_kind": _cpu_kind(),
    }


def digest_of_code() -> str:
    """Return a short digest of the source of this package's modules."""
    folder = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def memory_gib() -> float | None:
    """Return the memory of this machine or its container in GiB, or None if it is unknown."""
    sizes = []
    with suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):  # a container's share, on Linux
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(sizes) / 2**30 if sizes else None


def machine() -> dict[str, Any]:
    """Return the model and number of the machine's processors, and its system."""
    return {"cpu": _cpu_model(), "cpu_count": os.cpu_count(), "system": platform.system()}


def _cpu_model() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_kind() -> str:
    """Return the processor's family and model, and the instruction set that PyTorch uses."""
    from torch.backends import cpu

    numbers = [f"{name} {_cpu_info(name)}" for name in ("cpu family", "model") if _cpu_info(name)]
    return ", ".join([*numbers, cpu.get_cpu_capability()])


def _cpu_info(name: str) -> str | None:
    """Return a fact about the first processor, or None where the system has no such file."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None

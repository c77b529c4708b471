"""Which process of which machine: enough to tell that one on this machine is gone, also where its number is reused."""

import os
import platform
import socket
from pathlib import Path

BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def host() -> str:
    """The name of this machine, for messages."""
    return socket.gethostname() or "unknown"


def machine() -> str:
    """This machine, since its last start, as far as its process numbers reach; two containers are two machines."""
    parts = [host()]
    try:
        parts += [BOOT.read_text("ascii").strip(), f"{NAMESPACE.stat().st_ino:x}"]
    except (OSError, ValueError):  # not Linux
        parts.append(platform.system())
    return " ".join(parts)


def started(pid: int) -> str | None:
    """When a process of this machine began, in a form that only equality is asked of; None where it has ended.

    A killed process whose parent has not noticed yet counts as ended.
    """
    if BOOT.exists():
        # Ticks since the boot: seconds since 1970 would move with every correction of the clock.
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return "unknown"


def here() -> dict[str, str | int]:
    """This process: ``pid``, ``host``, ``machine`` and ``started``."""
    pid = os.getpid()
    return {"pid": pid, "host": host(), "machine": machine(), "started": started(pid) or "unknown"}

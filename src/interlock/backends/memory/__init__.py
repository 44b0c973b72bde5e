"""The reference backend: everything in this process's memory, exactly as the contract says."""

from interlock.backends.memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]

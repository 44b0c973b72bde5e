"""The cache that several processes share, on Redis or Valkey."""

from __future__ import annotations

from interlock.layers.shared.cache import SharedCache
from interlock.layers.shared.membership import Membership, MembershipSettings

__all__ = ["Membership", "MembershipSettings", "SharedCache"]

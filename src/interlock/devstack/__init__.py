"""A local Supabase without docker: real PostgreSQL and PostgREST, auth, storage, realtime and functions, on one port.

::

    async with running(folder) as stack:
        client = await supabase.acreate_client(stack.url, stack.anon_key)
"""

from interlock.devstack.installing import install
from interlock.devstack.parts import taken
from interlock.devstack.stack import Part, Stack, running

__all__ = ["Part", "Stack", "install", "running", "taken"]

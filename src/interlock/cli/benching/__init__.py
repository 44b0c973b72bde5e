"""`interlock bench`: the same work on several backends, in turns, as a table and a picture."""

from interlock.cli.benching.command import bench
from interlock.cli.benching.plan import Plan, plan_of

__all__ = ["Plan", "bench", "plan_of"]

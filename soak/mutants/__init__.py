"""Protections left out of the layers and the shared cache, one at a time: each must be caught by the schedules or by a scenario."""

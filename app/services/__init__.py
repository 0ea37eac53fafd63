"""What the platform does, one package per noun."""

import importlib
import pkgutil


def load_all() -> None:
    """Import every noun and flow. Beside their rules they say what happens at a deadline, after a payment, and which
    events are mailed: a process that had not loaded one would fail those silently."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)

"""What the platform does, one package per noun."""

import importlib
import pkgutil


def load_all() -> None:
    """Import every noun and flow. Beside their rules they say what happens at a deadline, after a payment, and by
    which ways events leave: a worker that had not loaded one would fail those silently."""
    for name in _modules():
        importlib.import_module(name)


def load_declarations() -> None:
    """Import all events, for their words, and all flows, for what they register: what a server needs besides the nouns
    of its routes. It leaves out what only a worker runs, such as the writing of documents, a fifth of its memory."""
    for name in _modules():
        if name.endswith(".events") or name.startswith(f"{__name__}.flows."):
            importlib.import_module(name)


def _modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(__path__, f"{__name__}.")]

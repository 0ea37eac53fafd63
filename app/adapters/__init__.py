"""The ways out: storage, payment providers, and whoever is written to or called."""

from importlib import import_module


def load_senders() -> None:
    """Import what sends. A server does without; in a worker, the first message would hold up all others meanwhile."""
    for name in ("message_gateways", "public_calls", "push_sender"):
        import_module(f"{__name__}.{name}")

"""Breaks the whole product on purpose, and checks that nothing was lost: `make chaos`. `docs/chaos.md` tells how."""

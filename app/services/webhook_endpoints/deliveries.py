"""Deliveries: which event goes to which endpoint, when it is due, what came of it (realtime.md: Webhooks out).

A delivery is taken up by moving its due time a little into the future. Whoever dies with it in hand leaves it to fall due
again, so it is sent at least once; its id, the event's, is the same each time. The database's time decides.
"""

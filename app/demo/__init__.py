"""Whole flows, played over HTTP and sockets against a running server."""

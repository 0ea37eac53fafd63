"""What was found, as tables and as `bench/latest.json`."""

import json
import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.alone import Alone
from bench.compare import CONNECTIONS, CROWD, SHARE, Comparison, Measured, percentile
from bench.growth import Grown, Growth
from bench.posting import CLIENTS, Posting
from bench.sockets import SOCKETS, Latency, Sockets
from bench.workers import Workers

_LATEST: Final = Path(__file__).with_name("latest.json")
_PACKAGES: Final = ("localbazaar", "fastapi", "starlette", "uvicorn", "uvloop", "pydantic", "sqlalchemy", "asyncpg")
_SLOW_MS: Final = 10
_SLOWEST_MS: Final = 40
"""A path whose p50 or p99 is above these, for somebody who is alone, is shown in red."""


class Server(NamedTuple):
    """The product's process before anybody asked it anything, and after the load."""

    start_seconds: float
    idle_mb: float | None
    loaded_mb: float | None


class Found(NamedTuple):
    cores: int
    load_before: float
    """How much the machine was doing before: above 0.3 or so, believe ratios only."""
    postgres: str
    server: Server
    comparisons: Sequence[Comparison]
    alone: Sequence[Alone]
    workers: Sequence[Workers]
    sockets: Sockets
    posting: Posting | None = None
    """Measured last of what has the world: it leaves a ledger behind that is much larger."""
    growth: Growth | None = None

    @property
    def failures(self) -> list[str]:
        sides = [(c.flow, side) for c in self.comparisons for side in (c.product, c.limit)]
        every = [
            *((name, side.failures) for name, side in sides),
            *((f"two workers, {w.flow}", w.failures) for w in self.workers),
        ]
        refused = [f"{name}: {count} × {what}" for name, failures in every for what, count in failures.items()]
        refused += failures_alone(self.alone)
        return refused + self.sockets.failures + (self.growth.failures if self.growth else [])


def show(found: Found, console: Console) -> None:
    _show_rates(found.comparisons, console)
    _show_latencies(found.comparisons, console)
    show_alone(found.alone, console)
    show_workers(found.workers, console)
    show_sockets(found.sockets, console)
    if found.posting is not None:
        show_posting(found.posting, console)
    if found.growth is not None:
        show_growth(found.growth, console)
    server = found.server
    memory = ", ".join(f"{mb:.0f} MB {when}" for mb, when in zip(server[1:], ("idle", "after load"), strict=True) if mb)
    console.print(f"The server answers {server.start_seconds:.2f} s after its start. Memory: {memory or 'unknown'}.")
    console.print(f"Load of the machine before: {found.load_before:.2f} on {found.cores} cores.")
    show_failures(found.failures, console)


def show_alone(found: Sequence[Alone], console: Console) -> None:
    table = Table("one connection", title="Every path, alone")
    for heading in ("requests", "failed", "first ms", "p50 ms", "p99 ms", "µs server", "µs database"):
        table.add_column(heading, justify="right")
    for noun, paths in groupby(found, lambda path: path.noun):
        table.add_section()
        table.add_row(f"[bold]{noun}")
        for path in paths:
            failed = sum(path.failures.values())
            table.add_row(
                path.path, str(path.count), f"[red]{failed}" if failed else "", f"{path.first:.1f}",
                _coloured(path.p50, _SLOW_MS), _coloured(path.p99, _SLOWEST_MS),
                f"{path.server_microseconds:,.0f}", f"{path.database_microseconds:,.0f}",
            )  # fmt: skip
    console.print(table)


def _coloured(milliseconds: float, at_most: float) -> str:
    return f"{'[red]' if milliseconds > at_most else ''}{milliseconds:.1f}"


def failures_alone(found: Sequence[Alone]) -> list[str]:
    return [f"{a.noun}, {a.path}: {count} × {what}" for a in found for what, count in a.failures.items()]


def show_failures(failures: list[str], console: Console) -> list[str]:
    for failure in failures:
        console.print(f"[red]{escape(failure)}", highlight=False)
    return failures


def alone(found: Sequence[Alone]) -> dict[str, Any]:
    return {
        noun: {
            path.path: {
                "requests": path.count,
                "first_ms": _rounded(path.first),
                "p50_ms": _rounded(path.p50),
                "p99_ms": _rounded(path.p99),
                "server_microseconds": round(path.server_microseconds),
                "database_microseconds": round(path.database_microseconds),
            }
            for path in paths
        }
        for noun, paths in groupby(found, lambda path: path.noun)
    }


def _show_rates(found: Sequence[Comparison], console: Console) -> None:
    table = Table(title=f"One process, {CONNECTIONS} connections that always wait; µs are of processor time")
    for heading in (
        "", "product req/s", "limit req/s", "ratio", "lowest–highest", "alone", f"at {CROWD}", "µs product", "µs limit",
        "ratio of µs", "µs database",
    ):  # fmt: skip
        table.add_column(heading, justify="right" if heading else "left")
    for comparison in found:
        ours, theirs = comparison.product, comparison.limit
        table.add_row(
            comparison.flow,
            f"{ours.rate:,.0f}",
            f"{theirs.rate:,.0f}",
            f"[bold]{median(comparison.ratios):.2f}",
            f"{min(comparison.ratios):.2f}–{max(comparison.ratios):.2f}",
            f"{comparison.ratio_alone:.2f}",
            "" if comparison.ratio_crowded is None else f"{comparison.ratio_crowded:.2f}",
            *(f"{_micros(side.server_seconds, side):.0f}" for side in (ours, theirs)),
            f"{_work_ratio(comparison):.2f}",
            f"{_micros(ours.database_seconds, ours):.0f}",
        )
    console.print(table)


def _show_latencies(found: Sequence[Comparison], console: Console) -> None:
    """Of the product, and the 99th percentile of the limit beside it."""
    loads = ("alone", f"{CONNECTIONS} at {SHARE:.0%} of its rate", f"{CONNECTIONS} that always wait")
    table = Table("ms", title="How long one request takes")
    for load in loads:
        for heading in (f"p50, {load}", "p99", "p99 of the limit"):
            table.add_column(heading, justify="right")
    for comparison in found:
        ours, theirs = comparison.product, comparison.limit
        figures = [
            (percentile(ours.alone, 50), percentile(ours.alone, 99), percentile(theirs.alone, 99)),
            (ours.paced_percentile(50), ours.paced_percentile(99), theirs.paced_percentile(99)),
            (ours.percentile(50), ours.percentile(99), theirs.percentile(99)),
        ]
        table.add_row(comparison.flow, *(_ms(figure) for load in figures for figure in load))
    console.print(table)


def show_posting(found: Posting, console: Console) -> None:
    p50, p99, paced_p50, paced_p99 = (
        _ms(percentile_of(percent))
        for percentile_of in (found.percentile, found.paced_percentile)
        for percent in (50, 99)
    )
    console.print(
        f"Post to the ledger: {median(found.entries):,.0f} entries/s from {CLIENTS} clients to one account of the"
        f" platform, p50 {p50} ms, p99 {p99} ms; at {SHARE:.0%} of that rate over {CONNECTIONS} connections p50"
        f" {paced_p50} ms, p99 {paced_p99} ms; {found.micros(found.process_seconds):.0f} µs of the process"
        f" and {found.micros(found.database_seconds):.0f} µs of the database each. TPC-B on the same server:"
        f" {median(found.tpcb):,.0f} transactions/s. Ratio [bold]{median(found.ratios):.2f}[/bold]"
        f" ({min(found.ratios):.2f}–{max(found.ratios):.2f}); fsync is {found.fsync}."
    )


def show_workers(found: Sequence[Workers], console: Console) -> None:
    for each in found:
        spent = median(share.processor_seconds for share in each.two) * 1e6
        console.print(
            f"Two workers, {each.flow}: {median(share.rate for share in each.two):,.0f}/s, one:"
            f" {median(share.rate for share in each.one):,.0f}/s. Ratio [bold]{median(each.ratios):.2f}[/bold]"
            f" ({min(each.ratios):.2f}–{max(each.ratios):.2f}); {each.cores} cores for servers, database and load"
            f" generator, {spent:.0f} µs of them each, allow at most {each.bound:.2f}."
        )


def show_growth(found: Growth, console: Console) -> None:
    table = Table(title=f"Growth: {found.large_rows:,} rows beside {found.small_rows:,}; µs are of all processes")
    for heading in ("", "µs few", "µs many", "ratio", "p50 few ms", "p50 many ms", "ratio of p50", "lowest–highest"):
        table.add_column(heading, justify="right" if heading else "left")
    for path in found.paths:
        few, many = (median(each.processor_seconds for each in side) * 1e6 for side in (path.small, path.large))
        table.add_row(
            path.path, f"{few:.0f}", f"{many:.0f}", f"[bold]{path.ratio:.2f}",
            *(f"{median(each.p50 for each in side) * 1000:.2f}" for side in (path.small, path.large)),
            f"{path.latency_ratio:.2f}", f"{min(path.latency_ratios):.2f}–{max(path.latency_ratios):.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"Filled in {found.filling_seconds:.0f} s.")
    show_failures(found.failures, console)


def write(found: Found) -> None:
    """Figures, versions, date, number of cores: nothing that tells whose machine it was."""
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": found.cores,
        "load_before": round(found.load_before, 2),
        "versions": {
            "python": platform.python_version(), "postgres": found.postgres,
            **{name: version(name) for name in _PACKAGES},
        },
        "connections": CONNECTIONS,
        "crowd": CROWD,
        "share_of_its_rate": SHARE,
        "server": {name: _rounded(value) for name, value in found.server._asdict().items()},
        "endpoints": {c.flow: _compared(c) for c in found.comparisons},
        "one_connection": alone(found.alone),
        "two_workers": workers(found.workers),
        "sockets": sockets(found.sockets),
        "post_to_the_ledger": found.posting and posting(found.posting),
        "growth": found.growth and growth(found.growth),
        "failures": found.failures,
    }  # fmt: skip
    _LATEST.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read() -> dict[str, Any]:
    """What was found last."""
    document: dict[str, Any] = json.loads(_LATEST.read_text("utf-8"))
    return document


def workers(found: Sequence[Workers]) -> dict[str, Any]:
    return {
        each.flow: {
            "ratio": _rounded(median(each.ratios)),
            "ratios": [_rounded(ratio) for ratio in each.ratios],
            "cores": each.cores,
            "cores_allow": _rounded(each.bound),
            "one_per_second": round(median(share.rate for share in each.one)),
            "two_per_second": round(median(share.rate for share in each.two)),
            "microseconds_of_all_processes": round(median(share.processor_seconds for share in each.two) * 1e6),
        }
        for each in found
    }


def growth(found: Growth) -> dict[str, Any]:
    return {
        "rows": [found.small_rows, found.large_rows],
        "filling_seconds": round(found.filling_seconds),
        "paths": {path.path: _grown(path) for path in found.paths},
    }


def _grown(path: Grown) -> dict[str, Any]:
    few, many = (
        {
            "p50_ms": _rounded(median(each.p50 for each in side) * 1000),
            "microseconds": round(median(each.processor_seconds for each in side) * 1e6),
        }
        for side in (path.small, path.large)
    )
    ratios = [_rounded(ratio) for ratio in path.latency_ratios]
    return {
        "ratio_of_processor_time": _rounded(path.ratio),
        "ratio_of_p50": _rounded(path.latency_ratio),
        "ratios_of_p50": ratios,
        "few": few,
        "many": many,
    }


def posting(found: Posting) -> dict[str, Any]:
    return {
        "ratio": _rounded(median(found.ratios)),
        "ratios": [_rounded(ratio) for ratio in found.ratios],
        "fsync": found.fsync,
        "clients": CLIENTS,
        "entries_per_second": round(median(found.entries)),
        "rounds": [round(rate) for rate in found.entries],
        "p50_ms": _rounded(found.percentile(50) * 1000),
        "p99_ms": _rounded(found.percentile(99) * 1000),
        **_at_share(found),
        "process_microseconds": round(found.micros(found.process_seconds)),
        "database_microseconds": round(found.micros(found.database_seconds)),
        "pgbench_tpcb_per_second": round(median(found.tpcb)),
        "pgbench_rounds": [round(rate) for rate in found.tpcb],
    }


def show_sockets(found: Sockets, console: Console) -> None:
    ours, theirs = found.fan_out, found.bare
    console.print(
        f"{SOCKETS:,} sockets: {ours.per_second:,.0f} deliveries/s when all hear all,"
        f" {ours.server_microseconds:.0f} µs of the server, {ours.database_microseconds:.0f} µs of the database each;"
        " a bare server from memory:"
        f" {theirs.per_second:,.0f}/s, {theirs.server_microseconds:.0f} µs. Ratio of µs"
        f" [bold]{theirs.server_microseconds / ours.server_microseconds:.2f}[/bold]."
        f" {found.opened_per_second:,.0f} opened/s, {found.idle_kb or math.nan:.0f} KB each;"
        f" all are back {found.back_seconds:.1f} s after all broke off."
    )
    table = Table("from the commit to the client", title="Sockets")
    for heading in ("deliveries", "a second", "lost", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for name, latency in found.latencies.items():
        lost = latency.expected - latency.arrived
        figures = (latency.arrived, latency.per_second, lost, latency.p50, latency.p99)
        table.add_row(name, *(f"{figure:,.{digits}f}" for figure, digits in zip(figures, (0, 0, 0, 1, 1), strict=True)))
    console.print(table)


def sockets(found: Sockets) -> dict[str, Any]:
    return {
        "sockets": SOCKETS,
        "opened_per_second": round(found.opened_per_second),
        "idle_kb": _rounded(found.idle_kb),
        "all_back_seconds": _rounded(found.back_seconds),
        "fan_out": {name: _rounded(value) for name, value in found.fan_out._asdict().items()},
        "bare": {name: _rounded(value) for name, value in found.bare._asdict().items()},
        "latencies": {name: _measured(latency) for name, latency in found.latencies.items()},
    }


def _measured(latency: Latency) -> dict[str, Any]:
    return {name: _rounded(value) for name, value in latency._asdict().items()}


def write_part(name: str, part: dict[str, Any]) -> None:
    """This part alone, into what was found before."""
    document = read() | {name: part}
    _LATEST.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _compared(comparison: Comparison) -> dict[str, Any]:
    return {
        "ratio": _rounded(median(comparison.ratios)),
        "ratio_of_processor_time": _rounded(_work_ratio(comparison)),
        "ratios": [_rounded(ratio) for ratio in comparison.ratios],
        "ratio_alone": _rounded(comparison.ratio_alone),
        "ratio_crowded": _rounded(comparison.ratio_crowded),
        "product": _side(comparison.product),
        "limit": _side(comparison.limit),
    }


def _side(side: Measured) -> dict[str, Any]:
    return {
        "requests_per_second": round(side.rate),
        "rounds": [round(rate) for rate in side.rates],
        "p50_ms": _rounded(side.percentile(50) * 1000),
        "p99_ms": _rounded(side.percentile(99) * 1000),
        **_at_share(side),
        "one_connection_p50_ms": _rounded(percentile(side.alone, 50) * 1000),
        "one_connection_p99_ms": _rounded(percentile(side.alone, 99) * 1000),
        "crowd_per_second": side.crowded and round(side.crowded.rate),
        "crowd_p99_ms": side.crowded and _rounded(percentile(side.crowded.latencies, 99) * 1000),
        "server_microseconds": round(_micros(side.server_seconds, side)),
        "database_microseconds": round(_micros(side.database_seconds, side)),
    }


def _at_share(paced: Measured | Posting) -> dict[str, Any]:
    return {
        "at_share_p50_ms": _rounded(paced.paced_percentile(50) * 1000),
        "at_share_p99_ms": _rounded(paced.paced_percentile(99) * 1000),
        "at_share_p99_ms_rounds": [_rounded(percentile(each, 99) * 1000) for each in paced.paced],
    }


def _work_ratio(comparison: Comparison) -> float:
    """As the ratio, but of processor time alone, which neighbours on the machine and a busy database disturb less."""
    ours, theirs = comparison.product, comparison.limit
    return _micros(theirs.server_seconds, theirs) / max(1.0, _micros(ours.server_seconds, ours))


def _micros(seconds: float, side: Measured) -> float:
    return seconds / max(1, len(side.latencies)) * 1e6


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 3)

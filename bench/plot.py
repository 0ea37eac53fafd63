"""What `docs/performance.md` shows: a picture of the ratios, for light and dark pages, and a table."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

_DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
_PICTURE: Final = _DOCS / "performance.svg"
_PAGE: Final = _DOCS / "performance.md"
_BEGIN: Final = "<!-- latest -->"
_END: Final = "<!-- end of latest -->"
_WIDTH: Final = 860
_LEFT: Final = 250
_RIGHT: Final = 110
_ROW: Final = 26
_BAR: Final = 14
_HEAD: Final = 44
_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px }
  .faint { fill: #57606a; font-size: 12px }
  .bar { fill: #2f6fde } .missed { fill: #c4501b }
  .spread { stroke: #24292f; stroke-width: 1.5 } .bound { stroke: #57606a; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .faint { fill: #9198a1 }
    .bar { fill: #6ea8fe } .missed { fill: #f08c5a }
    .spread { stroke: #e6edf3 } .bound { stroke: #9198a1 }
  }
"""


class Bar(NamedTuple):
    name: str
    value: float
    spread: Sequence[float]


class Chart(NamedTuple):
    title: str
    bars: Sequence[Bar]
    bound: float
    at_least: bool
    """Whether the bound is the least that is good, or the most."""

    @property
    def scale(self) -> float:
        """What the whole width stands for."""
        return max(self.bound, *(max(bar.value, *bar.spread) for bar in self.bars)) * 1.05

    @property
    def height(self) -> int:
        return _HEAD + _ROW * len(self.bars)


def draw(found: dict[str, Any]) -> None:
    """Write the picture of what `bench/latest.json` holds."""
    charts = [chart for chart in _charts(found) if chart.bars]
    lines: list[str] = []
    top = 8
    for chart in charts:
        lines += _drawn(chart, top)
        top += chart.height + 16
    _PICTURE.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img"'
        f' aria-label="Ratios of the latest measurement">\n<style>{_STYLE}</style>\n' + "\n".join(lines) + "\n</svg>\n",
        "utf-8",
    )


def _charts(found: dict[str, Any]) -> Iterable[Chart]:
    flows = [Bar(name, each["ratio"], each["ratios"]) for name, each in found["endpoints"].items()]
    if posted := found.get("post_to_the_ledger"):
        flows.append(Bar("post to the ledger, of pgbench", posted["ratio"], posted["ratios"]))
    yield Chart(
        f"Rate, as a part of the bare limit's; {found['connections']} connections, one worker", flows, 0.35, True
    )
    workers = (found.get("two_workers") or {}).items()
    yield Chart("Rate of two workers, of one's", [Bar(name, w["ratio"], w["ratios"]) for name, w in workers], 1.6, True)
    growth = found.get("growth")
    if growth:
        few, many = growth["rows"]
        bars = [
            Bar(name, each["ratio_of_processor_time"], [each["ratio_of_processor_time"]])
            for name, each in growth["paths"].items()
        ]
        yield Chart(f"Processor time with {many:,} rows, of that with {few:,}", bars, 1.3, False)


def _drawn(chart: Chart, top: int) -> Iterable[str]:
    room = _WIDTH - _LEFT - _RIGHT

    def at(value: float) -> float:
        return round(_LEFT + room * value / chart.scale, 1)

    yield f'<text class="title" x="8" y="{top + 16}">{escape(chart.title)}</text>'
    word = "at least" if chart.at_least else "at most"
    yield f'<text class="faint" x="{at(chart.bound)}" y="{top + 34}" text-anchor="middle">{word} {chart.bound}</text>'
    for number, bar in enumerate(chart.bars):
        y = top + _HEAD + _ROW * number
        middle = y + _BAR / 2
        missed = bar.value < chart.bound if chart.at_least else bar.value > chart.bound
        yield f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(bar.name)}</text>'
        yield (
            f'<rect class="{"missed" if missed else "bar"}" x="{_LEFT}" y="{y}" height="{_BAR}" rx="2"'
            f' width="{round(at(bar.value) - _LEFT, 1)}"/>'
        )
        if len(bar.spread) > 1:
            ends = f'x1="{at(min(bar.spread))}" x2="{at(max(bar.spread))}"'
            yield f'<line class="spread" {ends} y1="{middle}" y2="{middle}"/>'
        yield f'<text x="{_WIDTH - _RIGHT + 10}" y="{y + 12}">{bar.value:.2f}</text>'
    bottom = top + _HEAD + _ROW * len(chart.bars) - 6
    yield f'<line class="bound" x1="{at(chart.bound)}" x2="{at(chart.bound)}" y1="{top + 38}" y2="{bottom}"/>'


def _row(name: str, flow: dict[str, Any]) -> str:
    ours, theirs = flow["product"], flow["limit"]
    cells = (
        f"{flow['ratio']:.2f}",
        f"{min(flow['ratios']):.2f}–{max(flow['ratios']):.2f}",
        f"{flow['ratio_of_processor_time']:.2f}",
        f"{ours['requests_per_second']:,}",
        f"{ours['at_share_p99_ms']:.1f} ({theirs['at_share_p99_ms']:.1f})",
        f"{ours['p99_ms']:.1f} ({theirs['p99_ms']:.1f})",
        f"{ours['server_microseconds']:,}",
        f"{ours['database_microseconds']:,}",
    )
    return f"| {name} | " + " | ".join(cells) + " |"


def _posting(posted: dict[str, Any]) -> str:
    return (
        f"The ledger takes {posted['entries_per_second']:,} entries/s from {posted['clients']} clients,"
        f" {posted['ratio']:.2f} of TPC-B ({min(posted['ratios']):.2f}–{max(posted['ratios']):.2f}), p99"
        f" {posted['p99_ms']:.1f} ms; of half as many the p99 is {posted['at_share_p99_ms']:.1f} ms."
    )


def tabulate(found: dict[str, Any]) -> None:
    """Write the table into the page, between its marks."""
    server = found["server"]
    p99 = f"p99 ms at {found['share_of_its_rate']:.0%} (limit's) | at full load (limit's)"
    lines = [
        f"| | Ratio | Lowest–highest | Ratio of µs | Requests/s | {p99} | µs server | µs database |",
        "| --- " + "| ---: " * 8 + "|",
        *(_row(name, flow) for name, flow in found["endpoints"].items()),
        "",
        *([_posting(posted), ""] if (posted := found.get("post_to_the_ledger")) else []),
        f"{found['date']}, {found['cores']} cores, load before {found['load_before']}, PostgreSQL"
        f" {found['versions']['postgres']}, Python {found['versions']['python']}. The server starts in"
        f" {server['start_seconds']:.1f} s and takes {server['idle_mb']:.0f} MB idle, {server['loaded_mb']:.0f} MB"
        " after the load.",
    ]
    before, _, rest = _PAGE.read_text("utf-8").partition(_BEGIN)
    _PAGE.write_text(before + "\n".join([_BEGIN, *lines, _END]) + rest.partition(_END)[2], "utf-8")

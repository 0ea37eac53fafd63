"""The declared tables as documents: lifecycles for `GET /api/v1/lifecycles` and, as diagrams, for `docs/`."""

from app.kernel.events import Event, declared
from app.kernel.lifecycle import LIFECYCLES, Declaration
from app.schemas.base import Answer


class TransitionDocument(Answer):
    action: str
    who: str
    sources: list[str]
    targets: dict[str, list[str]]
    events: list[str]


class LifecycleDocument(Answer):
    subject: str
    statuses: list[str]
    initial_status: str
    created_by: str
    created_events: list[str]
    transitions: list[TransitionDocument]


def lifecycles() -> list[LifecycleDocument]:
    """Every declared lifecycle, by name."""
    return [_document(LIFECYCLES[name].declared) for name in sorted(LIFECYCLES)]


def _document(lifecycle: Declaration) -> LifecycleDocument:
    return LifecycleDocument(
        subject=lifecycle.subject,
        statuses=[status.value for status in lifecycle.statuses],
        initial_status=lifecycle.creation.status,
        created_by=lifecycle.creation.who,
        created_events=[emit.event.name for emit in lifecycle.creation.emits],
        transitions=[
            TransitionDocument(
                action=transition.action,
                who=transition.who,
                sources=sorted(transition.sources),
                targets={source: transition.targets_from(source) for source in sorted(transition.sources)},
                events=[emit.event.name for emit in transition.emits],
            )
            for transition in lifecycle.transitions.values()
        ],
    )


def lifecycle_page() -> str:
    """`docs/lifecycles.md`: a Mermaid diagram and a table for each lifecycle."""
    lines = ["# Lifecycles", "", "Drawn from the declared tables by `localbazaar docs`; do not edit by hand.", ""]
    for document in lifecycles():
        lines += [f"## {document.subject}", "", "```mermaid", "stateDiagram-v2"]
        lines.append(f"    [*] --> {document.initial_status}: create")
        for transition in document.transitions:
            lines += [
                f"    {source} --> {target}: {transition.action}"
                for source, targets in transition.targets.items()
                for target in targets
            ]
        lines += ["```", "", "| action | who | from | to | events |", "| --- | --- | --- | --- | --- |"]
        created = ", ".join(document.created_events) or "–"
        lines.append(f"| create | {document.created_by} | – | {document.initial_status} | {created} |")
        for transition in document.transitions:
            targets = ", ".join(sorted({target for targets in transition.targets.values() for target in targets}))
            events = ", ".join(transition.events) or "–"
            lines.append(
                f"| {transition.action} | {transition.who} | {', '.join(transition.sources)} | {targets} | {events} |"
            )
        lines.append("")
    return "\n".join(lines)


def _ways(event: type[Event]) -> list[str]:
    """By which ways it also leaves, as a line of the catalogue."""
    always = "always by " if event.mandatory else "by "
    ways = [
        words + ", ".join(sorted(channels))
        for words, channels in ((always, event.channels), ("on request by ", event.on_request))
        if channels
    ]
    return [f"Also {'; '.join(ways)}.", ""] if ways else []


def event_page() -> str:
    """`docs/event-catalogue.md`: every event, its fields and its sentences."""
    lines = [
        "# Event catalogue",
        "",
        "Written from the declared events by `localbazaar docs`; do not edit by hand.",
        "",
    ]
    for event in declared():
        lines += [f"## {event.name}", ""]
        if event.__doc__:
            lines += [" ".join(event.__doc__.split()), ""]
        lines += [*_ways(event), "| field | type |", "| --- | --- |"]
        for name, field in event.model_fields.items():
            lines.append(f"| `{name}` | {getattr(field.annotation, '__name__', field.annotation)} |")
        lines += ["", *(f"- {language}: {sentence}" for language, sentence in event.messages.items()), ""]
    return "\n".join(lines)

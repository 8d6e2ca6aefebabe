"""The doctor's checks of what acts by itself: the daemon, its sensors and its schedules."""

import time
from collections.abc import Iterator

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorTick, TickStatus

from openthoughts_dagster.cli.findings import Finding

_SILENT_SECONDS = 300  # the daemon reports every 30 s
_SHOWN = 300  # characters of an error


def check_daemon(instance: dg.DagsterInstance) -> Iterator[Finding]:
    """Find out whether the daemon works, and which sensors and schedules fail or were stopped."""
    beats = instance.get_daemon_heartbeats().values()
    if not beats:
        yield Finding("daemon", None, "no daemon has run on this instance: sensors do nothing (make ui starts one)")
        return
    silent = time.time() - max(beat.timestamp for beat in beats)
    if silent > _SILENT_SECONDS:
        waiting = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
        says = f"was heard last {_format_age(silent)} ago: sensors do nothing, and {waiting:,} runs wait in the queue"
        yield Finding("daemon", None, f"{says} (make ui starts one)")
    newest: dict[str, tuple[InstigatorTick | None, InstigatorState]] = {}
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        tick = ticks[0] if ticks else None
        known = newest.get(state.name)
        if known is None or _time_of(tick) > _time_of(known[0]):  # an older deployment may have left others
            newest[state.name] = (tick, state)
    for name, (tick, state) in sorted(newest.items()):
        what = f"{state.instigator_type.value.lower()} {name}"
        if state.status is InstigatorStatus.STOPPED:
            yield Finding(what, None, "was stopped by a person: it requests nothing until it is started in the UI")
        elif tick is not None and tick.status is TickStatus.FAILURE:
            error = " ".join((tick.error.message if tick.error else "").split())[:_SHOWN]
            yield Finding(
                what, False, f"its last evaluation, {_format_age(time.time() - tick.timestamp)} ago, failed: {error}"
            )


def _time_of(tick: InstigatorTick | None) -> float:
    return tick.timestamp if tick is not None else 0.0


def _format_age(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"

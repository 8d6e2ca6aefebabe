"""`make demo-studies`: runs the studies of the recipe with real students, after `make demo`.

It prints what it finds, even when this is the opposite of the paper: a few hundred steps of a tiny student do not
reproduce a paper.
"""

import sys
import time

import dagster as dg

from openthoughts_dagster.cli.local_runs import alone_in, fail_orphans, load_for_a_demo, stopped_by_a_person
from openthoughts_dagster.cli.study_runs import run_study
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.studies import StudyError, study_named


def main() -> int:
    """Run the studies that are named, or every one, and print the decisions. Exit status 1 when a part failed."""
    start = time.monotonic()
    defs, recipe, settings = load_for_a_demo()
    try:
        studies = [study_named(recipe, name) for name in sys.argv[1:]] or recipe.studies
    except StudyError as error:
        sys.exit(str(error))
    lake, outcomes = Lake(settings.lake), []
    with alone_in(settings.data), dg.DagsterInstance.get() as instance:
        fail_orphans(instance)
        try:
            for study in studies:
                print(f"\n{study.name}: {study.question}", flush=True)
                outcomes.append(run_study(defs, recipe, study, instance, lake, lambda line: print(line, flush=True)))
        finally:
            engine_pool().close()  # at the interpreter's end it would be too late: vLLM's worker is killed first
    print("\nWhat was found here (it reproduces no paper):")
    for outcome in outcomes:
        print(f"  {outcome.study}: {outcome.decision or 'no decision'}")
    generated, trained = sum(o.generated for o in outcomes), sum(o.trained for o in outcomes)
    print(f"\n{generated:,} completions generated, {trained} students trained, in {time.monotonic() - start:.0f} s.")
    failed = {key: problem for outcome in outcomes for key, problem in outcome.failed.items()}
    for key, problem in failed.items():
        print(f"FAILED {key}: {problem}")
    print("\nReports and plots are on the asset study_results in the Dagster UI:  make ui")
    return 1 if failed else 0


if __name__ == "__main__":
    with stopped_by_a_person():
        sys.exit(main())

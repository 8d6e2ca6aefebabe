"""Writes the README of the chart: python -m openthoughts_dagster_tests.kubernetes.chart_readme

Its table has every value of `values.yaml` with the default and the comment that stand there.
"""

import re

import yaml

from openthoughts_dagster_tests.kubernetes.rendering import CHART

README = CHART / "README.md"
_LINE = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][\w.-]*):(?: (?P<value>.*?))?(?: # (?P<comment>.*))?$")
_INTRODUCTION = """# The chart openthoughts

Reasoning-data recipes as Dagster assets on Kubernetes: Dagster's official chart, and around it the recipe, the
description of the cluster, rights, network policies, quotas and priorities. docs/kubernetes.md of the repository walks
through an installation; `values-kind.yaml`, `values-gpu-node.yaml` and `values-production.yaml` are three sets of
values to start from, and `helm test RELEASE` runs `openthoughts doctor`.

## Without the internet
`helm dependency build` fetches the official chart once, where there is a network; the folder `charts/` then holds its
archive, and `helm package` makes one archive of both. The official chart's own schema refers to schemas on the
internet: `helm install --skip-schema-validation` (Helm 3.16 or newer) renders without them, and then the schema of this
chart is not applied either, so check the values first where there is a network. Images to mirror, and where the values
name them (`ci/mirror-values.yaml` in the repository is an example):

| image | value |
|---|---|
| `openthoughts-code`, built from the Dockerfile | `images.code`, and `image` of webserver and daemon |
| `openthoughts-gpu` or `openthoughts-cpu`, built from the Dockerfile | `images.gpu` |
| `docker.io/library/postgres`, only its `pg_isready` | `dagster.postgresql.image` |
| `quay.io/oauth2-proxy/oauth2-proxy` | `loginProxy.image` |

## Values
"""


def values_table() -> str:
    """Every value that is set on a line of its own: key, default, meaning."""
    rows, path = ["| value | default | meaning |", "|---|---|---|"], list[tuple[int, str]]()
    above = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        text = line.strip()
        if text.startswith(("#", "- ")) or not text:
            above = f"{above} {text.lstrip('# ')}".strip() if text.startswith("#") else ""
            continue
        found = _LINE.match(line)
        if found is None:
            continue
        indent = len(found["indent"])
        path = [each for each in path if each[0] < indent] + [(indent, found["key"])]
        value = re.sub(r"^&\w+ ?", "", found["value"] or "")
        meaning = found["comment"] or above
        if value or not path[:-1]:
            name = ".".join(key for _, key in path)
            rows.append(f"| `{name}` | {f'`{_escaped(value)}`' if value else ''} | {_escaped(meaning)} |")
        above = ""
    return "\n".join(rows)


def readme() -> str:
    """The whole page."""
    assert yaml.safe_load((CHART / "values.yaml").read_text())
    return f"{_INTRODUCTION}{values_table()}\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").strip()


if __name__ == "__main__":
    README.write_text(readme())

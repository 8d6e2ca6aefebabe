# syntax=docker/dockerfile:1.7
# Images from the versions of requirements.lock and requirements-gpu.lock:
#   docker build --target code -t REGISTRY/openthoughts-code:TAG .   code location, webserver, daemon, runs, CPU steps
#   docker build --target gpu  -t REGISTRY/openthoughts-gpu:TAG .    steps that run a model; served teachers
#   docker build --target cpu  -t REGISTRY/openthoughts-cpu:TAG .    in place of gpu where there are no accelerators
# Linux x86-64. Dependencies are layers of their own: a change of our code is one layer of a megabyte.

# Our package, as a wheel.
FROM python:3.11.14-slim-bookworm AS wheel
WORKDIR /src
COPY requirements.lock ./
RUN pip install --no-cache-dir -c requirements.lock build==1.6.1 hatchling==1.33.0
COPY pyproject.toml README.md LICENSE ./
COPY openthoughts_dagster openthoughts_dagster
RUN python -m build --wheel --no-isolation --outdir /wheels

# What the image code depends on; some of it is compiled, for which the slim image has no compiler.
FROM python:3.11.14-bookworm AS code-dependencies
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml README.md requirements.lock ./
COPY openthoughts_dagster/__init__.py openthoughts_dagster/
RUN pip install --no-cache-dir -c requirements.lock ".[servers,sources,s3,postgres]" \
    && pip uninstall --yes openthoughts-dagster

FROM python:3.11.14-slim-bookworm AS code
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/scratch \
    DAGSTER_HOME=/opt/dagster/dagster_home \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib
RUN groupadd --gid 10001 openthoughts \
    && useradd --uid 10001 --gid 10001 --home-dir /scratch --create-home --shell /usr/sbin/nologin openthoughts \
    && install --directory --owner 10001 --group 10001 /opt/dagster/dagster_home
COPY --from=code-dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
WORKDIR /scratch
EXPOSE 3030
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s \
    CMD ["dagster", "api", "grpc-health-check", "--port", "3030"]
ENTRYPOINT []
CMD ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "3030", "--module-name", "openthoughts_dagster.definitions"]

# The tiny models of the quickstart on a laptop's cluster: torch without CUDA, the transformers engine.
FROM code AS cpu
USER 0:0
WORKDIR /src
COPY requirements.lock requirements-overrides.txt ./
RUN pip install --no-cache-dir -c requirements.lock --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
    && pip install --no-cache-dir -c requirements.lock "openthoughts-dagster[models]" \
    && pip install --no-cache-dir --no-deps -r requirements-overrides.txt
USER 10001:10001
WORKDIR /scratch

# torch brings CUDA's libraries itself, in the version that it was built with: of the base only the driver's interface
# is used, and `base` is the one without a second copy of them.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS gpu
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/scratch \
    DAGSTER_HOME=/opt/dagster/dagster_home \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    VLLM_NO_USAGE_STATS=1
# Triton compiles kernels when they are first used, for which it needs a compiler and Python's headers.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        g++ python3.12 python3.12-dev python3.12-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3.12 -m venv /opt/venv \
    && groupadd --gid 10001 openthoughts \
    && useradd --uid 10001 --gid 10001 --home-dir /scratch --create-home --shell /usr/sbin/nologin openthoughts \
    && install --directory --owner 10001 --group 10001 /opt/dagster/dagster_home
WORKDIR /src
COPY requirements-gpu.lock requirements-overrides.txt ./
# The largest part is a layer of its own, which changes with torch only.
RUN pip install --no-cache-dir -c requirements-gpu.lock torch==2.13.0
# hadolint ignore=DL3059
RUN pip install --no-cache-dir -c requirements-gpu.lock vllm==0.30.0
COPY pyproject.toml README.md ./
COPY openthoughts_dagster/__init__.py openthoughts_dagster/
RUN pip install --no-cache-dir -c requirements-gpu.lock ".[models,sources,s3,postgres,vllm]" \
    && pip install --no-cache-dir --no-deps -r requirements-overrides.txt \
    && pip uninstall --yes openthoughts-dagster
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
WORKDIR /scratch
EXPOSE 3030
HEALTHCHECK --interval=30s --timeout=15s --start-period=120s \
    CMD ["dagster", "api", "grpc-health-check", "--port", "3030"]
ENTRYPOINT []
CMD ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "3030", "--module-name", "openthoughts_dagster.definitions"]

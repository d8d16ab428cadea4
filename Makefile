# Every target is one line of work; the work itself is in tools/, demo/ and bench/.
# PG_CONFIG chooses the PostgreSQL to build for, CARGO_TARGET_DIR where to build. PG=17 (or 15, 18)
# chooses one with assertions, built from source: make test PG=17.

# The long runs test what users get, and may take as long as they are told to.
LONG = PROFILE=release NEXTEST_PROFILE=long

.PHONY: help setup demo test unit inside outside lint check-versions private install package release-sql bench bench-guard nemesis crash kills fuzz large endurance

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## /  make \1\t/p' Makefile | expand -t 24

setup: ## install what is missing: PostgreSQL's headers, cargo-pgrx, the drivers under test
	@tools/setup.sh

demo: setup ## a shop with live events in the terminal; DEMO_SECONDS=20 ends by itself
	@demo/run

test: setup ## everything: unit tests, tests inside PostgreSQL, tests from outside
	@tools/test.sh

unit: ## only the crates that do not touch PostgreSQL
	@tools/test.sh unit

inside: ## only the tests that run inside a backend
	@tools/test.sh inside

outside: ## only real clusters with real clients; TESTS=lifecycle chooses
	@tools/test.sh outside

crash: setup ## the crash matrix; CRASH_ROUNDS (200), CRASH_SEED (the date)
	@CRASH_ROUNDS=$${CRASH_ROUNDS:-200} CRASH_SEED=$${CRASH_SEED:-$$(date +%s)} \
		$(LONG) TESTS="crash:: --no-capture" tools/test.sh outside

kills: setup ## the server killed under load; KILLS (1,000), KILLS_SEED (the date)
	@KILLS=$${KILLS:-1000} KILLS_SEED=$${KILLS_SEED:-$$(date +%s)} \
		$(LONG) TESTS="kills:: --no-capture" tools/test.sh outside

nemesis: setup ## the weighted random machine; NEMESIS_SECONDS (1800), NEMESIS_SEED (the date)
	@NEMESIS_SECONDS=$${NEMESIS_SECONDS:-1800} NEMESIS_SEED=$${NEMESIS_SEED:-$$(date +%s)} \
		$(LONG) TESTS="nemesis:: --no-capture" tools/test.sh outside

fuzz: ## any text as a query, for FUZZ_SECONDS (600)
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} cargo test --release -p event_source_filter --test fuzz -- --nocapture

large: setup ## transactions of many rows; LARGE_ROWS (5,000,000)
	@LARGE_ROWS=$${LARGE_ROWS:-5000000} $(LONG) TESTS="large:: --no-capture" tools/test.sh outside

endurance: setup ## a day of writing through the smallest log; ENDURANCE_CHANGES (20,000,000)
	@ENDURANCE_CHANGES=$${ENDURANCE_CHANGES:-20000000} \
		$(LONG) TESTS="endurance:: --no-capture" tools/test.sh outside

lint: ## format, clippy, file lengths, licences
	@tools/lint.sh

check-versions: ## type check the extension for every version of PostgreSQL that pgrx knows
	@tools/check-versions.sh

private: ## build and install into the private PostgreSQL of the tests
	@tools/private.sh

install: ## build and install into the PostgreSQL of PG_CONFIG (DESTDIR is honoured)
	@tools/install.sh

package: ## build the tree that install copies and print where it is
	@tools/package.sh

release-sql: ## keep the SQL of this version, on the day of its release (sql/released/README.md)
	@tools/release-sql.sh

bench: setup ## the costs beside those of other ways, as ratios; QUICK=1 the short form
	@QUICK=$(QUICK) bench/run

bench-guard: setup ## instructions per event beside the recorded ones; RECORD=1 records them anew
	@RECORD=$(RECORD) bench/guard.sh

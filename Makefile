# adit: see docs/building.md. GNU make.
#
#   make                 build/aditd, build/aditctl and the test tools; installs what is missing first
#   make check           unit and simulation tests (no root)
#   make test            everything: lint, check, the same under ASan/UBSan, part of it for arm64, and the lab in network
#                        namespaces (root)
#   make arm64           builds for arm64 and runs the tests there, by qemu
#   make demo            the lab with two tunnels, narrated
#   make CC=clang BUILD=build/clang ...     another compiler, its own folder
#   make check ROOMS="base wire" T=test_wire% BUILD=build/mine    part of the tree, part of the tests
#   ADIT_SETUP=no        install nothing    ADIT_CACHE=DIR   the cache (default .cache)

VERSION := 0.1.0

BUILD   ?= build
ROOMS   ?= base wire crypto config ike dp health fleet
PREFIX  ?= /usr/local
AS_ROOT := $(strip $(if $(filter 0,$(shell id -u)),,sudo) env ADIT_CACHE=$(abspath $(or $(ADIT_CACHE),.cache)) BUILD=$(BUILD))
# A make that a target starts uses all processors, unless the caller said how many.
SUBMAKE  = $(MAKE) -s --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))
T       ?= %
FUZZ_SECONDS ?= 20
ifeq ($(origin CC),default)
CC := gcc
endif
export CC

CFLAGS ?= -O2 -g
WERROR ?= -Werror
WARN   := -Wall -Wextra $(WERROR) -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
          -Wformat=2 -Wundef -Wwrite-strings -Wno-missing-field-initializers
HARDEN := -fPIE -fstack-protector-strong
LINK   := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed -Wl,--exclude-libs,ALL -Wl,--gc-sections
# SAN: sanitizers of this build folder; else fortified.
SANITIZE := address,undefined
ifneq ($(SAN),)
HARDEN += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LINK   += $(if $(findstring fuzzer,$(SAN)),-fsanitize=$(SANITIZE),-fsanitize=$(SAN))
else ifeq ($(COV),)
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
ifneq ($(COV),)
HARDEN += --coverage -O0
LINK   += --coverage
endif
# Tests may look into a room's own headers, and unit tests and simulations into each other's lib.
$(BUILD)/obj/tests/%.o: CPPFLAGS += -Isrc -Itests
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Iinclude -DADIT_VERSION='"$(VERSION)"' $(CPPFLAGS) $(CFLAGS) $(WARN) $(HARDEN) \
             -fno-common -ffunction-sections -fdata-sections -MMD -MP $(PKG_CPPFLAGS)
LIBS   = $(CORE_LIBS) $(CTL_LIBS)
# $(call link,LIBRARIES): the target from its objects and archives.
define link
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(CFLAGS) $(HARDEN) $(LINK) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1)
endef

objs = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $(1)))
progs = $(patsubst $(1)/%.c,$(BUILD)/$(2)/%,$(wildcard $(1)/$(3).c))
LIB_OBJS  := $(call objs,$(ROOMS:%=src/%/*.c))
AD_OBJS   := $(call objs,src/io/*.c src/daemon/*.c)
CTL_OBJS  := $(call objs,src/ctl/*.c)
HELP_OBJS := $(call objs,tests/unit/lib/*.c tests/sim/lib/*.c tests/fuzz/lib/*.c)
ADITD     := $(if $(AD_OBJS),$(BUILD)/aditd)
ADITCTL   := $(if $(CTL_OBJS),$(BUILD)/aditctl)
SUITES    := $(call progs,tests/unit,tests,test_*) $(call progs,tests/sim,tests,sim_*)
IO_SUITES := $(call progs,tests/io,tests,test_*)
FUZZ      := $(call progs,tests/fuzz,tests,fuzz_*)
CORPUS    := $(FUZZ:$(BUILD)/tests/fuzz_%=$(BUILD)/tests/corpus_%)
UNIT      := $(filter $(BUILD)/tests/$(T),$(SUITES) $(IO_SUITES) $(CORPUS))
TOOLS     := $(call progs,tests/tools,tests,*)
BENCH     := $(call progs,tests/bench,bench,bench_*)
BENCH_E2E := $(BUILD)/bench/endpoint $(BUILD)/bench/record
BENCH_IKE := $(BUILD)/bench/bench_handshake $(BUILD)/bench/customers
BENCH_OBJS := $(filter-out %/parley.o %/bound.o,$(call objs,tests/bench/lib/*.c))
# The lab mostly waits: its tests run in two rows beside the others.
LAB       := $(patsubst tests/netns/%.sh,%,$(wildcard tests/netns/test_*.sh))
LAB_LONG  := test_interop test_kernel test_trixie
ASAN_MAKE = $(SUBMAKE) BUILD=$(BUILD)/asan SAN=$(SANITIZE)
ASAN_UNIT  = $(UNIT:$(BUILD)/%=$(BUILD)/asan/%)
# Built for arm64 and run by qemu, which knows too little of sockets for the tests of io and is too slow to run all each time.
ARM64_MAKE = conf/setup/arm64 sh -c 'exec $(SUBMAKE) CC="$$CC" AR="$$AR" BUILD=$(BUILD)/arm64 "$$@"' make
ARM64_RUN  = $(patsubst $(BUILD)/%,conf/setup/arm64 qemu-aarch64 $(BUILD)/arm64/%,$(1))
ARM64_UNIT = $(filter-out $(IO_SUITES),$(UNIT))
ARM64_SLOW = %/test_crypto_ke %/test_crypto_mlkem %/test_dp_iv %/test_dp_numbers %/test_dp_threads %/test_dp_workers
ARM64_PART = $(filter-out $(ARM64_SLOW),$(filter $(addprefix $(BUILD)/tests/test_,base_% wire_% crypto_% dp_%),$(UNIT)))
ARM64_TEST = $(if $(filter aarch64,$(shell uname -m)),,tests/arm64 $(foreach t,$(ARM64_PART),"300@$(call ARM64_RUN,$t)"))
# valgrind takes some thirty times as long: the core's tests by itself, a few of them with all others.
VALGRIND_CORE = $(filter $(addprefix $(BUILD)/tests/test_,base_% wire_% crypto_% dp_% ike_%),$(UNIT))
VALGRIND_PART = $(filter $(addprefix $(BUILD)/tests/test_,base_% wire_% crypto_prf crypto_sk dp_memory dp_sa dp_selector),$(UNIT))
VALGRIND_RUN  = $(foreach t,$(1),"1800@tests/valgrind $t")

.PHONY: all programs tests check test demo bench fuzz lint asan asan-tests arm64 arm64-tests valgrind cov install clean soak FORCE
all: programs $(TOOLS)
programs: $(BUILD)/libadit.a $(ADITD) $(ADITCTL)
tests: programs $(UNIT)

# What this machine has; made anew by set-up when missing or outdated. Every goal but clean stands on it.
ifneq ($(MAKECMDGOALS),clean)
include $(BUILD)/config.mk
endif
$(BUILD)/config.mk: conf/setup/deps conf/setup/libcrypto conf/setup/config
	@conf/setup/deps build && conf/setup/libcrypto
	@mkdir -p $(@D) && conf/setup/config >$@.new && mv $@.new $@

$(BUILD)/obj/%.o: %.c Makefile $(BUILD)/config.mk
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) -c -o $@ $<

# gcc optimizes the library as a whole, once for all that link it. Its objects also hold what they are by themselves, for
# tests/lint/symbols.
LTO := $(if $(SAN)$(COV),,$(if $(findstring Free Software,$(shell $(CC) --version 2>/dev/null)),-flto=auto))
ifneq ($(LTO),)
$(LIB_OBJS): CFLAGS += $(LTO) -ffat-lto-objects
endif
$(BUILD)/libadit.a: $(LIB_OBJS)
	@echo "  AR    $@"
	$(if $(LTO),@$(CC) $(ALL_CFLAGS) $(LTO) -r -flinker-output=nolto-rel -o $(@:.a=.o) $^)
	@rm -f $@ && $(AR) rcs $@ $(if $(LTO),$(@:.a=.o),$^)

$(BUILD)/aditd: $(AD_OBJS) $(BUILD)/libadit.a
	$(call link,$(IO_LIBS) $(LIBS))

$(BUILD)/aditctl: $(CTL_OBJS) $(BUILD)/libadit.a
	$(call link,$(LIBS))

# Test programs link the pure library as it is: no stubs.
.SECONDEXPANSION:
$(SUITES): $$(call objs,tests/*/$$(@F).c) $(HELP_OBJS) $(BUILD)/libadit.a
	$(call link,$(LIBS) $(TEST_LIBS) -lz)

# Two look at what happens without memory; one of them is the daemon without its main().
$(BUILD)/tests/test_io_apply: $(filter-out %/main.o,$(call objs,src/daemon/*.c))
$(BUILD)/tests/test_dp_memory $(BUILD)/tests/test_io_apply: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc

# The rings between the daemon's threads, and what waits for all of them.
$(BUILD)/tests/test_daemon_handoff: $(call objs,src/daemon/handoff.c)
$(BUILD)/tests/test_daemon_grace: $(call objs,src/daemon/grace.c)
$(BUILD)/tests/test_daemon_grace: TEST_LIBS += $(IO_LIBS)

# Those of io use the sockets of a network namespace of their own; without the right to make one they are skipped.
$(IO_SUITES): $(BUILD)/tests/%: $(BUILD)/obj/tests/io/%.o $(call objs,tests/io/lib/*.c src/io/*.c) $(BUILD)/libadit.a
	$(call link,$(IO_LIBS) $(LIBS) $(TEST_LIBS))

# The devices that make handshakes are those of the simulation.
$(BENCH_IKE): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(call objs,tests/bench/lib/*.c) $(HELP_OBJS) \
    $(call objs,src/io/entropy.c src/io/error.c) $(BUILD)/libadit.a
	$(call link,$(LIBS) $(TEST_LIBS) -lz)

$(filter-out $(BENCH_IKE),$(BENCH)): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BENCH_OBJS) $(BUILD)/libadit.a
	$(call link,$(LIBS))

# The ends of tests/bench/e2e: the rooms of the daemon without it.
$(BENCH_E2E): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BENCH_OBJS) $(call objs,src/io/*.c) $(BUILD)/libadit.a
	$(call link,$(IO_LIBS) $(LIBS))

# The tools take hostile input: they are always the sanitized build.
ifneq ($(SAN),)
$(TOOLS): $(BUILD)/tests/%: $(BUILD)/obj/tests/tools/%.o $(HELP_OBJS) $(BUILD)/libadit.a
	$(call link,$(LIBS) $(TEST_LIBS) -lz)
else
# One make for all of them: two would write the same archive.
$(TOOLS) &: FORCE
	+@$(ASAN_MAKE) $(TOOLS:$(BUILD)/%=$(BUILD)/asan/%)
	@mkdir -p $(BUILD)/tests && cd $(BUILD)/tests && for t in $(notdir $(TOOLS)); do ln -sf ../asan/tests/$$t $$t; done
endif

# A fuzz target with libFuzzer, and the same over the committed inputs alone.
$(FUZZ): $(BUILD)/tests/%: $(BUILD)/obj/tests/fuzz/%.o $(HELP_OBJS) $(BUILD)/libadit.a
	$(call link,-fsanitize=fuzzer $(LIBS) $(TEST_LIBS) -lz)
$(CORPUS): $(BUILD)/tests/corpus_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(HELP_OBJS) $(BUILD)/libadit.a
	$(call link,$(LIBS) $(TEST_LIBS) -lz)

# The first inputs of every target; tests/fuzz/seed.c says where they come from.
$(BUILD)/seed: $(BUILD)/obj/tests/fuzz/seed.o $(HELP_OBJS) $(BUILD)/libadit.a
	$(call link,$(LIBS) $(TEST_LIBS) -lz)
.PHONY: corpus
corpus: $(BUILD)/seed
	@$<

check: tests
	@tests/run $(UNIT)

asan-tests:
	+@$(ASAN_MAKE) tests
asan: asan-tests
	@tests/run $(ASAN_UNIT)

arm64-tests:
	@conf/setup/deps build arm64 && conf/setup/arm64
	+@$(ARM64_MAKE) -k programs tests
arm64: arm64-tests
	@SIM_SEEDS=$(or $(SIM_SEEDS),20) BUILD=$(BUILD) tests/run tests/arm64 $(foreach t,$(ARM64_UNIT),"1200@$(call ARM64_RUN,$t)")

valgrind: tests
	@conf/setup/deps test
	@BUILD=$(BUILD) tests/run $(call VALGRIND_RUN,$(VALGRIND_CORE))

lint: programs
	@conf/setup/deps lint
	@BUILD=$(BUILD) tests/run 600@tests/lint/run

# A part that does not build is a failed test, not the end of the run.
test:
	@conf/setup/deps build test lint
	-+@$(SUBMAKE) -k all tests
	-+@$(SUBMAKE) -k asan-tests
	-+@$(if $(ARM64_TEST),$(SUBMAKE) arm64-tests)
	@BUILD=$(BUILD) J=3 tests/run "1800@$(AS_ROOT) tests/netns/run $(LAB_LONG)" \
	  "1800@$(AS_ROOT) tests/netns/run $(filter-out $(LAB_LONG),$(LAB))" 1200@tests/lint/run $(UNIT) $(ASAN_UNIT) \
	  $(ARM64_TEST) $(call VALGRIND_RUN,$(VALGRIND_PART))

demo:
	@conf/setup/deps build test
	+@$(SUBMAKE) programs
	@$(AS_ROOT) tests/netns/demo

soak:
	@conf/setup/deps build test
	+@$(SUBMAKE) all tests
	+@$(ASAN_MAKE) programs
	@SIM_SEEDS=$(or $(SIM_SEEDS),3000) tests/run $(addprefix 7200@,$(filter $(BUILD)/tests/sim_%,$(SUITES)))
	@$(AS_ROOT) ADIT_SOAK_SECONDS=$(or $(ADIT_SOAK_SECONDS),3600) tests/netns/soak
	@tests/run "7200@$(AS_ROOT) ADIT_TEST_LIMIT=7200 ADIT_HOSTILE_SECONDS=$(or $(ADIT_HOSTILE_SECONDS),300) tests/netns/run test_hostile"

bench: programs $(BENCH) $(BENCH_E2E) $(BENCH_IKE)
	@conf/setup/deps test
	@for b in $(BENCH); do BUILD=$(BUILD) $$b || exit 1; done
	@for b in handshakes e2e; do $(AS_ROOT) BENCH_SECONDS=$(BENCH_SECONDS) BENCH_ROUNDS=$(BENCH_ROUNDS) tests/bench/$$b || exit 1; done

fuzz:
	@conf/setup/deps lint
	+@$(SUBMAKE) CC=clang BUILD=$(BUILD)/fuzz SAN=fuzzer-no-link,$(SANITIZE) fuzz-run
.PHONY: fuzz-run
fuzz-run: $(FUZZ)
	@for f in $(FUZZ); do n=$${f##*/}; mkdir -p $(BUILD)/corpus/$$n; echo "  FUZZ  $$n $(FUZZ_SECONDS) s"; \
	  $$f -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=2048 -max_len=4096 -len_control=0 -artifact_prefix=$(BUILD)/$$n- -print_final_stats=1 \
	    $(BUILD)/corpus/$$n $$(ls -d tests/fuzz/corpus/$$n 2>/dev/null) >$(BUILD)/$$n.log 2>&1 \
	    && sed -n 's/^stat::number_of_executed_units: */        units /p' $(BUILD)/$$n.log \
	    || { tail -n 30 $(BUILD)/$$n.log; exit 1; }; done

cov:
	+@$(SUBMAKE) BUILD=$(BUILD)/cov COV=1 check
	@tests/cov $(BUILD)/cov

install: programs
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,sbin bin lib/systemd/system share/doc/adit/docs share/doc/adit/examples)
	install -m 755 $(BUILD)/aditd $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(BUILD)/aditctl $(DESTDIR)$(PREFIX)/bin/
	for f in $(wildcard conf/*.service conf/*.socket); do \
	  sed 's|/usr/sbin/|$(PREFIX)/sbin/|' $$f >$(DESTDIR)$(PREFIX)/lib/systemd/system/$${f##*/} || exit 1; done
	install -m 644 LICENSE $(wildcard README.md) $(DESTDIR)$(PREFIX)/share/doc/adit/
	install -m 644 $(wildcard docs/*.md) $(DESTDIR)$(PREFIX)/share/doc/adit/docs/
	for f in $(wildcard conf/*.yaml conf/*.conf); do install -m 644 $$f $(DESTDIR)$(PREFIX)/share/doc/adit/examples/; done
	for f in $(wildcard docs/man/*.[1-8]); do install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$${f##*.} $$f; done

clean:
	rm -rf $(BUILD)

.PHONY: print-flags format
format: # FILES="...": some only
	@clang-format -i $(or $(FILES),$(wildcard include/adit/*.h $(addprefix src/*/,*.[ch]) $(addprefix tests/*/,*.[ch] lib/*.[ch])))
print-flags: # for tests/lint/tidy
	@echo '$(filter-out -MMD -MP -DADIT_VERSION%,$(ALL_CFLAGS)) -Isrc -Itests'

.SECONDARY:
-include $(wildcard $(BUILD)/obj/src/*/*.d $(BUILD)/obj/tests/*/*.d $(BUILD)/obj/tests/*/lib/*.d)

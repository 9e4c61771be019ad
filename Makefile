# osier: structured concurrency for C, on libev. `make help` lists what can be made.

.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules
ifndef V
.SILENT:
endif

# ---- What may be set from outside ----------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(notdir $(CC))),clang++,g++)
endif

CFLAGS ?=#                added to ours, behind them
WERROR ?= -Werror#        WERROR= lets warnings be
CONTEXT ?=#               ucontext: the portable context switch instead of our assembly
TOOL ?=#                  asan, tsan, valgrind or coverage: build and run the tests for it

VARIANT := $(notdir $(lastword $(CC)))$(if $(CONTEXT),-$(CONTEXT))$(if $(TOOL),-$(TOOL))
BUILD ?= build/$(VARIANT)#  where everything goes

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
DESTDIR ?=

# ---- Flags ---------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla \
    -Wpointer-arith -Wwrite-strings -Wredundant-decls -Wformat -Wformat-security -Wimplicit-fallthrough

TOOL_CFLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined,leak -fno-sanitize-recover=all
TOOL_CFLAGS_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread -fno-sanitize-recover=all
TOOL_CFLAGS_valgrind :=
# What is inlined always would have branches of its own in each place; a fork that gcc knows forgets what its handlers ran;
# threads that count at once would leave numbers that do not go together.
TOOL_CFLAGS_coverage := -O0 --coverage -fprofile-update=atomic -Dalways_inline= -fno-builtin-fork
TOOL_CFLAGS := $(TOOL_CFLAGS_$(TOOL))

# Optimizers that instrument the code warn of what is not there: a tool's build only shows its warnings.
COMMON := -std=gnu11 -O2 -g -D_GNU_SOURCE -pthread $(WARNINGS) $(if $(TOOL),,$(WERROR)) \
    $(if $(filter ucontext,$(CONTEXT)),-DOSR_CONTEXT_UCONTEXT) $(TOOL_CFLAGS)

# A processor's shadow stack would have to be switched as well, which is not done: no object may say that it could be.
LIBRARY_FLAGS := $(COMMON) -fvisibility=hidden -fstack-clash-protection -fno-plt -Iinclude -Isrc $(CFLAGS) -fcf-protection=none
TEST_FLAGS := $(COMMON) -Iinclude -Isrc -Itests $(CFLAGS)
EXAMPLE_FLAGS := $(COMMON) -Iinclude $(CFLAGS)

LINK := $(CC) -pthread $(TOOL_CFLAGS) $(CFLAGS) $(LDFLAGS)
LIBS := -lev -lm

# ---- Files ---------------------------------------------------------------------------------------------

VERSION := $(shell sed -n 's/^#define OSR_VERSION  *"\(.*\)"/\1/p' include/osier/base.h)

# The test kit is a library of its own, on the public headers of the other one.
KIT_SOURCES := $(sort $(wildcard src/9_test/*.c))
SOURCES := $(filter-out $(KIT_SOURCES),$(sort $(wildcard src/*/*.c src/*/*.S)))
HEADERS := include/osier.h $(sort $(wildcard include/osier/*.h))
TESTS := $(sort $(wildcard tests/test_*.c))
# It stands in for functions of the C library that ThreadSanitizer calls before the program begins.
TESTS := $(filter-out $(if $(filter tsan,$(TOOL)),tests/test_sys.c),$(TESTS))
# It stands in for the sanitizers themselves.
TESTS := $(filter-out $(if $(filter asan tsan,$(TOOL)),tests/test_tools.c),$(TESTS))
SCRIPTS := $(sort $(wildcard tests/*.test.sh))
EXAMPLES := $(sort $(wildcard examples/*.c))
BENCHES := $(sort $(wildcard tests/bench/*.c))

# These look at the files, or at what runs with a tool of their own: once is enough, without another tool.
FILE_SCRIPTS := tests/asked.test.sh tests/consumer.test.sh tests/floors.test.sh tests/gdb.test.sh tests/graceful.test.sh tests/portable.test.sh tests/snippets.test.sh

STATIC := $(BUILD)/libosier.a
SHARED := $(BUILD)/libosier.so.0
LINKED := $(BUILD)/libosier.so

KIT_STATIC := $(BUILD)/libosier-test.a
KIT_SHARED := $(BUILD)/libosier-test.so.0
KIT_LINKED := $(BUILD)/libosier-test.so

STATIC_OBJECTS := $(SOURCES:src/%=$(BUILD)/static/%.o)
SHARED_OBJECTS := $(SOURCES:src/%=$(BUILD)/shared/%.o)
KIT_STATIC_OBJECTS := $(KIT_SOURCES:src/%=$(BUILD)/static/%.o)
KIT_SHARED_OBJECTS := $(KIT_SOURCES:src/%=$(BUILD)/shared/%.o)
HARNESS := $(BUILD)/tests/harness.o $(BUILD)/tests/told.o $(BUILD)/tests/counts.o
TEST_PROGRAMS := $(TESTS:tests/%.c=$(BUILD)/tests/%)
EXAMPLE_PROGRAMS := $(EXAMPLES:examples/%.c=$(BUILD)/examples/%)
BENCH_PROGRAM := $(BUILD)/bench
BENCH_OBJECTS := $(BENCHES:%.c=$(BUILD)/%.o)
# Those that compare.py runs beside the programs in other languages, and what counts instructions.
PEERS := $(addprefix $(BUILD)/peers/,osier raw libev load shards counts)
FUZZ_PROGRAM := $(BUILD)/fuzzer
# Under the other checkers, which have to see them, the calls by which stacks are made are not stood in for.
FUZZ_KEEP := $(if $(filter-out asan,$(TOOL)),,$(BUILD)/fuzz/keep.o)
FUZZ_SOURCES := $(filter-out fuzz/entry.c fuzz/explore.c $(if $(FUZZ_KEEP),,fuzz/keep.c),$(sort $(wildcard fuzz/*.c fuzz/interpreter/*.c fuzz/model/*.c)))
FUZZ_OBJECTS := $(FUZZ_SOURCES:%.c=$(BUILD)/%.o)
FUZZ_ENTRY := $(filter-out $(addprefix $(BUILD)/fuzz/,main.o generate.o trio.o),$(FUZZ_OBJECTS)) $(BUILD)/fuzz/entry.o
EXPLORE_PROGRAM := $(BUILD)/explorer
EXPLORE_OBJECTS := $(filter-out $(addprefix $(BUILD)/fuzz/,main.o trio.o),$(FUZZ_OBJECTS)) $(BUILD)/fuzz/explore.o

TORTURE_DIR := $(BUILD)/torture
TORTURE_OBJECTS := $(SOURCES:src/%=$(TORTURE_DIR)/src/%.o)
TORTURE_OWN := $(patsubst tests/torture/%.c,$(TORTURE_DIR)/%.o,$(sort $(wildcard tests/torture/*.c))) $(BUILD)/fuzz/hybrid.o $(BUILD)/tests/counts.o
TORTURE_PROGRAM := $(TORTURE_DIR)/torture

# The other targets: a file each, and what they share.
FUZZ_SHARED := $(BUILD)/fuzz/targets/common.o $(BUILD)/fuzz/targets/actors.o $(BUILD)/fuzz/blocks.o $(FUZZ_KEEP)
FUZZ_DRIVER := $(BUILD)/fuzz/targets/driver.o
FUZZ_NAMES := $(filter-out common actors driver,$(basename $(notdir $(sort $(wildcard fuzz/targets/*.c)))))
FUZZ_PROGRAMS := $(FUZZ_NAMES:%=$(BUILD)/fuzz-%)
FUZZ_TARGET_OBJECTS := $(FUZZ_SHARED) $(FUZZ_DRIVER) $(FUZZ_NAMES:%=$(BUILD)/fuzz/targets/%.o)

OBJECTS := $(STATIC_OBJECTS) $(SHARED_OBJECTS) $(KIT_STATIC_OBJECTS) $(KIT_SHARED_OBJECTS) $(HARNESS) $(BENCH_OBJECTS) $(FUZZ_OBJECTS) $(BUILD)/fuzz/entry.o $(BUILD)/fuzz/explore.o $(FUZZ_TARGET_OBJECTS) \
    $(TEST_PROGRAMS:=.o) $(EXAMPLE_PROGRAMS:=.o) $(TORTURE_OBJECTS) $(TORTURE_OWN)

# ---- The library ---------------------------------------------------------------------------------------

.PHONY: all static shared
all: static shared
static: $(STATIC) $(KIT_STATIC)
shared: $(SHARED) $(LINKED) $(KIT_SHARED) $(KIT_LINKED)

$(STATIC): $(STATIC_OBJECTS) $(BUILD)/sources
	echo '  AR   $@'
	rm -f $@
	ar rcs $@ $(STATIC_OBJECTS)

$(SHARED): $(SHARED_OBJECTS) $(BUILD)/sources src/osier.map
	echo '  LINK $@'
	$(LINK) -shared -Wl,-soname,libosier.so.0 -Wl,--version-script=src/osier.map -Wl,-z,relro,-z,now \
	    $(if $(TOOL),,-Wl,-z,defs) -o $@ $(SHARED_OBJECTS) -Wl,--as-needed $(LIBS)

$(LINKED): $(SHARED)
	ln -sf libosier.so.0 $@

$(KIT_STATIC): $(KIT_STATIC_OBJECTS) $(BUILD)/sources
	echo '  AR   $@'
	rm -f $@
	ar rcs $@ $(KIT_STATIC_OBJECTS)

# With frame pointers a sanitizer sees through the kit's allocator who has made a block, and who gave it back.
$(KIT_STATIC_OBJECTS) $(KIT_SHARED_OBJECTS): LIBRARY_FLAGS += -fno-omit-frame-pointer

# It finds the library beside itself, for programs that call only the kit and say where that lies.
$(KIT_SHARED): $(KIT_SHARED_OBJECTS) $(LINKED) $(BUILD)/sources src/osier.map
	echo '  LINK $@'
	$(LINK) -shared -Wl,-soname,libosier-test.so.0 -Wl,--version-script=src/osier.map -Wl,-z,relro,-z,now \
	    $(if $(TOOL),,-Wl,-z,defs) -o $@ $(KIT_SHARED_OBJECTS) -L$(BUILD) -losier -Wl,-rpath,'$$ORIGIN'

$(KIT_LINKED): $(KIT_SHARED)
	ln -sf libosier-test.so.0 $@

# Position-independent for programs only, as the .a is for: shorter code than in the shared library.
$(BUILD)/static/%.o: src/%
	echo '  CC   $<'
	$(CC) $(LIBRARY_FLAGS) -fPIE -MMD -MP -c -o $@ $<

$(BUILD)/shared/%.o: src/%
	echo '  CC   $<'
	$(CC) $(LIBRARY_FLAGS) -fPIC -MMD -MP -c -o $@ $<

# ---- What every object needs ---------------------------------------------------------------------------

# Objects are made anew when the compiler or its flags change, libraries also when a source goes away.
$(OBJECTS): $(BUILD)/flags | needs
$(BUILD)/flags: CONTENT = $(CC) | $(LIBRARY_FLAGS) | $(TEST_FLAGS) | $(EXAMPLE_FLAGS)
$(BUILD)/sources: CONTENT = $(SOURCES) $(KIT_SOURCES)

$(BUILD)/flags $(BUILD)/sources: always
	mkdir -p $(sort $(dir $(OBJECTS)))
	echo '$(CONTENT)' | cmp -s - $@ || echo '$(CONTENT)' >$@

.PHONY: needs always
needs:
	command -v $(firstword $(CC)) >/dev/null || { \
	    echo "osier: there is no compiler '$(firstword $(CC))': install gcc and libc6-dev, or run 'make deps'" >&2; exit 1; }
	echo '#include <ev.h>' | $(CC) $(CFLAGS) -E - >/dev/null 2>&1 || { \
	    echo "osier: libev's header ev.h is missing: install libev-dev (Debian, Ubuntu), libev-devel (Fedora)" \
	         "or libev (Arch, Alpine: libev-dev), or run 'make deps'" >&2; exit 1; }

-include $(OBJECTS:.o=.d)

# ---- What has to be installed --------------------------------------------------------------------------

# Sets of tests/deps.sh: demo, test, tools, fuzz, coverage, aarch64, peers. Where nothing is missing this is silent.
SETS ?= demo test tools

.PHONY: deps deps-demo deps-test deps-tools deps-fuzz deps-coverage deps-peers
deps:
	CC='$(CC)' tests/deps.sh $(SETS)
deps-demo deps-test deps-tools deps-fuzz deps-coverage deps-peers: deps-%:
	CC='$(CC)' tests/deps.sh $*

# ---- Examples ------------------------------------------------------------------------------------------

.PHONY: examples demo
examples: $(EXAMPLE_PROGRAMS)

demo: deps-demo
	$(MAKE) -s examples
	examples/demo.sh $(BUILD)

$(BUILD)/examples/%.o: examples/%.c
	echo '  CC   $<'
	$(CC) $(EXAMPLE_FLAGS) -MMD -MP -c -o $@ $<

$(EXAMPLE_PROGRAMS): %: %.o $(KIT_STATIC) $(STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $< $(KIT_STATIC) $(STATIC) $(LIBS)

# ---- Tests ---------------------------------------------------------------------------------------------

# What jumps as often as tasks do is a twentieth faster if it is not translated beyond jumps.
TOOL_RUN_valgrind := valgrind -q --vex-guest-chase=no --error-exitcode=99 --leak-check=full \
    --show-leak-kinds=definite,indirect,possible --errors-for-leak-kinds=definite,indirect,possible
TOOL_ENV_asan := ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
TOOL_ENV_tsan := TSAN_OPTIONS=second_deadlock_stack=1
SUITE := $(TEST_PROGRAMS) $(if $(TOOL),$(filter-out $(FILE_SCRIPTS),$(SCRIPTS)),$(SCRIPTS))
RUN_TESTS := BUILD='$(BUILD)' CC='$(CC)' CXX='$(CXX)' CFLAGS='$(CFLAGS)' CONTEXT='$(CONTEXT)' TOOL='$(TOOL)' \
    $(TOOL_ENV_$(TOOL)) RUN='$(TOOL_RUN_$(TOOL))' tests/run.sh

.PHONY: test tests suite check-floors
test: deps-test
	$(MAKE) suite

tests: $(TEST_PROGRAMS)

suite: static tests examples $(TORTURE_PROGRAM) $(if $(TOOL),,shared)
	$(RUN_TESTS) $(SUITE)

$(BUILD)/tests/%.o: tests/%.c
	echo '  CC   $<'
	$(CC) $(TEST_FLAGS) -MMD -MP -c -o $@ $<

$(TEST_PROGRAMS): %: %.o $(HARNESS) $(KIT_STATIC) $(STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $< $(HARNESS) $(KIT_STATIC) $(STATIC) -lcmocka $(LIBS)

# A file of src/ includes only its own floor and those below; two files alone know libev.
check-floors:
	tests/floors.test.sh

# ---- Tests under tools ---------------------------------------------------------------------------------

.PHONY: valgrind asan tsan coverage aarch64
valgrind asan tsan: deps-test deps-tools
	$(MAKE) suite TOOL=$@

# The tests, torture, all inputs that the fuzzers keep, and a few orders; then the verdict (tests/README.md).
coverage: deps-test deps-coverage
	[ ! -d build/gcc-coverage ] || find build/gcc-coverage -name '*.gcda' -delete
	status=0; \
	$(MAKE) suite covered-too CC=gcc TOOL=coverage BUILD=build/gcc-coverage || status=$$?; \
	$(REPORTED) coverage 'make coverage' tests/coverage.sh build/gcc-coverage build/coverage && exit $$status

.PHONY: covered-too
covered-too: suite $(TORTURE_PROGRAM) $(EXPLORE_PROGRAM)
	$(TORTURE_PROGRAM) --pairs 0
	$(MAKE) fuzz-corpora TARGET='$(ALL_TARGETS)'
	$(EXPLORE_PROGRAM) --random 1000 --seed 1

# Floors 0 and 1, which hold all that depends on the processor, on the other one that we know.
AARCH64 := aarch64-linux-gnu-gcc
aarch64:
	if command -v $(AARCH64) qemu-aarch64 >/dev/null; then $(MAKE) aarch64-run; \
	else echo "skipped: needs the packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" \
	          "(make deps SETS=aarch64)"; fi

# Once more with protected branches, which jumps may not arrive by that the compiler knows nothing of. Debian's C library
# does without, and so must what links with it: only a shared library of our own is protected.
.PHONY: aarch64-run
aarch64-run: build/aarch64/cross_context build/aarch64/cross_context_bti
	BUILD=build/aarch64 RUN='qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu' tests/run.sh $^

AARCH64_CC := $(AARCH64) -std=gnu11 -O2 -g -D_GNU_SOURCE -pthread $(WARNINGS) $(WERROR) -fstack-clash-protection -Iinclude -Isrc
AARCH64_FILES := tests/cross_context.c $(wildcard src/[01]_*/*)

build/aarch64/cross_context: $(AARCH64_FILES) $(HEADERS)
	mkdir -p $(@D)
	echo '  LINK $@'
	$(AARCH64_CC) -static -o $@ $(filter %.c,$^)

build/aarch64/libprotected.so: $(AARCH64_FILES) $(HEADERS)
	mkdir -p $(@D)
	echo '  LINK $@'
	$(AARCH64_CC) -mbranch-protection=standard -mno-outline-atomics -fPIC -shared -nostartfiles -Dmain=cross_context -Wno-missing-prototypes \
	    -Wl,-z,force-bti,--defsym=__dso_handle=0 -o $@ $(filter %.c,$^)

build/aarch64/cross_context_bti: build/aarch64/libprotected.so
	echo '  LINK $@'
	echo 'int cross_context(void); int main(void) { return cross_context(); }' | \
	    $(AARCH64) -x c -o $@ - -x none $< -Wl,-rpath,'$$ORIGIN'

# ---- Benchmarks ----------------------------------------------------------------------------------------

# All that is measured is built for release, that is with -O2 and NDEBUG (no assertions), in a directory of its own.
RELEASE = $(MAKE) BUILD='$(BUILD)-release' CFLAGS='$(CFLAGS) -DNDEBUG'

# BENCH= is passed on to the program; for bench-peers, to compare.py.
.PHONY: bench bench-run bench-peers bench-check bench-programs
bench:
	$(RELEASE) bench-run

bench-run: $(BENCH_PROGRAM)
	$$(command -v taskset >/dev/null && echo taskset -c 0) $(BENCH_PROGRAM) $(BENCH)

bench-peers: deps-demo
	CC='$(CC)' tests/deps.sh peers || echo 'osier: what is not there is left out'
	$(RELEASE) bench-programs
	tests/bench/compare.py $(BUILD)-release $(BENCH)

bench-programs: $(PEERS)

# RECORD=1: what is counted now is what will be expected.
bench-check: deps-tools
	$(RELEASE) bench-programs
	tests/bench/check.py $(BUILD)-release/peers/counts tests/bench/instructions.txt $(if $(RECORD),--record) || [ $$? = 77 ]

$(BUILD)/peers/%: tests/bench/peers/%.c tests/bench/peers/peer.h $(STATIC)
	mkdir -p $(@D)
	echo '  LINK $@'
	$(CC) $(TEST_FLAGS) $(LDFLAGS) -o $@ $< $(STATIC) $(LIBS)

$(BENCH_PROGRAM): $(BENCH_OBJECTS) $(KIT_STATIC) $(STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $^ $(LIBS)

# ---- The fuzzer (fuzz/README.md) -----------------------------------------------------------------------

FUZZ_FLAGS := $(COMMON) -Iinclude -Ifuzz $(CFLAGS)
# The commit, so that each commit tries other programs, and the same commit the same.
SEED ?= $(shell git rev-parse --short=7 HEAD 2>/dev/null | sed 's/^/0x/')
RUNS ?= $(if $(TOOL),100000,1000000)
TIME ?= 60
JOBS ?= $(shell nproc)

# orders, which is the fuzzer of cancellation orderings, or one of fuzz/targets/; where nothing is said, all of them.
ALL_TARGETS := orders $(FUZZ_NAMES)
TARGET ?= $(ALL_TARGETS)
# Runs a command, and keeps what it says for `make fuzz-report`: $(REPORTED) NAME 'make …' COMMAND.
REPORTED := fuzz/scripts/record.sh
# Where targets are named, the figures are not those of all: such a run has a record of its own.
SOME_TARGETS = $(if $(filter-out file,$(origin TARGET)),-some)
NAMED_TARGETS = $(if $(SOME_TARGETS), TARGET="$(TARGET)")

.PHONY: fuzz fuzz-asked fuzz-campaign fuzz-build fuzz-corpora
fuzz-asked:
	fuzz/scripts/asked.sh 'RUNS=$(RUNS)' 'TIME=$(TIME)' 'JOBS=$(JOBS)' -- $(TARGET)

fuzz-build: $(FUZZ_PROGRAM) $(FUZZ_PROGRAMS)

fuzz: fuzz-asked fuzz-build
	$(TOOL_ENV_$(TOOL)) $(REPORTED) fuzz$(TOOL:%=-%)$(SOME_TARGETS) 'make fuzz RUNS=$(RUNS)$(NAMED_TARGETS)$(TOOL:%= TOOL=%)' fuzz/scripts/run.sh $(BUILD) $(or $(SEED),1) $(RUNS) $(TARGET)

fuzz-campaign: fuzz-asked fuzz-build
	$(TOOL_ENV_$(TOOL)) $(REPORTED) fuzz-campaign$(TOOL:%=-%)$(SOME_TARGETS) 'make fuzz-campaign TIME=$(TIME) JOBS=$(JOBS)$(NAMED_TARGETS)$(TOOL:%= TOOL=%)' fuzz/scripts/campaign.sh $(BUILD) $(TIME) $(JOBS) $(TARGET)

# What is kept, and nothing else: for TOOL=valgrind, and CC=clang TOOL=asan.
fuzz-corpora: fuzz-asked fuzz-build
	RUN='$(TOOL_RUN_$(TOOL))' $(TOOL_ENV_$(TOOL)) fuzz/scripts/corpora.sh $(BUILD) $(TARGET)

# gcc optimizes the fuzzer's own files as one, by which it is a tenth faster, under Valgrind too; there stores of 16 bytes take
# longer than two of 8.
FUZZ_OPTIMIZED_ := -flto=auto
FUZZ_OPTIMIZED_valgrind := -flto=auto -fno-tree-vectorize -fno-tree-slp-vectorize
$(FUZZ_OBJECTS) $(BUILD)/fuzz/explore.o: FUZZ_FLAGS += $(if $(findstring clang,$(CC)),,$(FUZZ_OPTIMIZED_$(TOOL)))

$(BUILD)/fuzz/%.o: fuzz/%.c
	echo '  CC   $<'
	$(CC) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

# It is called before AddressSanitizer is ready; and what it does differs from run to run, which is no coverage.
$(BUILD)/fuzz/keep.o $(BUILD)/fuzz/blocks.o: override CC := $(CC:afl-clang-fast=clang)
$(BUILD)/fuzz/keep.o: FUZZ_FLAGS += -fno-sanitize=all $(if $(TOOL),-DKEEP_EMPTY)

$(FUZZ_PROGRAM): $(FUZZ_OBJECTS) $(STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $^ $(LIBS)

# All small programs in all orders, as far as takes a minute; FULL=1: all of them, SHARE=0/8 the first eighth.
.PHONY: explore
explore: $(EXPLORE_PROGRAM)
	$(TOOL_ENV_$(TOOL)) $(REPORTED) explore$(if $(SHARE),-some) 'make explore$(if $(FULL), FULL=1)$(SHARE:%= SHARE=%)' fuzz/scripts/explore.sh $(EXPLORE_PROGRAM) $(or $(SEED),1) $(if $(FULL)$(SHARE),--full) $(SHARE:%=--share %)

$(BUILD)/fuzz/explore.o: FUZZ_FLAGS += -Isrc

$(EXPLORE_PROGRAM): $(EXPLORE_OBJECTS) $(KIT_STATIC) $(STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $^ $(LIBS)

$(FUZZ_PROGRAMS): $(BUILD)/fuzz-%: $(BUILD)/fuzz/targets/%.o $(FUZZ_SHARED) $(FUZZ_DRIVER) $(KIT_STATIC) $(STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $^ $(LIBS)

# These look at what is inside, or include it.
$(FUZZ_TARGET_OBJECTS): FUZZ_FLAGS += -Isrc

# Programs of what Trio has as well, on Trio: python3-trio, of the set fuzz.
.PHONY: fuzz-trio
fuzz-trio: fuzz-asked $(FUZZ_PROGRAM)
	$(REPORTED) fuzz-trio 'make fuzz-trio RUNS=$(RUNS)' fuzz/scripts/on_trio.sh $(FUZZ_PROGRAM) $(or $(SEED),1) $$(($(RUNS) < 100 ? 1 : $(RUNS) / 100)) || [ $$? = 77 ]

# The same entry points under a fuzzer, by whose compiler all is built; LIB_FUZZING_ENGINE as OSS-Fuzz calls it.
LIB_FUZZING_ENGINE ?= -fsanitize=fuzzer
FUZZ_LINK := $(CXX) -pthread $(TOOL_CFLAGS) $(CFLAGS) $(LDFLAGS)

.PHONY: fuzz-entries libfuzzer libfuzzer-merge afl replay oss-fuzz fuzz-report
fuzz-entries: $(ALL_TARGETS:%=$(BUILD)/entry-%)

$(BUILD)/entry-orders: $(FUZZ_ENTRY) $(STATIC)
	echo '  LINK $@'
	$(FUZZ_LINK) -o $@ $^ $(LIB_FUZZING_ENGINE) $(LIBS)

$(FUZZ_NAMES:%=$(BUILD)/entry-%): $(BUILD)/entry-%: $(BUILD)/fuzz/targets/%.o $(FUZZ_SHARED) $(KIT_STATIC) $(STATIC)
	echo '  LINK $@'
	$(FUZZ_LINK) -o $@ $^ $(LIB_FUZZING_ENGINE) $(LIBS)

# TIME= in seconds for each target, JOBS= processes, TOOL=asan for AddressSanitizer as well.
LIBFUZZER := build/libfuzzer$(TOOL:%=-%)
libfuzzer libfuzzer-merge: fuzz-asked
	$(MAKE) CC=clang CXX=clang++ BUILD=$(LIBFUZZER) CFLAGS='$(CFLAGS) -fsanitize=fuzzer-no-link' $(TARGET:%=$(LIBFUZZER)/entry-%)
	$(TOOL_ENV_$(TOOL)) fuzz/scripts/$@.sh $(LIBFUZZER) $(TIME) $(JOBS) $(TARGET)

# Coverage is the library's alone: what the model, the oracles and the readers of inputs do besides leads nowhere new, and
# counting it takes up to half of the time.
AFL := build/afl$(TOOL:%=-%)
afl: export AFL_LLVM_ALLOWLIST := $(CURDIR)/fuzz/instrumented.txt
afl: fuzz-asked deps-fuzz
	$(MAKE) CC=afl-clang-fast CXX=afl-clang-fast++ BUILD=$(AFL) $(TARGET:%=$(AFL)/entry-%)
	$(REPORTED) afl$(TOOL:%=-%)$(SOME_TARGETS) 'make afl TIME=$(TIME) JOBS=$(JOBS)$(NAMED_TARGETS)$(TOOL:%= TOOL=%)' fuzz/scripts/afl.sh $(AFL) $(TIME) $(JOBS) $(TARGET)

# TOKEN= is a file with an input, or a token of the test kit's.
replay:
	test -n '$(TOKEN)' || { echo 'osier: make replay TOKEN=file, or TOKEN=osr1:…' >&2; exit 2; }
	BUILD='$(BUILD)' TARGET='$(if $(filter-out file,$(origin TARGET)),$(TARGET))' fuzz/scripts/replay.sh '$(TOKEN)'

# The form that OSS-Fuzz and ClusterFuzzLite want, tried with clang: a few minutes.
oss-fuzz: deps-fuzz
	fuzz/oss-fuzz/check.sh build/oss-fuzz

fuzz-report:
	fuzz/scripts/report.py fuzz/README.md build/report

# ---- Torture (tests/README.md) -----------------------------------------------------------------------------

# The library once more, its calls into the system and for memory replaced by those of faults.c; without inlining, so that
# each place that makes them can be told.
PAIRS ?= 100

.PHONY: torture
torture: $(TORTURE_PROGRAM)
	$(TOOL_ENV_$(TOOL)) $(REPORTED) torture$(if $(TORTURE),-some) 'make torture' $(TORTURE_PROGRAM) --pairs $(PAIRS) --seed $(or $(SEED),1) --sites $(TORTURE_DIR)/sites $(TORTURE)
	tests/torture/sites.py $(TORTURE_PROGRAM) $(TORTURE_DIR)/sites src

$(TORTURE_DIR)/src/%.o: src/% tests/torture/calls.txt
	echo '  CC   $<'
	$(CC) $(LIBRARY_FLAGS) -fPIE -fno-inline -fno-optimize-sibling-calls -MMD -MP -c -o $@ $<
	objcopy --redefine-syms=tests/torture/calls.txt $@

$(TORTURE_DIR)/%.o: tests/torture/%.c
	echo '  CC   $<'
	$(CC) $(TEST_FLAGS) -MMD -MP -c -o $@ $<

$(TORTURE_PROGRAM): $(TORTURE_OBJECTS) $(TORTURE_OWN)
	echo '  LINK $@'
	$(LINK) -rdynamic -o $@ $^ $(LIBS)

# ---- Mutants (fuzz/mutants/README.md) --------------------------------------------------------------------

# The library and the test kit once more, with all mutants in them, of which the environment chooses one when a program
# begins; tests and fuzzer are linked to them as they are.
MUTANTS := fuzz/mutants/list.txt
MUTANT_DIR := $(BUILD)/mutants
MUTANT_HEADERS := $(patsubst src/%,$(MUTANT_DIR)/src/%,$(wildcard src/*/*.h))
MUTANT_STATIC := $(MUTANT_DIR)/libosier-mutants.a
MUTANT_KIT := $(MUTANT_DIR)/libosier-test-mutants.a
MUTANT_SOURCES := $(SOURCES:src/%=$(MUTANT_DIR)/src/%)
MUTANT_KIT_SOURCES := $(KIT_SOURCES:src/%=$(MUTANT_DIR)/src/%)
MUTANT_OBJECTS := $(MUTANT_SOURCES:=.o) $(MUTANT_DIR)/mutant.c.o
MUTANT_KIT_OBJECTS := $(MUTANT_KIT_SOURCES:=.o)
MUTANT_PROGRAMS := $(TEST_PROGRAMS:$(BUILD)/tests/%=$(MUTANT_DIR)/%) $(MUTANT_DIR)/fuzzer \
    $(FUZZ_NAMES:%=$(MUTANT_DIR)/fuzz-%)

# MUTANT=: only these, and all programs that kill them.
.PHONY: mutants mutants-build
mutants: mutants-build
	$(TOOL_ENV_$(TOOL)) $(REPORTED) mutants$(if $(MUTANT),-some) 'make mutants' fuzz/mutants/run.py $(MUTANTS) $(MUTANT_DIR) $(MUTANT)

mutants-build: $(MUTANT_PROGRAMS)

$(MUTANT_DIR)/made: $(MUTANTS) fuzz/mutants/generate.py fuzz/mutants/mutants.py $(SOURCES) $(KIT_SOURCES) $(wildcard src/*/*.h)
	command -v python3 >/dev/null || { echo "osier: the mutants need python3" >&2; exit 1; }
	mkdir -p $(@D)
	echo '  MAKE $(MUTANT_DIR)/src'
	fuzz/mutants/generate.py $(MUTANTS) src $(MUTANT_DIR)
	touch $@

# Those that have not changed are left as they were.
$(MUTANT_SOURCES) $(MUTANT_KIT_SOURCES) $(MUTANT_HEADERS) $(MUTANT_DIR)/mutant.c $(MUTANT_DIR)/mutant.h: $(MUTANT_DIR)/made
	:

$(MUTANT_DIR)/%.o: $(MUTANT_DIR)/% $(MUTANT_DIR)/mutant.h $(BUILD)/flags
	echo '  CC   $<'
	$(CC) $(filter-out -Isrc -W%,$(LIBRARY_FLAGS)) -w -I$(MUTANT_DIR)/src -include $(MUTANT_DIR)/mutant.h -MMD -MP -c -o $@ $<

$(MUTANT_STATIC): $(MUTANT_OBJECTS)
$(MUTANT_KIT): $(MUTANT_KIT_OBJECTS)
$(MUTANT_STATIC) $(MUTANT_KIT):
	echo '  AR   $@'
	rm -f $@
	ar rcs $@ $^

$(MUTANT_DIR)/test_%: $(BUILD)/tests/test_%.o $(HARNESS) $(MUTANT_KIT) $(MUTANT_STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $^ -lcmocka $(LIBS)

$(MUTANT_DIR)/fuzzer: $(FUZZ_OBJECTS) $(MUTANT_STATIC)
	echo '  LINK $@'
	$(LINK) -o $@ $^ $(LIBS)

# Two of these include a file of the library, which is then the one with the mutants.
$(MUTANT_DIR)/fuzz-%: fuzz/targets/%.c $(FUZZ_SHARED) $(FUZZ_DRIVER) $(MUTANT_KIT) $(MUTANT_STATIC)
	echo '  LINK $@'
	$(LINK) $(filter-out -W%,$(COMMON)) -w -Iinclude -I$(MUTANT_DIR)/src -include $(MUTANT_DIR)/mutant.h -o $@ $^ $(LIBS)

-include $(MUTANT_OBJECTS:.o=.d) $(MUTANT_KIT_OBJECTS:.o=.d)

# ---- Installing ----------------------------------------------------------------------------------------

TO_HEADERS := $(DESTDIR)$(INCLUDEDIR)
TO_LIBRARY := $(DESTDIR)$(LIBDIR)
TO_GDB := $(DESTDIR)$(DATADIR)/osier
# Where a gdb of the same prefix looks by itself when a program uses the shared library.
TO_AUTO_LOAD := $(DESTDIR)$(DATADIR)/gdb/auto-load$(abspath $(LIBDIR))
PC_VALUES := -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
    -e 's|@VERSION@|$(VERSION)|'

.PHONY: install uninstall
install: all
	echo 'installing into $(DESTDIR)$(PREFIX)'
	install -d $(TO_HEADERS)/osier $(TO_LIBRARY)/pkgconfig
	install -m 644 include/osier.h $(TO_HEADERS)
	install -m 644 include/osier/*.h $(TO_HEADERS)/osier
	install -m 644 $(STATIC) $(KIT_STATIC) $(TO_LIBRARY)
	install -m 755 $(SHARED) $(KIT_SHARED) $(TO_LIBRARY)
	for library in osier osier-test; do \
	    ln -sf lib$$library.so.0 $(TO_LIBRARY)/lib$$library.so && \
	    sed $(PC_VALUES) src/$$library.pc.in >$(TO_LIBRARY)/pkgconfig/$$library.pc && \
	    chmod 644 $(TO_LIBRARY)/pkgconfig/$$library.pc || exit 1; \
	done
	install -d $(TO_GDB) $(TO_AUTO_LOAD)
	install -m 644 src/osier-gdb.py $(TO_GDB)
	install -m 644 src/osier-gdb.py $(TO_AUTO_LOAD)/libosier.so.0-gdb.py

uninstall:
	rm -f $(HEADERS:include/%=$(TO_HEADERS)/%)
	for library in osier osier-test; do \
	    rm -f $(TO_LIBRARY)/lib$$library.a $(TO_LIBRARY)/lib$$library.so $(TO_LIBRARY)/lib$$library.so.0 \
	        $(TO_LIBRARY)/pkgconfig/$$library.pc; \
	done
	rm -f $(TO_GDB)/osier-gdb.py $(TO_AUTO_LOAD)/libosier.so.0-gdb.py
	for directory in $(TO_HEADERS)/osier $(TO_GDB); do [ ! -d $$directory ] || rmdir $$directory; done

# ---- The rest ------------------------------------------------------------------------------------------

.PHONY: clean help
clean:
	rm -rf build

help:
	echo 'make             the library, static and shared'
	echo 'make demo        builds and runs the demonstration; installs what that needs (Debian, Ubuntu)'
	echo 'make test        builds and runs all tests; installs what that needs'
	echo 'make examples    the programs of examples/'
	echo 'make install     into PREFIX ($(PREFIX)), under DESTDIR; also LIBDIR, INCLUDEDIR, DATADIR'
	echo 'make uninstall   takes that away again'
	echo 'make deps        installs what building and testing need; SETS="demo test tools fuzz coverage aarch64"'
	echo
	echo 'make valgrind asan tsan    the tests under memcheck, Address/Undefined/Leak and ThreadSanitizer'
	echo 'make coverage              the tests, and which lines and branches they ran'
	echo 'make aarch64               the context switch on an emulated ARM'
	echo 'make fuzz                  many programs against a model of the rules; SEED= RUNS= TOOL=asan'
	echo 'make fuzz-campaign         the same for TIME= seconds in JOBS= processes; TARGET=: one of $(ALL_TARGETS)'
	echo 'make libfuzzer afl         the same targets, guided by coverage; TARGET= TIME= JOBS='
	echo 'make fuzz-corpora          inputs that are kept, once: TOOL=valgrind, TOOL=asan'
	echo 'make replay                tells what an input or a token does: TOKEN=file, TOKEN=osr1:…'
	echo 'make fuzz-report           the figures of fuzz/README.md, of what has been run since'
	echo 'make torture               each call into the system and for memory fails in turn; PAIRS= SEED='
	echo 'make explore               all small programs in all orders against the model; FULL=1: longer'
	echo 'make fuzz-trio             programs on Trio, which must do what the model says; SEED= RUNS='
	echo 'make mutants               bugs put in on purpose, which the fuzzer and the tests must find; MUTANT="names"'
	echo 'make bench                 benchmarks, on one core; BENCH="arguments"'
	echo 'make bench-peers           the same work done by other libraries and languages, installed for it; BENCH="arguments"'
	echo 'make bench-check           instructions of the common paths against those recorded; RECORD=1 records them'
	echo 'make check-floors          that no file of src/ includes a higher floor'
	echo 'make clean                 removes build/'
	echo
	echo 'CC=clang, CFLAGS=… (added), CONTEXT=ucontext, V=1, WERROR=, BUILD=directory (build/COMPILER-…)'

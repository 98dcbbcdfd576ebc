# make            builds the worker and the task plug-ins into build/
# make test       unit and integration tests (installs nothing: see tests/setup)
# make lint       format, clang-tidy, include rules, sizes
# make bench      against Celery and the bare client, figures to docs/BENCHMARKS.md
# make fuzz       FUZZ_SECONDS each target (default 600)
# make install    honours PREFIX and DESTDIR; make uninstall takes back what it installs
# Switches: V=1 (shows commands)  CC=clang  DEVELOPER=1 (warnings are errors)  SAN=address,undefined (own build folder)

CC ?= gcc
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)')
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell sed -n 's/^\#\# \[\([0-9.]*\)\].*/\1/p' CHANGELOG.md | head -n 1)

comma := ,
TOOLCHAIN := $(if $(findstring clang,$(CC)),clang,gcc)
B := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(filter clang,$(TOOLCHAIN)),-clang)

LIBS := librabbitmq hiredis jansson libuv yaml-0.1 openssl libpcre2-8
# Loaded when they are wanted, not linked: docs/adr/libmicrohttpd.md, compression.md, databases.md.
# (bzip2 is loaded too, but Debian gives it no pkg-config file.)
LOADED := libmicrohttpd zlib liblzma libbrotlidec libbrotlienc libzstd libpq sqlite3
PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS) $(LOADED))
PKG_LIBS := $(shell pkg-config --libs $(LIBS)) -ldl -lpthread -lm

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wvla -Wformat=2 -Wcast-qual -Wpointer-arith \
	-Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	-Wimplicit-fallthrough -Wswitch-enum -Wnull-dereference -Wdouble-promotion
WARN_gcc := -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
WARN_clang := -Wmissing-variable-declarations -Wconditional-uninitialized
# _FORTIFY_SOURCE and the sanitizers do not go together.
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=c17 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(WARN_$(TOOLCHAIN)) $(HARDEN) -fno-common \
	-fvisibility=hidden -I. -Iinclude $(PKG_CFLAGS) -DSMALLAGE_VERSION='"$(VERSION)"' \
	$(if $(DEVELOPER),-Werror) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
BANNED := -include base/banned.h
ALL_LDFLAGS := $(LDFLAGS) -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))

ROOMS := base protocol transport backend template worker worker/routing worker/config worker/task worker/request \
	worker/pool worker/report worker/finish worker/consume worker/control
SRC := $(foreach room,$(ROOMS),$(wildcard $(room)/*.c))
OBJ := $(SRC:%.c=$(B)/obj/%.o)
MAIN_OBJ := $(B)/obj/worker/main.o
LIB_OBJ := $(filter-out $(MAIN_OBJ),$(OBJ))
BIN := $(B)/bin/smallage

# Tasks of the integration tests; not installed.
TEST_SO := $(foreach p,testtasks canvastasks,$(B)/lib/smallage/test-tasks/$(p).so)

# A folder of tasks/ is one plug-in; what it links besides is in its `libs` file (pkg-config names).
PLUGINS := $(patsubst tasks/%/,%,$(filter %/,$(wildcard tasks/*/)))
PLUGIN_SO := $(PLUGINS:%=$(B)/lib/smallage/tasks/%.so)
SHARE := $(B)/share/smallage/templates

.PHONY: all clean test test-tasks unit lint bench fuzz install uninstall format
all: $(BIN) $(PLUGIN_SO) $(SHARE)
test-tasks: all $(TEST_SO)

$(BIN): $(OBJ)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -rdynamic -o $@ $^ $(PKG_LIBS)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC   $<)
	$(Q)$(CC) $(ALL_CFLAGS) $(BANNED) -fPIE -MMD -MP -c -o $@ $<

define plugin_rule
$(B)/lib/smallage/tasks/$(1).so: $(patsubst %.c,$(B)/plugin/%.o,$(wildcard tasks/$(1)/*.c))
	@mkdir -p $$(@D)
	$$(call say,LINK $$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -o $$@ $$^ $$(shell pkg-config --libs jansson $$(file < tasks/$(1)/libs)) \
		$(if $(wildcard tasks/$(1)/ldlibs),$$(file < tasks/$(1)/ldlibs))
endef
$(foreach p,$(PLUGINS),$(eval $(call plugin_rule,$(p))))

.SECONDEXPANSION:
$(TEST_SO): $(B)/lib/smallage/test-tasks/%.so: $(B)/plugin/tests/plugin/$$*/$$*.o
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -o $@ $^ $(shell pkg-config --libs jansson)

$(B)/plugin/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC   $<)
	$(Q)$(CC) $(ALL_CFLAGS) $(BANNED) -fPIC -MMD -MP -c -o $@ $<

$(SHARE): $(shell find template/default -type f 2>/dev/null)
	@rm -rf $@ && mkdir -p $@
	@if [ -d template/default ]; then cp -r template/default/. $@/; fi
	@touch $@

# Unit tests: every START_TEST of tests/unit/**/test_*.c is a test; the main is generated. A folder's
# `libs` file names what its tests link besides (pkg-config names).
UNIT_SRC := $(shell find tests/unit -name 'test_*.c' 2>/dev/null)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
unit: $(UNIT_BIN) $(BIN) $(PLUGIN_SO) $(SHARE)
	@tools/run-unit $(UNIT_BIN)

$(B)/tests/unit/%.main.c: tests/unit/%.c tools/gen-unit-main
	@mkdir -p $(@D)
	$(Q)tools/gen-unit-main $< > $@
$(B)/tests/unit/%: $(B)/tests/unit/%.main.c $(LIB_OBJ)
	$(call say,TEST $@)
	$(Q)$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -fPIE -MMD -MP -MF $@.d $(shell pkg-config --cflags check) \
		$(ALL_LDFLAGS) -pie -rdynamic -o $@ $< $(LIB_OBJ) $(PKG_LIBS) \
		$(shell pkg-config --libs check $$(cat tests/unit/$(dir $*)libs 2>/dev/null))
.PRECIOUS: $(B)/tests/unit/%.main.c

test: test-tasks
	tests/run

lint: all
	tools/lint

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

bench: all
	tests/bench/run

fuzz:
	tests/fuzz/run

# What `make install` makes besides: the page of the task API out of its header, and smallage.pc, by
# which plug-ins are built.
INSTALLED := $(DESTDIR)$(PREFIX)
TASK_MAN := $(B)/share/man/man3/smallage-task.3
$(TASK_MAN): include/smallage/task.h docs/man/smallage-task.3.in tools/task-man CHANGELOG.md
	@mkdir -p $(@D)
	$(Q)tools/task-man $(VERSION) > $@

install: all $(TASK_MAN)
	install -d $(INSTALLED)/bin $(INSTALLED)/lib/smallage/tasks $(INSTALLED)/lib/pkgconfig \
		$(INSTALLED)/include/smallage $(INSTALLED)/share/smallage \
		$(INSTALLED)/share/man/man1 $(INSTALLED)/share/man/man3
	install -m 755 $(BIN) $(INSTALLED)/bin/
	install -m 755 $(PLUGIN_SO) $(INSTALLED)/lib/smallage/tasks/
	install -m 644 include/smallage/task.h $(INSTALLED)/include/smallage/
	sed 's|@prefix@|$(PREFIX)|; s|@version@|$(VERSION)|' include/smallage.pc.in \
		> $(INSTALLED)/lib/pkgconfig/smallage.pc
	cp -r $(SHARE) $(INSTALLED)/share/smallage/
	install -m 644 docs/man/smallage.1 $(INSTALLED)/share/man/man1/
	install -m 644 $(TASK_MAN) $(INSTALLED)/share/man/man3/

# Files of others in these folders stay.
uninstall:
	rm -f $(INSTALLED)/bin/smallage $(PLUGINS:%=$(INSTALLED)/lib/smallage/tasks/%.so) \
		$(INSTALLED)/include/smallage/task.h $(INSTALLED)/lib/pkgconfig/smallage.pc \
		$(INSTALLED)/share/man/man1/smallage.1 $(INSTALLED)/share/man/man3/smallage-task.3
	cd template/default && find . -type f | while read -r file; do \
		rm -f "$(INSTALLED)/share/smallage/templates/$$file"; done
	for folder in lib/smallage include/smallage share/smallage; do [ ! -d $(INSTALLED)/$$folder ] || \
		find $(INSTALLED)/$$folder -depth -type d -empty -delete; done

clean:
	rm -rf build build-*

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# hutch: make [all|demo|check|asan|fuzz|lint|bench|install|guest|guest-kernel|clean]
#
# One makefile, no recursion but for builds of another flavour (asan, fuzz),
# which only set B and the flags.  Everything made lands in $(B).

# on every processor, unless -j says else; a make within this one shares
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

B	?= build
ARCH	:= $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')
CC	= gcc
CLANG	= clang
PREFIX	= /usr/local
VERSION	:= $(shell sed -n 's/.*HUTCH_VERSION "\(.*\)".*/\1/p' vmm/hutch.h)

WARN	= -Wall -Wextra -Werror -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes \
	  -Wpointer-arith -Wcast-align -Wwrite-strings -Wundef -fno-common
GCCWARN	= -Wimplicit-fallthrough=5
HARDEN	= -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fno-plt
OPT	= -O2 -g
SAN	=
CFLAGS	= -std=gnu11 -D_GNU_SOURCE -Ivmm -Ivmm/$(ARCH) -Iboot -Idevices -Iagent -Itools -I$(B) -pthread $(OPT) $(HARDEN) $(WARN) $(GCCWARN) $(SAN)
# static-pie: exec of it is about half the price of a dynamic one (tests/bench/start.sh)
LINK	= -static-pie
LDFLAGS	= -pthread $(LINK) -Wl,-z,relro,-z,now,-z,noexecstack $(SAN)
LIBS	= -lfdt -lyaml -llzma -lz

# what is the same in the agent and in the host's program
SHARED	:= agent/proto.c agent/archive.c agent/archive_pack.c agent/archive_unpack.c agent/tree.c
LIBSRC	:= $(wildcard vmm/*.c vmm/$(ARCH)/*.c devices/*.c boot/*.c) $(SHARED)
TOOLSRC	:= $(wildcard tools/*.c)
LIBOBJ	:= $(LIBSRC:%.c=$(B)/%.o)
TOOLOBJ	:= $(TOOLSRC:%.c=$(B)/%.o)
TOOLLIB	:= $(filter-out $(B)/tools/hutch.o,$(TOOLOBJ))
UNIT	:= $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/t_*.c))
FUZZ	:= $(patsubst tests/%.c,%,$(wildcard tests/fuzz_*.c))
PEER	:= $(B)/tests/peer $(B)/tests/ask $(B)/tests/once
FLAT	:= $(patsubst tests/kvm/%.S,$(B)/tests/kvm/%.elf,$(wildcard tests/kvm/*.S)) \
	   $(patsubst tests/kvm/c/%.c,$(B)/tests/kvm/%.elf,$(wildcard tests/kvm/c/*.c))
HELP	:= $(patsubst tests/%.c,$(B)/tests/%.o,$(filter-out tests/t_% tests/fuzz_%,$(wildcard tests/*.c)))

AGENTSRC := $(wildcard agent/*.c)
AGENTOBJ := $(AGENTSRC:%.c=$(B)/%.o)

all: $(B)/hutch $(B)/libhutch.a $(B)/agent/agent

$(B)/hutch: $(TOOLOBJ) $(B)/libhutch.a
	@echo "  LINK $@"
	@$(CC) $(LDFLAGS) -o $@ $(TOOLOBJ) $(B)/libhutch.a $(LIBS)

$(B)/libhutch.a: $(LIBOBJ)
	@rm -f $@
	@ar rcs $@ $(LIBOBJ)

# all of the command but main(), for the tests
$(B)/libtools.a: $(TOOLLIB)
	@rm -f $@
	@ar rcs $@ $(TOOLLIB)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# the agent runs in guests: static, small, and with a C library that is small itself
AGENTCC	= musl-gcc
AGENTFLAGS = -std=gnu11 -D_GNU_SOURCE -Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
	-fstack-protector-strong $(WARN) $(GCCWARN) -idirafter /usr/include -idirafter /usr/include/$(MULTIARCH)
MULTIARCH := $(shell $(CC) -print-multiarch)
$(B)/agent/%.o: agent/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(AGENTCC) $(AGENTFLAGS) -MMD -MP -c -o $@ $<

$(B)/agent/agent: $(AGENTOBJ)
	@echo "  LINK $@"
	@$(AGENTCC) -static -s -Wl,--gc-sections,-z,relro,-z,noexecstack -o $@ $(AGENTOBJ)

# the jail's filter: looked at each time, and written anew only when the comments it comes from have changed
$(B)/seccomp.h: $(LIBSRC) $(TOOLSRC) $(JAIL_MORE) tools/mkseccomp.sh
	@mkdir -p $(@D)
	@CC=$(CC) tools/mkseccomp.sh $(LIBSRC) $(TOOLSRC) $(JAIL_MORE) >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else echo "  GEN  $@"; mv $@.new $@; fi
$(B)/vmm/sandbox.o $(B)/fuzz/vmm/sandbox.o: $(B)/seccomp.h

# unit tests: one program a file, dynamic (libcheck brings its own libraries)
tests: $(UNIT) $(FLAT) $(PEER)

$(B)/tests/t_%: $(B)/tests/t_%.o $(HELP) $(B)/libtools.a $(B)/libhutch.a
	@echo "  LINK $@"
	@$(CC) -pthread $(SAN) -o $@ $< $(HELP) $(B)/libtools.a $(B)/libhutch.a $(LIBS) -lcheck -lsubunit -lrt -lm

# the tries of it are the test's own
$(B)/tests/t_retry: LIBS += $(addprefix -Xlinker --wrap=,run_prepare run_once run_finish run_quiet run_write_pid)

# parts of the agent, for this machine
$(B)/tests/t_agent_net: $(patsubst %,$(B)/tests/agent/%.o,net_linux dhcp_linux file_linux)
$(B)/tests/t_agent_user: $(patsubst %,$(B)/tests/agent/%.o,user_linux file_linux)
$(B)/tests/t_agent_net $(B)/tests/t_agent_user: $(B)/tests/t_agent_%: $(B)/tests/t_agent_%.o
	@echo "  LINK $@"
	@$(CC) -pthread $(SAN) -o $@ $^ -lcheck -lsubunit -lrt -lm

$(B)/tests/agent/%.o: agent/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# flat guests: tiny ELF files that run on any /dev/kvm, also without hardware virtualization
$(B)/tests/kvm/%.elf: tests/kvm/%.S tests/kvm/flat.h tests/kvm/flat.ld
	@mkdir -p $(@D)
	@echo "  AS   $<"
	@$(CC) -nostdlib -static -no-pie -Wl,--build-id=none,--no-warn-rwx-segments -Wl,-T,tests/kvm/flat.ld -o $@ $<

# the same in C: integer instructions only, because that is all an emulating KVM knows
FLATFLAGS = -std=gnu11 -m64 -ffreestanding -fno-builtin -mgeneral-regs-only -O1 -fno-stack-protector \
	-fno-pic -mno-red-zone -fcf-protection=none -fno-jump-tables -fno-asynchronous-unwind-tables $(WARN)
$(B)/tests/kvm/%.elf: tests/kvm/c/%.c tests/kvm/c/start.S tests/kvm/c/lib.h tests/kvm/c/virtio.h \
		tests/kvm/c/virtio_bus.h tests/kvm/flat.h tests/kvm/flat.ld
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(FLATFLAGS) -nostdlib -static -no-pie -Wl,--build-id=none,--no-warn-rwx-segments \
		-Wl,-T,tests/kvm/flat.ld -o $@ tests/kvm/c/start.S $<

# both ends of a stream; static and alone, so that it also runs in a guest
$(B)/tests/peer: tests/tools/peer.c Makefile
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) -std=gnu11 -D_GNU_SOURCE $(OPT) $(WARN) -static -o $@ $<

# for tests/bench/run.sh: one that asks an agent again and again, and an agent that nobody asks
$(B)/tests/ask: tests/tools/ask.c vmm/hutch.h $(B)/libhutch.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libhutch.a $(LIBS)

# for tests/bench/snap.sh
$(B)/tests/snaps: tests/tools/snaps.c $(HELP) $(B)/libtools.a $(B)/libhutch.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(CFLAGS) -Itests -o $@ $< $(HELP) $(B)/libtools.a $(B)/libhutch.a $(LIBS) -lcheck -lsubunit -lrt -lm

$(B)/tests/once: tests/tools/once.c $(AGENTOBJ)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(AGENTCC) $(AGENTFLAGS) -Iagent -static -s -Wl,--gc-sections -o $@ $< \
		$(filter-out %/agent.o %/session.o,$(AGENTOBJ))

check: all tests
	@tests/run.sh

demo:
	@tools/demo.sh

guest: $(B)/guest/initrd $(B)/guest/box
$(B)/guest/initrd: firmware/guest.sh firmware/init
	@firmware/guest.sh $(B)/guest

$(B)/guest/box: firmware/guest.sh $(B)/agent/agent
	@firmware/guest.sh --agent $(B)/agent/agent $(B)/guest

guest-kernel:
	@firmware/kernel.sh $(B)/guest-kernel

lint:
	@tools/lint.sh

# the same tests under the address and undefined-behaviour sanitizers
ASAN = B=$(B)/asan LINK= HARDEN=-fPIE OPT='-O1 -g' JAIL_MORE=tests/asan.syscalls \
	SAN='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'
asan:
	@$(MAKE) --no-print-directory $(ASAN) all tests
	@B=$(B)/asan tests/run.sh unit

# fuzz: every fuzzer for FUZZ_SECONDS each, and until each device has seen FUZZ_RINGS chains, and the loader of
# snapshots as many files
FUZZ_SECONDS = 60
FUZZ_RINGS = 1000000
fuzz-build: $(FUZZ:%=$(B)/fuzz/%)
fuzz: fuzz-build
	@FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_RINGS=$(FUZZ_RINGS) tests/fuzz.sh $(FUZZ)

FUZZFLAGS = -std=gnu11 -D_GNU_SOURCE -Ivmm -Ivmm/$(ARCH) -Iboot -Idevices -Iagent -Itools -I$(B) -pthread -O1 -g \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
$(B)/fuzz/%.o: %.c Makefile
	@mkdir -p $(@D)
	@$(CLANG) $(FUZZFLAGS) -MMD -MP -c -o $@ $<
FUZZHELP := $(HELP:$(B)/%=$(B)/fuzz/%)
$(B)/fuzz/libtools.a: $(TOOLLIB:$(B)/%=$(B)/fuzz/%)
	@rm -f $@
	@ar rcs $@ $^
$(B)/fuzz/fuzz_%: $(B)/fuzz/tests/fuzz_%.o $(FUZZHELP) $(LIBSRC:%.c=$(B)/fuzz/%.o) $(B)/fuzz/libtools.a
	@echo "  FUZZ $@"
	@$(CLANG) -pthread -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

# against QEMU, where there is something to compare; needs qemu-system-x86, fio, iperf3, iproute2, strace
bench: all tests guest
	@tests/bench/start.sh
	@tests/bench/boot.sh
	@tests/bench/idle.sh
	@tests/bench/counts.sh
	@tests/bench/blk.sh
	@tests/bench/net.sh
	@tests/bench/vsock.sh
	@tests/bench/run.sh
	@tests/bench/snap.sh

install: all
	install -D -m 755 $(B)/hutch $(DESTDIR)$(PREFIX)/bin/hutch
	install -D -m 644 $(B)/libhutch.a $(DESTDIR)$(PREFIX)/lib/libhutch.a
	install -D -m 644 vmm/hutch.h $(DESTDIR)$(PREFIX)/include/hutch.h
	for f in vmlinuz vmlinux initrd box cmdline; do \
		[ ! -e $(B)/guest/$$f ] || install -D -m 644 $(B)/guest/$$f $(DESTDIR)$(PREFIX)/share/hutch/$$f; done
	$(B)/hutch help --man | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/man/man1/hutch.1

clean:
	rm -rf $(B)

.PHONY: all tests check demo guest guest-kernel lint asan fuzz fuzz-build bench install clean
.SECONDARY:
-include $(wildcard $(B)/vmm/*.d $(B)/vmm/*/*.d $(B)/devices/*.d $(B)/boot/*.d $(B)/agent/*.d \
	$(B)/tools/*.d \
	$(B)/tests/*.d $(B)/tests/agent/*.d $(B)/fuzz/*/*.d $(B)/fuzz/vmm/*/*.d)

/*
 * bench_irq - what an MSI costs its sender: KVM_SIGNAL_MSI, or write(2) to an irqfd
 *
 * A guest of one vCPU, asleep or spinning, counts interrupts. Each way sends
 * one, waits until it is counted, and sends the next; the ways take turns.
 * Then, with the vCPU at work: what programming a vector costs with irqfds,
 * KVM_SET_GSI_ROUTING and KVM_IRQFD.  Stands alone; tests/bench/irq.sh runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RAM	 0x10000
#define CODE	 0x1000
#define IDT	 0x2000
#define SPINS	 0x3000 /* 0: sleeps between interrupts */
#define COUNT	 0x3004
#define STACK	 0x8000
#define VECTOR	 0x40
#define GSI	 24
#define ROUNDS	 2000
#define PROGRAMS 200

/* 32-bit, flat; no iret, which KVM's emulator lacks in protected mode */
__asm__(".pushsection .rodata\n"
	"	.code32\n"
	"guest:	movl $0x1ff, 0xfee000f0\n"
	"	sti\n"
	"1:	cmpl $0, 0x3000\n"
	"	jne 1b\n"
	"	hlt\n"
	"	jmp 1b\n"
	"handler:\n"
	"	lock incl 0x3004\n"
	"	movl $0, 0xfee000b0\n"
	"	pushl 8(%esp)\n"
	"	popf\n"
	"	lret $4\n"
	"guest_end:\n"
	"	.code64\n"
	"	.popsection\n");
extern const uint8_t guest[], handler[], guest_end[];

static int vm, vcpu, event;
static uint8_t *ram;
static struct kvm_run *run;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int must(int r, const char *what)
{
	if (r < 0)
		die(what);
	return r;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void set_registers(void)
{
	struct kvm_segment flat = { .limit = 0xffffffff, .present = 1, .s = 1, .g = 1, .db = 1 };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsp = STACK };
	struct kvm_sregs s;

	must(ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	flat.type = 11;
	flat.selector = 8;
	s.cs = flat;
	flat.type = 3;
	flat.selector = 16;
	s.ds = s.es = s.ss = s.fs = s.gs = flat;
	s.cr0 |= 1;
	s.gdt = (struct kvm_dtable){ .base = 0x500, .limit = 23 };
	s.idt = (struct kvm_dtable){ .base = IDT, .limit = 0x7ff };
	must(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void fill_memory(void)
{
	static const uint64_t gdt[3] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
	uint32_t at = (uint32_t)(CODE + (handler - guest)), gate[2];

	gate[0] = 8U << 16 | (at & 0xffff);
	gate[1] = (at & 0xffff0000) | 0x8e00;
	memcpy(ram + 0x500, gdt, sizeof(gdt));
	memcpy(ram + CODE, guest, (size_t)(guest_end - guest));
	memcpy(ram + IDT + 8 * VECTOR, gate, sizeof(gate));
}

static void make_machine(void)
{
	struct kvm_userspace_memory_region region = { .memory_size = RAM };
	int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");

	vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		die("mmap");
	fill_memory();
	region.userspace_addr = (uintptr_t)ram;
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL), "KVM_SET_TSS_ADDR");
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("mmap");
	set_registers();
}

static void *run_vcpu(void *arg)
{
	(void)arg;
	for (;;) {
		if (!ioctl(vcpu, KVM_RUN, 0)) {
			fprintf(stderr, "the guest stopped: exit %u\n", run->exit_reason);
			exit(1);
		}
		if (errno != EINTR && errno != EAGAIN)
			die("KVM_RUN");
	}
}

/* as many MSI routes from GSI on as @n */
static void route(unsigned n)
{
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + n * sizeof(r->entries[0]));

	r->nr = n;
	for (unsigned i = 0; i < n; i++)
		r->entries[i] = (struct kvm_irq_routing_entry){
			.gsi = GSI + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = 0xfee00000, .data = VECTOR },
		};
	must(ioctl(vm, KVM_SET_GSI_ROUTING, r), "KVM_SET_GSI_ROUTING");
	free(r);
}

static int irqfd(int fd, unsigned gsi, bool on)
{
	struct kvm_irqfd i = { .fd = (uint32_t)fd,
			       .gsi = gsi,
			       .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	return ioctl(vm, KVM_IRQFD, &i);
}

static void send_ioctl(void)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR };

	must(ioctl(vm, KVM_SIGNAL_MSI, &msi), "KVM_SIGNAL_MSI");
}

static void send_irqfd(void)
{
	uint64_t one = 1;

	if (write(event, &one, sizeof(one)) != sizeof(one))
		die("write to the irqfd");
}

static uint32_t counted(void)
{
	return __atomic_load_n((uint32_t *)(void *)(ram + COUNT), __ATOMIC_ACQUIRE);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static void measure(bool spins)
{
	static double call[2][ROUNDS], trip[2][ROUNDS];
	void (*const send[2])(void) = { send_ioctl, send_irqfd };
	static const char *const name[2] = { "KVM_SIGNAL_MSI", "write to irqfd" };

	__atomic_store_n((uint32_t *)(void *)(ram + SPINS), spins, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < 2 * ROUNDS; i++) {
		uint32_t old = counted();
		double start;

		if (!spins) /* let it fall asleep again */
			usleep(20);
		start = now_us();
		send[i & 1]();
		call[i & 1][i / 2] = now_us() - start;
		while (counted() == old)
			;
		trip[i & 1][i / 2] = now_us() - start;
	}
	for (unsigned w = 0; w < 2; w++)
		printf("vCPU %-8s %-15s %6.2f us the call, %6.2f us until the guest has counted "
		       "it\n",
		       spins ? "spinning" : "asleep", name[w], median(call[w], ROUNDS),
		       median(trip[w], ROUNDS));
}

/* what a guest that sets up its vectors costs with irqfds, while its vCPU runs */
static void measure_programming(unsigned routes)
{
	static double set[PROGRAMS], assign[PROGRAMS], take[PROGRAMS];
	int fd = eventfd(0, EFD_CLOEXEC);

	for (unsigned i = 0; i < PROGRAMS; i++) {
		double start = now_us();

		route(routes);
		set[i] = now_us() - start;
		start = now_us();
		must(irqfd(fd, GSI + routes - 1, true), "KVM_IRQFD");
		assign[i] = now_us() - start;
		start = now_us();
		must(irqfd(fd, GSI + routes - 1, false), "KVM_IRQFD");
		take[i] = now_us() - start;
	}
	printf("%3u routes: KVM_SET_GSI_ROUTING %8.1f us, KVM_IRQFD %6.1f us, taking it back %8.1f "
	       "us "
	       "(medians of %u)\n",
	       routes, median(set, PROGRAMS), median(assign, PROGRAMS), median(take, PROGRAMS),
	       PROGRAMS);
	close(fd);
}

int main(void)
{
	pthread_t t;

	setlinebuf(stdout);

	make_machine();
	if (pthread_create(&t, NULL, run_vcpu, NULL))
		die("pthread_create");
	event = eventfd(0, EFD_CLOEXEC);
	route(1);
	must(irqfd(event, GSI, true), "KVM_IRQFD");
	usleep(100000);
	measure(true);
	measure(false);
	__atomic_store_n((uint32_t *)(void *)(ram + SPINS), 1, __ATOMIC_RELEASE);
	must(irqfd(event, GSI, false), "KVM_IRQFD");
	measure_programming(2);
	measure_programming(40);
	return 0;
}

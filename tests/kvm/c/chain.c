/*
 * chain.c - one number out of another, through memory and every device there is
 *
 * What comes out in the end, "chain NUMBER", is the same in every run that starts
 * from the same disk: a machine that lost or made up one bit anywhere on the way
 * prints another.  Random numbers and what the console takes are asked for and
 * left out of it.  At each stage the word at MAILBOX counts, for who wants to stop it somewhere.
 * With the argument 2 a second processor counts beside it.
 *
 * 1. Each device has rings of its own and is started once.  A stage begins
 *    something with all of them, walks through memory, and then collects: so at
 *    any moment several have something under way.
 * 2. What a stage begins comes out of the number in an order that is always the
 *    same, and so does what it collects, whenever that came.
 * 3. In the end each device must still be set up as it was.
 * 4. The host may have lost what it had, because this machine is another one now.
 *    A frame that does not come back is sent again, and knows its stage, so one
 *    that came twice is skipped.  A connection that has ended is made again, on
 *    another port.
 */
#include "virtio.h"

int main(uint64_t info);

#define MAILBOX	   ((volatile uint32_t *)0x60000)
#define COUNT	   1 /* words of it: the second processor's number, and that it was another one */
#define WRONG	   2
#define TRAMPOLINE 0x50000ULL
#define LAPIC_SVR  0xfee000f0ULL
#define LAPIC_ICR  0xfee00300ULL
#define STAGES	   60
#define STEPS	   30
#define SECTORS	   128
#define AREA	   ((volatile uint64_t *)0x1000000) /* 16 MiB on */
#define WORDS	   (1U << 20)
#define GIVEN	   ((volatile uint64_t *)0x1800000) /* behind it, the balloon's */
#define ANSWER_MS  3000
#define AGAIN_MS   20
#define TRIES	   100
#define BOX	   512

struct part {
	uint32_t id;
	const char *name;
	unsigned queues;
	unsigned receive; /* bits: queues that have a buffer of their box at all times */
	bool (*begin)(struct part *p, unsigned n);
	bool (*end)(struct part *p, unsigned n);
	bool is_there, has_sent;
	struct dev d;
	_Alignas(PAGE) struct ring ring[QUEUES];
	_Alignas(64) uint8_t box[QUEUES][BOX];
	_Alignas(64) uint8_t out[BOX];
};

static uint64_t h = 88172645463325252ULL;

static uint64_t next(void)
{
	h ^= h << 13;
	h ^= h >> 7;
	h ^= h << 17;
	return h;
}

static void make(volatile uint64_t *w, unsigned n)
{
	while (n--)
		*w++ = next();
}

static void fold(const volatile uint64_t *w, unsigned n)
{
	while (n--)
		h = (h ^ *w++) * 0x9e3779b97f4a7c15ULL;
}

static void walk_memory(void)
{
	for (unsigned i = 0; i < STEPS; i++) {
		volatile uint64_t *w = &AREA[next() % WORDS];

		h += *w + i;
		*w ^= next();
	}
}

/* --- a box for what comes, and one thing at a time that goes out on the queue behind it --- */

static void offer(struct part *p, unsigned q)
{
	add(&p->d, q, &(struct piece){ p->box[q], BOX, true }, 1);
}

static void send(struct part *p, uint32_t len)
{
	add(&p->d, 1, &(struct piece){ p->out, len, false }, 1);
	p->has_sent = true;
}

/* what was sent is out: its buffer is ours again */
static bool is_out(struct part *p)
{
	if (p->has_sent && used(&p->d, 1, ANSWER_MS) < 0)
		return false;
	p->has_sent = false;
	return true;
}

/* --- blk: a sector is written while another one is read --- */

static struct {
	_Alignas(PAGE) uint64_t data[64];
	uint64_t head[2];
	uint8_t tail;
} requests[2];

static void request(struct part *p, bool in, uint64_t sector)
{
	volatile uint64_t *head = requests[in].head;
	struct piece piece[3] = { { head, 16, false },
				  { requests[in].data, 512, in },
				  { &requests[in].tail, 1, true } };

	head[0] = !in;
	head[1] = sector;
	requests[in].tail = 0xee;
	add(&p->d, 0, piece, 3);
}

static bool begin_disk(struct part *p, unsigned n)
{
	uint64_t to = next() % SECTORS;

	(void)n;
	make(requests[0].data, 64);
	request(p, false, to);
	request(p, true, (to + 1 + next() % (SECTORS - 1)) % SECTORS);
	return true;
}

static bool end_disk(struct part *p, unsigned n)
{
	(void)n;
	for (unsigned i = 0; i < 2; i++)
		if (used(&p->d, 0, ANSWER_MS) < 0)
			return false;
	fold(requests[1].data, 64);
	return !*(volatile uint8_t *)&requests[0].tail && !*(volatile uint8_t *)&requests[1].tail;
}

/* --- balloon: a page that is given up at one stage is back at the next one, and empty --- */

static bool begin_balloon(struct part *p, unsigned n)
{
	if (n % 2 == 0)
		GIVEN[n * (PAGE / 8)] = next();
	*(volatile uint32_t *)p->out = (uint32_t)((uintptr_t)GIVEN / PAGE + (n & ~1U));
	add(&p->d, n % 2, &(struct piece){ p->out, 4, false }, 1);
	return true;
}

static bool end_balloon(struct part *p, unsigned n)
{
	if (used(&p->d, n % 2, ANSWER_MS) < 0)
		return false;
	if (n % 2)
		h += GIVEN[(n & ~1U) * (PAGE / 8)];
	return true;
}

/* --- rng --- */

static bool begin_noise(struct part *p, unsigned n)
{
	(void)n;
	add(&p->d, 0, &(struct piece){ p->box[0], 64, true }, 1);
	return true;
}

static bool end_noise(struct part *p, unsigned n)
{
	(void)n;
	return used(&p->d, 0, ANSWER_MS) == 64;
}

/* --- console: a line, which nobody waits for before the next one --- */

static bool begin_line(struct part *p, unsigned n)
{
	static const char text[] = "stage 00\n";

	if (!is_out(p))
		return false;
	memcpy(p->out, text, sizeof(text) - 1);
	p->out[6] = (uint8_t)(p->out[6] + n / 10);
	p->out[7] = (uint8_t)(p->out[7] + n % 10);
	send(p, sizeof(text) - 1);
	return true;
}

static bool end_line(struct part *p, unsigned n)
{
	(void)p;
	(void)n;
	return true;
}

/* --- net --- */

#define FRAME	   72 /* with virtio's header */
#define FRAME_AT   4  /* words before its stage and what is made of the chain */
#define FRAME_MADE 5

static bool begin_net(struct part *p, unsigned n)
{
	volatile uint64_t *w = (volatile uint64_t *)p->out;

	if (!is_out(p))
		return false;
	memset(p->out, 0, 12);
	memset(p->out + 12, 0xff, 20);
	w[FRAME_AT] = n;
	make(w + FRAME_AT + 1, FRAME_MADE - 1);
	send(p, FRAME);
	return true;
}

/* the frame of this stage, before it is time to ask again */
static bool has_come(struct part *p, unsigned n)
{
	volatile uint64_t *w = (volatile uint64_t *)p->box[0];
	int64_t len;
	bool is_it;

	do {
		len = used(&p->d, 0, AGAIN_MS);
		if (len < 0)
			return false;
		is_it = len == FRAME && w[FRAME_AT] == n;
		if (is_it)
			fold(w + FRAME_AT, FRAME_MADE);
		offer(p, 0);
	} while (!is_it);
	return true;
}

static bool end_net(struct part *p, unsigned n)
{
	for (unsigned i = 0; i < TRIES; i++) {
		if (has_come(p, n))
			return true;
		if (!is_out(p))
			return false;
		send(p, FRAME);
	}
	return false;
}

/* --- vsock --- */

#define WORD_COUNT 8

static struct {
	uint64_t out[WORD_COUNT], in[WORD_COUNT];
	uint32_t have; /* bytes of in[] */
	uint32_t port, taken;
	bool open;
} talk = { .port = 1024 };

static bool say(struct part *p, uint16_t op, uint32_t len)
{
	struct vsock_hdr *to = (struct vsock_hdr *)p->out;

	if (!is_out(p))
		return false;
	*to = (struct vsock_hdr){ config(&p->d, 0), 2, talk.port, VSOCK_PORT, len, 1, op, 0, 65536,
				  talk.taken };
	memcpy(to + 1, talk.out, len);
	send(p, (uint32_t)sizeof(*to) + len);
	return true;
}

static bool call(struct part *p)
{
	talk.open = false;
	talk.have = talk.taken = 0;
	talk.port++;
	return say(p, OP_REQUEST, 0);
}

static bool begin_vsock(struct part *p, unsigned n)
{
	(void)n;
	make(talk.out, WORD_COUNT);
	talk.have = 0;
	return talk.open ? say(p, OP_RW, sizeof(talk.out)) : call(p);
}

static bool hear(struct part *p)
{
	struct vsock_hdr *from = (struct vsock_hdr *)p->box[0];
	uint32_t len = from->len;

	if (from->dst_port != talk.port)
		return true; /* of a connection that was given up */
	switch (from->op) {
	case OP_RESPONSE:
		talk.open = true;
		return say(p, OP_RW, sizeof(talk.out));
	case OP_RST:
	case OP_SHUTDOWN:
		return call(p);
	case OP_RW:
		if (len > sizeof(talk.in) - talk.have)
			return false;
		memcpy((uint8_t *)talk.in + talk.have, from + 1, len);
		talk.have += len;
		talk.taken += len;
	}
	return true;
}

static bool end_vsock(struct part *p, unsigned n)
{
	struct wait w = wait_ms(ANSWER_MS);

	(void)n;
	while (talk.have < sizeof(talk.in)) {
		if (wait_over(&w))
			return false;
		if (used(&p->d, 2, 0) >= 0) { /* all connections have ended */
			offer(p, 2);
			if (!call(p))
				return false;
		}
		if (used(&p->d, 0, 0) >= 0) {
			if (!hear(p))
				return false;
			offer(p, 0);
		}
	}
	fold(talk.in, WORD_COUNT);
	return true;
}

/* --- the second processor: in real mode, with the mailbox as its data --- */

extern const uint8_t second[], second_end[];

__asm__(".code16\n"
	"second: cli\n"
	"mov $0x6000, %ax\n"
	"mov %ax, %ds\n"
	"xor %eax, %eax\n"
	"1: cmp %eax, 4\n"
	"jne 2f\n"
	"inc %eax\n"
	"incl 4\n"
	"jmp 1b\n"
	"2: movl $1, 8\n"
	"3: hlt\n"
	"jmp 3b\n"
	"second_end:\n"
	".code64");

static void start_second(void)
{
	memcpy((void *)TRAMPOLINE, second, (size_t)(second_end - second));
	out32(LAPIC_SVR, 0x1ff);
	out32(LAPIC_ICR, 0xc4500); /* INIT to all but this one */
	out32(LAPIC_ICR, (uint32_t)(0xc4600 | TRAMPOLINE >> 12));
}

static bool second_counts(void)
{
	struct wait w = wait_ms(ANSWER_MS);
	uint32_t was = MAILBOX[COUNT];

	while (MAILBOX[COUNT] == was)
		if (wait_over(&w))
			return false;
	return !MAILBOX[WRONG];
}

static struct part parts[] = {
	{ .id = ID_BLK, .name = "blk", .queues = 1, .begin = begin_disk, .end = end_disk },
	{ .id = ID_NET,
	  .name = "net",
	  .queues = 2,
	  .receive = 1,
	  .begin = begin_net,
	  .end = end_net },
	{ .id = ID_VSOCK,
	  .name = "vsock",
	  .queues = 3,
	  .receive = 1 | 4,
	  .begin = begin_vsock,
	  .end = end_vsock },
	{ .id = ID_BALLOON,
	  .name = "balloon",
	  .queues = 2,
	  .begin = begin_balloon,
	  .end = end_balloon },
	{ .id = ID_RNG, .name = "rng", .queues = 1, .begin = begin_noise, .end = end_noise },
	{ .id = ID_CONSOLE,
	  .name = "console",
	  .queues = 2,
	  .receive = 1,
	  .begin = begin_line,
	  .end = end_line },
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static bool set_up(struct part *p)
{
	if (!find(&p->d, p->id, 0))
		return true;
	p->d.ring = p->ring;
	if (!start(&p->d, 0, p->queues))
		return false;
	for (unsigned q = 0; q < p->queues; q++)
		if (p->receive >> q & 1)
			offer(p, q);
	p->is_there = true;
	return true;
}

/* the part that failed, or NULL */
static struct part *stage(unsigned n)
{
	walk_memory();
	for (unsigned i = 0; i < PARTS; i++)
		if (parts[i].is_there && !parts[i].begin(&parts[i], n))
			return &parts[i];
	walk_memory();
	for (unsigned i = 0; i < PARTS; i++)
		if (parts[i].is_there && !parts[i].end(&parts[i], n))
			return &parts[i];
	return NULL;
}

static struct part *run(void)
{
	struct part *failed = NULL;

	for (unsigned i = 0; i < PARTS && !failed; i++)
		failed = set_up(&parts[i]) ? NULL : &parts[i];
	for (unsigned n = 0; n < STAGES && !failed; n++) {
		MAILBOX[0] = n + 1;
		failed = stage(n);
	}
	for (unsigned i = 0; i < PARTS && !failed; i++)
		if (parts[i].is_there && !is_as_started(&parts[i].d))
			failed = &parts[i];
	return failed;
}

int main(uint64_t info)
{
	struct part *failed, *console = &parts[PARTS - 1];
	bool two = ARGUMENTS[0] == '2';

	(void)info;
	if (two)
		start_second();
	failed = run();
	if (failed) {
		print(failed->name);
		print(" failed at stage ");
		print_number(MAILBOX[0]);
		print("\n");
	} else if (two && !second_counts()) {
		print("the second processor has lost count\n");
	} else {
		print("chain ");
		print_number(h);
		print("\n");
	}
	if (console->is_there && is_out(console)) {
		memcpy(console->out, SAID, said_len);
		send(console, said_len);
		is_out(console);
	}
	return 0;
}

/*
 * all.c - drive every virtio device there is, and say how each did
 *
 * One line a device, "NAME: ok" or what went wrong and where; then "done" and
 * off.  All of it also goes out through a virtio console, if there is one.
 * With the argument P it panics instead, on the virtio console.
 * The host listens on vsock port 1234 or does not: both are an answer.
 */
#include "virtio.h"

int main(uint64_t info);

#define TRY(cond)                        \
	do {                             \
		if (!(cond))             \
			return __LINE__; \
	} while (0)
#define ANSWER_MS 3000

static _Alignas(PAGE) uint8_t data[16 * PAGE];
static _Alignas(PAGE) uint8_t head[PAGE], tail[PAGE];

static uint64_t get64(const struct dev *d, uint32_t off)
{
	return config(d, off) | (uint64_t)config(d, off + 4) << 32;
}

static bool all_are(const uint8_t *p, unsigned len, uint8_t want)
{
	for (unsigned i = 0; i < len; i++)
		if (p[i] != want)
			return false;
	return true;
}

/* --- blk --- */

static int request(struct dev *d, uint32_t type, uint64_t sector, uint32_t len)
{
	struct piece p[3] = { { head, 16, false }, { data, len, type == 0 }, { tail, 1, true } };
	int status;
	int64_t n;

	*(volatile uint64_t *)head = type;
	*(volatile uint64_t *)(head + 8) = sector;
	tail[0] = 0xee;
	if (!len)
		p[1] = p[2];
	add(d, 0, p, len ? 3 : 2);
	n = used(d, 0, ANSWER_MS);
	status = *(volatile uint8_t *)tail;
	return n == (type == 0 && !status ? len : 0) + 1 ? status : -1;
}

static int use_blk(struct dev *d)
{
	uint64_t sectors;

	TRY(start(d, 1ULL << 9, 1)); /* flush */
	sectors = get64(d, 0);
	TRY(sectors >= 16);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t sector = i ? sectors - 2 : 3;

		memset(data, 0x5a + (int)i, 1024);
		TRY(request(d, 1, sector, 1024) == 0);
		TRY(request(d, 4, 0, 0) == 0);
		memset(data, 0, 1024);
		TRY(request(d, 0, sector, 1024) == 0);
		TRY(all_are(data, 1024, (uint8_t)(0x5a + i)));
	}
	TRY(request(d, 0, sectors - 1, 1024) == 1); /* past the end */
	return 0;
}

/* --- rng --- */

static int use_rng(struct dev *d)
{
	TRY(start(d, 0, 1));
	memset(data, 0, PAGE);
	add(d, 0, &(struct piece){ data, 64, true }, 1);
	TRY(used(d, 0, ANSWER_MS) == 64);
	TRY(!all_are(data, 64, 0) && all_are(data + 64, 64, 0));
	return 0;
}

/* --- console --- */

static int use_console(struct dev *d)
{
	static const char text[] = "a line on the virtio console\n";

	TRY(start(d, 1, 2));
	add(d, 0, &(struct piece){ data, PAGE, true }, 1);
	add(d, 1, &(struct piece){ text, sizeof(text) - 1, false }, 1);
	TRY(used(d, 1, ANSWER_MS) == 0);
	return 0;
}

/* --- balloon --- */

static int use_balloon(struct dev *d)
{
	uint32_t *pfn = (uint32_t *)head;

	TRY(start(d, 0, 2));
	memset(data, 0x77, sizeof(data));
	for (unsigned i = 0; i < 16; i++)
		pfn[i] = (uint32_t)((uintptr_t)data / PAGE + i);
	add(d, 0, &(struct piece){ pfn, 64, false }, 1);
	TRY(used(d, 0, ANSWER_MS) == 0);
	set_config(d, 4, 16);
	TRY(config(d, 4) == 16);
	TRY(*(volatile uint8_t *)&data[5 * PAGE] == 0); /* it was given back */
	add(d, 1, &(struct piece){ pfn, 64, false }, 1);
	TRY(used(d, 1, ANSWER_MS) == 0);
	set_config(d, 4, 0);
	data[5 * PAGE] = 1;
	TRY(*(volatile uint8_t *)&data[5 * PAGE] == 1);
	return 0;
}

/* --- net: an ARP request, and whatever comes back in half a second --- */

static int use_net(struct dev *d)
{
	static const uint8_t arp[28] = { 0,  1, 8, 0,  6, 4, 0, 1, 2, 0, 0,  0, 0, 9,
					 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2 };
	uint8_t *frame = head + 12;
	int64_t n;

	TRY(start(d, 1ULL << 5, 2)); /* the address */
	memset(head, 0, 12 + 60);
	memset(frame, 0xff, 6);
	for (unsigned i = 0; i < 6; i++)
		frame[6 + i] = in8(d->bus.config + i);
	frame[12] = 8;
	frame[13] = 6;
	memcpy(frame + 14, arp, sizeof(arp));
	memcpy(frame + 22, frame + 6, 6);
	add(d, 0, &(struct piece){ data, 2048, true }, 1);
	add(d, 1, &(struct piece){ head, 12 + 60, false }, 1);
	TRY(used(d, 1, ANSWER_MS) == 0);
	n = used(d, 0, 500);
	TRY(n == -1 || n >= 12 + 14);
	return 0;
}

/* --- vsock: connect to the host --- */

static void vsock_send(struct dev *d, uint16_t op, uint32_t len)
{
	struct vsock_hdr *h = (struct vsock_hdr *)head;

	*h = (struct vsock_hdr){ get64(d, 0), 2, 1025, VSOCK_PORT, len, 1, op, 0, 65536, 0 };
	add(d, 1, &(struct piece){ head, (uint32_t)sizeof(*h) + len, false }, 1);
}

/* the next packet that is no talk of credit: its operation, or -1 */
static int vsock_receive(struct dev *d, uint32_t ms)
{
	struct vsock_hdr *h = (struct vsock_hdr *)data;
	uint16_t op;

	do {
		add(d, 0, &(struct piece){ data, PAGE, true }, 1);
		if (used(d, 0, ms) < (int)sizeof(*h))
			return -1;
		op = *(volatile uint16_t *)&h->op;
	} while (op == OP_CREDIT || op == OP_CREDIT_REQUEST);
	return op;
}

static int use_vsock(struct dev *d)
{
	int op;

	TRY(start(d, 0, 3));
	TRY(get64(d, 0) >= 3);
	vsock_send(d, OP_REQUEST, 0);
	TRY(used(d, 1, ANSWER_MS) == 0);
	op = vsock_receive(d, ANSWER_MS);
	TRY(op == OP_RESPONSE || op == OP_RST);
	if (op == OP_RST)
		return 0;
	memcpy(head + sizeof(struct vsock_hdr), "hello", 5);
	vsock_send(d, OP_RW, 5);
	TRY(used(d, 1, ANSWER_MS) == 0);
	op = vsock_receive(d, ANSWER_MS); /* an echo, or an end */
	TRY(op == OP_RW || op == OP_SHUTDOWN || op == OP_RST);
	return 0;
}

static const struct {
	uint32_t id;
	const char *name;
	int (*use)(struct dev *d);
} kinds[] = {
	{ ID_BLK, "blk", use_blk },
	{ ID_NET, "net", use_net },
	{ ID_VSOCK, "vsock", use_vsock },
	{ ID_RNG, "rng", use_rng },
	{ ID_BALLOON, "balloon", use_balloon },
	{ ID_CONSOLE, "console", use_console },
};

/* as a kernel that dies: its last words on the console, then pvpanic */
static int panic(void)
{
	static const char text[] = "Kernel panic - not syncing: by virtio\n";
	struct dev d;

	if (!find(&d, ID_CONSOLE, 0) || !start(&d, 0, 2))
		return 0;
	add(&d, 1, &(struct piece){ text, sizeof(text) - 1, false }, 1);
	used(&d, 1, ANSWER_MS);
	outb(0x505, 1);
	return 0;
}

int main(uint64_t info)
{
	struct dev d;

	(void)info;
	if (ARGUMENTS[0] == 'P')
		return panic();
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		for (unsigned n = 0; find(&d, kinds[i].id, n); n++) {
			int line = kinds[i].use(&d);

			print(kinds[i].name);
			if (line) {
				print(": failed at line ");
				print_number((unsigned)line);
				print("\n");
			} else {
				print(": ok\n");
			}
			reset(&d);
		}
	}
	print("done\n");
	if (find(&d, ID_CONSOLE, 0) && start(&d, 0, 2)) {
		add(&d, 1, &(struct piece){ SAID, said_len, false }, 1);
		used(&d, 1, ANSWER_MS);
	}
	return 0;
}

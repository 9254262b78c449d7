/*
 * hostile.c - the worst rings there are, on every queue of every device
 *
 * After each one the device must have answered or have said DEVICE_NEEDS_RESET;
 * only a queue for input may be silent, because nothing comes in.  After a reset
 * it must work.  What did not is printed by line; then "done, N rings".
 */
#include "virtio.h"

int main(uint64_t info);

#define ANSWER_MS 3000
#define HOLE	  0x90000000ULL

static _Alignas(PAGE) uint8_t data[PAGE], table[PAGE];
static uint64_t ram_end;
static unsigned count;

static struct desc dsc(uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	return (struct desc){ addr, len, flags, next };
}

static void set(unsigned q, unsigned i, struct desc e)
{
	rings[q].desc[i] = e;
}

static uint64_t at(const void *p)
{
	return (uintptr_t)p;
}

static void indirect(unsigned i, struct desc e)
{
	((volatile struct desc *)table)[i] = e;
}

/* lay ring number @k on queue @q: false when there are no more */
static bool lay(struct dev *d, unsigned q, unsigned k)
{
	const uint16_t w = k & 1 ? D_WRITE : 0; /* each for reading and for writing */
	uint16_t head = 0;

	switch (k / 2) {
	case 0: /* a loop of one, of two */
		set(q, 0, dsc(at(data), 16, w | D_NEXT, 0));
		break;
	case 1:
		set(q, 0, dsc(at(data), 16, w | D_NEXT, 1));
		set(q, 1, dsc(at(data), 16, w | D_NEXT, 0));
		break;
	case 2: /* indirect in indirect */
		indirect(0, dsc(at(table), 16, D_INDIRECT, 0));
		set(q, 0, dsc(at(table), 16, D_INDIRECT | w, 0));
		break;
	case 3: /* indirect, and goes on */
		indirect(0, dsc(at(data), 16, w, 0));
		set(q, 0, dsc(at(table), 16, D_INDIRECT | D_NEXT, 1));
		set(q, 1, dsc(at(data), 16, w, 0));
		break;
	case 4: /* addresses that wrap */
		set(q, 0, dsc(~0ULL - PAGE + 1, 2 * PAGE, w, 0));
		break;
	case 5: /* over the end of memory, in the hole, far out */
		set(q, 0, dsc(ram_end - 1, 2, w, 0));
		break;
	case 6:
		set(q, 0, dsc(HOLE, 512, w, 0));
		break;
	case 7:
		set(q, 0, dsc(1ULL << 52, 512, w, 0));
		break;
	case 8: /* the last byte, which is memory */
		set(q, 0, dsc(ram_end - 1, 1, w, 0));
		break;
	case 9: /* only to write, only to read, many of them */
		for (uint16_t i = 0; i < 7; i++)
			set(q, i, dsc(at(data), 64, w | (i < 6 ? D_NEXT : 0), i + 1));
		break;
	case 10: /* to write, then to read */
		set(q, 0, dsc(at(data), 16, D_WRITE | D_NEXT, 1));
		set(q, 1, dsc(at(data) + 16, 16, D_NEXT, 2));
		set(q, 2, dsc(at(data) + 32, 16, w, 0));
		break;
	case 11: /* nothing at all */
		set(q, 0, dsc(at(data), 0, w, 0));
		break;
	case 12: /* nothing, anywhere */
		set(q, 0, dsc(HOLE, 0, w | D_NEXT, 1));
		set(q, 1, dsc(~0ULL, 0, w, 0));
		break;
	case 13: /* 4 GiB and more */
		set(q, 0, dsc(0, 0xffffffff, w, 0));
		break;
	case 14:
		set(q, 0, dsc(0, 0xc0000000, w | D_NEXT, 1));
		set(q, 1, dsc(0, 0xc0000000, w, 0));
		break;
	case 15: /* all of memory, several times */
		for (uint16_t i = 0; i < 4; i++)
			set(q, i,
			    dsc(0x200000, (uint32_t)ram_end - 0x200000,
				(i < 3 ? D_NEXT : 0) | (w && i ? D_WRITE : 0), i + 1));
		if (w) /* nothing that this guest stands on is written */
			for (uint16_t i = 0; i < 4; i++)
				set(q, i,
				    dsc(0x200000, 0x10000, (i < 3 ? D_NEXT : 0) | D_WRITE, i + 1));
		break;
	case 16: /* indexes outside */
		head = k & 1 ? Q_SIZE : 0xffff;
		break;
	case 17:
		set(q, 0, dsc(at(data), 16, w | D_NEXT, Q_SIZE));
		break;
	case 18: /* an indirect table that is none */
		set(q, 0, dsc(at(table), k & 1 ? 0 : 17, D_INDIRECT, 0));
		break;
	case 19:
		set(q, 0, dsc(k & 1 ? HOLE : ram_end - 8, 16, D_INDIRECT, 0));
		break;
	case 20:
		set(q, 0, dsc(at(table), 0xfffffff0, D_INDIRECT, 0));
		break;
	case 21: /* its entries lead nowhere */
		indirect(0, dsc(at(data), 16, w | D_NEXT, 2));
		set(q, 0, dsc(at(table), 32, D_INDIRECT, 0));
		break;
	case 22: /* the device's own rings, to read and to write */
		set(q, 0, dsc(at((const void *)(uintptr_t)&rings[q]), sizeof(rings[q]), w, 0));
		break;
	case 23: /* far ahead, or back */
		rings[q].avail.idx = k & 1 ? 0x8000 : 0xffff;
		kick(d, q);
		return true;
	case 24: /* many more than there is room for */
		rings[q].avail.idx = Q_SIZE + 1;
		kick(d, q);
		return true;
	default:
		return false;
	}
	publish(d, q, head);
	kick(d, q);
	return true;
}

/* --- that it works --- */

static bool works(struct dev *d, unsigned queues)
{
	uint32_t *number = (uint32_t *)data;
	struct piece p[3] = { { data, 16, false },
			      { data + 512, 512, true },
			      { data + 16, 1, true } };

	if (!start(d, F_INDIRECT, queues))
		return false;
	memset(data, 0, 32);
	switch (d->id) {
	case ID_BLK:
		data[16] = 0xee;
		add(d, 0, p, 3);
		return used(d, 0, ANSWER_MS) == 513 && *(volatile uint8_t *)&data[16] == 0;
	case ID_RNG:
		add(d, 0, &p[1], 1);
		return used(d, 0, ANSWER_MS) == 512;
	case ID_CONSOLE:
		data[0] = '.';
		add(d, 1, &(struct piece){ data, 1, false }, 1);
		return used(d, 1, ANSWER_MS) == 0;
	case ID_BALLOON:
		number[0] = (uint32_t)(at(table) / PAGE);
		add(d, 0, &(struct piece){ number, 4, false }, 1);
		return used(d, 0, ANSWER_MS) == 0;
	case ID_NET:
		add(d, 1, &(struct piece){ data, 12 + 60, false }, 1);
		return used(d, 1, ANSWER_MS) == 0;
	default:
		return true;
	}
}

static const struct {
	uint32_t id;
	const char *name;
	unsigned queues;
	unsigned answer; /* bits: those that answer at once, good or bad */
	uint64_t features;
} kinds[] = {
	{ ID_BLK, "blk", 1, 1, 0 },	    { ID_RNG, "rng", 1, 1, 0 },
	{ ID_CONSOLE, "console", 2, 2, 0 }, { ID_BALLOON, "balloon", 4, 3, 1 << 1 | 1 << 5 },
	{ ID_NET, "net", 2, 2, 0 },	    { ID_VSOCK, "vsock", 3, 2, 0 },
};

static void complain(const char *name, unsigned q, unsigned k, const char *what)
{
	print(name);
	print(", queue ");
	print_number(q);
	print(", ring ");
	print_number(k);
	print(what);
}

/* one ring: false when there are no more */
static bool attack(struct dev *d, unsigned i, unsigned q, unsigned k)
{
	bool answers = kinds[i].answer >> q & 1, silent = true;
	struct wait w;

	memset(table, 0, sizeof(table));
	memset(data, 0, 128);
	if (!start(d, F_INDIRECT | kinds[i].features, kinds[i].queues)) {
		complain(kinds[i].name, q, k, ": does not start\n");
		return false;
	}
	if (!lay(d, q, k))
		return false;
	count++;
	w = wait_ms(answers ? ANSWER_MS : 1);
	do {
		silent = !broken(d) && !rings[q].used.idx;
	} while (silent && !wait_over(&w));
	if (silent && answers)
		complain(kinds[i].name, q, k, ": no answer\n");
	if (!works(d, kinds[i].queues > 3 ? 2 : kinds[i].queues))
		complain(kinds[i].name, q, k, ": does not work after it\n");
	return true;
}

int main(uint64_t info)
{
	struct dev d;

	ram_end = memory_end(info);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		unsigned before = count;

		if (!find(&d, kinds[i].id, 0))
			continue;
		for (unsigned q = 0; q < kinds[i].queues; q++)
			for (unsigned k = 0; attack(&d, i, q, k); k++)
				;
		reset(&d);
		print(kinds[i].name);
		print(": ");
		print_number(count - before);
		print(" rings\n");
	}
	print("done\n");
	return 0;
}

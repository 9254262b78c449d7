#include <fcntl.h>
#include <libfdt.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "pci.h"
#include "stream.h"

#define SLOT	    3
#define NOTES	    (GUEST_DATA + 0x4000) /* 4 KiB of them */
#define STEP_NOTES  8
#define HAMMER_MOST 0x2000 /* of one range */

const struct script *contract_script(const struct dev_type *type)
{
	for (unsigned i = 0; contract_scripts[i]; i++)
		if (contract_scripts[i]->type == type)
			return contract_scripts[i];
	return NULL;
}

unsigned contract_cases(struct contract_case *ret, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; dev_types[i]; i++) {
		bool is_virtio = dev_types[i]->resume == vdev_resume;

		require(n + 2 <= max);
		ret[n++] = (struct contract_case){ dev_types[i], is_virtio ? WIRE_MMIO : 0 };
		if (is_virtio)
			ret[n++] = (struct contract_case){ dev_types[i], WIRE_PCI };
	}
	return n;
}

const char *contract_name(const struct contract_case *c)
{
	static char name[64];
	static const char *const wire[] = { "", " over mmio", " over pci" };

	snprintf(name, sizeof(name), "%s%s", c->type->name, wire[c->wiring]);
	return name;
}

/* --- making one --- */

static struct dev *make_bus(struct fake *f)
{
	const struct pci_place place = {
		.addr_port = GUEST_CFG_PORT,
		.hole_base = GUEST_HOLE,
		.hole_end = GUEST_HOLE_END,
		.ecam_base = GUEST_ECAM,
	};

	return fake_dev(f, &pci_type, -1, &place);
}

static struct dev *make_device(struct subject *x)
{
	struct vdev_place place = { .gsi = CONTRACT_GSI, .base = GUEST_MMIO, .stream = x->stream };

	if (x->wiring == WIRE_BOARD)
		return fake_dev(x->f, x->script->type, -1, x->script->conf(x));
	place.conf = x->script->conf(x);
	if (x->wiring == WIRE_PCI) {
		place.pci = pci_bus(x->pci);
		place.slot = SLOT;
		place.base = GUEST_BAR;
	}
	return fake_dev(x->f, x->script->type, 0, &place);
}

struct subject *subject_new(const struct contract_case *c)
{
	struct subject *x = calloc(1, sizeof(*x));

	require(x);
	x->script = contract_script(c->type);
	require(x->script);
	x->wiring = c->wiring;
	x->disk = x->input[0] = x->input[1] = x->output = -1;
	x->f = fake_new();
	if (x->script->host)
		x->script->host(x);
	if (x->wiring == WIRE_PCI)
		x->pci = make_bus(x->f);
	x->dev = make_device(x);
	require(x->dev);
	if (x->wiring == WIRE_MMIO)
		guest_find_mmio(&x->g, x->f, GUEST_MMIO, CONTRACT_GSI);
	else if (x->wiring == WIRE_PCI)
		guest_find_pci(&x->g, x->f, SLOT, CONTRACT_GSI);
	return x;
}

struct dev *subject_twin(struct subject *x)
{
	return make_device(x);
}

void subject_free(struct subject *x)
{
	while (x->f->devs)
		fake_dev_free(x->f, x->f->dev[x->f->devs - 1]);
	if (x->script->unhost)
		x->script->unhost(x);
	stream_free(x->stream);
	fake_free(x->f);
	cleanup_close(&x->disk);
	cleanup_close(&x->input[0]);
	cleanup_close(&x->input[1]);
	cleanup_close(&x->output);
	free(x);
}

/* --- running it --- */

void subject_note(struct subject *x, uint64_t v)
{
	unsigned at = x->step * STEP_NOTES + x->notes++;

	require(x->notes <= STEP_NOTES);
	fake_poke(x->f, NOTES + 8 * at, &v, sizeof(v));
}

void subject_step(struct subject *x, unsigned k)
{
	unsigned events = x->f->events;

	x->step = k;
	x->notes = 0;
	x->script->step(x, k);
	fake_settle(x->f);
	subject_note(x, x->f->level[CONTRACT_GSI] | (x->f->events - events) << 8);
}

void subject_run(struct subject *x, unsigned from, unsigned to)
{
	for (unsigned k = from; k < to; k++)
		subject_step(x, k);
}

void subject_reset(struct subject *x)
{
	for (unsigned i = 0; i < x->f->devs; i++)
		dev_reset(x->f->dev[i]);
	fake_resume(x->f);
	if (x->wiring == WIRE_PCI)
		guest_find_bar(&x->g);
}

static void copy_disk(int from, int to)
{
	static uint8_t buf[CONTRACT_SECTORS * 512];

	if (from < 0)
		return;
	require(pread(from, buf, sizeof(buf), 0) == sizeof(buf));
	require(pwrite(to, buf, sizeof(buf), 0) == sizeof(buf));
}

struct subject *subject_clone(struct subject *x, const void *fdt, size_t size)
{
	static uint8_t ram[FAKE_RAM];
	const struct contract_case c = { x->script->type, x->wiring };
	struct subject *y = subject_new(&c);

	fake_ram_get(x->f, ram);
	fake_ram_set(y->f, ram);
	copy_disk(x->disk, y->disk);
	require(!fake_load(y->f, fdt, size));
	fake_resume(y->f);
	y->g = x->g; /* the driver is part of the guest */
	y->g.f = y->f;
	return y;
}

/* --- comparing trees --- */

static bool is_named(const char *name, const char *const *names)
{
	for (; names && *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static void say_node(const void *fdt, int node, const char *name)
{
	char path[128] = "?";

	fdt_get_path(fdt, node, path, sizeof(path));
	fprintf(stderr, "the trees differ: %s/%s\n", path, name);
}

static bool same_properties(const void *a, int na, const void *b, int nb, const char *const *but)
{
	int pa = fdt_first_property_offset(a, na), pb = fdt_first_property_offset(b, nb);

	while (pa >= 0 && pb >= 0) {
		const char *name_a, *name_b;
		int len_a, len_b;
		const void *va = fdt_getprop_by_offset(a, pa, &name_a, &len_a);
		const void *vb = fdt_getprop_by_offset(b, pb, &name_b, &len_b);

		if (strcmp(name_a, name_b) || len_a != len_b ||
		    (memcmp(va, vb, (size_t)len_a) && !is_named(name_a, but))) {
			say_node(a, na, name_a);
			return false;
		}
		pa = fdt_next_property_offset(a, pa);
		pb = fdt_next_property_offset(b, pb);
	}
	if (pa < 0 && pb < 0)
		return true;
	say_node(a, na, "(the number of properties)");
	return false;
}

static bool same_nodes(const void *a, int na, const void *b, int nb, const char *const *but)
{
	int ca = fdt_first_subnode(a, na), cb = fdt_first_subnode(b, nb);

	if (!same_properties(a, na, b, nb, but))
		return false;
	while (ca >= 0 && cb >= 0) {
		if (strcmp(fdt_get_name(a, ca, NULL), fdt_get_name(b, cb, NULL)))
			break;
		if (!same_nodes(a, ca, b, cb, but))
			return false;
		ca = fdt_next_subnode(a, ca);
		cb = fdt_next_subnode(b, cb);
	}
	if (ca < 0 && cb < 0)
		return true;
	say_node(a, na, "(its nodes)");
	return false;
}

bool same_trees(const void *a, const void *b, const char *const *but)
{
	return same_nodes(a, 0, b, 0, but);
}

/* --- wild accesses --- */

static void hammer(struct subject *x, enum bus_kind kind, uint64_t base, uint64_t len,
		   uint32_t *seed)
{
	static const unsigned widths[] = { 1, 2, 4, 8, 3, 5, 0, 16 };
	struct bus *bus = &x->f->bus;

	for (uint64_t off = 0; off < MIN(len, HAMMER_MOST); off++) {
		for (unsigned i = 0; i < ARRAY_SIZE(widths); i++) {
			bus_read(bus, kind, base + off, widths[i]);
			bus_write(bus, kind, base + off, widths[i], fake_odd(seed));
			bus_read(bus, kind, base + off, widths[i]);
		}
		if (off % 64 == 63)
			fake_settle(x->f);
	}
	fake_settle(x->f);
}

void subject_hammer(struct subject *x, uint32_t seed)
{
	for (unsigned kind = 0; kind < BUS_KINDS; kind++) {
		for (unsigned i = 0; i < x->f->bus.n[kind]; i++) {
			struct bus_range r = x->f->bus.range[kind][i];

			if (r.dev == x->dev || r.dev == x->pci)
				hammer(x, kind, r.base, r.len, &seed);
		}
	}
	if (x->wiring != WIRE_PCI && x->dev->type != &pci_type)
		return;
	/* the hole is large: of it, configuration space, and what lies in BARs */
	subject_reset(x);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		hammer(x, BUS_MMIO, GUEST_ECAM + (slot << 15), PCI_CFG_BYTES + 16, &seed);
		subject_reset(x);
	}
	for (unsigned page = 0; page < 9; page++)
		hammer(x, BUS_MMIO, GUEST_BAR + page * 0x1000, 0x200, &seed);
}

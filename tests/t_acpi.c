/*
 * t_acpi - the ACPI tables of several boards, read back the way a guest would
 *
 * "t_acpi dump FOLDER" writes each table to FOLDER/BOARD.SIGNATURE, for tests/acpi.sh.
 */
#include <ctype.h>

#include "acpi.h"
#include "layout_x86.h"
#include "suite.h"

#define MEM_SIZE (2 * MiB)
#define FILLER	 0xa5 /* what memory holds before: what no table covers must still hold it */
#define FOLDER	 "T_ACPI_FOLDER"

struct table {
	char sig[5];
	gpa_t gpa;
	size_t len;
	uint8_t *data;
};

struct found {
	struct gmem mem;
	unsigned n;
	struct table table[12]; /* [0] is the RSDP */
};

static const struct named_board {
	const char *name;
	struct board board;
} boards[] = {
	{ "mmio",
	  { .cpus = 1,
	    .mmio_n = 3,
	    .mmio = { { 0xfeb00000, 5 }, { 0xfeb01000, 16 }, { 0xfeb02000, 23 } } } },
	{ "bare", { .cpus = 4, .pit = true } },
	{ "bus", { .cpus = 4, .pci = true } }, /* nothing on it */
	{ "pci",
	  { .cpus = 1,
	    .pci = true,
	    .pci64_base = 0x7000000000,
	    .pci64_len = 0x1000000000,
	    .pci_gsi = { [1] = 16, [2] = 17, [31] = 10 } } },
	{ "both",
	  { .cpus = 4,
	    .pit = true,
	    .pm_timer = true,
	    .pci = true,
	    .pci_gsi = { [1] = 11 },
	    .mmio_n = 1,
	    .mmio = { { 0xfeb00000, 5 } } } },
	{ "many", { .cpus = 300, .pci = true, .mmio_n = BOARD_MMIO } },
};

/* a board by name; "many" has of everything as much as there can be */
static struct board board_of(const char *name)
{
	struct board b = { .cpus = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(boards); i++)
		if (!strcmp(boards[i].name, name))
			b = boards[i].board;
	ck_assert_uint_ne(b.cpus, 0);
	if (b.mmio_n == BOARD_MMIO) {
		for (unsigned i = 0; i < BOARD_MMIO; i++) {
			b.mmio[i].base = VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE;
			b.mmio[i].gsi = 5 + i;
		}
		for (unsigned i = 1; i < BOARD_PCI_SLOTS; i++)
			b.pci_gsi[i] = (uint8_t)(16 + i % 8);
	}
	return b;
}

static uint64_t le(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	while (size--)
		v = v << 8 | p[size];
	return v;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t v = 0;

	while (len--)
		v = (uint8_t)(v + *p++);
	return v;
}

static void mem_init(struct gmem *mem, uint64_t len)
{
	uint8_t page[4096];

	*mem = (struct gmem){ .n = 0 };
	ck_assert_int_eq(gmem_add(mem, 0, len), 0);
	memset(page, FILLER, sizeof(page));
	for (gpa_t at = 0; at < len; at += sizeof(page))
		ck_assert_int_eq(gmem_write(mem, at, page, sizeof(page)), 0);
}

static const struct table *add(struct found *f, gpa_t gpa, size_t len)
{
	struct table *t = &f->table[f->n++];

	ck_assert_uint_le(f->n, ARRAY_SIZE(f->table));
	ck_assert_uint_ge(gpa, ACPI_ADDR);
	ck_assert_uint_eq(gpa % 16, 0);
	ck_assert(range_fits(gpa - ACPI_ADDR, len, ACPI_MAX));
	*t = (struct table){ .gpa = gpa, .len = len, .data = malloc(len) };
	ck_assert_ptr_nonnull(t->data);
	ck_assert_int_eq(gmem_read(&f->mem, gpa, t->data, len), 0);
	memcpy(t->sig, t->data, 4);
	return t;
}

static const struct table *add_sdt(struct found *f, gpa_t gpa)
{
	uint8_t head[36];
	const struct table *t;

	ck_assert_int_eq(gmem_read(&f->mem, gpa, head, sizeof(head)), 0);
	t = add(f, gpa, le(head + 4, 4));
	ck_assert_uint_ge(t->len, sizeof(head));
	ck_assert_msg(!sum(t->data, t->len), "%s", t->sig);
	return t;
}

static const struct table *find(const struct found *f, const char *sig)
{
	for (unsigned i = 0; i < f->n; i++)
		if (!memcmp(f->table[i].sig, sig, 4))
			return &f->table[i];
	return NULL;
}

/* from the RSDP to everything it leads to */
static void find_all(struct found *f)
{
	const struct table *rsdp = add(f, ACPI_ADDR, 36), *xsdt, *fadt, *facs, *dsdt;

	ck_assert_mem_eq(rsdp->data, "RSD PTR ", 8);
	ck_assert_uint_eq(rsdp->data[15], 2);
	ck_assert_uint_eq(le(rsdp->data + 20, 4), 36);
	ck_assert_uint_eq(sum(rsdp->data, 20), 0);
	ck_assert_uint_eq(sum(rsdp->data, 36), 0);

	xsdt = add_sdt(f, le(rsdp->data + 24, 8));
	ck_assert_str_eq(xsdt->sig, "XSDT");
	ck_assert_uint_eq(xsdt->len % 8, 36 % 8);
	for (size_t at = 36; at < xsdt->len; at += 8)
		add_sdt(f, le(xsdt->data + at, 8));

	fadt = find(f, "FACP");
	ck_assert_ptr_nonnull(fadt);
	ck_assert_uint_eq(fadt->len, 276);
	dsdt = add_sdt(f, le(fadt->data + 40, 4));
	ck_assert_str_eq(dsdt->sig, "DSDT");
	ck_assert_uint_eq(le(fadt->data + 140, 8), dsdt->gpa);
	facs = add(f, le(fadt->data + 36, 4), 64);
	ck_assert_str_eq(facs->sig, "FACS");
	ck_assert_uint_eq(facs->gpa % 64, 0);
	ck_assert_uint_eq(le(facs->data + 4, 4), 64);
}

static void tables_of(struct found *f, const struct board *board)
{
	*f = (struct found){ .n = 0 };
	mem_init(&f->mem, MEM_SIZE);
	ck_assert_int_eq(acpi_write(&f->mem, board), 0);
	find_all(f);
}

static void found_free(struct found *f)
{
	for (unsigned i = 0; i < f->n; i++)
		free(f->table[i].data);
	gmem_free(&f->mem);
}

static size_t end_of(const struct found *f)
{
	size_t end = 0;

	for (unsigned i = 0; i < f->n; i++)
		end = MAX(end, f->table[i].gpa + f->table[i].len - ACPI_ADDR);
	return end;
}

START_TEST(test_layout)
{
	struct board b = board_of(boards[_i].name);
	struct found f;
	uint8_t around[2];

	tables_of(&f, &b);
	for (unsigned i = 0; i < f.n; i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_msg(!ranges_overlap(f.table[i].gpa, f.table[i].len,
						      f.table[j].gpa, f.table[j].len),
				      "%s %s", f.table[i].sig, f.table[j].sig);
	ck_assert_int_eq(gmem_read(&f.mem, ACPI_ADDR - 1, around, 1), 0);
	ck_assert_int_eq(gmem_read(&f.mem, ACPI_ADDR + end_of(&f), around + 1, 1), 0);
	ck_assert_uint_eq(around[0], FILLER);
	ck_assert_uint_eq(around[1], FILLER);

	/* RSDP, XSDT, FADT, FACS, DSDT, MADT */
	ck_assert_uint_eq(f.n, 6U + b.pci + b.pm_timer);
	ck_assert_int_eq(!!find(&f, "MCFG"), b.pci);
	ck_assert_int_eq(!!find(&f, "WAET"), b.pm_timer);
	found_free(&f);
}
END_TEST

static void check_gas(const uint8_t *p, unsigned bits, unsigned access, uint64_t addr)
{
	ck_assert_uint_eq(p[0], 1);
	ck_assert_uint_eq(p[1], bits);
	ck_assert_uint_eq(p[2], 0);
	ck_assert_uint_eq(p[3], access);
	ck_assert_uint_eq(le(p + 4, 8), addr);
}

START_TEST(test_fadt)
{
	struct board b = board_of(_i ? "both" : "mmio");
	struct found f;
	const uint8_t *p;

	tables_of(&f, &b);
	p = find(&f, "FACP")->data;
	ck_assert_uint_eq(p[8], 6);
	ck_assert_uint_eq(le(p + 46, 2), 9);	 /* SCI */
	ck_assert_uint_eq(le(p + 48, 4), 0);	 /* SMI_CMD: always in ACPI mode */
	ck_assert_uint_eq(le(p + 56, 4), 0x600); /* PM1a event */
	ck_assert_uint_eq(le(p + 64, 4), 0x604); /* PM1a control */
	ck_assert_uint_eq(p[88], 4);
	ck_assert_uint_eq(p[89], 2);
	check_gas(p + 148, 32, 2, 0x600);
	check_gas(p + 172, 16, 2, 0x604);
	ck_assert_uint_eq(le(p + 80, 4), 0x60c); /* GPE 0 to 7 */
	ck_assert_uint_eq(p[92], 2);
	check_gas(p + 220, 16, 1, 0x60c);
	ck_assert_uint_eq(le(p + 76, 4), b.pm_timer ? 0x608 : 0);
	ck_assert_uint_eq(p[91], b.pm_timer ? 4 : 0);
	if (b.pm_timer)
		check_gas(p + 208, 32, 3, 0x608);
	else
		ck_assert_uint_eq(sum(p + 208, 12), 0);
	ck_assert_uint_eq(p[108], 0x32);	 /* century */
	ck_assert_uint_eq(le(p + 109, 2), 0x04); /* no VGA; RTC and MSI, no keyboard controller */
	ck_assert_uint_eq(le(p + 112, 4), b.pm_timer ? 0x565 : 0x465);
	check_gas(p + 116, 8, 1, 0xcf9);
	ck_assert_uint_eq(p[128], 6);
	found_free(&f);
}
END_TEST

struct madt {
	unsigned lapics, x2apics, ioapics, overrides;
	bool pit, sci;
	uint8_t seen[1024]; /* how often each APIC id */
};

static void madt_cpu(struct madt *m, uint64_t uid, uint64_t id, uint64_t flags)
{
	ck_assert_uint_lt(id, sizeof(m->seen));
	ck_assert_uint_eq(uid, id);
	ck_assert_uint_eq(flags, 1);
	m->seen[id]++;
}

static void madt_override(struct madt *m, const uint8_t *p)
{
	m->overrides++;
	ck_assert_uint_eq(p[2], 0);
	if (p[3] == 0 && le(p + 4, 4) == 2 && le(p + 8, 2) == 0)
		m->pit = true;
	if (p[3] == 9 && le(p + 4, 4) == 9 && le(p + 8, 2) == 0xd)
		m->sci = true;
}

static void madt_entry(struct madt *m, const uint8_t *p)
{
	static const uint8_t size[] = { [0] = 8, [1] = 12, [2] = 10, [9] = 16 };

	ck_assert_uint_lt(p[0], sizeof(size));
	ck_assert_uint_eq(p[1], size[p[0]]);
	switch (p[0]) {
	case 0:
		m->lapics++;
		madt_cpu(m, p[2], p[3], le(p + 4, 4));
		break;
	case 9:
		m->x2apics++;
		madt_cpu(m, le(p + 12, 4), le(p + 4, 4), le(p + 8, 4));
		break;
	case 1:
		m->ioapics++;
		ck_assert_uint_eq(p[2], 0);
		ck_assert_uint_eq(le(p + 4, 4), 0xfec00000);
		ck_assert_uint_eq(le(p + 8, 4), 0);
		break;
	case 2:
		madt_override(m, p);
		break;
	default:
		ck_abort_msg("MADT entry of type %u", p[0]);
	}
}

static const unsigned cpu_counts[] = { 1, 4, 254, 255, 256, 300, 1024 };

START_TEST(test_madt)
{
	struct board b = { .cpus = cpu_counts[_i], .pit = _i & 1 };
	struct madt m = { .lapics = 0 };
	struct found f;
	const struct table *t;
	size_t at;

	tables_of(&f, &b);
	t = find(&f, "APIC");
	ck_assert_ptr_nonnull(t);
	ck_assert_uint_eq(le(t->data + 36, 4), 0xfee00000);
	ck_assert_uint_eq(le(t->data + 40, 4), 1);
	for (at = 44; at < t->len; at += t->data[at + 1])
		madt_entry(&m, t->data + at);
	ck_assert_uint_eq(at, t->len);
	ck_assert_uint_eq(m.lapics, MIN(b.cpus, 255U));
	ck_assert_uint_eq(m.lapics + m.x2apics, b.cpus);
	for (unsigned id = 0; id < sizeof(m.seen); id++)
		ck_assert_uint_eq(m.seen[id], id < b.cpus);
	ck_assert_uint_eq(m.ioapics, 1);
	ck_assert_uint_eq(m.overrides, 1U + b.pit);
	ck_assert(m.sci);
	ck_assert_int_eq(m.pit, b.pit);
	found_free(&f);
}
END_TEST

START_TEST(test_mcfg)
{
	struct board b = board_of("pci");
	struct found f;
	const struct table *t;

	tables_of(&f, &b);
	t = find(&f, "MCFG");
	ck_assert_ptr_nonnull(t);
	ck_assert_uint_eq(t->len, 60);
	ck_assert_uint_eq(le(t->data + 44, 8), 0xb0000000);
	ck_assert_uint_eq(le(t->data + 52, 2), 0);
	ck_assert_uint_eq(t->data[54], 0);
	ck_assert_uint_eq(t->data[55], 0); /* or Linux scans every bus up to there */
	found_free(&f);
}
END_TEST

/*
 * A reader of AML, as far as a table of devices needs one: it knows Scope,
 * Device, Name, constants and one Method, and stops the test at anything else.
 */
struct value {
	enum { INT, STRING, BUFFER, PACKAGE } type;
	uint64_t v;	  /* or the number of elements */
	const uint8_t *p; /* content */
	size_t len;
};

struct device {
	char name[5];
	struct value hid, cid, uid, crs, prt, ddn, addr;
};

struct ns {
	const uint8_t *p, *end;
	unsigned n;
	struct device dev[64];
	struct value s5;
	const uint8_t *method; /* what it does: to its end */
	size_t method_len;
};

static uint8_t take(struct ns *ns)
{
	ck_assert(ns->p < ns->end);
	return *ns->p++;
}

static uint64_t take_le(struct ns *ns, unsigned size)
{
	uint64_t v;

	ck_assert_int_ge(ns->end - ns->p, (int)size);
	v = le(ns->p, size);
	ns->p += size;
	return v;
}

/* a PkgLength: where it ends; the shortest form is wanted, as that is how iasl writes it */
static const uint8_t *take_package(struct ns *ns)
{
	const uint8_t *start = ns->p;
	uint8_t lead = take(ns);
	unsigned more = lead >> 6;
	size_t len = more ? (lead & 0xfU) | take_le(ns, more) << 4 : lead & 0x3fU;

	ck_assert(!more || len - 1 >= 1U << (more == 1 ? 6 : 8 * more - 4));
	ck_assert_uint_le(len, (size_t)(ns->end - start));
	ck_assert_uint_ge(len, 1 + more);
	return start + len;
}

static void take_name(struct ns *ns, char name[5])
{
	for (unsigned i = 0; i < 4; i++) {
		name[i] = (char)take(ns);
		ck_assert(isupper(name[i]) || isdigit(name[i]) || name[i] == '_');
	}
	name[4] = 0;
}

static struct value take_value(struct ns *ns);

static struct value take_buffer(struct ns *ns)
{
	const uint8_t *end = take_package(ns);
	struct value v = { .type = BUFFER }, size = take_value(ns);

	ck_assert_int_eq(size.type, INT);
	v.p = ns->p;
	v.len = (size_t)(end - ns->p);
	ck_assert_uint_eq(size.v, v.len);
	ns->p = end;
	return v;
}

static struct value take_elements(struct ns *ns)
{
	const uint8_t *end = take_package(ns);
	struct value v = { .type = PACKAGE };
	unsigned n = 0;

	v.v = take(ns);
	v.p = ns->p;
	v.len = (size_t)(end - ns->p);
	for (; ns->p < end; n++)
		take_value(ns);
	ck_assert_ptr_eq(ns->p, end);
	ck_assert_uint_eq(n, v.v);
	return v;
}

static struct value take_value(struct ns *ns)
{
	uint8_t op = take(ns);
	struct value v = { .type = INT };

	switch (op) {
	case 0x00:
	case 0x01:
		v.v = op;
		return v;
	case 0x0a:
	case 0x0b:
	case 0x0c:
		v.v = take_le(ns, 1U << (op - 0x0a));
		return v;
	case 0x0e:
		v.v = take_le(ns, 8);
		return v;
	case 0x0d:
		v.type = STRING;
		v.p = ns->p;
		while (take(ns))
			v.len++;
		return v;
	case 0x11:
		return take_buffer(ns);
	case 0x12:
		return take_elements(ns);
	default:
		ck_abort_msg("AML: value of opcode %#x", op);
	}
}

static void take_terms(struct ns *ns, const uint8_t *end, struct device *dev);

static void take_block(struct ns *ns, bool is_device)
{
	const uint8_t *end = take_package(ns);
	struct device *dev = NULL;
	char name[5];

	take_name(ns, name);
	if (is_device) {
		ck_assert_uint_lt(ns->n, ARRAY_SIZE(ns->dev));
		dev = &ns->dev[ns->n++];
		memcpy(dev->name, name, sizeof(name));
	}
	take_terms(ns, end, dev);
	ck_assert_ptr_eq(ns->p, end);
}

static void take_named(struct ns *ns, struct device *dev)
{
	struct value v, *to = NULL;
	char name[5];

	take_name(ns, name);
	v = take_value(ns);
	if (!dev)
		to = strcmp(name, "_S5_") ? NULL : &ns->s5;
	else if (!strcmp(name, "_HID"))
		to = &dev->hid;
	else if (!strcmp(name, "_CID"))
		to = &dev->cid;
	else if (!strcmp(name, "_UID"))
		to = &dev->uid;
	else if (!strcmp(name, "_CRS"))
		to = &dev->crs;
	else if (!strcmp(name, "_PRT"))
		to = &dev->prt;
	else if (!strcmp(name, "_DDN"))
		to = &dev->ddn;
	else if (!strcmp(name, "ADDR"))
		to = &dev->addr;
	ck_assert_msg(to != NULL, "unexpected name %s", name);
	*to = v;
}

static void take_method(struct ns *ns)
{
	const uint8_t *end = take_package(ns);
	char name[5];

	take_name(ns, name);
	ck_assert_str_eq(name, "_E00");
	ck_assert_uint_eq(take(ns), 0); /* no arguments */
	ck_assert_ptr_null(ns->method);
	ns->method = ns->p;
	ns->method_len = (size_t)(end - ns->p);
	ns->p = end;
}

static void take_terms(struct ns *ns, const uint8_t *end, struct device *dev)
{
	while (ns->p < end) {
		uint8_t op = take(ns);

		if (op == 0x08) {
			take_named(ns, dev);
		} else if (op == 0x10) {
			take_block(ns, false);
		} else if (op == 0x14) {
			take_method(ns);
		} else {
			ck_assert_uint_eq(op, 0x5b);
			ck_assert_uint_eq(take(ns), 0x82);
			take_block(ns, true);
		}
	}
}

static void dsdt_of(const struct found *f, struct ns *ns)
{
	const struct table *t = find(f, "DSDT");

	*ns = (struct ns){ .p = t->data + 36, .end = t->data + t->len };
	ck_assert_uint_eq(t->data[8], 2);
	take_terms(ns, ns->end, NULL);
	for (unsigned i = 0; i < ns->n; i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(ns->dev[i].name, ns->dev[j].name);
}

static const struct device *device(const struct ns *ns, const char *name)
{
	for (unsigned i = 0; i < ns->n; i++)
		if (!strcmp(ns->dev[i].name, name))
			return &ns->dev[i];
	ck_abort_msg("no device %s", name);
}

static void check_crs(const struct device *dev, const char *bytes, size_t len)
{
	ck_assert_int_eq(dev->crs.type, BUFFER);
	ck_assert_uint_eq(dev->crs.len, len);
	ck_assert_mem_eq(dev->crs.p, bytes, len);
}

START_TEST(test_isa)
{
	static const char com1[] = "\x47\x01\xf8\x03\xf8\x03\x01\x08\x22\x10\x00\x79";
	static const char rtc[] = "\x47\x01\x70\x00\x70\x00\x01\x02\x22\x00\x01\x79";
	static const char pvpanic[] = "\x47\x01\x05\x05\x05\x05\x01\x01\x79";
	struct board b = board_of(boards[_i].name);
	struct found f;
	struct ns ns;

	tables_of(&f, &b);
	dsdt_of(&f, &ns);
	ck_assert_uint_eq(ns.n, 4 + b.mmio_n + 2 * b.pci);
	ck_assert_uint_eq(device(&ns, "COM1")->hid.v, 0x0105d041); /* PNP0501 */
	check_crs(device(&ns, "COM1"), com1, sizeof(com1));
	ck_assert_uint_eq(device(&ns, "RTC_")->hid.v, 0x000bd041); /* PNP0B00 */
	check_crs(device(&ns, "RTC_"), rtc, sizeof(rtc));
	ck_assert_str_eq((const char *)device(&ns, "PVPN")->hid.p, "QEMU0001");
	check_crs(device(&ns, "PVPN"), pvpanic, sizeof(pvpanic));
	ck_assert_int_eq(ns.s5.type, PACKAGE);
	ck_assert_uint_eq(ns.s5.v, 4);
	ck_assert_mem_eq(ns.s5.p, "\0\0\0\0", 4);
	found_free(&f);
}
END_TEST

/* 16 bytes where nothing else is, and how a driver learns that they are others */
START_TEST(test_generation)
{
	static const char notify[] = "\x86\x5c\x2e_SB_VGEN\x0a\x80";
	struct board b = board_of(boards[_i].name);
	uint8_t id[3][16];
	struct found f, g;
	struct ns ns;
	gpa_t at;

	tables_of(&f, &b);
	dsdt_of(&f, &ns);
	ck_assert_uint_eq(ns.method_len, sizeof(notify) - 1);
	ck_assert_mem_eq(ns.method, notify, sizeof(notify) - 1);
	ck_assert_str_eq((const char *)device(&ns, "VGEN")->cid.p, "VM_Gen_Counter");
	ck_assert_str_eq((const char *)device(&ns, "VGEN")->ddn.p, "VM_Gen_Counter");
	ck_assert_uint_eq(device(&ns, "VGEN")->addr.v, 2);
	ck_assert_uint_eq(device(&ns, "VGEN")->addr.p[0], 0x0c);
	ck_assert_uint_eq(device(&ns, "VGEN")->addr.p[5], 0);
	at = le(device(&ns, "VGEN")->addr.p + 1, 4);
	ck_assert_uint_eq(at % 8, 0);
	ck_assert(range_fits(at - LOW_RAM_END, 16, HIGH_RAM_START - LOW_RAM_END)); /* reserved */
	for (unsigned i = 0; i < f.n; i++)
		ck_assert(!ranges_overlap(f.table[i].gpa, f.table[i].len, at, 16));

	/* another one for each machine, and each time */
	ck_assert_int_eq(gmem_read(&f.mem, at, id[0], 16), 0);
	tables_of(&g, &b);
	ck_assert_int_eq(gmem_read(&g.mem, at, id[1], 16), 0);
	gmem_test_clear_dirty(&g.mem, at);
	ck_assert_int_eq(acpi_generation(&g.mem), 0);
	ck_assert(gmem_test_clear_dirty(&g.mem, at));
	ck_assert_int_eq(gmem_read(&g.mem, at, id[2], 16), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_mem_ne(id[i], id[(i + 1) % 3], 16);
	found_free(&g);
	found_free(&f);
}
END_TEST

START_TEST(test_mmio)
{
	struct board b = board_of("many");
	struct found f;
	struct ns ns;

	tables_of(&f, &b);
	dsdt_of(&f, &ns);
	for (unsigned i = 0; i < b.mmio_n; i++) {
		char crs[] = "\x86\x09\x00\x01....\x00\x10\x00\x00"
			     "\x89\x06\x00\x03\x01.\x00\x00\x00\x79";
		const struct device *dev;
		char name[5];

		for (unsigned k = 0; k < 4; k++)
			crs[4 + k] = (char)(b.mmio[i].base >> 8 * k);
		crs[17] = (char)b.mmio[i].gsi;
		snprintf(name, sizeof(name), "VR%02X", (uint8_t)i);
		dev = device(&ns, name);
		ck_assert_str_eq((const char *)dev->hid.p, "LNRO0005");
		ck_assert_uint_eq(dev->uid.v, i);
		check_crs(dev, crs, sizeof(crs));
	}
	found_free(&f);
}
END_TEST

static const char pci_crs[] = /* bus 0, the ports of configuration, all others, memory */
	"\x88\x0d\x00\x02\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00"
	"\x47\x01\xf8\x0c\xf8\x0c\x01\x08"
	"\x88\x0d\x00\x01\x0c\x03\x00\x00\x00\x00\xf7\x0c\x00\x00\xf8\x0c"
	"\x88\x0d\x00\x01\x0c\x03\x00\x00\x00\x0d\xff\xff\x00\x00\x00\xf3"
	"\x87\x17\x00\x00\x0c\x01\x00\x00\x00\x00\x00\x00\x00\xc0\xff\xff\xff\xfb"
	"\x00\x00\x00\x00\x00\x00\x00\x3c";
static const char pci64_crs[] = /* 0x7000000000 to 0x7fffffffff */
	"\x8a\x2b\x00\x00\x0c\x01\x00\x00\x00\x00\x00\x00\x00\x00"
	"\x00\x00\x00\x00\x70\x00\x00\x00\xff\xff\xff\xff\x7f\x00\x00\x00"
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00";

START_TEST(test_pci)
{
	static const char ecam[] = "\x86\x09\x00\x01\x00\x00\x00\xb0\x00\x00\x00\x10\x79";
	struct board b = board_of(_i ? "both" : "pci");
	size_t len = sizeof(pci_crs) - 1, len64 = b.pci64_len ? sizeof(pci64_crs) - 1 : 0;
	const struct device *dev;
	struct found f;
	struct ns ns;

	tables_of(&f, &b);
	dsdt_of(&f, &ns);
	dev = device(&ns, "PCI0");
	ck_assert_uint_eq(dev->hid.v, 0x080ad041); /* PNP0A08 */
	ck_assert_uint_eq(dev->cid.v, 0x030ad041); /* PNP0A03 */
	ck_assert_uint_eq(dev->crs.len, len + len64 + 2);
	ck_assert_mem_eq(dev->crs.p, pci_crs, len);
	ck_assert_mem_eq(dev->crs.p + len, pci64_crs, len64);
	ck_assert_uint_eq(device(&ns, "ECAM")->hid.v, 0x020cd041); /* PNP0C02 */
	check_crs(device(&ns, "ECAM"), ecam, sizeof(ecam));
	found_free(&f);
}
END_TEST

START_TEST(test_pci_lines)
{
	struct board b = board_of(_i ? "many" : "pci");
	unsigned routed[BOARD_PCI_SLOTS] = { 0 };
	const struct device *dev;
	struct found f;
	struct ns ns;

	tables_of(&f, &b);
	dsdt_of(&f, &ns);
	dev = device(&ns, "PCI0");
	ck_assert_int_eq(dev->prt.type, PACKAGE);
	ns.p = dev->prt.p;
	for (unsigned i = 0; i < dev->prt.v; i++) {
		uint64_t v[4];

		ck_assert_uint_eq(take(&ns), 0x12);
		take_package(&ns);
		ck_assert_uint_eq(take(&ns), 4);
		for (unsigned k = 0; k < 4; k++)
			v[k] = take_value(&ns).v;
		ck_assert_uint_eq(v[0] & 0xffff, 0xffff);
		ck_assert_uint_lt(v[0] >> 16, BOARD_PCI_SLOTS);
		ck_assert_uint_lt(v[1], 4);
		ck_assert_uint_eq(v[2], 0);
		ck_assert_uint_eq(v[3], b.pci_gsi[v[0] >> 16]);
		routed[v[0] >> 16] |= 1U << v[1];
	}
	for (unsigned i = 0; i < BOARD_PCI_SLOTS; i++)
		ck_assert_uint_eq(routed[i], b.pci_gsi[i] ? 0xf : 0);
	found_free(&f);
}
END_TEST

static int try_cpus(unsigned cpus)
{
	struct board b = { .cpus = cpus };
	struct found f = { .n = 0 };
	uint8_t first;
	int r;

	mem_init(&f.mem, MEM_SIZE);
	r = acpi_write(&f.mem, &b);
	ck_assert_int_eq(gmem_read(&f.mem, ACPI_ADDR, &first, 1), 0);
	if (!r)
		find_all(&f);
	else
		ck_assert_uint_eq(first, FILLER);
	found_free(&f);
	return r;
}

START_TEST(test_too_large)
{
	unsigned fits = 1, not = 1000000;

	ck_assert_int_eq(try_cpus(fits), 0);
	while (not -fits > 1) {
		unsigned half = (fits + not ) / 2;
		int r = try_cpus(half);

		if (!r) {
			fits = half;
		} else {
			ck_assert_int_eq(r, -ENOSPC);
			not = half;
		}
	}
	/* nearly all of the space is used before it is refused: an entry more is 16 bytes */
	ck_assert_uint_ge(fits, (ACPI_MAX - 2048) / 16);
	ck_assert_int_eq(try_cpus(UINT32_MAX), -ENOSPC);
}
END_TEST

START_TEST(test_no_memory)
{
	static const uint64_t sizes[] = { 0x1000, 0xe0000, 0xe1000 };
	struct board b = board_of("many");
	struct gmem mem;
	uint8_t first;

	mem_init(&mem, sizes[_i]);
	ck_assert_int_eq(acpi_write(&mem, &b), -EFAULT);
	if (sizes[_i] > ACPI_ADDR) {
		ck_assert_int_eq(gmem_read(&mem, ACPI_ADDR, &first, 1), 0);
		ck_assert_uint_eq(first, FILLER);
	}
	gmem_free(&mem);
}
END_TEST

static void dump_table(const char *folder, const char *board, const struct table *t)
{
	char path[4096];
	FILE *f;

	ck_assert_int_lt(snprintf(path, sizeof(path), "%s/%s.%s", folder, board, t->sig),
			 (int)sizeof(path));
	f = fopen(path, "w");
	ck_assert_msg(f != NULL, "cannot write %s", path);
	ck_assert_uint_eq(fwrite(t->data, 1, t->len, f), t->len);
	ck_assert_int_eq(fclose(f), 0);
}

/* no test, but asserts work in tests only */
START_TEST(test_dump)
{
	const char *folder = getenv(FOLDER);

	for (size_t i = 0; i < ARRAY_SIZE(boards); i++) {
		struct board b = board_of(boards[i].name);
		struct found f;

		tables_of(&f, &b);
		for (unsigned k = 1; k < f.n; k++)
			dump_table(folder, boards[i].name, &f.table[k]);
		printf("%-5s %5zu bytes:", boards[i].name, end_of(&f));
		for (unsigned k = 0; k < f.n; k++)
			printf(" %.4s %zu", f.table[k].sig, f.table[k].len);
		printf("\n");
		found_free(&f);
	}
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("acpi");
	TCase *tc = tcase_create("acpi");

	suite_add_tcase(s, tc);
	if (argc == 3 && !strcmp(argv[1], "dump")) {
		setenv(FOLDER, argv[2], 1);
		tcase_add_test(tc, test_dump);
	} else {
		tcase_add_loop_test(tc, test_layout, 0, ARRAY_SIZE(boards));
		tcase_add_loop_test(tc, test_fadt, 0, 2);
		tcase_add_loop_test(tc, test_madt, 0, ARRAY_SIZE(cpu_counts));
		tcase_add_test(tc, test_mcfg);
		tcase_add_loop_test(tc, test_isa, 0, ARRAY_SIZE(boards));
		tcase_add_loop_test(tc, test_generation, 0, ARRAY_SIZE(boards));
		tcase_add_test(tc, test_mmio);
		tcase_add_loop_test(tc, test_pci, 0, 2);
		tcase_add_loop_test(tc, test_pci_lines, 0, 2);
		tcase_add_test(tc, test_too_large);
		tcase_add_loop_test(tc, test_no_memory, 0, 3);
	}
	return suite_run(s);
}

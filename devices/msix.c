#include <linux/pci_regs.h>

#include "msix.h"

#define ENTRY_BYTES 16

struct entry {
	uint64_t addr;
	uint32_t data, ctrl;
};

const struct field msix_fields[] = {
	F_BYTES(struct msix_state, table),
	F_UINT(struct msix_state, pending),
	F_END,
};

static struct entry entry_of(const struct msix *m, unsigned vector)
{
	struct entry e;

	memcpy(&e, m->s.table + vector * ENTRY_BYTES, sizeof(e));
	return e;
}

static uint16_t control(const struct msix *m)
{
	return (uint16_t)bus_bytes_read(m->fn->s.cfg, PCI_CFG_BYTES, m->cap + PCI_MSIX_FLAGS, 2);
}

void msix_reset(struct msix *m)
{
	const uint32_t masked = PCI_MSIX_ENTRY_CTRL_MASKBIT;

	m->s = (struct msix_state){ .pending = 0 };
	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		memcpy(m->s.table + i * ENTRY_BYTES + PCI_MSIX_ENTRY_VECTOR_CTRL, &masked, 4);
}

void msix_init(struct msix *m, struct pci_fn *fn, struct irq *irq, unsigned n, uint32_t table_off,
	       uint32_t pba_off)
{
	struct {
		uint16_t flags;
		uint32_t table, pba; /* BAR 0 is index 0 in the low bits */
	} __attribute__((packed)) cap = { (uint16_t)(n - 1), table_off, pba_off };

	BUG_ON(n > MSIX_VECTORS);
	m->fn = fn;
	m->irq = irq;
	m->n = n;
	m->cap = pci_fn_cap(fn, PCI_CAP_ID_MSIX, &cap, sizeof(cap));
	fn->wmask[m->cap + PCI_MSIX_FLAGS + 1] |=
		(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	msix_reset(m);
}

int msix_loaded(struct msix *m)
{
	if (m->s.pending >> m->n)
		return err(-EINVAL, "snapshot: %s: interrupts of vectors past %u are pending",
			   m->fn->dev->name, m->n - 1);
	return 0;
}

bool msix_on(const struct msix *m)
{
	return control(m) & PCI_MSIX_FLAGS_ENABLE;
}

void msix_fire(struct msix *m, unsigned vector)
{
	if (vector >= m->n)
		return;
	m->s.pending |= 1ULL << vector;
	msix_flush(m);
}

void msix_flush(struct msix *m)
{
	uint16_t flags = control(m);

	if (!(flags & PCI_MSIX_FLAGS_ENABLE) || flags & PCI_MSIX_FLAGS_MASKALL)
		return;
	for (unsigned i = 0; m->s.pending >> i && i < m->n; i++) {
		struct entry e = entry_of(m, i);

		if (!(m->s.pending >> i & 1) || e.ctrl & PCI_MSIX_ENTRY_CTRL_MASKBIT)
			continue;
		m->s.pending &= ~(1ULL << i);
		irq_msi(m->irq, e.addr, e.data);
	}
}

uint64_t msix_table_read(struct msix *m, uint64_t off, unsigned len)
{
	return bus_bytes_read(m->s.table, m->n * ENTRY_BYTES, off, len);
}

void msix_table_write(struct msix *m, uint64_t off, unsigned len, uint64_t v)
{
	/* the rules allow 4 and 8 bytes, aligned; others would tear an entry */
	if ((len != 4 && len != 8) || off % len || !range_fits(off, len, m->n * ENTRY_BYTES))
		return;
	memcpy(m->s.table + off, &v, len);
	msix_flush(m);
}

uint64_t msix_pba_read(struct msix *m, uint64_t off, unsigned len)
{
	return bus_bytes_read(&m->s.pending, sizeof(m->s.pending), off, len);
}

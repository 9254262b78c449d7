/*
 * msix.h - a function's MSI-X table, pending bits and masks (layer 3)
 *
 * Called with the device's lock held.  A vector fired while it, or the whole
 * function, is masked is remembered and sent when the mask goes.
 */
#ifndef HUTCH_MSIX_H
#define HUTCH_MSIX_H

#include "pci.h"

#define MSIX_VECTORS	 18 /* one a queue, one for the configuration */
#define MSIX_NO_VECTOR	 0xffff
#define MSIX_TABLE_BYTES (16 * MSIX_VECTORS)
#define MSIX_PBA_BYTES	 8

struct msix_state {
	uint8_t table[MSIX_TABLE_BYTES];
	uint64_t pending;
};

extern const struct field msix_fields[];

struct msix {
	struct msix_state s;
	struct pci_fn *fn;
	struct irq *irq;
	unsigned cap, n;
};

/* add the capability; table and pending bits lie in BAR 0 at the given offsets */
void msix_init(struct msix *m, struct pci_fn *fn, struct irq *irq, unsigned n, uint32_t table_off,
	       uint32_t pba_off);
void msix_reset(struct msix *m);
int msix_loaded(struct msix *m) must_check;

bool msix_on(const struct msix *m);
void msix_fire(struct msix *m, unsigned vector);
/* send what is pending and no longer masked; after a write to the capability and after a restore */
void msix_flush(struct msix *m);

uint64_t msix_table_read(struct msix *m, uint64_t off, unsigned len);
void msix_table_write(struct msix *m, uint64_t off, unsigned len, uint64_t v);
uint64_t msix_pba_read(struct msix *m, uint64_t off, unsigned len);

#endif

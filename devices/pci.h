/*
 * pci.h - one PCI bus with ECAM, and what a function on it is (layer 3)
 *
 * The bridge decodes the whole hole below 4 GiB: first the ECAM window, then
 * the functions' BARs, wherever the guest has moved them.  BARs may overlap
 * while a guest rearranges them: the lowest slot wins, and nothing fails.
 */
#ifndef HUTCH_PCI_H
#define HUTCH_PCI_H

#include "dev.h"

#define PCI_SLOTS     32
#define PCI_CFG_BYTES 256
#define PCI_BARS      6

struct pci_place {
	uint64_t addr_port;
	gpa_t hole_base, hole_end, ecam_base;
};

struct pci_state {
	uint8_t cfg[PCI_CFG_BYTES];
};

extern const struct field pci_fn_fields[];

struct pci_fn;

struct pci_fn_ops {
	/* inside BAR 0; called with dev's lock held */
	uint64_t (*read)(struct pci_fn *fn, uint64_t off, unsigned len);
	void (*write)(struct pci_fn *fn, uint64_t off, unsigned len, uint64_t v);
	/* config bytes [off, off + len) were written, as far as they can be; may be NULL */
	void (*configured)(struct pci_fn *fn, unsigned off, unsigned len);
	/* before config bytes are read; may be NULL */
	void (*prepare)(struct pci_fn *fn, unsigned off, unsigned len);
};

/* one function: a type 0 header and at most one memory BAR, of 32 bits */
struct pci_fn {
	struct dev *dev; /* whose lock covers cfg; NULL: the bridge's own */
	const struct pci_fn_ops *ops;
	struct pci_state s;
	uint8_t wmask[PCI_CFG_BYTES]; /* bits the guest can write */
	uint8_t fixed[PCI_CFG_BYTES]; /* what the others are */
	uint32_t bar_size;	      /* a power of two, 0 for no BAR */
	unsigned cap_end;	      /* where the next capability goes */
};

struct pci_bus;
struct pci_bus *pci_bus(struct dev *dev);

struct pci_id {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
};

void pci_fn_init(struct pci_fn *fn, struct dev *dev, const struct pci_fn_ops *ops,
		 const struct pci_id *id);
void pci_fn_bar(struct pci_fn *fn, uint32_t size, gpa_t at);
/* append a capability: its offset; @data begins behind id and next */
unsigned pci_fn_cap(struct pci_fn *fn, uint8_t id, const void *data, unsigned len);
void pci_fn_writable(struct pci_fn *fn, unsigned off, unsigned len);
/* after all of the above: what it is now is what a reset brings back */
void pci_fn_seal(struct pci_fn *fn);

int pci_attach(struct pci_bus *bus, unsigned slot, struct pci_fn *fn) must_check;
void pci_detach(struct pci_bus *bus, struct pci_fn *fn);
void pci_fn_reset(struct pci_fn *fn);
int pci_fn_loaded(struct pci_fn *fn) must_check; /* -EINVAL: a fixed bit differs */

/* where BAR 0 is now; 0 while it is not decoded */
gpa_t pci_fn_bar_at(const struct pci_fn *fn);
bool pci_fn_intx_off(const struct pci_fn *fn);

#endif

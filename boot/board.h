/* board.h - what the tables must tell the guest about the machine it is on (layer 3) */
#ifndef HUTCH_BOARD_H
#define HUTCH_BOARD_H

#include "base.h"

#define BOARD_MMIO	32
#define BOARD_PCI_SLOTS 32

struct board {
	unsigned cpus;	   /* APIC ids 0 .. cpus - 1 */
	gpa_t lowmem_end;  /* RAM is [0, lowmem_end) and [4 GiB, highmem_end) */
	gpa_t highmem_end; /* HIGHMEM_BASE if there is none */
	unsigned phys_bits;
	bool pit;
	bool pm_timer; /* tell of it: firmware guests want it, but Linux tests it for 4.5 ms */
	bool pci;      /* a PCI bus with ECAM */
	gpa_t pci64_base, pci64_len;	  /* window for 64-bit BARs, len 0 for none */
	uint8_t pci_gsi[BOARD_PCI_SLOTS]; /* line of INTA of each slot, 0 for none */
	unsigned mmio_n;
	struct {
		gpa_t base; /* VIRTIO_MMIO_SIZE bytes */
		unsigned gsi;
	} mmio[BOARD_MMIO];
};

#endif

/*
 * layout_x86.h - the guest's physical address map, all of it, in one place
 *
 * RAM lies from 0 to at most LOWMEM_MAX and from 4 GiB up.  2 GiB of low RAM
 * at most, because UEFI firmware puts PCI windows above that.
 */
#ifndef HUTCH_LAYOUT_X86_H
#define HUTCH_LAYOUT_X86_H

/* what a direct boot puts below 1 MiB */
#define GDT_ADDR	 0x500ULL  /* 4 entries */
#define PVH_START_INFO	 0x6000ULL /* hvm_start_info, module list and memory map behind it */
#define ZERO_PAGE	 0x7000ULL /* struct boot_params */
#define PAGE_TABLES	 0x9000ULL /* PML4, PDPT, PD: identity map of the first 1 GiB */
#define BOOT_STACK	 0x8ff0ULL
#define SETUP_DATA	 0xc000ULL  /* struct setup_data: a seed for random numbers */
#define CMDLINE_ADDR	 0x20000ULL /* up to CMDLINE_MAX bytes with the NUL */
#define CMDLINE_MAX	 0x10000ULL
#define LOW_RAM_END	 0x9fc00ULL /* as firmware would leave it to the extended BIOS data */
#define ACPI_ADDR	 0xe0000ULL /* RSDP first, then the tables, to 1 MiB */
#define ACPI_MAX	 0x20000ULL
#define GENID_ADDR	 0xe0028ULL /* between RSDP and FACS: which machine this is now */
#define GENID_LEN	 16
#define HIGH_RAM_START	 0x100000ULL

#define GDT_CODE64	 0x08 /* selectors */
#define GDT_DATA	 0x10
#define GDT_CODE32	 0x18

/* what the hole below 4 GiB holds */
#define LOWMEM_MAX	 0x80000000ULL
#define PCI_HOLE_BASE	 0x80000000ULL /* everything to PCI_HOLE_END is the PCI bridge's to decode */
#define PCI_HOLE_END	 0xfe000000ULL
#define ECAM_BASE	 0xb0000000ULL
#define ECAM_SIZE	 0x10000000ULL
#define PCI_BAR_BASE	 0xc0000000ULL /* BARs of a direct boot, 8 MiB apart */
#define PCI_BAR_STRIDE	 0x00800000ULL
#define PCI_BAR_END	 0xfc000000ULL
#define VIRTIO_MMIO_BASE 0xfeb00000ULL
#define VIRTIO_MMIO_SIZE 0x1000ULL
#define IOAPIC_BASE	 0xfec00000ULL
#define KVM_IDMAP_ADDR	 0xfeffc000ULL /* clear of where UEFI flash goes */
#define KVM_TSS_ADDR	 0xfeffd000ULL
#define LAPIC_BASE	 0xfee00000ULL
#define HIGHMEM_BASE	 0x100000000ULL

/* ports */
#define PORT_RTC	 0x70
#define PORT_COM1	 0x3f8
#define PORT_PVPANIC	 0x505
#define PORT_PM1_EVT	 0x600
#define PORT_PM1_CNT	 0x604
#define PORT_PM_TMR	 0x608
#define PORT_GPE0	 0x60c
#define PORT_PCI_ADDR	 0xcf8
#define PORT_RESET	 0xcf9
#define RESET_VALUE	 0x06

/* interrupt lines */
#define GSI_COM1	 4
#define GSI_RTC		 8
#define GSI_SCI		 9

#endif

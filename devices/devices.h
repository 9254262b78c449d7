/* devices.h - every type of device there is (layer 3) */
#ifndef HUTCH_DEVICES_H
#define HUTCH_DEVICES_H

#include "dev.h"

extern const struct dev_type *const dev_types[]; /* NULL-terminated; tests walk it */

extern const struct dev_type serial_type, rtc_type, i8042_type, acpi_pm_type, pvpanic_type;
extern const struct dev_type pci_type, blk_type, net_type, vsock_type, rng_type, balloon_type,
	console_type;

struct disk;
/* of a blk device */
struct disk *blk_disk(struct dev *dev);

/* press the power button of an acpi_pm device: -ENOTSUP with a message if the guest has not enabled
 * it; on the loop's thread */
int acpi_pm_power_button(struct dev *dev) must_check;
/* tell the guest of an acpi_pm device that its generation id is another, at once or as soon as it
 * listens; on the loop's thread */
void acpi_pm_generation(struct dev *dev);

#endif

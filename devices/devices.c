#include "devices.h"

const struct dev_type *const dev_types[] = {
	&serial_type, &rtc_type,   &i8042_type, &acpi_pm_type, &pvpanic_type, &pci_type, &blk_type,
	&net_type,    &vsock_type, &rng_type,	&balloon_type, &console_type, NULL,
};

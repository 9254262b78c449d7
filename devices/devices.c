#include "devices.h"

const struct dev_type *const dev_types[] = {
	&serial_type, &rtc_type, &i8042_type, &acpi_pm_type, &pvpanic_type,
	&pci_type,    &blk_type, &vsock_type, NULL,
};

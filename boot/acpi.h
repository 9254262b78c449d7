/* acpi.h - ACPI tables for a board, built in C (layer 3) */
#ifndef HUTCH_ACPI_H
#define HUTCH_ACPI_H

#include "board.h"
#include "gmem.h"

/* write RSDP and tables at ACPI_ADDR: -EFAULT, or -ENOSPC if they outgrow ACPI_MAX */
int acpi_write(struct gmem *mem, const struct board *board) must_check;

/* another generation id, at random; acpi_write() has written the first: -EFAULT, or no random bytes
 */
int acpi_generation(struct gmem *mem) must_check;

#endif

/* cpu_tables.h - the descriptor and page tables that the first vCPU starts on (layer 3) */
#ifndef HUTCH_CPU_TABLES_H
#define HUTCH_CPU_TABLES_H

#include "gmem.h"

#define IDENTITY_MAP (1 * GiB) /* what the page tables cover */

/* GDT_ADDR and PAGE_TABLES, see layout_x86.h: -EFAULT where they are not RAM */
int cpu_tables_write(struct gmem *mem) must_check;

#endif

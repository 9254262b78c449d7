/* params.h - Linux's 64-bit boot protocol: the zero page and what hangs on it (layer 3) */
#ifndef HUTCH_PARAMS_H
#define HUTCH_PARAMS_H

#include "board.h"
#include "bzimage.h"
#include "initrd.h"

/*
 * params_write() - struct boot_params at ZERO_PAGE, and a seed for the guest's random numbers
 *
 * @bz: the bzImage whose setup header to hand on, NULL for a kernel without
 * one.  @start: where its body was loaded, 0 if it was not.
 */
int params_write(struct gmem *mem, const struct board *board, const struct bzimage *bz, gpa_t start,
		 const struct initrd_at *initrd) must_check;

#endif

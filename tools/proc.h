/* proc.h - what a process costs, from /proc (layer 6) */
#ifndef HUTCH_PROC_H
#define HUTCH_PROC_H

#include <stdint.h>

struct proc {
	uint64_t cpu_ms; /* processor time of all its threads, guest and host side */
	uint64_t rss;	 /* bytes of memory that are there now, the guest's included */
	unsigned threads;
};

int proc_read(int pid, struct proc *ret); /* -ESRCH */

#endif

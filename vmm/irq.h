/*
 * irq.h - how a device reaches the CPUs and is reached without them (layer 2)
 *
 * An interface only: kvm.c implements it on KVM, tests on an array.  All of it
 * may be called from any thread, with a device's lock held.
 */
#ifndef HUTCH_IRQ_H
#define HUTCH_IRQ_H

#include <pthread.h>

#include "base.h"

struct irq;

struct irq_ops {
	void (*line)(struct irq *irq, unsigned gsi, bool level);
	void (*msi)(struct irq *irq, uint64_t addr, uint32_t data);
	/*
	 * From now on a guest's store of @match, @len bytes wide, at @addr adds to
	 * @eventfd instead of leaving the guest; len 0 takes any width.  Without
	 * @match any value does.  @on false takes it back.  -errno, -ENOSPC.
	 */
	int (*kick)(struct irq *irq, uint64_t addr, unsigned len, const uint32_t *match,
		    int eventfd, bool on);
};

#define IRQ_LINES 24 /* inputs of the one I/O APIC */

struct irq {
	const struct irq_ops *ops;
	pthread_mutex_t lock;	      /* guards asserted; all zero is a mutex too */
	uint32_t asserted[IRQ_LINES]; /* devices that hold each line up */
};

/* one device's hold on a line; lines may be shared */
struct irq_line {
	struct irq *irq;
	unsigned gsi;
	bool level;
};

void irq_line_set(struct irq_line *line, bool level);
/* tell the interrupt controller the line's level again, after a restore or reset */
void irq_line_refresh(struct irq_line *line);

static inline void irq_msi(struct irq *irq, uint64_t addr, uint32_t data)
{
	irq->ops->msi(irq, addr, data);
}

#endif

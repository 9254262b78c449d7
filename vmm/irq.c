#include "irq.h"

/*
 * The count makes a shared line the OR of its devices.  The two atomics and
 * the call are not one step; that is safe because each device calls under its
 * own lock and a level line's devices are all asked by the guest's handler.
 */
void irq_line_set(struct irq_line *line, bool level)
{
	struct irq *irq = line->irq;

	if (!irq || line->level == level)
		return;
	BUG_ON(line->gsi >= IRQ_LINES);
	line->level = level;
	if (level && !__atomic_fetch_add(&irq->asserted[line->gsi], 1, __ATOMIC_ACQ_REL))
		irq->ops->line(irq, line->gsi, true);
	else if (!level && __atomic_fetch_sub(&irq->asserted[line->gsi], 1, __ATOMIC_ACQ_REL) == 1)
		irq->ops->line(irq, line->gsi, false);
}

void irq_line_refresh(struct irq_line *line)
{
	struct irq *irq = line->irq;

	if (!irq)
		return;
	irq->ops->line(irq, line->gsi, false);
	if (__atomic_load_n(&irq->asserted[line->gsi], __ATOMIC_ACQUIRE))
		irq->ops->line(irq, line->gsi, true);
}

#include "irq.h"

/*
 * The lock makes count and call one step: between two devices on one line, a
 * fall that overtook a rise would leave the line low and an interrupt lost.
 */
void irq_line_set(struct irq_line *line, bool level)
{
	struct irq *irq = line->irq;

	if (!irq || line->level == level)
		return;
	BUG_ON(line->gsi >= IRQ_LINES);
	line->level = level;
	pthread_mutex_lock(&irq->lock);
	if (level && !irq->asserted[line->gsi]++)
		irq->ops->line(irq, line->gsi, true);
	else if (!level && !--irq->asserted[line->gsi])
		irq->ops->line(irq, line->gsi, false);
	pthread_mutex_unlock(&irq->lock);
}

void irq_line_refresh(struct irq_line *line)
{
	struct irq *irq = line->irq;

	if (!irq)
		return;
	pthread_mutex_lock(&irq->lock);
	irq->ops->line(irq, line->gsi, false);
	if (irq->asserted[line->gsi])
		irq->ops->line(irq, line->gsi, true);
	pthread_mutex_unlock(&irq->lock);
}

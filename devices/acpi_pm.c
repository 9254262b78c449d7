/*
 * acpi_pm.c - ACPI's fixed registers and the reset register
 *
 * Firmware and Linux want a working PM timer, an enable register that holds
 * what is written, and SLP_EN.  \_S5 is type 0, so any SLP_EN is power-off:
 * UEFI writes no type at all.  The timer is derived from the host's clock; its
 * offset is the state, so that it goes on after a restore where it stood.
 *
 * The power button is the fixed one: pressing it sets PWRBTN_STS.  One general
 * purpose event, GPE 0, says that the machine is another one from now on.  The
 * SCI is up as long as a status bit and its enable bit are both set, so an event
 * from before the guest listened is not lost.
 */
#include "devices.h"

enum {
	PM1_STS = 0,
	PM1_EN = 2,
	PM1_CNT = 4,
	PM_TMR = 8,
	GPE0_STS = 12,
	GPE0_EN = 13,
	PM_BLOCK = 14,
};

#define PWRBTN	       (1U << 8) /* in status and enable */
#define CNT_SCI_EN     1U
#define CNT_SLP_EN     (1U << 13)
#define PM_HZ	       3579545ULL
#define GPE_GENERATION 1U /* \_GPE._E00 of the DSDT */

struct acpi_pm_state {
	uint64_t ticks_base; /* timer value when it was last stopped */
	uint16_t sts, en, cnt;
	uint8_t reset_ctl, zero;
	uint32_t gpe_sts, gpe_en; /* a byte each */
};

static const struct field acpi_pm_fields[] = {
	F_UINT(struct acpi_pm_state, ticks_base),
	F_UINT(struct acpi_pm_state, sts),
	F_UINT(struct acpi_pm_state, en),
	F_UINT(struct acpi_pm_state, cnt),
	F_UINT(struct acpi_pm_state, reset_ctl),
	F_RANGE(struct acpi_pm_state, zero, 0, 0),
	F_RANGE(struct acpi_pm_state, gpe_sts, 0, UINT8_MAX, .dflt = "0"),
	F_RANGE(struct acpi_pm_state, gpe_en, 0, UINT8_MAX, .dflt = "0"),
	F_END,
};

struct acpi_pm {
	struct dev dev;
	struct acpi_pm_state s;
	uint64_t started; /* now_ns() when ticks_base was right */
	struct irq_line sci;
};

static void update_sci(struct acpi_pm *p)
{
	bool any = (p->s.sts & p->s.en) || (p->s.gpe_sts & p->s.gpe_en);

	irq_line_set(&p->sci, (p->s.cnt & CNT_SCI_EN) && any);
}

void acpi_pm_generation(struct dev *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	dev_lock(dev);
	p->s.gpe_sts |= GPE_GENERATION;
	update_sci(p);
	dev_unlock(dev);
}

int acpi_pm_power_button(struct dev *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);
	int r = 0;

	dev_lock(dev);
	if ((p->s.cnt & CNT_SCI_EN) && (p->s.en & PWRBTN)) {
		p->s.sts |= PWRBTN;
		update_sci(p);
	} else {
		r = err(-ENOTSUP, "the guest does not listen to its power button");
	}
	dev_unlock(dev);
	return r;
}

static uint64_t ticks(const struct acpi_pm *p)
{
	uint64_t ns = now_ns() - p->started;

	/* in two steps: ns * PM_HZ leaves 64 bits after 86 minutes */
	return p->s.ticks_base + ns / 1000000000 * PM_HZ + ns % 1000000000 * PM_HZ / 1000000000;
}

/* the block as bytes, so that any width at any offset reads right */
static uint64_t acpi_pm_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);
	uint32_t tmr = (uint32_t)ticks(p);
	uint8_t regs[PM_BLOCK] = { 0 };

	memcpy(regs + PM1_STS, &p->s.sts, 2);
	memcpy(regs + PM1_EN, &p->s.en, 2);
	memcpy(regs + PM1_CNT, &p->s.cnt, 2);
	memcpy(regs + PM_TMR, &tmr, 4);
	regs[GPE0_STS] = (uint8_t)p->s.gpe_sts;
	regs[GPE0_EN] = (uint8_t)p->s.gpe_en;
	return bus_bytes_read(regs, sizeof(regs), off, len);
}

static void write_cnt(struct acpi_pm *p, uint16_t v)
{
	p->s.cnt = v & CNT_SCI_EN;
	if (v & CNT_SLP_EN)
		p->dev.m->event(p->dev.m, MACHINE_POWEROFF, "the guest powered off");
}

static void acpi_pm_write(struct dev *dev, uint64_t off, unsigned len, uint64_t v)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	if (off == PM1_STS && len >= 2)
		p->s.sts &= (uint16_t)~v; /* write one to clear */
	if (off == PM1_STS && len == 4)
		p->s.en = (uint16_t)(v >> 16);
	if (off == PM1_EN && len == 2)
		p->s.en = (uint16_t)v;
	if (off == PM1_CNT)
		write_cnt(p, (uint16_t)v);
	if (off == GPE0_STS)
		p->s.gpe_sts &= (uint8_t)~v;
	if (off == GPE0_STS && len == 2)
		p->s.gpe_en = (uint8_t)(v >> 8);
	if (off == GPE0_EN)
		p->s.gpe_en = (uint8_t)v;
	update_sci(p);
}

static const struct bus_ops acpi_pm_ops = { acpi_pm_read, acpi_pm_write };

static uint64_t reset_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	(void)off;
	return len == 1 ? p->s.reset_ctl : bus_ones(len);
}

static void reset_write(struct dev *dev, uint64_t off, unsigned len, uint64_t v)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	(void)off;
	if (len == 1)
		machine_reset_register(dev->m, &p->s.reset_ctl, (uint8_t)v);
}

static const struct bus_ops reset_ops = { reset_read, reset_write };

static void acpi_pm_reset(struct dev *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	/* direct boot: ACPI mode is on from the start, there is no SMI to switch it */
	p->s = (struct acpi_pm_state){ .cnt = CNT_SCI_EN };
	p->started = now_ns();
	update_sci(p);
}

static void acpi_pm_drain(struct dev *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	dev_lock(dev);
	p->s.ticks_base = ticks(p);
	p->started = now_ns();
	dev_unlock(dev);
}

static int acpi_pm_loaded(struct dev *dev)
{
	update_sci(container_of(dev, struct acpi_pm, dev));
	return 0;
}

/* after a pause or restore: the timer did not run meanwhile */
static void acpi_pm_resume(struct dev *dev)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);

	p->started = now_ns();
	irq_line_refresh(&p->sci);
}

static int acpi_pm_create(struct dev *dev, const void *conf)
{
	struct acpi_pm *p = container_of(dev, struct acpi_pm, dev);
	const struct dev_place *place =
		conf; /* [0] the PM block, [1] the reset register, unless PCI has it */
	int r;

	p->sci = (struct irq_line){ dev->m->irq, place[0].gsi, false };
	DEV_PART(dev, "acpi_pm", acpi_pm_fields, &p->s);
	acpi_pm_reset(dev);
	r = bus_add(dev->m->bus, BUS_PORT, place[0].base, PM_BLOCK, dev, &acpi_pm_ops);
	if (!r && place[1].base)
		r = bus_add(dev->m->bus, BUS_PORT, place[1].base, 1, dev, &reset_ops);
	return r;
}

const struct dev_type acpi_pm_type = {
	.name = "acpi_pm",
	.size = sizeof(struct acpi_pm),
	.create = acpi_pm_create,
	.reset = acpi_pm_reset,
	.drain = acpi_pm_drain,
	.loaded = acpi_pm_loaded,
	.resume = acpi_pm_resume,
};

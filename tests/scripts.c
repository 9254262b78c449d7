/*
 * scripts.c - for each type of device, a guest that uses it, in steps; scripts_TYPE.c for virtio
 *
 * Between any two steps the machine may be saved and restored elsewhere.  So a
 * step leaves nothing on the way but what a device must be able to save: a
 * request made available and not kicked, a masked interrupt, half a set-up.
 */
#include <linux/serial_reg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "pci.h"
#include "stream.h"

#define COM1	0x3f8
#define RTC	0x70
#define I8042	0x60
#define PM	0x600
#define RESET	0xcf9
#define PVPANIC 0x505

static uint64_t in(struct subject *x, uint64_t port, unsigned len)
{
	return bus_read(&x->f->bus, BUS_PORT, port, len);
}

static void out(struct subject *x, uint64_t port, unsigned len, uint64_t v)
{
	bus_write(&x->f->bus, BUS_PORT, port, len, v);
}

static const void *place_at(uint64_t base)
{
	static struct dev_place place[2]; /* acpi_pm takes two */

	place[0] = (struct dev_place){ .base = base, .gsi = CONTRACT_GSI };
	place[1] = (struct dev_place){ .base = base == PM ? RESET : 0 };
	return place;
}

/* --- serial --- */

static void serial_host(struct subject *x)
{
	char spec[32];

	require(!pipe(x->input));
	x->output = memfd_create("output", MFD_CLOEXEC);
	require(x->output >= 0);
	snprintf(spec, sizeof(spec), "fd:%d:%d", x->input[0], x->output);
	x->stream = stream_new(x->f->m.loop, spec);
	require(x->stream);
}

static const void *serial_conf(struct subject *x)
{
	static struct dev_place place;

	place = (struct dev_place){ .base = COM1, .gsi = CONTRACT_GSI, .stream = x->stream };
	return &place;
}

static void type_text(struct subject *x, const char *text)
{
	require(write(x->input[1], text, strlen(text)) == (ssize_t)strlen(text));
	fake_settle(x->f);
}

static void serial_step(struct subject *x, unsigned k)
{
	switch (k) {
	case 0:
		out(x, COM1 + UART_LCR, 1, UART_LCR_DLAB | UART_LCR_WLEN8);
		out(x, COM1 + UART_DLL, 1, 1);
		out(x, COM1 + UART_DLM, 1, 2);
		break;
	case 1: /* still in the divisor */
		subject_note(x, in(x, COM1 + UART_DLL, 1) | in(x, COM1 + UART_DLM, 1) << 8);
		out(x, COM1 + UART_LCR, 1, UART_LCR_WLEN8);
		out(x, COM1 + UART_FCR, 1, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
		break;
	case 2:
		out(x, COM1 + UART_IER, 1, UART_IER_RDI | UART_IER_RLSI);
		type_text(x, "hello");
		break;
	case 3:
		subject_note(x, in(x, COM1 + UART_IIR, 1));
		subject_note(x, in(x, COM1 + UART_RX, 1) << 8 | in(x, COM1 + UART_RX, 1));
		type_text(x, "more");
		break;
	case 4: /* the transmitter's interrupt waits behind the receiver's */
		out(x, COM1 + UART_IER, 1, UART_IER_RDI | UART_IER_THRI);
		out(x, COM1 + UART_TX, 1, 'x');
		break;
	case 5:
		for (unsigned i = 0; i < 7 && in(x, COM1 + UART_LSR, 1) & UART_LSR_DR; i++)
			subject_note(x, in(x, COM1 + UART_RX, 1));
		break;
	case 6:
		subject_note(x, in(x, COM1 + UART_IIR, 1));
		subject_note(x, in(x, COM1 + UART_IIR, 1));
		break;
	case 7: /* overrun, in loop-back */
		out(x, COM1 + UART_IER, 1, UART_IER_RLSI);
		out(x, COM1 + UART_MCR, 1, UART_MCR_LOOP | UART_MCR_RTS | UART_MCR_OUT1);
		for (unsigned i = 0; i < 70; i++)
			out(x, COM1 + UART_TX, 1, i);
		subject_note(x, in(x, COM1 + UART_MSR, 1));
		break;
	case 8:
		subject_note(x, in(x, COM1 + UART_IIR, 1));
		subject_note(x, in(x, COM1 + UART_LSR, 1));
		subject_note(x, in(x, COM1 + UART_LSR, 1));
		subject_note(x, in(x, COM1 + UART_RX, 1));
		out(x, COM1 + UART_SCR, 1, 0x5a);
		break;
	case 9:
		out(x, COM1 + UART_MCR, 1, UART_MCR_DTR);
		subject_note(x, in(x, COM1 + UART_MCR, 1) | in(x, COM1 + UART_SCR, 1) << 8);
		out(x, COM1 + UART_FCR, 1, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
		subject_note(x, in(x, COM1 + UART_LSR, 1));
		break;
	}
}

static const struct script serial_script = {
	.type = &serial_type,
	.host = serial_host,
	.conf = serial_conf,
	.steps = 10,
	.step = serial_step,
};

/* --- rtc: the clock is set and stopped, so that it shows the same in each run --- */

static const void *rtc_conf(struct subject *x)
{
	(void)x;
	return place_at(RTC);
}

static void cmos_set(struct subject *x, uint8_t reg, uint8_t v)
{
	out(x, RTC, 1, reg);
	out(x, RTC + 1, 1, v);
}

static uint64_t cmos_get(struct subject *x, uint8_t reg)
{
	out(x, RTC, 1, reg);
	return in(x, RTC + 1, 1);
}

static void rtc_step(struct subject *x, unsigned k)
{
	static const uint8_t time[][2] = { { 0, 0x59 }, { 2, 0x58 }, { 4, 0x23 }, { 6, 4 },
					   { 7, 0x31 }, { 8, 0x12 }, { 9, 0x99 }, { 0x32, 0x20 } };

	switch (k) {
	case 0:
		cmos_set(x, 0x0b, 0x82);
		for (unsigned i = 0; i < ARRAY_SIZE(time); i++)
			cmos_set(x, time[i][0], time[i][1]);
		break;
	case 1:
		subject_note(x, cmos_get(x, 0x0b) << 8 | cmos_get(x, 0x0a));
		subject_note(x, cmos_get(x, 4) << 16 | cmos_get(x, 2) << 8 | cmos_get(x, 0));
		subject_note(x, cmos_get(x, 0x32) << 8 | cmos_get(x, 9));
		break;
	case 2:
		cmos_set(x, 0x40, 0xa5);
		out(x, RTC, 1, 0xc0); /* the NMI bit, and the same byte */
		break;
	case 3: /* the index is state */
		subject_note(x, in(x, RTC + 1, 1));
		subject_note(x, in(x, RTC, 1));
		cmos_set(x, 0x0a, 0xff);
		cmos_set(x, 0x0d, 0);
		break;
	case 4:
		subject_note(x,
			     cmos_get(x, 0x0a) << 16 | cmos_get(x, 0x0c) << 8 | cmos_get(x, 0x0d));
		break;
	}
}

static const struct script rtc_script = {
	.type = &rtc_type,
	.conf = rtc_conf,
	.steps = 5,
	.step = rtc_step,
	.kept = { "cmos", "offset" }, /* battery-backed */
};

/* --- i8042, pvpanic --- */

static const void *i8042_conf(struct subject *x)
{
	(void)x;
	return place_at(I8042);
}

static void i8042_step(struct subject *x, unsigned k)
{
	subject_note(x, in(x, I8042 + 4, 1) | in(x, I8042, 1) << 8);
	out(x, I8042, 1, k * 7);
	out(x, I8042 + 4, 1, k == 2 ? 0xfe : 0xaa); /* a reset, a self-test */
}

static const struct script i8042_script = {
	.type = &i8042_type,
	.conf = i8042_conf,
	.steps = 4,
	.step = i8042_step,
};

static const void *pvpanic_conf(struct subject *x)
{
	(void)x;
	return place_at(PVPANIC);
}

static void pvpanic_step(struct subject *x, unsigned k)
{
	subject_note(x, in(x, PVPANIC, 1));
	out(x, PVPANIC, 1, k); /* 1: panicked, 2: a crash kernel follows */
}

static const struct script pvpanic_script = {
	.type = &pvpanic_type,
	.conf = pvpanic_conf,
	.steps = 3,
	.step = pvpanic_step,
};

/* --- acpi_pm --- */

static const void *acpi_conf(struct subject *x)
{
	(void)x;
	return place_at(PM);
}

static void acpi_step(struct subject *x, unsigned k)
{
	static uint32_t before;
	uint32_t now;

	switch (k) {
	case 0:
		out(x, PM + 2, 2, 0x4321);
		out(x, PM, 4, 0x01200000 | 0xffff);
		before = (uint32_t)in(x, PM + 8, 4);
		break;
	case 1:
		subject_note(x, in(x, PM, 4));
		subject_note(x, in(x, PM + 4, 2));
		now = (uint32_t)in(x, PM + 8, 4);
		subject_note(x, now - before < 3579545 * 5);	/* it goes on, not back */
		subject_note(x, !acpi_pm_power_button(x->dev)); /* the SCI is up from here */
		break;
	case 2:
		out(x, PM + 4, 2, 1U << 13); /* off; SCI_EN goes with it, and so the SCI falls */
		out(x, RESET, 1, 2);
		break;
	case 3:
		subject_note(x, in(x, PM + 4, 2) | in(x, RESET, 1) << 16);
		out(x, RESET, 1, 6);
		break;
	case 4:
		out(x, PM + 4, 2, 1);
		acpi_pm_generation(x->dev);
		out(x, PM + 13, 1, 1); /* and so it rises */
		break;
	case 5:
		subject_note(x, in(x, PM + 12, 2));
		out(x, PM + 12, 2, 0x0a01); /* seen */
		break;
	case 6:
		subject_note(x, in(x, PM + 12, 2));
		break;
	}
}

static const struct script acpi_script = {
	.type = &acpi_pm_type,
	.conf = acpi_conf,
	.steps = 7,
	.step = acpi_step,
	.moving = { "ticks_base" },
};

/* --- pci: the bus and its bridges --- */

static const void *pci_conf(struct subject *x)
{
	static const struct pci_place place = {
		.addr_port = GUEST_CFG_PORT,
		.hole_base = GUEST_HOLE,
		.hole_end = GUEST_HOLE_END,
		.ecam_base = GUEST_ECAM,
	};

	(void)x;
	return &place;
}

static void pci_step(struct subject *x, unsigned k)
{
	const uint64_t port = GUEST_CFG_PORT, lpc = 0x80000000 | 31 << 11;

	switch (k) {
	case 0:
		out(x, port, 4, lpc | 0x40);
		out(x, port + 4, 4, 0x601);
		break;
	case 1: /* the address is state */
		subject_note(x, in(x, port, 4));
		subject_note(x, in(x, port + 4, 4));
		out(x, port + 5, 1, 0x77);
		break;
	case 2: /* move ECAM */
		subject_note(x, bus_read(&x->f->bus, BUS_MMIO, GUEST_ECAM + (31 << 15) + 0x40, 4));
		out(x, port, 4, 0x80000000 | 0x60);
		out(x, port + 4, 4, 0xe0000001);
		break;
	case 3:
		subject_note(x, bus_read(&x->f->bus, BUS_MMIO, GUEST_ECAM, 4));
		subject_note(x, bus_read(&x->f->bus, BUS_MMIO, 0xe0000000, 4));
		out(x, port + 1, 1, 2);
		break;
	case 4:
		subject_note(x, in(x, port + 1, 1));
		out(x, port + 1, 1, 6);
		break;
	}
}

static const struct script pci_script = {
	.type = &pci_type,
	.conf = pci_conf,
	.steps = 5,
	.step = pci_step,
};

const struct script *const contract_scripts[] = {
	&serial_script,	 &rtc_script,	  &i8042_script, &acpi_script,	&pvpanic_script,
	&pci_script,	 &blk_script,	  &net_script,	 &vsock_script, &rng_script,
	&balloon_script, &console_script, NULL,
};

/*
 * serial.c - a 16550A over a stream
 *
 * The transmitter is never busy: a byte stored in THR is in the stream's ring,
 * or dropped and counted there, before the guest goes on.  So THRE is always
 * set, and its interrupt is pending whenever it is enabled and has not been
 * acknowledged by reading IIR: that latch (thre) is state.
 */
#include <linux/serial_reg.h>

#include "devices.h"
#include "stream.h"

#define FIFO	  64
#define REGISTERS 8
#define MSR_IDLE  (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

struct serial_state {
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr;
	uint8_t thre; /* the transmitter's interrupt waits to be seen */
	uint8_t head, used;
	uint8_t overrun;
	uint8_t fifo[FIFO];
};

static const struct field serial_fields[] = {
	F_UINT(struct serial_state, ier),
	F_UINT(struct serial_state, lcr),
	F_UINT(struct serial_state, mcr),
	F_UINT(struct serial_state, scr),
	F_UINT(struct serial_state, dll),
	F_UINT(struct serial_state, dlm),
	F_UINT(struct serial_state, fcr),
	F_RANGE(struct serial_state, thre, 0, 1),
	F_RANGE(struct serial_state, head, 0, FIFO - 1),
	F_RANGE(struct serial_state, used, 0, FIFO),
	F_RANGE(struct serial_state, overrun, 0, 1),
	F_BYTES(struct serial_state, fifo),
	F_END,
};

struct serial {
	struct dev dev;
	struct serial_state s;
	struct irq_line line;
	struct stream *stream;
};

static uint8_t pending(const struct serial *p)
{
	if (p->s.ier & UART_IER_RLSI && p->s.overrun)
		return UART_IIR_RLSI;
	if (p->s.ier & UART_IER_RDI && p->s.used)
		return UART_IIR_RDI;
	if (p->s.ier & UART_IER_THRI && p->s.thre)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

static void update(struct serial *p)
{
	irq_line_set(&p->line, pending(p) != UART_IIR_NO_INT);
}

static void receive(struct serial *p, uint8_t c)
{
	if (p->s.used == FIFO) {
		p->s.overrun = 1;
		return;
	}
	p->s.fifo[(p->s.head + p->s.used++) % FIFO] = c;
}

static uint8_t take(struct serial *p)
{
	uint8_t c;

	if (!p->s.used)
		return 0;
	c = p->s.fifo[p->s.head];
	p->s.head = (p->s.head + 1) % FIFO;
	if (!--p->s.used)
		stream_room(p->stream);
	return c;
}

static uint8_t read_iir(struct serial *p)
{
	uint8_t iir = pending(p);

	if (iir == UART_IIR_THRI)
		p->s.thre = 0;
	return iir | (p->s.fcr & UART_FCR_ENABLE_FIFO ? 0xc0 : 0);
}

static uint8_t read_lsr(struct serial *p)
{
	uint8_t lsr = UART_LSR_TEMT | UART_LSR_THRE;

	if (p->s.used)
		lsr |= UART_LSR_DR;
	if (p->s.overrun)
		lsr |= UART_LSR_OE;
	p->s.overrun = 0;
	return lsr;
}

/* in loop-back the modem lines show what MCR drives */
static uint8_t read_msr(const struct serial *p)
{
	if (!(p->s.mcr & UART_MCR_LOOP))
		return MSR_IDLE;
	return (p->s.mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (p->s.mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
	       (p->s.mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
	       (p->s.mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static uint64_t serial_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct serial *p = container_of(dev, struct serial, dev);
	bool dlab = p->s.lcr & UART_LCR_DLAB;
	uint8_t v = 0;

	if (len != 1)
		return bus_ones(len);
	switch (off) {
	case UART_RX:
		v = dlab ? p->s.dll : take(p);
		break;
	case UART_IER:
		v = dlab ? p->s.dlm : p->s.ier;
		break;
	case UART_IIR:
		v = read_iir(p);
		break;
	case UART_LCR:
		v = p->s.lcr;
		break;
	case UART_MCR:
		v = p->s.mcr;
		break;
	case UART_LSR:
		v = read_lsr(p);
		break;
	case UART_MSR:
		v = read_msr(p);
		break;
	case UART_SCR:
		v = p->s.scr;
		break;
	}
	update(p);
	return v;
}

static void transmit(struct serial *p, uint8_t c)
{
	if (p->s.mcr & UART_MCR_LOOP)
		receive(p, c);
	else
		stream_put(p->stream, &c, 1);
	p->s.thre = 1;
}

static void write_fcr(struct serial *p, uint8_t v)
{
	p->s.fcr = v & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK);
	if (v & UART_FCR_CLEAR_RCVR) {
		p->s.used = 0;
		stream_room(p->stream);
	}
}

static void serial_write(struct dev *dev, uint64_t off, unsigned len, uint64_t val)
{
	struct serial *p = container_of(dev, struct serial, dev);
	bool dlab = p->s.lcr & UART_LCR_DLAB;
	uint8_t v = (uint8_t)val;

	if (len != 1)
		return;
	switch (off) {
	case UART_TX:
		if (dlab)
			p->s.dll = v;
		else
			transmit(p, v);
		break;
	case UART_IER:
		if (dlab) {
			p->s.dlm = v;
			break;
		}
		/* enabling it again asks for the interrupt again */
		if (v & UART_IER_THRI && !(p->s.ier & UART_IER_THRI))
			p->s.thre = 1;
		p->s.ier = v & 0xf;
		break;
	case UART_FCR:
		write_fcr(p, v);
		break;
	case UART_LCR:
		p->s.lcr = v;
		break;
	case UART_MCR:
		p->s.mcr = v & 0x1f;
		stream_room(p->stream); /* none was taken in loop-back */
		break;
	case UART_SCR:
		p->s.scr = v;
		break;
	}
	update(p);
}

static const struct bus_ops serial_ops = { serial_read, serial_write };

static size_t room(void *arg)
{
	struct serial *p = arg;
	size_t n;

	dev_lock(&p->dev);
	n = p->s.mcr & UART_MCR_LOOP ? 0 : FIFO - p->s.used;
	dev_unlock(&p->dev);
	return n;
}

static void input(void *arg, const uint8_t *buf, size_t len)
{
	struct serial *p = arg;

	dev_lock(&p->dev);
	for (size_t i = 0; i < len; i++)
		receive(p, buf[i]);
	update(p);
	dev_unlock(&p->dev);
}

static const struct stream_ops stream_ops = { .room = room, .input = input };

static void serial_reset(struct dev *dev)
{
	struct serial *p = container_of(dev, struct serial, dev);

	p->s = (struct serial_state){ .dll = 12 }; /* 9600 baud, as a PC's firmware finds it */
	update(p);
	stream_room(p->stream);
}

static int serial_create(struct dev *dev, const void *conf)
{
	struct serial *p = container_of(dev, struct serial, dev);
	const struct dev_place *place = conf;

	p->line = (struct irq_line){ dev->m->irq, place->gsi, false };
	p->stream = place->stream;
	DEV_PART(dev, "serial", serial_fields, &p->s);
	serial_reset(dev);
	stream_attach(p->stream, &stream_ops, p);
	return bus_add(dev->m->bus, BUS_PORT, place->base, REGISTERS, dev, &serial_ops);
}

static int serial_loaded(struct dev *dev)
{
	struct serial *p = container_of(dev, struct serial, dev);

	p->s.ier &= 0xf;
	p->s.mcr &= 0x1f;
	update(p);
	return 0;
}

static void serial_resume(struct dev *dev)
{
	struct serial *p = container_of(dev, struct serial, dev);

	irq_line_refresh(&p->line);
	stream_room(p->stream);
}

static void serial_destroy(struct dev *dev)
{
	struct serial *p = container_of(dev, struct serial, dev);

	if (p->stream)
		stream_attach(p->stream, NULL, NULL);
}

const struct dev_type serial_type = {
	.name = "serial",
	.size = sizeof(struct serial),
	.create = serial_create,
	.reset = serial_reset,
	.loaded = serial_loaded,
	.resume = serial_resume,
	.destroy = serial_destroy,
};

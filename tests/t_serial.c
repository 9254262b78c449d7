/*
 * t_serial - the 16550A as a driver sees it, with a pipe of bytes behind it
 */
#include <linux/serial_reg.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "stream.h"
#include "suite.h"

#define COM1 0x3f8
#define FIFO 64

static const struct contract_case board = { &serial_type, WIRE_BOARD };

static uint8_t in(struct subject *x, unsigned reg)
{
	return (uint8_t)bus_read(&x->f->bus, BUS_PORT, COM1 + reg, 1);
}

static void out(struct subject *x, unsigned reg, uint8_t v)
{
	bus_write(&x->f->bus, BUS_PORT, COM1 + reg, 1, v);
}

static bool line(struct subject *x)
{
	return x->f->level[CONTRACT_GSI];
}

static void type_bytes(struct subject *x, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t c = (uint8_t)i;

		require(write(x->input[1], &c, 1) == 1);
	}
	fake_settle(x->f);
}

static unsigned received(struct subject *x)
{
	unsigned n = 0;

	for (; in(x, UART_LSR) & UART_LSR_DR; n++)
		if (in(x, UART_RX) != (uint8_t)n)
			ck_abort_msg("byte %u is wrong", n);
	return n;
}

START_TEST(output)
{
	struct subject *x = subject_new(&board);
	char text[16] = "";

	for (const char *p = "hello\r\n"; *p; p++) {
		ck_assert_uint_eq(in(x, UART_LSR), UART_LSR_TEMT | UART_LSR_THRE);
		out(x, UART_TX, (uint8_t)*p);
	}
	fake_settle(x->f);
	ck_assert_int_eq(pread(x->output, text, sizeof(text), 0), 7);
	ck_assert_str_eq(text, "hello\r\n");
	/* a store wider than a byte is none */
	bus_write(&x->f->bus, BUS_PORT, COM1, 2, 0x4141);
	fake_settle(x->f);
	ck_assert_int_eq(pread(x->output, text, sizeof(text), 7), 0);
	subject_free(x);
}
END_TEST

START_TEST(transmitter_interrupt)
{
	struct subject *x = subject_new(&board);

	out(x, UART_TX, 'x');
	ck_assert(!line(x));
	out(x, UART_IER, UART_IER_THRI); /* enabled, and empty: at once */
	ck_assert(line(x));
	ck_assert_uint_eq(in(x, UART_IIR), UART_IIR_THRI);
	ck_assert(!line(x)); /* reading it was the acknowledgement */
	ck_assert_uint_eq(in(x, UART_IIR), UART_IIR_NO_INT);
	out(x, UART_TX, 'x');
	ck_assert(line(x));
	out(x, UART_IER, 0);
	ck_assert(!line(x));
	out(x, UART_IER, UART_IER_THRI); /* Linux tests for this */
	ck_assert(line(x));
	out(x, UART_IER, UART_IER_THRI);
	in(x, UART_IIR);
	out(x, UART_IER, UART_IER_THRI); /* no change, no interrupt */
	ck_assert(!line(x));
	subject_free(x);
}
END_TEST

START_TEST(receiver_interrupt)
{
	struct subject *x = subject_new(&board);

	type_bytes(x, 3);
	ck_assert(!line(x));
	out(x, UART_IER, UART_IER_RDI | UART_IER_THRI);
	ck_assert(line(x));
	ck_assert_uint_eq(in(x, UART_IIR), UART_IIR_RDI); /* before the transmitter's */
	ck_assert_uint_eq(in(x, UART_IIR), UART_IIR_RDI); /* reading it acknowledges nothing */
	ck_assert_uint_eq(received(x), 3);
	ck_assert_uint_eq(in(x, UART_IIR), UART_IIR_THRI);
	ck_assert(!line(x));
	ck_assert_uint_eq(in(x, UART_RX), 0); /* from an empty FIFO */
	subject_free(x);
}
END_TEST

/* the FIFO is full: the rest waits outside, and none is lost */
START_TEST(input_waits)
{
	struct subject *x = subject_new(&board);
	unsigned n = 0;

	for (unsigned i = 0; i < 1000; i++) {
		uint8_t c = (uint8_t)i;

		require(write(x->input[1], &c, 1) == 1);
	}
	while (n < 1000) {
		unsigned before = n;

		fake_settle(x->f);
		for (; in(x, UART_LSR) & UART_LSR_DR; n++)
			if (in(x, UART_RX) != (uint8_t)n)
				ck_abort_msg("byte %u is wrong", n);
		ck_assert_uint_gt(n, before);
		ck_assert_uint_le(n - before, FIFO);
		ck_assert(!(in(x, UART_LSR) & UART_LSR_OE));
	}
	subject_free(x);
}
END_TEST

START_TEST(clearing_the_fifo)
{
	struct subject *x = subject_new(&board);

	type_bytes(x, 200);
	out(x, UART_IER, UART_IER_RDI);
	ck_assert(line(x));
	out(x, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	ck_assert(!line(x));
	ck_assert(!(in(x, UART_LSR) & UART_LSR_DR));
	ck_assert_uint_eq(in(x, UART_IIR) & 0xc0, 0xc0);
	fake_settle(x->f);
	ck_assert_uint_eq(in(x, UART_RX), FIFO); /* the first of those that waited */
	subject_free(x);
}
END_TEST

/* in loop-back a driver tests the chip; what is typed meanwhile is for afterwards */
START_TEST(loop_back)
{
	struct subject *x = subject_new(&board);
	uint8_t c;

	out(x, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	ck_assert_uint_eq(in(x, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
	type_bytes(x, 3);
	ck_assert(!(in(x, UART_LSR) & UART_LSR_DR));
	out(x, UART_TX, 0xa5);
	ck_assert_uint_eq(in(x, UART_RX), 0xa5);
	ck_assert_int_eq(pread(x->output, &c, 1, 0), 0);
	for (unsigned i = 0; i <= FIFO; i++)
		out(x, UART_TX, (uint8_t)i);
	ck_assert(in(x, UART_LSR) & UART_LSR_OE);
	ck_assert(!(in(x, UART_LSR) & UART_LSR_OE)); /* told once */
	ck_assert_uint_eq(received(x), FIFO);
	fake_settle(x->f);
	ck_assert(!(in(x, UART_LSR) & UART_LSR_DR));
	out(x, UART_MCR, 0);
	fake_settle(x->f);
	ck_assert_uint_eq(received(x), 3);
	subject_free(x);
}
END_TEST

START_TEST(registers)
{
	struct subject *x = subject_new(&board);

	out(x, UART_LCR, UART_LCR_DLAB);
	ck_assert_uint_eq(in(x, UART_DLL) | in(x, UART_DLM) << 8, 12); /* 9600 */
	out(x, UART_DLL, 0x34);
	out(x, UART_DLM, 0x12);
	out(x, UART_LCR, 3);
	ck_assert_uint_eq(in(x, UART_IER), 0);
	out(x, UART_LCR, UART_LCR_DLAB);
	ck_assert_uint_eq(in(x, UART_DLL) | in(x, UART_DLM) << 8, 0x1234);
	out(x, UART_LCR, 3);
	out(x, UART_IER, 0xff);
	ck_assert_uint_eq(in(x, UART_IER), 0x0f); /* 0xff would be a 16C950 */
	out(x, UART_MCR, 0xef);
	ck_assert_uint_eq(in(x, UART_MCR), 0x0f);
	out(x, UART_SCR, 0xa5);
	ck_assert_uint_eq(in(x, UART_SCR), 0xa5);
	ck_assert_uint_eq(in(x, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	ck_assert_uint_eq(in(x, UART_IIR) & 0xc0, 0);
	out(x, UART_FCR, UART_FCR_ENABLE_FIFO);
	ck_assert_uint_eq(in(x, UART_IIR) & 0xc0, 0xc0);
	subject_free(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("serial");
	TCase *t = tcase_create("serial");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, output);
	tcase_add_test(t, transmitter_interrupt);
	tcase_add_test(t, receiver_interrupt);
	tcase_add_test(t, input_waits);
	tcase_add_test(t, clearing_the_fifo);
	tcase_add_test(t, loop_back);
	tcase_add_test(t, registers);
	suite_add_tcase(s, t);
	return suite_run(s);
}

/* t_console - virtio-console: output that may stall, input that may wait, and the terminal's size
 */
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "stream.h"
#include "suite.h"

#define RX	  0
#define TX	  1
#define WITH_SIZE (1ULL << VIRTIO_CONSOLE_F_SIZE)
#define RINGS	  (GUEST_VERSION_1 | GUEST_INDIRECT_F | WITH_SIZE)

static const struct contract_case wires[] = { { &console_type, WIRE_MMIO },
					      { &console_type, WIRE_PCI } };

static struct subject *new_console(int i)
{
	struct subject *x = subject_new(&wires[i]);

	ck_assert(guest_start(&x->g, RINGS, 2, 16));
	return x;
}

static void settle(struct subject *x)
{
	for (unsigned i = 0; i < 4; i++)
		fake_settle(x->f);
}

static void say(struct subject *x, const struct guest_buf *buf, unsigned n)
{
	guest_add(&x->g, TX, buf, n);
	guest_kick(&x->g, TX);
	settle(x);
}

static void offer(struct subject *x, gpa_t at, uint32_t len)
{
	guest_add(&x->g, RX, &(struct guest_buf){ at, len, true }, 1);
	guest_kick(&x->g, RX);
	settle(x);
}

static size_t printed(struct subject *x, char *buf, size_t size)
{
	ssize_t n = pread(x->output, buf, size, 0);

	ck_assert_int_ge(n, 0);
	return (size_t)n;
}

static void type_text(struct subject *x, const char *text)
{
	size_t len = strlen(text);

	ck_assert_int_eq(write(x->input[1], text, len), (ssize_t)len);
	settle(x);
}

static size_t in_pipe(struct subject *x)
{
	int n = -1;

	ck_assert_int_eq(ioctl(x->input[0], FIONREAD, &n), 0);
	return (size_t)n;
}

static struct guest_used used(struct subject *x, unsigned q)
{
	struct guest_used u;

	ck_assert(guest_used(&x->g, q, &u));
	return u;
}

START_TEST(output)
{
	struct subject *x = new_console(_i);
	char buf[64];

	fake_poke(x->f, GUEST_DATA, "hello, world\n", 13);
	/* in pieces, and something to write into behind, which is left alone */
	say(x,
	    (struct guest_buf[]){ { GUEST_DATA, 5, false },
				  { GUEST_DATA + 5, 0, false },
				  { GUEST_DATA + 5, 8, false },
				  { GUEST_HDR, 16, true } },
	    4);
	ck_assert_uint_eq(used(x, TX).len, 0);
	ck_assert_uint_eq(printed(x, buf, sizeof(buf)), 13);
	ck_assert_mem_eq(buf, "hello, world\n", 13);
	ck_assert_uint_eq(fake_counter(x->dev, "bytes_out"), 13);
	subject_free(x);
}
END_TEST

static void note_line(void *arg, const char *line)
{
	snprintf(arg, 64, "%s", line);
}

/* lines are seen also when they come in pieces: the last words of a kernel */
START_TEST(lines_are_watched)
{
	struct subject *x = new_console(_i);
	char line[64] = "";

	stream_watch(x->stream, note_line, line);
	fake_poke(x->f, GUEST_DATA, "Kernel panic - not syncing: it\n", 31);
	say(x, (struct guest_buf[]){ { GUEST_DATA, 10, false } }, 1);
	say(x, (struct guest_buf[]){ { GUEST_DATA + 10, 21, false } }, 1);
	ck_assert_str_eq(line, "Kernel panic - not syncing: it");
	subject_free(x);
}
END_TEST

START_TEST(input_to_its_buffers)
{
	struct subject *x = new_console(_i);
	char buf[16];

	fake_mark(x->f);
	offer(x, GUEST_DATA, 8);
	offer(x, GUEST_DATA + 8, 8);
	type_text(x, "abc");
	ck_assert_uint_eq(used(x, RX).len, 3);
	type_text(x, "0123456789");
	ck_assert_uint_eq(used(x, RX).len, 8);
	fake_peek(x->f, GUEST_DATA, buf, 3);
	ck_assert_mem_eq(buf, "abc", 3);
	fake_peek(x->f, GUEST_DATA + 8, buf, 8);
	ck_assert_mem_eq(buf, "01234567", 8);
	/* the rest waits where it came from */
	ck_assert_uint_eq(in_pipe(x), 2);
	offer(x, GUEST_DATA, 8);
	ck_assert_uint_eq(used(x, RX).len, 2);
	ck_assert_uint_ge(fake_check_dirty(x->f), 2);
	ck_assert_uint_eq(fake_counter(x->dev, "bytes_in"), 13);
	subject_free(x);
}
END_TEST

/* nothing is read before there is a driver, while it has no buffers, or while the machine is paused
 */
START_TEST(input_waits)
{
	struct subject *x = subject_new(&wires[_i]);

	type_text(x, "1");
	ck_assert_uint_eq(in_pipe(x), 1);
	ck_assert(guest_start(&x->g, RINGS, 2, 16));
	settle(x);
	ck_assert_uint_eq(in_pipe(x), 1);
	offer(x, GUEST_DATA, 8);
	ck_assert_uint_eq(in_pipe(x), 0);
	offer(x, GUEST_DATA, 8);
	dev_drain(x->dev);
	type_text(x, "2");
	ck_assert_uint_eq(in_pipe(x), 1);
	ck_assert_uint_eq(guest_used_idx(&x->g, RX), 1);
	fake_resume(x->f);
	settle(x);
	ck_assert_uint_eq(in_pipe(x), 0);
	ck_assert_uint_eq(guest_used_idx(&x->g, RX), 2);
	guest_reset(&x->g);
	type_text(x, "3");
	ck_assert_uint_eq(in_pipe(x), 1);
	subject_free(x);
}
END_TEST

/* with EVENT_IDX the guest is asked for a kick when its buffers are used up, and all of it arrives
 */
START_TEST(much_input)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	unsigned got = 0, sent = 0, rounds = 0;
	struct guest_used u;
	uint8_t byte;

	ck_assert(guest_start(g, RINGS | GUEST_EVENT_IDX, 2, 16));
	while (got < 5000 && rounds++ < 5000) {
		uint16_t old = g->q[RX].next;

		while (sent < 5000 && sent - got < 2000) {
			byte = (uint8_t)sent++;
			ck_assert_int_eq(write(x->input[1], &byte, 1), 1);
		}
		for (unsigned i = 0; i < 1 + rounds % 5; i++)
			guest_add(g, RX, &(struct guest_buf){ GUEST_DATA + 64 * i, 13 + i, true },
				  1);
		if (guest_wants_kick(g, RX, old))
			guest_kick(g, RX);
		for (unsigned i = 0; i < 1000 && guest_used_idx(g, RX) != g->q[RX].next; i++)
			fake_turn(x->f);
		for (unsigned i = 0; guest_used(g, RX, &u); i++)
			for (unsigned k = 0; k < u.len; k++)
				if (fake_peek8(x->f, GUEST_DATA + 64 * i + k) != (uint8_t)got++)
					ck_abort_msg("byte %u is not what was typed", got - 1);
	}
	ck_assert_uint_eq(got, 5000);
	subject_free(x);
}
END_TEST

struct own {
	struct fake *f;
	struct vdev_place place;
	struct guest g;
	struct dev *dev;
};

/* a console over descriptors of the test's own */
static void make_own(struct own *o, int in, int out)
{
	char spec[32];

	o->f = fake_new();
	snprintf(spec, sizeof(spec), "fd:%d:%d", in, out);
	o->place = (struct vdev_place){ .base = GUEST_MMIO, .gsi = CONTRACT_GSI, .conf = "" };
	o->place.stream = stream_new(o->f->m.loop, spec);
	ck_assert(o->place.stream);
	o->dev = fake_dev(o->f, &console_type, -1, &o->place);
	ck_assert(o->dev);
	guest_find_mmio(&o->g, o->f, GUEST_MMIO, CONTRACT_GSI);
	ck_assert(guest_start(&o->g, RINGS, 2, 16));
}

/* a file has no events: the device asks for more of it until its buffers are full */
START_TEST(input_from_a_file)
{
	const char *path = fake_file("input", NULL, 10000);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct guest_used u;
	struct own o;
	size_t got = 0;

	make_own(&o, fd, -1);
	for (unsigned i = 0; i < 16; i++)
		guest_add(&o.g, RX, &(struct guest_buf){ GUEST_DATA, 1000, true }, 1);
	guest_kick(&o.g, RX);
	for (unsigned i = 0; i < 100; i++)
		fake_turn(o.f);
	while (guest_used(&o.g, RX, &u))
		got += u.len;
	ck_assert_uint_eq(got, 10000);
	fake_dev_free(o.f, o.dev);
	stream_free(o.place.stream);
	fake_free(o.f);
	fake_folder_remove();
}
END_TEST

/* the stream outlives the device, and what is typed then reaches nobody */
START_TEST(typed_at_nobody)
{
	struct own o;
	int in[2];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	make_own(&o, in[0], -1);
	guest_add(&o.g, RX, &(struct guest_buf){ GUEST_DATA, 1000, true }, 1);
	guest_kick(&o.g, RX);
	fake_settle(o.f);
	ck_assert_int_eq(write(in[1], "x", 1), 1);
	fake_dev_gone(o.f, o.dev, 10);
	stream_free(o.place.stream);
	fake_free(o.f);
	close(in[0]);
	close(in[1]);
}
END_TEST

/* a reader that stalls: the guest goes on, and what is lost is counted to the byte */
START_TEST(a_reader_that_stalls)
{
	const unsigned n = 4096; /* of 1 KiB */
	char *all = malloc(n * 1024);
	size_t got = 0;
	struct own o;
	ssize_t k;
	int out[2];

	ck_assert(all && !pipe2(out, O_CLOEXEC | O_NONBLOCK));
	make_own(&o, -1, out[1]);
	ck_assert_uint_eq(guest_config(&o.g, 0, 4), 0); /* a size that is not known */
	for (unsigned i = 0; i < n; i++) {
		fake_fill(o.f, GUEST_DATA, (uint8_t)(i / 64), 1024);
		guest_add(&o.g, TX, &(struct guest_buf){ GUEST_DATA, 1024, false }, 1);
		guest_kick(&o.g, TX);
		fake_turn(o.f);
	}
	ck_assert_uint_eq(guest_used_idx(&o.g, TX), n);
	ck_assert_uint_eq(fake_counter(o.dev, "bytes_out"), n * 1024);
	ck_assert_uint_gt(stream_dropped(o.place.stream), n * 1024 - STREAM_RING - (1U << 20));
	while ((k = read(out[0], all + got, n * 1024 - got)) > 0) {
		got += (size_t)k;
		fake_turn(o.f);
		fake_turn(o.f);
	}
	ck_assert_uint_eq(got + stream_dropped(o.place.stream), n * 1024);
	for (size_t i = 0; i < got; i++) /* what is there is the beginning, in order */
		if ((uint8_t)all[i] != (uint8_t)(i / 65536))
			ck_abort_msg("byte %zu is %#x", i, (uint8_t)all[i]);
	free(all);
	fake_dev_free(o.f, o.dev);
	stream_free(o.place.stream);
	close(out[0]);
	close(out[1]);
	fake_free(o.f);
}
END_TEST

static void count_line(void *arg, const char *line)
{
	(void)line;
	++*(unsigned *)arg;
}

/* gigabytes in one chain: as much as the ring takes, and the rest is counted */
START_TEST(a_chain_without_end)
{
	struct subject *x = new_console(_i);
	const unsigned n = 64; /* over a seam: two pieces each */
	const uint32_t len = 2 * FAKE_HIGH_SLOT;
	unsigned lines = 0;

	for (gpa_t at = 0; at < len; at += 8)
		fake_poke(x->f, FAKE_HIGH + at, "a line.\n", 8);
	stream_watch(x->stream, count_line, &lines);
	for (unsigned i = 0; i < n; i++)
		guest_desc(&x->g, GUEST_INDIRECT, i,
			   (struct vring_desc){ FAKE_HIGH, len, i + 1 < n ? VRING_DESC_F_NEXT : 0,
						(uint16_t)(i + 1) });
	guest_desc(&x->g, x->g.q[TX].desc, 0,
		   (struct vring_desc){ GUEST_INDIRECT, 16 * n, VRING_DESC_F_INDIRECT, 0 });
	for (unsigned i = 0; i < 16; i++)
		guest_publish(&x->g, TX, 0);
	guest_kick(&x->g, TX);
	fake_turn(x->f);
	ck_assert_uint_le(guest_used_idx(&x->g, TX), 2); /* one a kick, of which a turn sees two */
	for (unsigned i = 0; i < 100 && guest_used_idx(&x->g, TX) < 16; i++)
		fake_turn(x->f);
	ck_assert_uint_eq(guest_used_idx(&x->g, TX), 16);
	ck_assert_uint_eq(fake_counter(x->dev, "bytes_out"), 16ULL * n * len);
	ck_assert_uint_ge(stream_dropped(x->stream), 16ULL * n * len - 16 * STREAM_RING);
	/* nobody looks at what is left out, so no time is lost on it */
	ck_assert_uint_eq(lines, 16 * STREAM_RING / 8);
	subject_free(x);
}
END_TEST

/* as much as the ring has at once, with a reader that keeps up: nothing is lost */
START_TEST(a_fast_guest)
{
	struct subject *x = new_console(_i);

	for (unsigned i = 0; i < 16; i++)
		guest_add(&x->g, TX, &(struct guest_buf){ 0, 60000, false }, 1);
	guest_kick(&x->g, TX);
	for (unsigned i = 0; i < 100 && guest_used_idx(&x->g, TX) < 16; i++)
		fake_turn(x->f);
	settle(x);
	ck_assert_uint_eq(stream_dropped(x->stream), 0);
	ck_assert_int_eq(lseek(x->output, 0, SEEK_END), 16 * 60000);
	subject_free(x);
}
END_TEST

START_TEST(no_room)
{
	struct subject *x = new_console(_i);

	offer(x, GUEST_DATA, 0);
	ck_assert(guest_is_broken(&x->g));
	ck_assert(guest_start(&x->g, RINGS, 2, 16));
	guest_add(&x->g, RX, &(struct guest_buf){ GUEST_DATA, 5, false }, 1);
	guest_kick(&x->g, RX);
	settle(x);
	ck_assert(guest_is_broken(&x->g));
	ck_assert(guest_start(&x->g, RINGS, 2, 16));
	offer(x, GUEST_DATA, 5);
	type_text(x, "x");
	ck_assert_uint_eq(used(x, RX).len, 1);
	subject_free(x);
}
END_TEST

START_TEST(the_size)
{
	struct subject *x = new_console(_i);
	uint32_t generation = guest_read(&x->g, REG_GENERATION);
	static const char *const bad[] = { "x",	     "80",	"80x",	   "x25",
					   "80x25x", "80x25 ",	"0x25",	   "80x0",
					   "-1x25",  "65536x1", "1x65536", "99999999999x1",
					   "80X25",  " 80x25" };

	ck_assert_uint_eq(guest_offered(&x->g) & WITH_SIZE, WITH_SIZE);
	ck_assert_uint_eq(guest_config(&x->g, 0, 2), 80);
	ck_assert_uint_eq(guest_config(&x->g, 2, 2), 25);
	ck_assert_int_eq(dev_configure(x->dev, "65535x1"), 0);
	settle(x);
	ck_assert_uint_eq(guest_config(&x->g, 0, 4), 65535 | 1 << 16);
	ck_assert_uint_ne(guest_read(&x->g, REG_GENERATION), generation);
	ck_assert_uint_eq(guest_ack(&x->g) & 2, 2);
	/* the same again is no change */
	ck_assert_int_eq(dev_configure(x->dev, "65535x1"), 0);
	settle(x);
	ck_assert_uint_eq(guest_ack(&x->g), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_msg(dev_configure(x->dev, bad[i]) == -EINVAL, "'%s'", bad[i]);
		ck_assert_ptr_nonnull(strstr(err_last(), bad[i]));
	}
	ck_assert_uint_eq(guest_config(&x->g, 0, 4), 65535 | 1 << 16);
	bus_write(&x->f->bus, BUS_MMIO, x->g.config, 4, 0); /* not the guest's to change */
	ck_assert_uint_eq(guest_config(&x->g, 0, 4), 65535 | 1 << 16);
	subject_free(x);
}
END_TEST

/* a driver that only looks when told is told, more than once, and not for ever */
START_TEST(the_size_is_told)
{
	struct subject *x = new_console(_i);
	const uint64_t *told = &to_vdev(x->dev)->count.config_interrupts;
	uint64_t told_before;

	for (unsigned i = 1; i < 300; i++) {
		uint64_t before = *told;

		say(x, (struct guest_buf[]){ { GUEST_DATA, 1, false } }, 1);
		ck_assert_uint_eq(*told - before, i <= 64 && !(i & (i - 1)));
	}
	ck_assert(guest_start(&x->g, RINGS, 2, 16)); /* the next driver, anew */
	told_before = *told;
	say(x, (struct guest_buf[]){ { GUEST_DATA, 1, false } }, 1);
	ck_assert_uint_eq(*told - told_before, 1);
	/* one that did not ask for it */
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 2, 16));
	told_before = *told;
	say(x, (struct guest_buf[]){ { GUEST_DATA, 1, false } }, 1);
	ck_assert_uint_eq(*told, told_before);
	subject_free(x);
}
END_TEST

START_TEST(what_it_says_it_is)
{
	struct subject *x = new_console(_i);

	if (x->g.pci) {
		ck_assert_uint_eq(guest_pci_read(&x->g, 2, 2), 0x1043);
		ck_assert_uint_eq(guest_pci_read(&x->g, 10, 2), 0x0780);
	} else {
		ck_assert_uint_eq(bus_read(&x->f->bus, BUS_MMIO, x->g.base + 8, 4), 3);
	}
	ck_assert_uint_eq(guest_offered(&x->g) & 1U << VIRTIO_CONSOLE_F_MULTIPORT, 0);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("console");
	TCase *t = tcase_create("console");

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, output, 0, n);
	tcase_add_loop_test(t, lines_are_watched, 0, n);
	tcase_add_loop_test(t, input_to_its_buffers, 0, n);
	tcase_add_loop_test(t, input_waits, 0, n);
	tcase_add_loop_test(t, much_input, 0, n);
	tcase_add_test(t, input_from_a_file);
	tcase_add_test(t, typed_at_nobody);
	tcase_add_test(t, a_reader_that_stalls);
	tcase_add_loop_test(t, a_chain_without_end, 0, n);
	tcase_add_loop_test(t, a_fast_guest, 0, n);
	tcase_add_loop_test(t, no_room, 0, n);
	tcase_add_loop_test(t, the_size, 0, n);
	tcase_add_loop_test(t, the_size_is_told, 0, n);
	tcase_add_loop_test(t, what_it_says_it_is, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
